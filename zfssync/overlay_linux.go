package zfssync

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Overlay is the Store on overlayfs. Its methods are spread over the *_linux.go files by subject.
type Overlay struct {
	layout
	c    Config
	log  *slog.Logger
	lock *os.File // flock on the data directory: one daemon each
	ns   userNamespaces
	feat Features // immutable after OpenOverlay

	attach bool // id-mapped layers must be attached while they are mounted from; immutable after OpenOverlay

	discards atomic.Int64 // number of the next name in trash

	heldSnaps holds                    // by directory
	margin    time.Duration            // see touchedMargin; immutable but in tests
	fail      func(point string) error // for tests: nil, or dies at a point; immutable after OpenOverlay

	keys keyLocks // one clone, image or volume at a time, by its name

	mu     sync.Mutex      // guards the rest
	active map[string]bool // staging directories that a running build owns
	holds  int             // builds during which no layer may go
}

// OpenOverlay opens, or makes, the store below c.Dir, and tries what the kernel can do. It needs root, and a file
// system that can be an upper layer: ext4, xfs, btrfs, tmpfs, but not another overlay.
func OpenOverlay(c Config) (_ Store, err error) {
	if !filepath.IsAbs(c.Dir) {
		return nil, fmt.Errorf("store directory %q: want an absolute path", c.Dir)
	}
	dir := filepath.Clean(c.Dir)
	o := &Overlay{
		layout: layout{dir}, c: c, log: c.Log,
		ns: userNamespaces{fds: map[IDMap]int{}}, keys: keyLocks{m: map[string]*keyLock{}}, active: map[string]bool{},
		margin: touchedMargin,
	}
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	o.c.Limits = c.Limits.withDefaults()
	if err := o.make(); err != nil {
		return nil, err
	}
	// The kernel lists mounts by their real path.
	if o.dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if o.lock, err = takeLock(o.dir); err != nil {
		return nil, err
	}
	if err := o.probe(); err != nil {
		_ = o.Close()
		return nil, err
	}
	return o, nil
}

// Close implements Store.
func (o *Overlay) Close() error {
	o.ns.close()
	return o.lock.Close()
}

// Features implements Store.
func (o *Overlay) Features() Features { return o.feat }

// probe mounts throw-away overlays, from the best way to the plainest, and records what worked.
func (o *Overlay) probe() error {
	o.feat = Features{
		Driver: "overlayfs", MaxLayers: maxLayers, LayerFDs: true,
		Format: FormatTar, IncrementsReason: "tar streams of volumes are whole; chunks that the receiver has are not sent again",
		ResumeReason: "a tar stream begins anew", AtomicReason: "a snapshot is a copy: stop the jail, or make its program pause, for one moment's state",
	}
	o.probeDisks()
	err := o.probeOne(overlayMount{}, IDMap{})
	if errors.Is(err, errNoLayerFD) {
		o.feat.LayerFDs = false
		err = o.probeOne(overlayMount{}, IDMap{})
	}
	if err != nil {
		return fmt.Errorf("try an overlay below %s: %w: it needs root, and a file system such as ext4, xfs, btrfs or tmpfs (not an overlay)", o.dir, err)
	}
	if err := o.probeOne(overlayMount{volatile: true}, IDMap{}); err != nil {
		o.feat.VolatileReason = "kernel refuses volatile overlays (Linux 5.10): " + err.Error()
	} else {
		o.feat.Volatile = true
	}
	ids := IDMap{HostBase: 1 << 20, Size: 1 << 16}
	err = o.probeOne(overlayMount{}, ids)
	if err != nil {
		o.attach = true
		err = o.probeOne(overlayMount{}, ids)
	}
	if err != nil {
		o.feat.IDMapReason = "kernel or file system refuses id-mapped layers (Linux 5.19): " + err.Error()
	} else {
		o.feat.IDMap = true
	}
	return nil
}

func (o *Overlay) probeOne(m overlayMount, ids IDMap) (err error) {
	dir, err := os.MkdirTemp(o.staging(), "probe-")
	if err != nil {
		return err
	}
	m.lowers = []string{filepath.Join(dir, "l")}
	m.name, m.upper, m.work, m.target = "rexcarcer-probe", filepath.Join(dir, "u"), filepath.Join(dir, "w"), filepath.Join(dir, "m")
	defer func() {
		if uerr := unmountAll(m.target); err == nil {
			err = uerr
		}
		if rerr := os.RemoveAll(dir); err == nil {
			err = rerr
		}
	}()
	for _, d := range []string{m.lowers[0], m.upper, m.work, m.target} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if err := o.mount(m, ids); err != nil {
		return err
	}
	// A mount that the kernel silently made read-only, or that does not shift ids, is not what was asked for.
	x := filepath.Join(m.target, "x")
	if err := os.Mkdir(x, 0o755); err != nil {
		return err
	}
	if err := os.Lchown(x, int(ids.HostBase), int(ids.HostBase)); err != nil {
		return err
	}
	st, err := os.Lstat(filepath.Join(m.upper, "x"))
	if err != nil {
		return err
	}
	if uid := st.Sys().(*syscall.Stat_t).Uid; uid != 0 {
		return fmt.Errorf("the jail's root is %d on disk, want 0", uid)
	}
	return nil
}

// mount mounts m with the ids of a jail. One id-mapped clone of the data directory serves all layers, so that the cost
// does not grow with their number.
func (o *Overlay) mount(m overlayMount, ids IDMap) error {
	return o.ns.use(ids, func(userns int) (err error) {
		p := &places{}
		if o.attach {
			p.prefix = m.work // beside the work directory: nobody else looks there
		}
		defer func() { err = errors.Join(err, p.release()) }()
		var fds []int
		defer func() {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
		}()
		base, err := unix.Open(o.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == nil && userns >= 0 {
			_ = unix.Close(base)
			if base, err = mappedTree(o.dir, userns); err == nil {
				err = p.attach(base, "map")
			}
		}
		if err != nil {
			return err
		}
		defer unix.Close(base)
		for _, path := range append(slices.Clone(m.lowers), m.upper, m.work) {
			rel, err := filepath.Rel(o.dir, path)
			if err != nil {
				return err
			}
			fd, err := unix.Openat(base, rel, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open layer %s: %w", path, err)
			}
			fds = append(fds, fd)
		}
		n := len(m.lowers)
		lowers, upper, work := slices.Clone(fds[:n]), fds[n], fds[n+1]
		if m.host {
			fd, err := o.hostView(p, ids, userns)
			if err != nil {
				return err
			}
			fds, lowers = append(fds, fd), append(lowers, fd)
		}
		if !o.feat.LayerFDs {
			return overlayAt(m.name, m.target, lowers, upper, work, m.volatile)
		}
		fd, err := overlayFD(m.name, lowers, upper, work, m.volatile)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
		if err := unix.MoveMount(fd, "", unix.AT_FDCWD, m.target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("attach overlay at %s: %w", m.target, err)
		}
		return nil
	})
}

// needIDMap says why ids cannot be mapped.
func (o *Overlay) needIDMap(ids IDMap) error {
	if err := ids.check(); err != nil {
		return err
	}
	if !ids.IsZero() && !o.feat.IDMap {
		return fmt.Errorf("id range %d+%d: %s; give the jail no range", ids.HostBase, ids.Size, o.feat.IDMapReason)
	}
	return nil
}
