package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/cluster/transport"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
	"github.com/rexcarcer/rexcarcer/pki"
)

// papers are what a member presents and trusts, as they lay on its disk.
type papers struct {
	chain, key, ca []byte
	id             string
}

func (d *daemon) papers(t *testing.T) papers {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(d.dir, "data", "pki", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	p := papers{read("host.crt"), read("host.key"), read("ca.crt"), ""}
	certs, err := pki.ParseChain(p.chain)
	if err != nil {
		t.Fatal(err)
	}
	id, err := pki.CertID(certs[0])
	if err != nil {
		t.Fatal(err)
	}
	p.id = id.Name
	return p
}

// dialer calls with papers.
func (p papers) dialer() (*transport.Dialer, error) {
	identity, err := pki.NewIdentity(p.chain, p.key)
	if err != nil {
		return nil, err
	}
	roots, err := pki.NewPool(p.ca)
	if err != nil {
		return nil, err
	}
	certs, err := pki.ParseChain(p.ca)
	if err != nil {
		return nil, err
	}
	return transport.NewDialer(transport.Config{Cluster: certs[0].URIs[0].Host, Identity: identity, Roots: roots.Clone, Clock: time.Now}), nil
}

// ask sends one request to the member at d over a new connection.
func (p papers) ask(d *daemon, path string, body []byte) (string, int, error) {
	dialer, err := p.dialer()
	if err != nil {
		return "", 0, err
	}
	trip := dialer.RoundTripper(transport.RPC, func(string) (string, bool) { return d.addr(), true })
	defer trip.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.id+path, bytes.NewReader(body))
	if err != nil {
		return "", 0, err
	}
	res, err := trip.RoundTrip(req)
	if err != nil {
		return "", 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), res.StatusCode, err
}

// know finds out the ids of hosts.
func know(t *testing.T, all ...*daemon) {
	t.Helper()
	hosts, err := all[0].hosts()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		d.id = string(hosts[d.name].ID)
	}
}

// hammer shakes hands until stopped, and counts what fails.
func hammer(d *daemon, papersOf func() papers) (stop func() (tries int, failed []error)) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	tries, failed := 0, []error(nil)
	wg.Go(func() {
		for ctx.Err() == nil {
			tries++
			if _, _, err := papersOf().ask(d, "/rpc/index", nil); err != nil {
				failed = append(failed, err)
			}
			pause(20 * time.Millisecond)
		}
	})
	return func() (int, []error) {
		cancel()
		wg.Wait()
		return tries, failed
	}
}

func cas(d *daemon) (api.CAView, error) { return ask[api.CAView](d, "ca", "show") }

// TestTheCAIsRotatedUnderTraffic: nobody's handshake fails, also not that of a
// host which was off, until the old CA's time is over.
func TestTheCAIsRotatedUnderTraffic(t *testing.T) {
	t.Parallel()
	all := form(t, "ca-one", "ca-two", "ca-three")
	settled(t, all[0], 3, 3)
	know(t, all...)
	old := all[2].papers(t)
	stopOld := hammer(all[0], func() papers { return old })
	stopNow := hammer(all[1], func() papers { return all[0].papers(t) })

	first, err := cas(all[0])
	if err != nil || len(first.CAs) != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	all[1].must(t, "ca", "rotate", "--retire-after", "40s", "--yes")
	all[2].kill() // it has perhaps not got the key
	if r := all[0].ctl("ca", "rotate", "--yes"); r.code == 0 || !strings.Contains(r.stderr, "on its way in") {
		t.Errorf("a second rotation: %s", r)
	}
	all[2].spawn(t)
	var active api.CAView
	poll(t, patience, "the new CA signs", func() error {
		if active, err = cas(all[0]); err != nil || active.CAs[0].ID == first.CAs[0].ID {
			return fmt.Errorf("%+v, %v", active, err)
		}
		return nil
	})
	for _, d := range all {
		poll(t, patience, d.name+" has a certificate of the new CA, and its key", func() error {
			p := d.papers(t)
			pool, err := pki.NewPool([]byte(active.CAs[0].PEM))
			if err != nil {
				return err
			}
			if _, _, err := pki.Verify(p.chain, pool, time.Now()); err != nil {
				return err
			}
			_, err = os.Stat(filepath.Join(d.dir, "data", "pki", "ca-"+active.CAs[0].ID+".key"))
			return err
		})
	}
	if tries, failed := stopOld(); len(failed) > 0 || tries < 10 {
		t.Errorf("a host that was off: %d of %d handshakes failed: %v", len(failed), tries, failed[0])
	}
	if tries, failed := stopNow(); len(failed) > 0 || tries < 10 {
		t.Errorf("a host that follows: %d of %d handshakes failed: %v", len(failed), tries, failed[0])
	}
	settled(t, all[0], 3, 3)
	token := strings.TrimSpace(all[1].must(t, "token", "create", "--role", "host", "-q"))
	if r := prepare(t, "ca-four").join(all[0], token); r.code != 0 {
		t.Errorf("a host joins: %s", r)
	}

	poll(t, patience, "the old CA is not trusted any more", func() error {
		if v, err := cas(all[0]); err != nil || len(v.CAs) != 1 {
			return fmt.Errorf("%+v, %v", v, err)
		}
		if _, _, err := old.ask(all[0], "/rpc/index", nil); err == nil {
			return errors.New("a certificate of the old CA is accepted")
		}
		return nil
	})
	settled(t, all[0], 3, 3)
	poll(t, patience, "the key of the old CA is gone", func() error {
		if _, err := os.Stat(filepath.Join(all[0].dir, "data", "pki", "ca.key")); err == nil {
			return errors.New("it is there")
		}
		return nil
	})
	sameHistory(t, all)
}

// TestAServersCertificateIsRevoked: it makes another key, and what it had is
// worth nothing.
func TestAServersCertificateIsRevoked(t *testing.T) {
	t.Parallel()
	all := form(t, "rv-one", "rv-two")
	settled(t, all[0], 2, 1)
	know(t, all...)
	stolen := all[1].papers(t)
	if _, status, err := stolen.ask(all[0], "/rpc/index", nil); err != nil || status != http.StatusOK {
		t.Fatalf("before: %d, %v", status, err)
	}
	all[0].must(t, "ca", "revoke", "host/rv-two", "--why", "stolen", "--yes")
	poll(t, patience, "what was stolen is refused", func() error {
		if _, _, err := stolen.ask(all[0], "/rpc/index", nil); err == nil {
			return errors.New("it is accepted")
		}
		return nil
	})
	poll(t, patience, "the server has another key, and is heard", func() error {
		p := all[1].papers(t) // between two renames they may not fit
		if bytes.Equal(p.key, stolen.key) {
			return errors.New("it has the old key")
		}
		_, _, err := p.ask(all[0], "/rpc/index", nil)
		return err
	})
	all[1].must(t, "apply", wish(t, 1), "--yes")
	if rows, err := ask[[]api.RevokedRow](all[0], "ca", "revoked"); err != nil || len(rows) != 1 || rows[0].Why != "stolen" {
		t.Errorf("%+v, %v", rows, err)
	}
}

// TestAMemberThatSpeaksForAnotherIsRefusedAndNamed is case 32 of the failures.
func TestAMemberThatSpeaksForAnotherIsRefusedAndNamed(t *testing.T) {
	t.Parallel()
	one, guest := prepare(t, "ab-one"), prepare(t, "ab-two")
	one.start(t)
	if r := guest.join(one, strings.TrimSpace(one.must(t, "token", "create", "--role", "host", "-q"))); r.code != 0 {
		t.Fatal(r)
	}
	guest.start(t)
	settled(t, one, 2, 1)
	know(t, one, guest)
	one.must(t, "apply", wish(t, 2), "--yes", "--wait=healthy")
	p := guest.papers(t)
	for name, e := range map[string]fsm.Entry{
		"a run of another":              {By: "host/" + guest.id, Cmd: fsm.ReportRun{Jail: "web-1", Host: fsm.HostID(one.id), Seq: 1, Phase: fsm.Failed}},
		"as another":                    {By: "host/" + one.id, Cmd: fsm.ReportRun{Jail: "web-1", Host: fsm.HostID(one.id), Seq: 1, Phase: fsm.Failed}},
		"a certificate of another":      {By: "host/" + guest.id, Cmd: fsm.RequestCert{Jail: "web-1", Host: fsm.HostID(one.id), Seq: 1, CSR: []byte("x")}},
		"what only users may":           {By: "user/root", Cmd: fsm.DestroyWish{Name: "demo"}},
		"that it holds a key for other": {By: "host/" + guest.id, Cmd: fsm.HoldCA{ID: strings.Repeat("0", 16), Host: fsm.HostID(one.id)}},
	} {
		e.V, e.ID = fsm.Version, "abuse-"+name
		raw, err := fsm.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if text, status, err := p.ask(one, "/rpc/propose", raw); err != nil || status != http.StatusForbidden {
			t.Errorf("%s: %d %s, %v", name, status, text, err)
		}
	}
	if text, status, err := p.ask(one, "/rpc/ca", nil); err != nil || status != http.StatusForbidden || strings.Contains(text, "KEY") {
		t.Errorf("the CA's key: %d %s, %v", status, text, err)
	}
	poll(t, patience, "it is an event", func() error {
		if got := one.must(t, "events", "--since", "0", "-o", "json"); !strings.Contains(got, "abuse_reported") || !strings.Contains(got, "host ab-two") {
			return errors.New(got)
		}
		return nil
	})
	for name, r := range running(t, one, 2) {
		if r.Phase != "running" {
			t.Errorf("%s is %s", name, r.Phase)
		}
	}
}

// TestASealedCAWaitsForItsPassphrase: what does not need the key goes on.
func TestASealedCAWaitsForItsPassphrase(t *testing.T) {
	t.Parallel()
	one := prepare(t, "se-one")
	one.start(t)
	secret := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(secret, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(one.dir, "data", "pki", "ca.key")
	one.must(t, "ca", "seal", "--passphrase-file", secret)
	if b, err := os.ReadFile(key); err != nil || !pki.IsSealed(b) {
		t.Fatalf("ca.key is not sealed: %v", err)
	}
	one.kill()
	one.start(t)
	if v, err := cas(one); err != nil || !v.Locked || !v.Sealed {
		t.Errorf("after a restart: %+v, %v", v, err)
	}
	if r := one.ctl("status"); r.code != 0 || !strings.Contains(r.stdout, "locked") {
		t.Errorf("status: %s", r)
	}
	one.must(t, "apply", wish(t, 2), "--yes", "--wait=healthy") // jails without certificates go on
	token := strings.TrimSpace(one.must(t, "token", "create", "--role", "server", "-q"))
	guest := prepare(t, "se-two")
	if r := guest.join(one, token); r.code == 0 || !strings.Contains(r.stderr, "ca unlock") {
		t.Errorf("a join at a server that is locked: %s", r)
	}
	if r := one.ctl("ca", "rotate", "--yes"); r.code == 0 || !strings.Contains(r.stderr, "ca unlock") {
		t.Errorf("a rotation at a server that is locked: %s", r)
	}
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("wrong horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := one.ctl("ca", "unlock", "--passphrase-file", wrong); r.code == 0 || !strings.Contains(r.stderr, "passphrase is not") {
		t.Errorf("unlocked with another passphrase: %s", r)
	}
	one.must(t, "ca", "unlock", "--passphrase-file", secret)
	if r := guest.join(one, token, "-ca-passphrase-file", secret); r.code != 0 {
		t.Fatal(r)
	}
	names, err := filepath.Glob(filepath.Join(guest.dir, "data", "pki", "ca*.key"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	if b, err := os.ReadFile(names[0]); err != nil || !pki.IsSealed(b) {
		t.Errorf("the second server keeps the key in the clear: %v", err)
	}
	one.kill()
	one.flags = append(one.flags, "-ca-passphrase-file", secret)
	one.start(t)
	if v, err := cas(one); err != nil || v.Locked || !v.Sealed {
		t.Errorf("started with the passphrase: %+v, %v", v, err)
	}
}

// TestTheCAIsPutUnderTheOperatorsOwn: csr out, plain openssl, chain in.
func TestTheCAIsPutUnderTheOperatorsOwn(t *testing.T) {
	t.Parallel()
	openssl := testenv.RequireTool(t, "openssl")
	one := prepare(t, "im-one")
	one.start(t)
	dir := t.TempDir()
	sign := func() {
		t.Helper()
		for _, line := range []string{
			"req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.crt -days 30 -subj /O=Operator/CN=Root -addext basicConstraints=critical,CA:true",
			"x509 -req -in ca.csr -CA root.crt -CAkey root.key -CAcreateserial -days 10 -copy_extensions copy -out ca.crt",
		} {
			cmd := exec.Command(openssl, strings.Fields(line)...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("openssl %s: %s", line, out)
			}
		}
	}
	csr := func(args ...string) {
		t.Helper()
		text := one.must(t, append([]string{"ca", "csr"}, args...)...)
		if err := os.WriteFile(filepath.Join(dir, "ca.csr"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verified := func() error {
		chain := filepath.Join(one.dir, "data", "pki", "host.crt")
		if out, err := exec.Command(openssl, "verify", "-CAfile", filepath.Join(dir, "root.crt"), "-untrusted", chain, chain).CombinedOutput(); err != nil {
			return fmt.Errorf("openssl verify: %s", out)
		}
		return nil
	}
	csr()
	sign()
	if r := one.ctl("ca", "import", filepath.Join(dir, "root.crt")); r.code == 0 || !strings.Contains(r.stderr, "another key") {
		t.Errorf("the wrong certificate: %s", r)
	}
	one.must(t, "ca", "import", filepath.Join(dir, "ca.crt"))
	poll(t, patience, "the host's chain leads to the operator's root", verified)
	if v, err := cas(one); err != nil || !strings.Contains(v.CAs[0].Under, "Root") {
		t.Errorf("%+v, %v", v, err)
	}
	one.kill()
	one.start(t)
	poll(t, patience, "also after a restart", verified)

	// The next CA comes under it before it signs.
	one.must(t, "ca", "rotate", "--hold", "--retire-after", "1s", "--yes")
	csr()
	sign()
	one.must(t, "ca", "import", filepath.Join(dir, "ca.crt"))
	poll(t, patience, "the next CA signs", func() error {
		if v, err := cas(one); err != nil || len(v.CAs) != 1 || v.CAs[0].State != "active" || v.CAs[0].ActiveAt == nil {
			return fmt.Errorf("%+v, %v", v, err)
		}
		return verified()
	})
}
