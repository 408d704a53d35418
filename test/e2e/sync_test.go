//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// member prepares a daemon that others can join, or that joins.
func member(t *testing.T, name string) (h *host, addr string) {
	t.Helper()
	port, err := testenv.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := testenv.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	h = newHost(t, "-name", name, "-cluster-bind", "127.0.0.1", "-advertise", "127.0.0.1", "-cluster-port", strconv.Itoa(port), "-gossip-port", "0",
		"-overlay-port", strconv.Itoa(overlay))
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
	data := make([]byte, 16<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	file := filepath.Base(a.write(t, "data.bin", string(data)))
	rex := a.write(t, "big.rex", "BASE "+base+"\nRUN head -c 9000000 /dev/urandom >/big && sha256sum /big >/sum\nRUN rm /bin/vi && mkdir /opt\nCOPY "+file+" /data.bin\n")
	wish := `
cluster "sync" {}

image "big" {
  rexfile = "` + filepath.Base(rex) + `"
}

jail "web" {
  image   = "big"
  network = "none"
  command = ["/bin/sh", "-c", "sha256sum -c /sum && test ! -e /bin/vi && echo whole; trap 'exit 0' TERM; sleep 1000 & wait"]
  placement {
    constraint = "host == other"
  }
}
`
	a.apply(t, wish)
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
	whole, from := fetched(t, a, 1)
	if whole < int64(len(data))+9_000_000 || !strings.HasSuffix(from, " from builder") {
		t.Errorf("history tells of %d bytes%s", whole, from)
	}

	// Another version of which one byte in a hundred is new.
	_, _ = rand.NewChaCha8([32]byte{2}).Read(data[5<<20:][:len(data)/100])
	a.write(t, "data.bin", string(data))
	a.apply(t, wish)
	second, _ := fetched(t, a, 2)
	if share := float64(second) / float64(len(data)); share >= 0.05 {
		t.Errorf("1%% changed: %d bytes came, %.1f%%, want under 5%%", second, 100*share)
	}
	log, err := os.ReadFile(b.logName())
	if err != nil || !strings.Contains(string(log), "image fetched from other hosts") {
		t.Errorf("the other host did not fetch it: %v", err)
	}
	a.destroy(t, "sync")
}

// fetched waits until history tells of the n-th fetch of an image, and returns
// how many bytes it says and the rest of its reason.
func fetched(t *testing.T, h *host, n int) (bytes int64, rest string) {
	t.Helper()
	poll(t, time.Minute, "history tells of a fetch", func() error {
		begun, done := 0, 0
		for line := range strings.Lines(h.must(t, "events", "-o", "json")) {
			var e api.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				return err
			}
			switch e.Kind {
			case "fetch_begun":
				begun++
			case "fetch_done":
				if done++; done > n {
					continue
				}
				_, why, _ := strings.Cut(e.Why, ": ")
				if _, err := fmt.Sscanf(why, "%d bytes in", &bytes); err != nil {
					return fmt.Errorf("%q: %w", e.Why, err)
				}
				_, rest, _ = strings.Cut(why, "bytes in ")
			}
		}
		if begun < n || done < n {
			return fmt.Errorf("%d begun, %d done", begun, done)
		}
		return nil
	})
	return bytes, rest
}
