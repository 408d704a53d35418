package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

var exported = []api.RecordRow{
	{Name: "web-1.lab.rex.internal", Type: "A", TTL: 30, Data: "10.66.0.5"},
	{Name: "web.lab.rex.internal", Type: "A", TTL: 5, Data: "10.66.0.5"},
	{Name: "web-1.lab.rex.internal", Type: "AAAA", TTL: 30, Data: "fd00:66::5"},
	{Name: "docs.example.org", Type: "A", TTL: 30, Data: "10.66.0.6"},
	{Name: "5.0.66.10.in-addr.arpa", Type: "PTR", TTL: 30, Data: "web-1.lab.rex.internal."},
	{Name: "_web._tcp.lab.rex.internal", Type: "SRV", TTL: 5, Data: "0 1 80 web-1.lab.rex.internal."},
}

func TestExportForHosts(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	exportHosts(&b, "rex.internal", exported)
	const want = "10.66.0.5\tweb-1.lab.rex.internal web.lab.rex.internal\nfd00:66::5\tweb-1.lab.rex.internal\n10.66.0.6\tdocs.example.org\n"
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}

func TestUnboundAnswersFromTheExport(t *testing.T) {
	t.Parallel()
	unbound, dig := testenv.RequireTool(t, "unbound"), testenv.RequireTool(t, "dig")
	port, err := testenv.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var conf bytes.Buffer
	exportUnbound(&conf, "rex.internal", exported)
	fmt.Fprintf(&conf, "\tinterface: 127.0.0.1\n\tport: %d\n\tdo-ip6: no\n\tusername: \"\"\n\tchroot: \"\"\n\tpidfile: \"\"\n\tdirectory: %q\n\tuse-syslog: no\n\tmodule-config: \"iterator\"\n", port, dir)
	file := filepath.Join(dir, "unbound.conf")
	if err := os.WriteFile(file, conf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(unbound, "-d", "-c", file)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has nothing to lose
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("unbound said:\n%s", said.String())
		}
	})
	for _, r := range append(exported[2:], exported[0], api.RecordRow{Name: "none.lab.rex.internal", Type: "A"}) {
		deadline := time.Now().Add(90 * time.Second)
		for {
			out, err := exec.Command(dig, "@127.0.0.1", "-p", fmt.Sprint(port), "+short", "+tries=1", "+time=2", r.Name, r.Type).CombinedOutput()
			if got := strings.TrimSpace(string(out)); err == nil && got == r.Data {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("%s %s: %q (%v), want %q", r.Name, r.Type, got, err, r.Data)
			}
			<-time.After(50 * time.Millisecond)
		}
	}
}
