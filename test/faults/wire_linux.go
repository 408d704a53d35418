package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// wire joins hosts as a switch does, and can be bad on purpose.
type wire struct {
	mu    sync.Mutex
	ports map[string]*port // guarded by mu; by host
	rules map[pair]rule    // guarded by mu; missing: all passes
	wg    sync.WaitGroup
}

// pair is a direction.
type pair struct{ from, to string }

// rule is what becomes of frames in one direction.
type rule struct {
	loss  float64       // 0 to 1; 1 is cut
	delay time.Duration // of each
}

// port is one host's cable.
type port struct {
	host string
	mac  [6]byte
	tap  *os.File
	out  chan frame // to the host, in order
}

type frame struct {
	due  time.Time
	data []byte
}

const (
	frameSize = 2048
	queued    = 4096 // frames that wait for a host; more are lost, as in a switch
)

func newWire() *wire { return &wire{ports: map[string]*port{}, rules: map[pair]rule{}} }

// plug gives the network namespace a device with an address, and carries its
// frames until close.
func (w *wire) plug(host string, ns netns.NsHandle, addr netip.Prefix) error {
	p, err := cable(ns, "eth0", addr)
	if err != nil {
		return fmt.Errorf("cable of %s: %w", host, err)
	}
	p.host = host
	w.mu.Lock()
	w.ports[host] = p
	w.mu.Unlock()
	w.wg.Go(func() { w.read(p) })
	w.wg.Go(p.write)
	return nil
}

// close takes all cables out, and with them the devices.
func (w *wire) close() error {
	w.mu.Lock()
	var errs []error
	for host, p := range w.ports {
		errs = append(errs, p.tap.Close())
		delete(w.ports, host)
	}
	w.mu.Unlock()
	w.wg.Wait()
	return errors.Join(errs...)
}

// set gives both directions between each of a and each of b a rule.
func (w *wire) set(r rule, a, b []string) {
	for _, x := range a {
		for _, y := range b {
			w.oneWay(r, x, y)
			w.oneWay(r, y, x)
		}
	}
}

func (w *wire) oneWay(r rule, from, to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rules[pair{from, to}] = r
}

// heal lets all pass again.
func (w *wire) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.rules)
}

// read takes what the host sends, until its device is gone.
func (w *wire) read(p *port) {
	defer close(p.out) // nobody else sends: see forward
	buf := make([]byte, frameSize)
	for {
		n, err := p.tap.Read(buf)
		if err != nil {
			w.mu.Lock()
			if w.ports[p.host] == p {
				delete(w.ports, p.host)
			}
			w.mu.Unlock()
			return
		}
		if n >= 14 {
			w.forward(p, append([]byte(nil), buf[:n]...))
		}
	}
}

func (w *wire) forward(p *port, data []byte) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, to := range w.ports {
		if to == p || data[0]&1 == 0 && [6]byte(data[:6]) != to.mac {
			continue
		}
		r := w.rules[pair{p.host, to.host}]
		if r.loss > 0 && rand.Float64() < r.loss {
			continue
		}
		select {
		case to.out <- frame{now.Add(r.delay), data}:
		default:
		}
	}
}

// write hands the host what others sent.
func (p *port) write() {
	for f := range p.out {
		if wait := time.Until(f.due); wait > 0 {
			<-time.After(wait)
		}
		_, _ = p.tap.Write(f.data) // a host that is down takes nothing
	}
}

// namespace is a network namespace that lives as long as its file is open, so
// that nothing of it is left when this program dies.
func namespace() (netns.NsHandle, error) {
	return apart(func() (int, error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return 0, fmt.Errorf("make network namespace: %w", err)
		}
		return unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
}

// apart does on a thread of its own what moves a thread, and throws the thread away.
func apart(do func() (int, error)) (netns.NsHandle, error) {
	type result struct {
		fd  int
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		fd, err := do()
		done <- result{fd, err}
	}()
	r := <-done
	return netns.NsHandle(r.fd), r.err
}

// cable makes a TAP device in another network namespace, up and with an
// address; it is gone when the file is closed. See tuntap.rst of the kernel.
func cable(ns netns.NsHandle, name string, addr netip.Prefix) (*port, error) {
	fd, err := apart(func() (int, error) { return tapIn(ns, name) })
	if err != nil {
		return nil, err
	}
	p := &port{tap: os.NewFile(uintptr(fd), name), out: make(chan frame, queued)}
	if err := p.configure(ns, name, addr); err != nil {
		return nil, errors.Join(err, p.tap.Close())
	}
	return p, nil
}

func tapIn(ns netns.NsHandle, name string) (int, error) {
	if err := unix.Setns(int(ns), unix.CLONE_NEWNET); err != nil {
		return 0, fmt.Errorf("enter network namespace: %w", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("make TAP device %s: %w", name, err), unix.Close(fd))
	}
	return fd, nil
}

func (p *port) configure(ns netns.NsHandle, name string, addr netip.Prefix) error {
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err == nil {
		err = h.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	link, err := h.LinkByName(name)
	if err == nil {
		err = h.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: addr.Addr().AsSlice(), Mask: net.CIDRMask(addr.Bits(), 32)}})
	}
	if err == nil {
		err = h.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("bring up %s: %w", name, err)
	}
	p.mac = [6]byte(link.Attrs().HardwareAddr)
	return nil
}
