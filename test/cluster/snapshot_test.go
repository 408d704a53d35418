package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

// TestASavedStateIsRestored: into its own cluster, into a fresh one that has
// its CA, and into another one only on purpose.
func TestASavedStateIsRestored(t *testing.T) {
	t.Parallel()
	all := form(t, "sn-one", "sn-two", "sn-three")
	settled(t, all[0], 3, 3)
	all[1].must(t, "apply", wish(t, 4), "--yes", "--wait=healthy")
	before := running(t, all[0], 4)
	file := filepath.Join(t.TempDir(), "cluster.snap")
	all[2].must(t, "snapshot", "save", file)
	info, err := ask[api.SnapshotInfo](all[0], "snapshot", "inspect", file)
	if err != nil || info.Jails != 4 || info.Hosts != 3 {
		t.Fatalf("%+v, %v", info, err)
	}
	damaged(t, all[0], file)

	all[0].must(t, "apply", wish(t, 2), "--yes")
	running(t, all[0], 2)
	done, err := ask[api.Restored](all[1], "snapshot", "restore", file, "--yes")
	if err != nil || done.Content != info.Content {
		t.Fatalf("%+v, %v; want the content %s", done, err, info.Content)
	}
	for name, r := range running(t, all[2], 4) {
		if fmt.Sprint(r.Addresses) != fmt.Sprint(before[name].Addresses) || r.UUID != before[name].UUID {
			t.Errorf("%s was %v, and is %v", name, before[name], r)
		}
	}
	settled(t, all[0], 3, 3)
	sameHistory(t, all)

	fresh := prepare(t, "sn-fresh")
	pki := filepath.Join(fresh.dir, "data", "pki")
	if err := os.MkdirAll(pki, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca.key", "ca.crt"} { // from a backup
		b, err := os.ReadFile(filepath.Join(all[0].dir, "data", "pki", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(pki, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	fresh.start(t)
	if done, err = ask[api.Restored](fresh, "snapshot", "restore", file, "--yes"); err != nil || done.Content != info.Content {
		t.Errorf("into a fresh cluster: %+v, %v", done, err)
	}

	other := prepare(t, "sn-other")
	other.start(t)
	if r := other.ctl("snapshot", "restore", file, "--yes"); r.code == 0 || !strings.Contains(r.stderr, "--foreign") {
		t.Errorf("into another cluster: %s", r)
	}
	if s, err := ask[api.Status](other, "status"); err != nil || s.Jails.Total != 0 {
		t.Errorf("a refused restore: %+v, %v", s, err)
	}
	other.must(t, "snapshot", "restore", file, "--foreign", "--yes")
	if s, err := ask[api.Status](other, "status"); err != nil || s.Jails.Total != 4 || s.ClusterID == info.Cluster {
		t.Errorf("a restore on purpose: %+v, %v", s, err)
	}
}

// damaged: a file that is cut or changed is refused, and touches nothing.
func damaged(t *testing.T, d *daemon, file string) {
	t.Helper()
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bent := bytes.Clone(whole)
	bent[len(bent)/2] ^= 4
	bad := filepath.Join(t.TempDir(), "bad.snap")
	before, err := ask[api.Status](d, "status")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"cut": whole[:len(whole)-7], "changed": bent, "empty": nil, "longer": append(bytes.Clone(whole), 'x')} {
		if err := os.WriteFile(bad, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if r := d.ctl("snapshot", "restore", bad, "--yes"); r.code == 0 || !strings.Contains(r.stderr, "nothing was changed") {
			t.Errorf("%s: %s", name, r)
		}
		if r := d.ctl("snapshot", "inspect", bad); r.code == 0 {
			t.Errorf("%s: inspected: %s", name, r)
		}
	}
	if after, err := ask[api.Status](d, "status"); err != nil || after.PlanIndex != before.PlanIndex {
		t.Errorf("a damaged file moved the plan from %d to %d (%v)", before.PlanIndex, after.PlanIndex, err)
	}
}

// TestGossipGetsAnotherKeyAndNobodyIsLost rotates it while all goes on.
func TestGossipGetsAnotherKeyAndNobodyIsLost(t *testing.T) {
	t.Parallel()
	all := form(t, "go-one", "go-two")
	settled(t, all[0], 2, 1)
	for i, d := range all {
		d.must(t, "gossip", "rotate", "--yes")
		poll(t, patience, "the new key is in use everywhere", func() error {
			for _, d := range all {
				if got := strings.Count(d.log(), `"in use"=true`); got <= i {
					return fmt.Errorf("%s: %d of %d", d.name, got, i+1)
				}
			}
			return nil
		})
	}
	settled(t, all[0], 2, 1)
	if got := all[0].must(t, "events", "--since", "0", "-o", "json"); strings.Contains(got, "host_marked") || strings.Count(got, "gossip_rotated") < 3 {
		t.Errorf("events: %s", got)
	}
}

// read asks the local API without rexctl, for the headers.
func (d *daemon) read(path string) (http.Header, int, error) {
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var n net.Dialer
		return n.DialContext(ctx, "unix", filepath.Join(d.dir, "run", "rexcarcer.sock"))
	}}}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://local"+path, nil)
	if err != nil {
		return nil, 0, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	return res.Header, res.StatusCode, res.Body.Close()
}

// told checks what a host without a leader says of its answers.
func told(d *daemon) error {
	if _, status, err := d.read("/v1/jails?consistent"); err != nil || status != http.StatusServiceUnavailable {
		return fmt.Errorf("a consistent read: %d, %w", status, errors.Join(err))
	}
	for _, path := range []string{"/v1/jails", "/v1/jails?stale"} {
		h, status, err := d.read(path)
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("%s: %d, %w", path, status, errors.Join(err))
		}
		if age, err := time.ParseDuration(h.Get("Rex-Last-Contact")); err != nil || age < 5*time.Second || h.Get("Rex-Index") == "" || h.Get("Rex-Host") != d.name {
			return fmt.Errorf("%s: %v", path, h)
		}
	}
	if r := d.ctl("ps"); r.code != 0 || !strings.Contains(r.stderr, "answered by "+d.name+" without a leader since") {
		return fmt.Errorf("rexctl does not say how old it is: %s", r)
	}
	return nil
}
