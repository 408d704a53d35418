package zfssync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// zfsTime is the deadline of a zfs command that moves no data. Pools in trouble answer after minutes, or never.
const zfsTime = 2 * time.Minute

// zfsCmd calls zfs(8). Names are full: pool first.
type zfsCmd struct {
	run  run.Runner
	fuse bool // it is zfs-fuse, of which all mounts of a machine have to come one after the other
}

// fuseMounts is locked while zfs-fuse mounts. It loses one of two file systems that are mounted at once (its threads tell
// each other by two writes into one pipe), and whoever looks at the lost one waits for ever. It lies beside the daemon's socket.
const fuseMounts = "/var/run/zfs/rexcarcer.mount"

// mounting calls do, which mounts.
func (z zfsCmd) mounting(ctx context.Context, do func() error) error {
	if !z.fuse {
		return do()
	}
	lock, err := os.OpenFile(fuseMounts, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // and so unlocked
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return do()
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", fuseMounts, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// do runs "zfs ARGS" and explains its error.
func (z zfsCmd) do(ctx context.Context, args ...string) ([]byte, error) {
	res, err := z.run.Run(ctx, run.Cmd{Argv: append([]string{"zfs"}, args...), Timeout: zfsTime})
	return res.Stdout, explain(err)
}

// Errors of zfs(8) on which this package branches. The texts are the same in zfs-fuse 0.7 and OpenZFS 2.4 unless two are
// named.
var (
	errExists  = errors.New("exists already")
	errBusy    = errors.New("busy")
	errMounted = errors.New("mounted already")
	errNoTag   = errors.New("no such tag")
	errIO      = errors.New("input or output error")
)

// explain adds what the text of a failed zfs(8) means.
func explain(err error) error {
	e, ok := errors.AsType[*run.Error](err)
	if !ok {
		return err
	}
	for _, m := range []struct {
		text  string
		means []error
	}{
		{"dataset does not exist", []error{ErrNotFound}},
		{"no such pool", []error{ErrNotFound}},
		{"could not find any snapshots to destroy", []error{ErrNotFound}},
		{"filesystem already mounted", []error{errMounted}},
		{"tag already exists", []error{errExists}},
		{"dataset already exists", []error{errExists}},
		{"no such tag", []error{errNoTag}},
		{"dependent clones", []error{ErrInUse}},
		{"more recent snapshots", []error{ErrLaterSnapshots}},
		{"it's being held", []error{errBusy, ErrInUse}},
		{"dataset is busy", []error{errBusy, ErrInUse}}, // also "pool or dataset is busy"; zfs-fuse says it of a hold
		{"out of space", []error{ErrNoSpace}},
		{"No space left on device", []error{ErrNoSpace}},
		{"no space left", []error{ErrNoSpace}},
		{"quota exceeded", []error{ErrNoSpace}},
		{"I/O error", []error{errIO}},
		{"local origin for clone", []error{ErrOriginMissing}},
	} {
		if strings.Contains(e.Stderr, m.text) {
			return fmt.Errorf("%w: %w", errors.Join(m.means...), err)
		}
	}
	return err
}

// zprop is a property with where it comes from: "local", "default", "received", "inherited from X", "-".
type zprop struct{ value, source string }

// zset is one file system or snapshot with the properties that were asked for.
type zset map[string]zprop

func (s zset) value(name string) string {
	if v := s[name].value; v != "-" {
		return v
	}
	return ""
}

// local returns a property that was set on this very dataset: user properties are inherited, and then mean nothing.
func (s zset) local(name string) string {
	if src := s[name].source; src != "local" && src != "received" {
		return ""
	}
	return s.value(name)
}

func (s zset) number(name string) int64 {
	n, err := strconv.ParseInt(s.value(name), 10, 64)
	if err != nil {
		return 0 // "none" or not there
	}
	return n
}

// get reads properties of ds and of all below it. It is the one way of reading that old and new zfs(8) share: "list -p"
// is younger.
func (z zfsCmd) get(ctx context.Context, ds string, props []string) (map[string]zset, error) {
	out, err := z.do(ctx, "get", "-Hp", "-r", "-o", "name,property,value,source", strings.Join(props, ","), ds)
	if err != nil {
		return nil, err
	}
	sets := map[string]zset{}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 4 {
			return nil, fmt.Errorf("zfs get: cannot read the line %q", line)
		}
		if sets[f[0]] == nil {
			sets[f[0]] = zset{}
		}
		sets[f[0]][f[1]] = zprop{f[2], f[3]}
	}
	return sets, nil
}

// assign is one property to set.
type assign struct{ name, value string }

func options(props []assign) []string {
	var out []string
	for _, p := range props {
		out = append(out, "-o", p.name+"="+p.value)
	}
	return out
}

func (z zfsCmd) create(ctx context.Context, ds string, props ...assign) error {
	_, err := z.do(ctx, append(append([]string{"create"}, options(props)...), ds)...)
	return err
}

func (z zfsCmd) clone(ctx context.Context, snap, ds string, props ...assign) error {
	return z.mounting(ctx, func() error {
		_, err := z.do(ctx, append(append([]string{"clone"}, options(props)...), snap, ds)...)
		return err
	})
}

// set sets one at a time: zfs-fuse takes no more.
func (z zfsCmd) set(ctx context.Context, ds string, props ...assign) error {
	for _, p := range props {
		if _, err := z.do(ctx, "set", p.name+"="+p.value, ds); err != nil {
			return err
		}
	}
	return nil
}

// mount mounts ds where its mountpoint property says. Mounted already is success: zfs-fuse mounts a clone as it is made.
func (z zfsCmd) mount(ctx context.Context, ds string) error {
	err := z.patient(ctx, func() error { // an unmount may not be over in all of the kernel
		return z.mounting(ctx, func() error {
			_, err := z.do(ctx, "mount", ds)
			return err
		})
	})
	if errors.Is(err, errMounted) {
		return nil
	}
	return err
}

func (z zfsCmd) snapshot(ctx context.Context, snap string) error {
	_, err := z.do(ctx, "snapshot", snap)
	return err
}

func (z zfsCmd) rename(ctx context.Context, from, to string) error {
	return z.patient(ctx, func() error {
		_, err := z.do(ctx, "rename", from, to)
		return err
	})
}

// destroy removes a dataset with its snapshots, or one snapshot; never what was cloned from them. None is success.
func (z zfsCmd) destroy(ctx context.Context, ds string) error {
	args := []string{"destroy", "-r", ds}
	if strings.Contains(ds, "@") {
		args = []string{"destroy", ds}
	}
	err := z.patient(ctx, func() error {
		_, err := z.do(ctx, args...)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// busyWait is how long a dataset may go on being busy after its last user has gone: the kernel lets go of a file system
// a moment after it was unmounted.
const busyWait = 5 * time.Second

// patient repeats do while what it touches is busy.
func (z zfsCmd) patient(ctx context.Context, do func() error) error {
	wait := 20 * time.Millisecond
	for end := time.Now().Add(busyWait); ; wait = min(2*wait, 500*time.Millisecond) {
		err := do()
		if !errors.Is(err, errBusy) || time.Now().After(end) {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return errors.Join(err, ctx.Err())
		}
	}
}

func (z zfsCmd) hold(ctx context.Context, snap string) error {
	_, err := z.do(ctx, "hold", holdTag, snap)
	if errors.Is(err, errExists) {
		return nil
	}
	return err
}

func (z zfsCmd) release(ctx context.Context, snap string) error {
	_, err := z.do(ctx, "release", holdTag, snap)
	if errors.Is(err, errNoTag) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// holdTag is ours in "zfs holds".
const holdTag = "rexcarcer"

// stream runs a zfs that reads or writes a stream; only ctx ends it.
func (z zfsCmd) stream(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
	c := run.Cmd{Argv: append([]string{"zfs"}, args...), Stdin: in, Timeout: run.NoTimeout}
	if out != nil {
		c.Stdout = outlet{out}
	}
	_, err := z.run.Run(ctx, c)
	return explain(err)
}
