package zfssync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// ZFS is the Store on datasets. Below the dataset that it is given, which is its own from then on:
//
//	layer/<digest>[.<guid>]  a committed layer: a clone of its parent's snapshot @layer, with a snapshot @layer of its own
//	image                    a file system with a record of each image
//	jail/<uuid>              a clone of its image's top layer
//	volume/<id>
//	staging/<name>           what is being made; renaming it away is the commit point, and Sweep takes what a crash left
//
// Each dataset that it made has the user property rexcarcer:instance with the owner's name, set on that very dataset: it
// touches no other (in staging, whose content is ours alone, an inherited one counts too). Nothing is ever destroyed
// together with what was cloned from it. Snapshots are matched by GUID, never by name.
//
// The code is the same on FreeBSD and Linux but for mounts_*.go, and for old and new zfs(8) but for what zfsCan says.
type ZFS struct {
	layout
	root string // dataset, pool first
	c    Config
	log  *slog.Logger
	lock *os.File
	z    zfsCmd
	can  zfsCan
	feat Features // immutable after OpenZFS
	mnt  mounter
	host string // root that a "host:/" base copies: "/" but in tests

	keys      keyLocks // one layer, image, jail or volume at a time
	heldSnaps holds    // by full name of the snapshot

	mu     sync.Mutex      // guards the rest
	index  map[string]zset // by full name; what is in the pool as far as it matters to us
	active map[string]bool // datasets in staging that a running call owns
	holds  int             // builds during which no layer may go
}

// User properties of our datasets.
const (
	propInstance = "rexcarcer:instance"
	propLayer    = "rexcarcer:layer"   // of a layer: its key; of a jail: the key of the top layer below it
	propParent   = "rexcarcer:parent"  // of a layer: key of the one below
	propBase     = "rexcarcer:base"    // of a lowest layer: what it was made from
	propImage    = "rexcarcer:image"   // of a jail: key of its image
	propOptions  = "rexcarcer:options" // of a jail: its CloneOptions as JSON
)

// OpenZFS opens the store on dataset c.Dataset ("POOL/NAME"), and makes it when it is not there; its pool must be. c.Dir
// is where its file systems are mounted.
func OpenZFS(ctx context.Context, c Config) (_ Store, err error) {
	if !filepath.IsAbs(c.Dir) {
		return nil, fmt.Errorf("store directory %q: want an absolute path", c.Dir)
	}
	if err := CheckDataset(c.Dataset); err != nil {
		return nil, err
	}
	if c.Instance == "" || c.Runner == nil {
		return nil, errors.New("open ZFS store: it needs an instance name and a runner")
	}
	s := &ZFS{
		layout: layout{filepath.Clean(c.Dir)}, root: c.Dataset, c: c, log: c.Log, z: zfsCmd{run: c.Runner},
		keys: keyLocks{m: map[string]*keyLock{}}, index: map[string]zset{}, active: map[string]bool{}, mnt: newMounter(c.Runner), host: "/",
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.c.Limits = c.Limits.withDefaults()
	if err := s.directories(); err != nil {
		return nil, err
	}
	if s.lock, err = takeLock(s.dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.can, err = s.z.detect(ctx); err != nil {
		return nil, err
	}
	s.feat, s.z.fuse = s.can.features(), s.can.fuse
	if err := s.prepare(ctx); err != nil {
		return nil, fmt.Errorf("open ZFS store %s: %w", s.root, err)
	}
	s.feat.IDMapReason = s.mnt.noIDMap(s.images())
	s.feat.IDMap = s.feat.IDMapReason == ""
	return s, nil
}

// CheckDataset refuses a dataset name that is not POOL/NAME of plain components.
func CheckDataset(name string) error {
	parts := strings.Split(name, "/")
	if len(parts) < 2 || len(name) > 100 {
		return fmt.Errorf("dataset %q: want POOL/DATASET, at most 100 characters", name)
	}
	for _, p := range parts {
		if !datasetRE.MatchString(p) {
			return fmt.Errorf("dataset %q: %q is not a plain name: letters, digits, '-', '_', '.'", name, p)
		}
	}
	return nil
}

// The places below the data directory where file systems are mounted. The roots of jails may hold setuid programs that
// belong to the host's ids, so only root passes there.
func (s *ZFS) directories() (err error) {
	for _, d := range []struct {
		path string
		mode os.FileMode
	}{
		{s.dir, 0o711}, {s.jails(), 0o711}, {filepath.Join(s.dir, "fs"), 0o700}, {s.place("jail"), 0o700}, {s.place("layer"), 0o700},
		{s.images(), 0o700}, {s.volumes(), 0o700}, {s.staging(), 0o700}, {s.builds(), 0o711},
	} {
		if err := os.MkdirAll(d.path, d.mode); err != nil {
			return fmt.Errorf("make directory of the store: %w", err)
		}
	}
	if s.dir, err = filepath.EvalSymlinks(s.dir); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	return nil
}

// place is where the datasets of a group are mounted.
func (s *ZFS) place(group string) string {
	switch group {
	case "image":
		return s.images()
	case "volume":
		return s.volumes()
	case "staging":
		return s.staging()
	}
	return filepath.Join(s.dir, "fs", group)
}

func (s *ZFS) builds() string { return filepath.Join(s.dir, "builds") }

// groups are the datasets directly below the root.
var groups = []string{"layer", "image", "jail", "volume", "staging"}

// ds is the full name of a dataset of ours.
func (s *ZFS) ds(group, name string) string {
	return s.root + "/" + group + "/" + name
}

// at is where a dataset of ours is mounted.
func (s *ZFS) at(group, name string) string { return filepath.Join(s.place(group), name) }

// mine is the tag that every dataset of ours gets.
func (s *ZFS) mine(props ...assign) []assign {
	return append([]assign{{"canmount", "noauto"}, {propInstance, s.c.Instance}}, props...)
}

// prepare makes the root and its groups, mounts the images, and reads what there is.
func (s *ZFS) prepare(ctx context.Context) error {
	err := s.refresh(ctx, s.root)
	if errors.Is(err, ErrNotFound) {
		if err := s.z.create(ctx, s.root, append(s.rootProps(), assign{propInstance, s.c.Instance})...); err != nil {
			return fmt.Errorf("make it: %w: its pool must be there (zpool list)", err)
		}
		err = s.refresh(ctx, s.root)
	}
	if err != nil {
		return err
	}
	if owner := s.known(s.root).local(propInstance); owner != s.c.Instance {
		return fmt.Errorf("it belongs to %q, not to this host %q: choose another dataset, or give it over by: zfs set %s=%s %s", owner, s.c.Instance, propInstance, s.c.Instance, s.root)
	}
	for _, g := range groups {
		name := s.root + "/" + g
		props := []assign{{"canmount", "off"}, {"mountpoint", s.place(g)}, {propInstance, s.c.Instance}}
		if g == "image" {
			props[0].value = "noauto"
		}
		switch old := s.known(name); {
		case old == nil:
			err = s.z.create(ctx, name, props...)
		case old.local(propInstance) != s.c.Instance:
			err = fmt.Errorf("dataset %s was not made by this host: remove or rename it", name)
		case old.value("mountpoint") != s.place(g): // the data directory moved
			err = s.z.set(ctx, name, props[1])
		}
		if err != nil && !errors.Is(err, errExists) {
			return err
		}
	}
	if err := s.mountAt(ctx, s.root+"/image", s.images()); err != nil {
		return err
	}
	return s.refresh(ctx, s.root)
}

// rootProps are inherited by all: no device works in a file system of ours, whatever it holds.
func (s *ZFS) rootProps() []assign {
	props := []assign{{"canmount", "off"}, {"mountpoint", "none"}, {"atime", "off"}}
	return append(props, s.mnt.rootProps()...)
}

// mountAt mounts a dataset at its place, if it is not.
func (s *ZFS) mountAt(ctx context.Context, ds, at string) error {
	mounted, err := isMounted(at)
	if err != nil {
		return err
	}
	if mounted {
		return s.mnt.harden(at)
	}
	if err := s.z.mount(ctx, ds); err != nil {
		return err
	}
	if mounted, err = isMounted(at); err == nil && !mounted {
		err = fmt.Errorf("zfs mount %s: it is not at %s: does zfs-fuse run in another mount namespace?", ds, at)
	}
	if err != nil {
		return err
	}
	return s.mnt.harden(at)
}

// Close implements Store.
func (s *ZFS) Close() error {
	s.mnt.close()
	return s.lock.Close()
}

// Features implements Store.
func (s *ZFS) Features() Features { return s.feat }

// Teardown implements Store.
func (s *ZFS) Teardown(context.Context) error {
	if err := s.mnt.unmount(s.dir); err != nil {
		return fmt.Errorf("unmount all below %s: %w", s.dir, err)
	}
	return nil
}
