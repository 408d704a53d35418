package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// floodOurs lets strangers loose on ours, says what it cost, and fails when
// memory or goroutines grew beyond what is allowed, or others are not served.
func floodOurs(ctx context.Context, strangers int) (err error) {
	w, err := newWire(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	x, err := w.start(ctx, ours, "-fill", fmt.Sprint(strangers)) // what they will have is there before: the rest must be flat
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.stop()) }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	before, err := x.sample()
	if err != nil {
		return err
	}
	begun := time.Now()
	out, err := exec.CommandContext(ctx, "ip", "netns", "exec", w.client, self, "-attack", fmt.Sprint(strangers)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("attack: %w: %s", err, out)
	}
	took := time.Since(begun)
	l := loss{percent: 100}
	for range 5 { // what is still in the socket's buffer is answered first
		if l, err = w.perf(ctx, 100, 4); err == nil && l.percent < 1 {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("after the attack: %w", err)
	}
	after, err := x.sample()
	if err != nil {
		return err
	}
	fmt.Printf("%d strangers, %s\nbefore  %s\nafter   %s\nothers  %.0f exchanges/s, %.2f%% lost\n", strangers, took.Round(time.Second), before, after, l.rate, l.percent)
	switch {
	case l.percent >= 1:
		return fmt.Errorf("%.2f%% of others' exchanges are lost", l.percent)
	case after.goroutines > before.goroutines+10:
		return fmt.Errorf("%d goroutines, %d before", after.goroutines, before.goroutines)
	case after.heap > before.heap*2+64:
		return fmt.Errorf("%.0f MiB of heap, %.0f before", after.heap, before.heap)
	}
	return nil
}

// sample is what a server last said of itself, see tellSamples.
type sample struct {
	goroutines int
	heap       float64 // MiB, after a collection
	leases     int
}

func (s sample) String() string {
	return fmt.Sprintf("%d goroutines, %.0f MiB of heap, %d leases", s.goroutines, s.heap, s.leases)
}

const sampleEach = 2 * time.Second

// sample waits for one that began after now.
func (x *started) sample() (s sample, err error) {
	time.Sleep(2*sampleEach + time.Second)
	text, err := os.ReadFile(x.log)
	if err != nil {
		return s, err
	}
	last := text[strings.LastIndex(string(text), "sample ")+1:]
	_, err = fmt.Sscanf(string(last), "ample %d %f %d", &s.goroutines, &s.heap, &s.leases)
	return s, err
}

// attackOurs is strangers machines, each with a DISCOVER, a REQUEST, a DECLINE,
// nonsense and half a packet, as fast as they go out.
func attackOurs(strangers int) error {
	conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(clientIP), Port: 68}, &net.UDPAddr{IP: net.ParseIP(serverIP), Port: 67})
	if err != nil {
		return err
	}
	defer conn.Close()
	for i := range strangers {
		p, err := dhcpv4.New(dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover), dhcpv4.WithHwAddr(net.HardwareAddr{0x52, 0x54, 0xff, byte(i >> 16), byte(i >> 8), byte(i)}))
		if err != nil {
			return err
		}
		packets := [][]byte{p.ToBytes()}
		p.UpdateOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, byte(40+i>>16), byte(i>>8), byte(i))))
		for _, typ := range []dhcpv4.MessageType{dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeDecline} {
			p.UpdateOption(dhcpv4.OptMessageType(typ))
			packets = append(packets, p.ToBytes())
		}
		raw := p.ToBytes()
		broken := append([]byte(nil), raw...)
		broken[i%len(broken)] ^= 0xff
		packets = append(packets, broken, raw[:i%len(raw)])
		for _, b := range packets {
			_, _ = conn.Write(b) // refused while nobody listens
		}
		if i%64 == 63 { // as fast as a link of 100 Mbit/s
			time.Sleep(2 * time.Millisecond)
		}
	}
	return nil
}
