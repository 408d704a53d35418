package netd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// reserve binds the published ports on the host and returns those that could be had, by network. Nothing listens on
// them (rules take the packets before), but no other program gets them any more, and one that has them is named.
func (d *linux) reserve(nets []Network) (map[string][]Publish, []error) {
	got := map[string][]Publish{}
	var errs []error
	wanted := map[string]bool{}
	for _, n := range nets {
		for _, p := range n.Publish {
			for _, f := range n.families() {
				wanted[portKey(p, f)] = true
			}
		}
	}
	for key, fd := range d.reserved {
		if !wanted[key] {
			_ = unix.Close(fd)
			delete(d.reserved, key)
		}
	}
	for _, n := range nets {
		for _, p := range n.Publish {
			if err := d.reservePort(n, p); err != nil {
				errs = append(errs, err)
				continue
			}
			got[n.Name] = append(got[n.Name], p)
		}
	}
	return got, errs
}

// reservePort takes the port of p for each family of n, or says why not.
func (d *linux) reservePort(n Network, p Publish) error {
	for _, f := range n.families() {
		if _, have := d.reserved[portKey(p, f)]; have {
			continue
		}
		fd, err := d.bind(p, f)
		switch {
		case errors.Is(err, unix.EAFNOSUPPORT) && f == unix.AF_INET6:
			continue // a kernel without IPv6: nobody else has the port there either
		case errors.Is(err, unix.EADDRINUSE):
			return &PortTakenError{Network: n.Name, Port: p.HostPort, Proto: p.Proto, Process: d.holder(p)}
		case err != nil:
			return &NetworkError{Network: n.Name, Err: fmt.Errorf("network %s: reserve port %s: %w", n.Name, portKey(p, f), err)}
		}
		d.reserved[portKey(p, f)] = fd
	}
	return nil
}

// families are those in which the ports of n are published.
func (n Network) families() []int {
	if n.Subnet6.IsValid() {
		return []int{unix.AF_INET, unix.AF_INET6}
	}
	return []int{unix.AF_INET}
}

func portKey(p Publish, family int) string {
	if family == unix.AF_INET6 {
		return portKeyOf(p) + "6"
	}
	return portKeyOf(p)
}

// bind takes a port without listening: a TCP port that is bound only answers with a reset.
func (d *linux) bind(p Publish, family int) (fd int, err error) {
	kind := unix.SOCK_STREAM
	if p.Proto == "udp" {
		kind = unix.SOCK_DGRAM
	}
	err = inNS(d.hostFD, func() error {
		fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, err
	}
	// A connected socket receives from its peer only: datagrams of others are refused, not swallowed.
	var own, peer unix.Sockaddr = &unix.SockaddrInet4{Port: int(p.HostPort)}, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}
	if family == unix.AF_INET6 {
		own, peer = &unix.SockaddrInet6{Port: int(p.HostPort)}, &unix.SockaddrInet6{Port: 9, Addr: [16]byte{15: 1}}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = unix.Bind(fd, own)
	}
	if err == nil && p.Proto == "udp" {
		err = unix.Connect(fd, peer)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// holder names the process that has a port, or returns "".
func (d *linux) holder(p Publish) string {
	inode := ""
	_ = inNS(d.hostFD, func() error { // best effort: it only makes a message better
		for _, suffix := range []string{"", "6"} {
			if b, err := os.ReadFile("/proc/thread-self/net/" + p.Proto + suffix); err == nil && inode == "" {
				inode = socketInode(string(b), p)
			}
		}
		return nil
	})
	if inode == "" || inode == "0" {
		return ""
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, f := range fds {
		if to, err := os.Readlink(f); err == nil && to == "socket:["+inode+"]" {
			dir := filepath.Dir(filepath.Dir(f))
			comm, _ := os.ReadFile(filepath.Join(dir, "comm"))
			return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(comm)), filepath.Base(dir))
		}
	}
	return ""
}

// socketInode finds a bound port in a file of proc_net(5): local address is field 1, state 3 (0A listens, 07 is an
// unconnected datagram socket), inode 9.
func socketInode(table string, p Publish) string {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		_, port, _ := strings.Cut(f[1], ":")
		n, err := strconv.ParseUint(port, 16, 16)
		if err == nil && uint16(n) == p.HostPort && (f[3] == "0A" || f[3] == "07") {
			return f[9]
		}
	}
	return ""
}
