//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// demo is the machine as scripts/demo leaves it.
type demo struct {
	*host
	env  []string
	port string // published for PostgreSQL
}

func TestDemo(t *testing.T) {
	t.Parallel()
	real(t)
	for _, tool := range []string{"debootstrap", "psql", "jq", "openssl"} {
		testenv.RequireTool(t, tool)
	}
	_, err := os.Stat("../../bin/rexcarcer")
	testenv.Require(t, err == nil, "scripts/demo runs what make build has made: there is no bin/rexcarcer")
	h, err := makeHost("demo")
	if err != nil {
		t.Fatal(err)
	}
	d := &demo{host: h, port: "15432"}
	d.env = []string{"DEMO_DIR=" + h.dir, "DEMO_RUN_DIR=" + h.run, fmt.Sprintf("DEMO_FLAGS=-api-port %d -metrics-port %d -dns-port 0", h.api, h.metrics)}
	d.moveAside(t)
	before := forwarding(t)
	t.Cleanup(func() {
		if t.Failed() {
			command(context.Background(), "", d.env, "../../scripts/demo", "down") // the test's own context has ended
			t.Logf("end of the daemon's log:\n%s", tail(h.logName(), 60))
		}
	})
	up := d.script(t, "up")
	if up.code != 0 {
		t.Fatalf("scripts/demo up: %s", up)
	}
	d.checkOutput(t, up.stdout)
	t.Run("Names", d.names)
	t.Run("PublishedPort", d.published)
	t.Run("Certificate", d.certificate)
	t.Run("Order", d.ordered)
	d.down(t)
	checkForwarding(t, before)
}

// moveAside gives the example another subnet and port where somebody's demo
// already runs on this machine.
func (d *demo) moveAside(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:15432")
	if err == nil {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	routes, rerr := exec.Command("ip", "-4", "route").Output()
	if rerr != nil {
		t.Fatal(rerr)
	}
	if err == nil && !strings.Contains(string(routes), "10.66.0.") {
		return
	}
	dir := filepath.Join(d.dir, "example")
	if err := os.CopyFS(dir, os.DirFS("../../examples/elixir-cluster")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "cluster.hcl")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d.port = "15433"
	text := strings.ReplaceAll(strings.ReplaceAll(string(b), "10.66.0.0/24", "10.176.0.0/24"), "15432", d.port)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	d.env = append(d.env, "DEMO_FILE="+path)
	t.Log("another demo runs on this machine: this one has subnet 10.176.0.0/24 and port", d.port)
}

// script runs scripts/demo, whose build needs minutes.
func (d *demo) script(t *testing.T, verb string) result {
	t.Helper()
	out, err := os.Create(filepath.Join(d.dir, verb+".out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.CommandContext(t.Context(), "../../scripts/demo", verb)
	cmd.Env = append(os.Environ(), d.env...)
	cmd.Stdout = out
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(8 * time.Minute):
		t.Fatalf("scripts/demo %s does not end:\n%s", verb, tail(out.Name(), 40))
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return result{code: cmd.ProcessState.ExitCode(), stdout: string(text)}
}

// checkOutput wants to read what the script has observed inside the jails.
func (d *demo) checkOutput(t *testing.T, text string) {
	t.Helper()
	for i := 1; i <= 5; i++ {
		m := regexp.MustCompile(fmt.Sprintf(`(?m)^  elixir-cluster-%d  10\.\d+\.0\.\d+  sees: (.*)$`, i)).FindStringSubmatch(text)
		if m == nil {
			t.Errorf("nothing said about what elixir-cluster-%d sees", i)
			continue
		}
		var others []string
		for n := 1; n <= 5; n++ {
			if n != i {
				others = append(others, fmt.Sprintf("app@elixir-cluster-%d.elixir.rex.internal", n))
			}
		}
		if m[1] != strings.Join(others, " ") {
			t.Errorf("elixir-cluster-%d sees %q, want the four others", i, m[1])
		}
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^  app@elixir-cluster-%d\.elixir\.rex\.internal  starts: 1$`, i)).MatchString(text) {
			t.Errorf("no row of elixir-cluster-%d", i)
		}
	}
	if !strings.Contains(text, "second apply: No changes") {
		t.Error("the second apply does not say that nothing changes")
	}
	if t.Failed() {
		t.Logf("scripts/demo up printed:\n%s", text)
	}
}

func (d *demo) names(t *testing.T) {
	addr := d.ps(t)["elixir-cluster-3"].Addresses[0]
	if got := d.must(t, "dns", "query", "elixir-cluster-3.elixir.rex.internal", "-o", "name"); strings.TrimSpace(got) != addr {
		t.Errorf("dns query answers %q, ps says %s", got, addr)
	}
	for _, name := range []string{"elixir-cluster-3", "elixir-cluster-3.elixir", "elixir-cluster-3.elixir.rex.internal"} {
		if got := d.must(t, "exec", "elixir-cluster-5", "--", "getent", "ahostsv4", name); !strings.HasPrefix(got, addr+" ") {
			t.Errorf("inside a jail %s is %q, want %s", name, got, addr)
		}
	}
	if got := d.must(t, "exec", "elixir-cluster-1", "--", "getent", "hosts", addr); !strings.Contains(got, "elixir-cluster-3.elixir.rex.internal") {
		t.Errorf("%s backwards is %q", addr, got)
	}
}

func (d *demo) published(t *testing.T) {
	r := command(t.Context(), "", []string{"PGPASSWORD=not-a-secret", "PGCONNECT_TIMEOUT=10"}, "psql", "-h", "127.0.0.1", "-p", d.port, "-U", "postgres",
		"-At", "-c", "select count(*) from nodes")
	if r.code != 0 || strings.TrimSpace(r.stdout) != "5" {
		t.Errorf("psql through the published port: %s", r)
	}
}

func (d *demo) certificate(t *testing.T) {
	read := func(file string) string {
		return d.write(t, file, d.must(t, "exec", "elixir-cluster-2", "--", "cat", "/etc/ssl/rc/"+file))
	}
	ca, crt := read("cluster.crt"), read("host.crt")
	r := command(t.Context(), "", nil, "openssl", "verify", "-CAfile", ca, "-untrusted", crt, "-verify_hostname", "elixir-cluster-2.elixir.rex.internal", crt)
	if r.code != 0 {
		t.Errorf("openssl verify: %s", r)
	}
	r = command(t.Context(), "", nil, "openssl", "verify", "-CAfile", ca, "-untrusted", crt, "-verify_hostname", "elixir-cluster-3.elixir.rex.internal", crt)
	if r.code == 0 {
		t.Errorf("openssl verify takes it for another jail's: %s", r)
	}
	if got := d.must(t, "exec", "elixir-cluster-2", "--", "stat", "-c", "%a %u %g", "/etc/ssl/rc/host.key"); got != "600 0 0\n" {
		t.Errorf("host.key is %q, want 600 of root", got)
	}
}

// ordered compares two moments that the cluster has recorded.
func (d *demo) ordered(t *testing.T) {
	type shown struct {
		Run struct {
			PlacedAt  time.Time `json:"placed_at"`
			HealthyAt time.Time `json:"healthy_at"`
		} `json:"run"`
	}
	db := decode[shown](t, d.host, "jail", "show", "postgres")
	for i := 1; i <= 5; i++ {
		node := decode[shown](t, d.host, "jail", "show", fmt.Sprintf("elixir-cluster-%d", i))
		if db.Run.HealthyAt.IsZero() || node.Run.PlacedAt.Before(db.Run.HealthyAt) {
			t.Errorf("elixir-cluster-%d was placed at %s, PostgreSQL healthy at %s", i, node.Run.PlacedAt, db.Run.HealthyAt)
		}
	}
}

func (d *demo) down(t *testing.T) {
	t.Helper()
	if r := d.script(t, "down"); r.code != 0 || !strings.Contains(r.stdout, "is left") {
		t.Errorf("scripts/demo down: %s", r)
	}
	if r := d.script(t, "left"); r.code != 0 || r.stdout != "" {
		t.Errorf("scripts/demo left: %s", r)
	}
	if left := leftovers(d.data, d.run); len(left) > 0 {
		t.Errorf("left on this machine:\n  %s", strings.Join(left, "\n  "))
	}
}
