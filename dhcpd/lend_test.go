package dhcpd

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// TestRouterLendsItsSocket: a daemon serves with it, and so does the next one
// when the first is gone.
func TestRouterLendsItsSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "n.dhcp")
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client, err := net.DialUDP("udp4", nil, conn.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	router, stopRouter := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = Lend(router, path, conn, logger) })
	defer wg.Wait()
	defer stopRouter()
	for range 2 {
		s := newTestServer(t, newMemoryLog(newLab(t, wideNetwork)))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- Borrow(ctx, path, s.Run, logger) }()
		await(t, "a packet is read", func() bool {
			_, _ = client.Write(newPacket(dhcpv4.MessageTypeDiscover, 1).ToBytes()) // refused until somebody reads
			return count(t, s, "packets", "DISCOVER") > 0
		})
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestStrangersLendNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "n.dhcp")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Borrow(ctx, path, func(context.Context, *net.UDPConn) error {
			t.Error("a socket was taken from a stranger")
			return nil
		}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	}()
	await(t, "somebody listens", func() bool { _, err := os.Stat(path); return err == nil })
	for _, message := range []string{"", "{}", lendMessage} {
		await(t, "it is accepted", func() bool {
			c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
			if err != nil {
				return false
			}
			defer c.Close()
			_, _ = c.Write([]byte(message))
			_, err = c.Read(make([]byte, 1))
			return err != nil
		})
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has the mode %v (%v)", info.Mode(), err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
