package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

// embedded is a device of this process, on a tun.
type embedded struct {
	name string
	os   system
	log  *slog.Logger
	dev  *device.Device // nil: none
}

// system is what differs between operating systems.
type system interface {
	// within runs fn where the host's network is.
	within(fn func() error) error
	// clear removes an interface of this name that a dead process has left, and refuses a stranger's.
	clear(ctx context.Context, name string) error
	// dress marks the interface as ours, gives it its addresses and brings it up.
	dress(ctx context.Context, name string, w Config) error
}

func (e *embedded) kind() string { return KindUserspace }

func (e *embedded) open(ctx context.Context, mtu int) error {
	if err := e.os.clear(ctx, e.name); err != nil {
		return err
	}
	var t tun.Device
	err := e.os.within(func() (err error) {
		t, err = tun.CreateTUN(e.name, mtu)
		return err
	})
	if err != nil {
		return fmt.Errorf("make a tun (is /dev/net/tun, or on FreeBSD if_tuntap, there?): %w", err)
	}
	log := &device.Logger{
		Verbosef: device.DiscardLogf,
		Errorf:   func(format string, args ...any) { e.log.Warn("wireguard", "message", fmt.Sprintf(format, args...)) },
	}
	e.dev = device.NewDevice(fixedTUN{t, mtu}, &boundBind{Bind: conn.NewDefaultBind(), os: e.os}, log)
	return nil
}

func (e *embedded) alive() bool {
	if e.dev == nil {
		return false
	}
	select {
	case <-e.dev.Wait(): // it closes itself when its tun does not answer any more
		return false
	default:
		return true
	}
}

func (e *embedded) apply(ctx context.Context, c change, w Config) error {
	if err := e.dev.IpcSet(c.text()); err != nil {
		return fmt.Errorf("configure the device: %w", err)
	}
	if err := e.dev.IpcSet(c.calm()); err != nil {
		return fmt.Errorf("configure the device: %w", err)
	}
	if err := e.os.dress(ctx, e.name, w); err != nil {
		return err
	}
	if err := e.dev.Up(); err != nil {
		return fmt.Errorf("listen on UDP port %d (another program may have it: choose another -overlay-port): %w", w.Port, err)
	}
	return nil
}

func (e *embedded) peers(context.Context) ([]PeerView, error) {
	text, err := e.dev.IpcGet()
	if err != nil {
		return nil, err
	}
	return parsePeers(text)
}

func (e *embedded) remove(ctx context.Context) error {
	return errors.Join(e.leave(), e.os.clear(ctx, e.name))
}

func (e *embedded) leave() error {
	if e.dev != nil {
		e.dev.Close() // waits for its goroutines, and the tun goes
		e.dev = nil
	}
	return nil
}

// fixedTUN knows its MTU: the library would ask for it on a thread that may be in another network namespace.
type fixedTUN struct {
	tun.Device
	mtu int
}

// MTU implements tun.Device.
func (t fixedTUN) MTU() (int, error) { return t.mtu, nil }

// boundBind opens its sockets where the host's network is, whichever goroutine asks.
type boundBind struct {
	conn.Bind
	os system
}

// Open implements conn.Bind.
func (b *boundBind) Open(port uint16) (fns []conn.ReceiveFunc, actual uint16, err error) {
	err = b.os.within(func() (err error) {
		fns, actual, err = b.Bind.Open(port)
		return err
	})
	return fns, actual, err
}
