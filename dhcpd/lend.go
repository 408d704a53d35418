package dhcpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// How a router lends its socket: over a SOCK_SEQPACKET socket that only root
// may open, in one message with the descriptor. The loan ends with the
// connection. The router keeps the socket: a daemon that was killed borrows it
// again when it is back, and what came meanwhile waits in the kernel.
const (
	lendMessage = `{"v":1,"type":"dhcp4"}`
	lendHello   = 5 * time.Second
	maxLends    = 8 // connections to one socket; a router makes one
)

// Lend offers conn to whoever listens at path, again and again, until ctx
// ends. Conn stays open.
func Lend(ctx context.Context, path string, conn *net.UDPConn, logger *slog.Logger) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		begun := time.Now()
		err := lendOnce(ctx, path, conn)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was wanted
		}
		if time.Since(begun) > time.Minute {
			wait = 50 * time.Millisecond
		}
		logger.Debug("nobody answers DHCP now", "path", path, "err", err)
		if !pause(ctx, wait) {
			return nil
		}
	}
}

func lendOnce(ctx context.Context, path string, conn *net.UDPConn) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unixpacket", path)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(fd uintptr) {
		_, _, sent = c.(*net.UnixConn).WriteMsgUnix([]byte(lendMessage), syscall.UnixRights(int(fd)), nil)
	})
	if err = errors.Join(err, sent); err != nil {
		return fmt.Errorf("lend the socket: %w", err)
	}
	_, err = c.Read(make([]byte, 1)) // until it is given back
	return err
}

// Borrow listens at path and serves with each socket that a router lends,
// until ctx ends. It replaces what a killed predecessor left at path.
func Borrow(ctx context.Context, path string, serve func(ctx context.Context, conn *net.UDPConn) error, logger *slog.Logger) error {
	l, err := listen(path)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close() // at the latest
	slots := make(chan struct{}, maxLends)
	var loans sync.WaitGroup
	defer loans.Wait()
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept at %s: %w", path, err)
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = c.Close() // who opens so many is no router
			continue
		}
		loans.Go(func() {
			defer func() { <-slots }()
			if err := borrow(ctx, c, serve); err != nil && ctx.Err() == nil {
				logger.Warn("the socket that a router lent for DHCP ended", "path", path, "err", err)
			}
		})
	}
}

func listen(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replace %s: %w", path, err)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil { // root alone: whoever lends a socket decides who gets addresses
		return nil, errors.Join(fmt.Errorf("listen at %s: %w", path, err), l.Close())
	}
	return l, nil
}

func borrow(ctx context.Context, c *net.UnixConn, serve func(context.Context, *net.UDPConn) error) error {
	defer c.Close()
	conn, err := receive(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	var wait sync.WaitGroup
	defer wait.Wait()
	defer cancel()
	wait.Go(func() { // the router says no more: a read ends when it is gone
		defer cancel()
		_, _ = c.Read(make([]byte, 1))
	})
	return serve(ctx, conn)
}

// receive takes the descriptor out of the first message.
func receive(c *net.UnixConn) (*net.UDPConn, error) {
	if err := c.SetReadDeadline(time.Now().Add(lendHello)); err != nil {
		return nil, err
	}
	buf, oob := make([]byte, 256), make([]byte, syscall.CmsgSpace(4*4))
	n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, fmt.Errorf("wait for a socket: %w", err)
	}
	fds, err := descriptors(oob[:oobn])
	if err != nil {
		return nil, err
	}
	var first *net.UDPConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "dhcp")
		if i == 0 && string(buf[:n]) == lendMessage {
			if pc, err := net.FilePacketConn(f); err == nil {
				if u, ok := pc.(*net.UDPConn); ok {
					first = u
				} else {
					_ = pc.Close()
				}
			}
		}
		_ = f.Close() // what is served with is a copy
	}
	if first == nil {
		return nil, fmt.Errorf("got %d bytes and %d descriptors, want %s and a UDP socket", n, len(fds), lendMessage)
	}
	return first, c.SetReadDeadline(time.Time{})
}

func descriptors(oob []byte) ([]int, error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("read the descriptor: %w", err)
	}
	var all []int
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			continue // another kind of message
		}
		all = append(all, fds...)
	}
	return all, nil
}
