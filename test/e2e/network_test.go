//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

// TestARouterMayNothing: who takes a router over by a packet is root of
// nothing.
func TestARouterMayNothing(t *testing.T) {
	t.Parallel()
	h := sharedHost(t)
	h.must(t, "network", "create", "bare", "--subnet", "10.171.70.0/24")
	t.Cleanup(func() { h.must(t, "network", "rm", "bare", "--yes") })
	id := decode[api.NetworkRow](t, h, "network", "show", "bare").ID
	var status string
	poll(t, 30*time.Second, "the router is confined", func() error {
		pid := h.pidOf("rex-router-" + id)
		if pid == 0 {
			return errors.New("it has no process")
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return err
		}
		// The second filter is its own, which it sets when it has started.
		if status = string(b); !strings.Contains(status, "\nSeccomp_filters:\t2\n") {
			return errors.New(status)
		}
		return nil
	})
	for _, want := range []string{"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, "\n"+want+"\n") {
			t.Errorf("want %s in\n%s", want, status)
		}
	}
	poll(t, 30*time.Second, "it serves all the same", func() error {
		if r := h.ctl("network", "ls", "bare"); r.code != 0 || !strings.Contains(r.stdout, "bare-router") || strings.Contains(r.stdout, "down") {
			return errors.New(r.String())
		}
		return nil
	})
}

// TestAJailHasAnInterfaceInEachOfItsNetworks, and each has its own address,
// name and way; the first has the default route.
func TestAJailHasAnInterfaceInEachOfItsNetworks(t *testing.T) {
	t.Parallel()
	h := sharedHost(t)
	h.apply(t, file("nic-a", "10.171.71.0/24", `
network "nic-b" { subnet = "10.171.72.0/24" }
jail "two" {
  image = "box-nic-a"
  stop_timeout = "1s"
  command = ["/bin/sh", "-c", "`+strings.ReplaceAll(forever, `"`, `\"`)+`"]
  nic {
    network = "nic-a"
  }
  nic {
    network = "nic-b"
    address = "10.171.72.50"
  }
}
`, box("on-a", "nic-a", web), strings.ReplaceAll(box("on-b", "nic-b", web), "box-nic-b", "box-nic-a")))
	r := h.must(t, "exec", "two", "--", "ip", "-o", "-4", "address")
	if !strings.Contains(r, "eth0    inet 10.171.71.") || !strings.Contains(r, "eth1    inet 10.171.72.50/24") {
		t.Errorf("addresses: %s", r)
	}
	if r := h.must(t, "exec", "two", "--", "ip", "route"); !strings.Contains(r, "default via 10.171.71.1 dev eth0") || strings.Count(r, "default") != 1 {
		t.Errorf("routes: %s", r)
	}
	rows := h.ps(t)
	for _, name := range []string{"on-a", "on-b"} { // each over its own interface: no route leads from one network to the other
		poll(t, 20*time.Second, "two reaches "+name, func() error {
			if r := h.ctl("exec", "two", "--", "timeout", "3", "wget", "-qO-", "http://"+rows[name].Addresses[0]+"/"); r.code != 0 || strings.TrimSpace(r.stdout) != name {
				return errors.New(r.String())
			}
			return nil
		})
	}
	if r := h.ctl("exec", "two", "--", "nslookup", "-type=a", "on-b.nic-b.rex.internal", "10.171.72.1"); r.code != 0 {
		t.Errorf("the other network's router knows its names: %s", r)
	}
	for name, from := range map[string]string{"two.nic-a.rex.internal": "on-a", "two.nic-b.rex.internal": "on-b"} {
		if r := h.must(t, "exec", from, "--", "nslookup", "-type=a", name); !strings.Contains(r, "Name:\t"+name) {
			t.Errorf("%s asks for %s: %s", from, name, r)
		}
	}
	if r := h.ctl("network", "explain", "two"); r.code != 0 || strings.Count(r.stdout, "interface   eth") != 2 {
		t.Errorf("explain: %s", r)
	}
	// It is in both, and joins them not.
	if r := h.ctl("exec", "on-a", "--", "timeout", "3", "wget", "-qO-", "http://"+rows["on-b"].Addresses[0]+"/"); r.code == 0 {
		t.Errorf("nic-a reaches nic-b: %s", r)
	}
}
