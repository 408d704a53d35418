package zfstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// The files that test processes of one machine share.
const (
	socketDir = "/run/zfs"                   // where zfs(8) finds the daemon
	usersLock = socketDir + "/zfstest.users" // shared while a process uses the daemon
	startLock = socketDir + "/zfstest.start" // exclusive while one starts it
)

// guardian starts zfs-fuse and ends it when nobody holds usersLock any more. Who comes just then waits for the lock that
// it holds meanwhile, and finds no daemon: then a new one is started. At each unmount zfs-fuse calls sync(2), for all disks
// of the machine, and serves nobody while it waits: eatmydata(1) takes that from it.
const guardian = `
cd /
$2 zfs-fuse --no-daemon --no-kstat-mount &
pid=$!
exec 9>"$1"
until flock -n -x 9; do
	[ -e /proc/$pid/exe ] || exit 1
	sleep 0.1
done
for pool in $(zpool list -H -o name); do
	case $pool in ` + prefix + `*) zpool destroy -f "$pool" ;; esac
done
kill $pid
for i in 1 2 3 4 5 6 7 8 9 10; do
	kill -0 $pid || exit 0
	sleep 0.5
done
kill -9 $pid
`

var started = struct {
	once sync.Once
	err  error
	lock *os.File // held until this process ends
}{}

// daemon makes sure that zfs(8) works, once in a process.
func daemon() error {
	started.once.Do(func() { started.err = start() })
	return started.err
}

// startTime bounds the wait for others and for the daemon; a busy machine takes its time.
const startTime = 2 * time.Minute

func start() (err error) {
	if err := os.MkdirAll(socketDir, 0o700); err != nil {
		return err
	}
	if started.lock, err = lock(usersLock, unix.LOCK_SH); err != nil {
		return err
	}
	starting, err := lock(startLock, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, starting.Close()) }()
	if works() == nil {
		return nil
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return fmt.Errorf("start zfs-fuse: %w", err)
	}
	if _, err := run.LookPath("zfs-fuse"); err != nil {
		return fmt.Errorf("start zfs-fuse: %w (run: make deps)", err)
	}
	quick := ""
	if path, err := run.LookPath("eatmydata"); err == nil {
		quick = path
	}
	gone := launch(quick)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(startTime); ; {
		if err = works(); err == nil || time.Now().After(end) {
			return err
		}
		select {
		case <-gone: // now and then zfs-fuse dies as it starts
			gone = launch(quick)
		case <-tick.C:
		}
	}
}

// launch starts the guardian, which outlives this process by a moment. gone is closed when it ends before.
func launch(quick string) (gone chan struct{}) {
	gone = make(chan struct{})
	p, err := run.Real{}.Start(run.Cmd{Argv: []string{"sh", "-c", guardian, "zfstest", usersLock, quick}, NewSession: true})
	if err != nil {
		time.AfterFunc(time.Second, func() { close(gone) })
		return gone
	}
	go func() {
		_, _ = p.Wait() // how it ended is what works() says
		close(gone)
	}()
	return gone
}

func works() error {
	_, err := run.Real{}.Run(context.Background(), run.Cmd{Argv: []string{"zpool", "list", "-H", "-o", "name"}})
	return err
}

// lock takes a lock on a file. The descriptor is closed in children, so that none of them keeps it.
func lock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(startTime); ; <-time.After(20 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
	}
}

// Start makes zfs(8) work for as long as this process lives: for benches, which have no testing.TB. Pools of theirs must
// begin with Prefix, so that they are gone even when a bench is killed.
func Start() error { return daemon() }

// Prefix begins the names of all pools that are nobody's once their process has ended.
const Prefix = prefix
