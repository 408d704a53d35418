package testenv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// The ports that FreePort chooses from: below those that the kernel gives to
// connections (net.ipv4.ip_local_port_range, 32768 and up), because a daemon that
// is killed and started again must find its port still free.
const firstPort, lastPort = 24000, 31999

var ports struct {
	sync.Mutex
	locks []*os.File // held until this process ends
}

// FreePort returns a port of 127.0.0.1, free for TCP and UDP, that no other
// test of this machine gets while this process lives.
func FreePort() (int, error) {
	ports.Lock()
	defer ports.Unlock()
	dir := filepath.Join(os.TempDir(), "rexcarcer-test-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return 0, fmt.Errorf("choose a port: %w", err)
	}
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // no secret
		lock, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			return 0, fmt.Errorf("choose a port: %w", err)
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && portIsFree(port) {
			ports.locks = append(ports.locks, lock)
			return port, nil
		}
		if err := lock.Close(); err != nil {
			return 0, fmt.Errorf("choose a port: %w", err)
		}
	}
	return 0, errors.New("choose a port: none is free")
}

func portIsFree(port int) bool {
	at := net.JoinHostPort("", strconv.Itoa(port))
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", at)
	if err != nil {
		return false
	}
	u, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp", at)
	if err == nil {
		err = u.Close()
	}
	return errors.Join(err, l.Close()) == nil
}
