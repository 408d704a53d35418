package uplink

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func ack(t *testing.T, addr string, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithYourIP(net.ParseIP(addr))}, mods...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestALeaseIsReadFromAnACK(t *testing.T) {
	t.Parallel()
	mask, gw := dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithRouter(net.IPv4(203, 0, 113, 1))
	l, err := leaseOf(ack(t, "203.0.113.9", mask, gw, dhcpv4.WithLeaseTime(600)))
	if err != nil || l.Addr.String() != "203.0.113.9/24" || l.Gateway.String() != "203.0.113.1" || l.Life != 10*time.Minute || l.Renew != 5*time.Minute {
		t.Errorf("%+v, %v", l, err)
	}
	all := &dhcpv4.Route{Dest: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Router: net.IPv4(203, 0, 113, 2)}
	if l, err := leaseOf(ack(t, "203.0.113.9", mask, gw, dhcpv4.WithLeaseTime(600), dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(all)))); err != nil || l.Gateway.String() != "203.0.113.2" {
		t.Errorf("option 121 goes before option 3: %+v, %v", l, err)
	}
	if l, err := leaseOf(ack(t, "203.0.113.9", mask, dhcpv4.WithLeaseTime(0xffffffff))); err != nil || l.Life != mostLife || l.Gateway.IsValid() {
		t.Errorf("for ever: %+v, %v", l, err)
	}
}

func TestALeaseThatCannotBeUsedIsRefused(t *testing.T) {
	t.Parallel()
	mask, life := dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(600)
	for want, m := range map[string]*dhcpv4.DHCPv4{
		"gave the address 0.0.0.0":   ack(t, "0.0.0.0", mask, life),
		"gave the address 224.0.0.9": ack(t, "224.0.0.9", mask, life),
		"gave the address 127.0.0.1": ack(t, "127.0.0.1", mask, life),
		"the mask":                   ack(t, "203.0.113.9", life),
		"how long the lease lasts":   ack(t, "203.0.113.9", mask),
		"for 1s only":                ack(t, "203.0.113.9", mask, dhcpv4.WithLeaseTime(1)),
	} {
		if l, err := leaseOf(m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", l, err, want)
		}
	}
	l := Lease{Addr: netip.MustParsePrefix("10.1.2.9/24")}
	if err := l.clash([]netip.Prefix{netip.MustParsePrefix("169.254.192.0/31"), netip.MustParsePrefix("10.1.0.0/16")}); err == nil {
		t.Error("a lease inside the network's own subnet is taken")
	}
}
