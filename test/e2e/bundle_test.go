//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// newSigner makes a key pair with plain openssl and returns both files.
func newSigner(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	testenv.RequireTool(t, "openssl")
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	out, err := exec.CommandContext(t.Context(), "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN="+name).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
	return cert, key
}

// example copies a .rex file of examples/signed-base, with its URL and its packages changed to what the test has. as is its
// name here: that of its network, whose subnet follows from the name, and other tests have daemons on this machine too.
func example(t *testing.T, dir, name, as string, change ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../examples/signed-base", name))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i := range lines {
		for c := 0; c < len(change); c += 2 {
			if strings.HasPrefix(lines[i], change[c]) {
				lines[i] = change[c+1]
			}
		}
	}
	path := filepath.Join(dir, as)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTheDesignsTwoFilesRunOnASignedBase goes the whole way: make, sign, serve, trust, apply, ask.
func TestTheDesignsTwoFilesRunOnASignedBase(t *testing.T) {
	t.Parallel()
	h := newHost(t, "-dev")
	h.start(t)
	cert, key := newSigner(t, h.dir, "alice")
	snapshots := filepath.Join(h.dir, "snapshots")
	h.must(t, "base", "create", base, "-t", "small")
	h.must(t, "base", "sign", "small", "--cert", cert, "--key", key, "--out", snapshots, "--name", "debian12")
	h.must(t, "base", "verify", filepath.Join(snapshots, "debian12"), "--cert", cert)
	srv := httptest.NewServer(http.FileServer(http.Dir(snapshots)))
	t.Cleanup(srv.Close)

	work := filepath.Join(h.dir, "work")
	if err := os.CopyFS(filepath.Join(work, "site"), os.DirFS("../../examples/signed-base/site")); err != nil {
		t.Fatal(err)
	}
	url := srv.URL + "/debian12"
	docs := example(t, work, "public-docs.rex", "public-docs.rex", "BASE", "BASE "+url, "PROVISION RUN", "PROVISION RUN mkdir -p /var/www", "CMD", "CMD /bin/httpd -f -p 80 -h /var/www/html")
	renderer := example(t, work, "internal-renderer.rex", "signed-renderer.rex", "BASE", "BASE "+url, "PROVISION RUN", "PROVISION RUN mkdir -p /srv", "CMD", "CMD /bin/httpd -f -p 1234 -h /srv")

	r := h.ctl("apply", docs, "--yes")
	if r.code == 0 || !strings.Contains(r.stderr, "rexctl base trust") {
		t.Fatalf("before the signer is trusted: %s", r)
	}
	if events := h.must(t, "events", "-o", "json"); !strings.Contains(events, `"base_refused"`) {
		t.Errorf("the refusal is no event:\n%s", events)
	}
	h.must(t, "base", "trust", cert)
	h.must(t, "apply", docs, "--yes", "--wait=healthy")
	h.must(t, "apply", renderer, "--yes", "--wait=healthy")

	poll(t, 30*time.Second, "the page is served", func() error {
		if r := h.ctl("exec", "public-docs", "--", "/bin/wget", "-q", "-O", "-", "http://10.98.7.10/"); !strings.Contains(r.stdout, "whose base was signed") {
			return errors.New(r.String())
		}
		return nil
	})
	if a := h.must(t, "dns", "query", "docs.example.com"); !strings.Contains(a, "10.98.7.10") {
		t.Errorf("docs.example.com is %s", a)
	}
	srvRecord := h.must(t, "dns", "query", "_renderer._tcp.signed-renderer.rex.internal", "SRV")
	if !strings.Contains(srvRecord, "1234") {
		t.Errorf("the service is %s", srvRecord)
	}
	h.must(t, "dns", "query", "renderer.signed-renderer.rex.internal")
	poll(t, 30*time.Second, "the service is found by its name", func() error {
		if r := h.ctl("exec", "signed-renderer", "--", "/bin/wget", "-q", "-O", "-", "http://renderer:1234/"); !strings.Contains(r.stdout, "signed") {
			return errors.New(r.String())
		}
		return nil
	})
	wantProvenance(t, h, url)
	if r := h.ctl("plan", docs, "--exit-code"); r.code != 0 {
		t.Errorf("applied, and yet there are changes: %s", r)
	}
}

// wantProvenance: the jail says what it is made of and who stands for it.
func wantProvenance(t *testing.T, h *host, url string) {
	t.Helper()
	var show api.JailShow
	if err := json.Unmarshal([]byte(h.must(t, "jail", "show", "public-docs", "-o", "json")), &show); err != nil {
		t.Fatal(err)
	}
	p := show.Provenance
	if p == nil || p.Origin == nil || p.Origin.SignedBy != "alice" || !p.Origin.Trusted || p.Base != url || p.Origin.Digest != p.BaseDigest || len(p.Steps) != 2 {
		t.Errorf("provenance is %+v", p)
	}
}

// TestAnAlteredBundleIsRefusedAndLeavesNothing: a byte more, a byte other, and an older one.
func TestAnAlteredBundleIsRefusedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t, "-dev")
	h.start(t)
	cert, key := newSigner(t, h.dir, "alice")
	snapshots := filepath.Join(h.dir, "snapshots")
	h.must(t, "base", "create", base, "-t", "small")
	sign := func(version string) {
		h.must(t, "base", "sign", "small", "--cert", cert, "--key", key, "--out", snapshots, "--version", version)
	}
	sign("5")
	h.must(t, "base", "trust", cert)
	payload := filepath.Join(snapshots, "small.tar.zst")
	good, err := os.ReadFile(payload)
	if err != nil {
		t.Fatal(err)
	}
	other := append([]byte(nil), good...)
	other[len(other)/2] ^= 1
	for reason, content := range map[string][]byte{"trailing_data": append(good[:len(good):len(good)], 0), "wrong_hash": other} {
		if err := os.WriteFile(payload, content, 0o644); err != nil {
			t.Fatal(err)
		}
		r := h.ctl("base", "import", filepath.Join(snapshots, "small"), "-t", "copy")
		if r.code != 1 || !strings.Contains(r.stderr, "refused") {
			t.Errorf("%s: %s", reason, r)
		}
		if events := h.must(t, "events", "-o", "json"); !strings.Contains(events, `"why":"`+reason) {
			t.Errorf("no event tells %s:\n%s", reason, events)
		}
		if found, _ := filepath.Glob(filepath.Join(h.data, "bases/quarantine/*"+reason)); len(found) != 1 {
			t.Errorf("%s: in quarantine: %v", reason, found)
		}
	}
	if err := os.WriteFile(payload, good, 0o644); err != nil {
		t.Fatal(err)
	}
	h.must(t, "base", "import", filepath.Join(snapshots, "small"), "-t", "copy")
	sign("4")
	if r := h.ctl("base", "import", filepath.Join(snapshots, "small"), "-t", "copy"); r.code == 0 || !strings.Contains(r.stderr, "--allow-downgrade") {
		t.Errorf("an older version: %s", r)
	}
	h.must(t, "base", "import", filepath.Join(snapshots, "small"), "-t", "copy", "--allow-downgrade")
	if left, _ := filepath.Glob(filepath.Join(h.data, "bases/[pr]*/*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestAKilledDaemonGoesOnWithADownload: kill -9 in the middle, and the same command fetches only the rest.
func TestAKilledDaemonGoesOnWithADownload(t *testing.T) {
	t.Parallel()
	h := newHost(t, "-dev")
	h.start(t)
	cert, key := newSigner(t, h.dir, "alice")
	snapshots := filepath.Join(h.dir, "snapshots")
	h.must(t, "base", "create", base, "-t", "small")
	h.must(t, "base", "sign", "small", "--cert", cert, "--key", key, "--out", snapshots)
	h.must(t, "base", "trust", cert)
	payload, err := os.ReadFile(filepath.Join(snapshots, "small.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	half := len(payload) / 2
	var stalls, resumed atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, ".tar.zst") || r.Header.Get("Range") != "" {
			if r.Header.Get("Range") == fmt.Sprintf("bytes=%d-", half) {
				resumed.Add(1)
			}
			http.FileServer(http.Dir(snapshots)).ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(payload)))
		_, _ = w.Write(payload[:half])
		_ = http.NewResponseController(w).Flush()
		stalls.Add(1)
		select {
		case <-r.Context().Done(): // the daemon was killed
		case <-t.Context().Done(): // the test has failed before that
		}
	}))
	t.Cleanup(srv.Close)

	done := make(chan result, 1)
	go func() { done <- h.ctl("base", "import", srv.URL+"/small", "-t", "far") }()
	part := filepath.Join(h.data, "bases/partial/*")
	poll(t, 60*time.Second, "half of the payload arrives", func() error {
		found, err := filepath.Glob(part)
		if err != nil || len(found) != 1 || stalls.Load() == 0 {
			return fmt.Errorf("%v, %v", found, err)
		}
		info, err := os.Stat(found[0])
		if err != nil || info.Size() != int64(half) {
			return fmt.Errorf("not %d bytes yet: %v", half, err)
		}
		return nil
	})
	h.kill(t)
	if r := <-done; r.code == 0 {
		t.Errorf("the command succeeded without a daemon: %s", r)
	}
	h.start(t)
	h.must(t, "base", "import", srv.URL+"/small", "-t", "far")
	if resumed.Load() != 1 {
		t.Errorf("the rest was asked for %d times, want once", resumed.Load())
	}
	if found, err := filepath.Glob(part); err != nil || len(found) > 0 {
		t.Error(errors.Join(err, fmt.Errorf("left behind: %v", found)))
	}
}
