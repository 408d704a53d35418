//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

// member prepares a daemon that others can join, or that joins.
func member(t *testing.T, name string) (h *host, addr string) {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	h = newHost(t, "-name", name, "-cluster-bind", "127.0.0.1", "-advertise", "127.0.0.1", "-cluster-port", strconv.Itoa(port), "-gossip-port", "0")
	return h, fmt.Sprint("127.0.0.1:", port)
}

// TestAnImageComesFromTheHostThatBuiltIt: two real daemons; what one has built
// starts on the other, which says so in the log of the cluster.
func TestAnImageComesFromTheHostThatBuiltIt(t *testing.T) {
	t.Parallel()
	a, addr := member(t, "builder")
	a.start(t)
	token := strings.TrimSpace(a.must(t, "token", "create", "--role", "host", "-q"))
	b, _ := member(t, "other")
	join := append([]string{rexcarcer, "join", addr, "-token", token}, b.flags...)
	if r := command(t.Context(), "", nil, join...); r.code != 0 {
		t.Fatal(r)
	}
	b.start(t)
	poll(t, time.Minute, "the other host is alive", func() error {
		for _, h := range decode[[]api.HostRow](t, a, "host", "ls") {
			if h.Name == "other" && h.State == "alive" {
				return nil
			}
		}
		return fmt.Errorf("it is not")
	})
	rex := a.write(t, "big.rex", "BASE "+base+"\nRUN head -c 9000000 /dev/urandom >/big && sha256sum /big >/sum\nRUN rm /bin/vi && mkdir /opt\n")
	a.apply(t, `
cluster "sync" {}

image "big" {
  rexfile = "`+filepath.Base(rex)+`"
}

jail "web" {
  image   = "big"
  network = "none"
  command = ["/bin/sh", "-c", "sha256sum -c /sum && test ! -e /bin/vi && echo whole; trap 'exit 0' TERM; sleep 1000 & wait"]
  placement {
    constraint = "host == other"
  }
}
`)
	poll(t, time.Minute, "the jail sees the whole image", func() error {
		if out := b.ctl("logs", "web"); !strings.Contains(out.stdout, "whole") {
			return fmt.Errorf("logs: %s", out)
		}
		return nil
	})
	var images []api.ImageRow
	poll(t, time.Minute, "the cluster knows that two hosts have it", func() error {
		images = decode[[]api.ImageRow](t, a, "image", "ls")
		if len(images) != 1 || len(images[0].Hosts) != 2 {
			return fmt.Errorf("images: %+v", images)
		}
		return nil
	})
	log, err := os.ReadFile(b.logName())
	if err != nil || !strings.Contains(string(log), "image fetched from other hosts") {
		t.Errorf("the other host did not fetch it: %v", err)
	}
	a.destroy(t, "sync")
}
