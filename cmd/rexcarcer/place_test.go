package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A host with a base system of its own may lack /var/tmp.
func TestTemporaryDataGoesWhereThereIsAPlace(t *testing.T) {
	t.Parallel()
	there := t.TempDir()
	dir, err := tempDir([]string{filepath.Join(there, "none"), there}, "rexcarcer-x-")
	if err != nil || filepath.Dir(dir) != there {
		t.Errorf("got %q, %v", dir, err)
	}
	if _, err := tempDir([]string{filepath.Join(there, "none")}, "x"); err == nil || !strings.Contains(err.Error(), "-data-dir") {
		t.Errorf("no place at all: %v", err)
	}
	file := filepath.Join(there, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tempDir([]string{file, there}, "x"); err == nil {
		t.Error("a place that is broken was passed over in silence")
	}
}

func TestHostWithoutAHostnameHasAName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "host", " ": "host", "Web-1.Example.com": "web-1", "box": "box", ".x": "host"} {
		if got := ownName(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// On a host without an outside network the only addresses beside loopback are
// those that networks of ours have made: jails reach none of them.
func TestSelftestDialsNoAddressThatJailsCannotReach(t *testing.T) {
	t.Parallel()
	addrs := func(list ...string) (out []net.Addr) {
		for _, a := range list {
			ip, n, err := net.ParseCIDR(a)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, &net.IPNet{IP: ip, Mask: n.Mask})
		}
		return out
	}
	subnet := netip.MustParsePrefix("10.213.77.0/24")
	ours := []string{"127.0.0.1/8", "::1/128", "fe80::1/64", "10.213.77.2/24", "198.19.194.172/31", "169.254.192.0/31"}
	if got := outsideOf(addrs(ours...), subnet); got.IsValid() {
		t.Errorf("got %v", got)
	}
	if got := outsideOf(addrs(append(ours, "192.0.2.7/24")...), subnet); got != netip.MustParseAddr("192.0.2.7") {
		t.Errorf("got %v", got)
	}
}

func TestProgramThatNeedsLibrariesIsNoBase(t *testing.T) {
	t.Parallel()
	if err := static("/bin/sh"); err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("a shell of Debian: %v", err)
	}
	if err := static("place_test.go"); err == nil {
		t.Error("a text is a program")
	}
}
