//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wrong is one cluster file that must be refused.
type wrong struct {
	name string
	text func(t *testing.T, h *host) string
	code int
	says []string // all of it, on standard error: place, what is wrong, remedy
}

func plain(text string) func(*testing.T, *host) string {
	return func(*testing.T, *host) string { return text }
}

func jails(body string) func(*testing.T, *host) string {
	return plain(file("bad", "10.171.9.0/24", body))
}

// wrongs never get as far as the log.
func wrongs() []wrong {
	return []wrong{
		{"invalid HCL", plain("cluster \"bad\" {\n  domain = \n}\n"), 1, []string{".hcl:2:", "^"}},
		{"unknown attribute", jails("jail \"a\" {\n  image = \"box-bad\"\n  network = \"bad\"\n  comand = [\"/bin/true\"]\n}\n"), 1, []string{".hcl:7:3:", "comand", `did you mean "command"`}},
		{"duplicate names", jails(box("a", "bad", "true") + box("a", "bad", "true")), 1, []string{".hcl:", `"a"`}},
		{"overlapping subnets", jails("network \"other\" { subnet = \"10.171.9.128/25\" }\n"), 1, []string{".hcl:", "10.171.9.128/25", "overlap", "bad"}},
		{"dependency cycle", jails(box("a", "bad", "true", `depends_on = ["b"]`) + box("b", "bad", "true", `depends_on = ["a"]`)), 1, []string{".hcl:", "depends_on", "a", "b"}},
		{"missing image", jails("jail \"a\" {\n  image = \"nothing\"\n  network = \"bad\"\n}\n"), 1, []string{"nothing", "image"}},
		{"missing base", jails("image \"gone\" { base = \"/no/such/base\" }\n"), 1, []string{"/no/such/base", "no such file", "nothing was applied"}},
		{"failing RUN step", brokenBuild, 1, []string{"step 2/2", "seventh line", "ninth line", "nothing was applied"}},
		{"exhausted pool", plain(strings.Replace(file("bad", "10.171.9.0/29", box("a", "bad", "true")), "jail \"a\" {", "jail \"a\" {\n count = 7", 1)), 1, []string{"bad", "10.171.9.0/29"}},
		{"published port taken", takenPort, 1, []string{"in use", "port"}},
		{"name that runs a command", plain("cluster \"bad\" {}\njail \"$(touch /tmp/x)\" { image = \"box\" }\n"), 1, []string{".hcl:2:6", "begin with a letter"}},
		{"name with a semicolon", plain("cluster \"bad\" {}\nnetwork \"a;b\" { subnet = \"10.171.9.0/24\" }\n"), 1, []string{".hcl:2:9"}},
		{"name that climbs", plain("cluster \"bad\" {}\nnetwork \"..\" { subnet = \"10.171.9.0/24\" }\n"), 1, []string{".hcl:2:9"}},
		{"name that is a flag", plain("cluster \"bad\" {}\nnetwork \"-rf\" { subnet = \"10.171.9.0/24\" }\n"), 1, []string{".hcl:2:9"}},
		{"name with a newline", plain("cluster \"bad\" {}\nnetwork \"a\\nb\" { subnet = \"10.171.9.0/24\" }\n"), 1, []string{".hcl:2:9"}},
		{"name with a quote", plain("cluster \"bad\" {}\nnetwork \"a\\\"b\" { subnet = \"10.171.9.0/24\" }\n"), 1, []string{".hcl:2:9"}},
		{"hostname that injects", jails(box("a", "bad", "true", "hostname = \"a b;reboot\"")), 1, []string{"hostname"}},
		{"service that injects", jails(box("a", "bad", "true", "service \"a' OR\" { port = 1 }")), 1, []string{"service"}},
		{"volume over /etc", jails(box("a", "bad", "true", "volume \"v\" { path = \"/etc\" }")), 1, []string{"/etc"}},
		{"variable with a newline in its name", jails(box("a", "bad", "true", "env = { \"A\\nB\" = \"c\" }")), 1, []string{"env"}},
	}
}

func brokenBuild(t *testing.T, h *host) string {
	rex := h.write(t, "broken.rex", "BASE "+base+"\nRUN true\nRUN for i in first second third fourth fifth sixth seventh eighth ninth; do echo $i line; done; exit 3\n")
	return "cluster \"bad\" {}\nimage \"broken\" { rexfile = \"" + filepath.Base(rex) + "\" }\n"
}

func takenPort(t *testing.T, _ *host) string {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	text := file("bad", "10.171.9.0/24", box("a", "bad", web, service("site", "1s")))
	return strings.Replace(text, "network \"bad\" { subnet = \"10.171.9.0/24\" }", fmt.Sprintf("network \"bad\" {\n subnet = \"10.171.9.0/24\"\n publish \"p\" {\n port = %d\n service = \"site\"\n }\n}\n", l.Addr().(*net.TCPAddr).Port), 1)
}

func TestBadInputIsRefusedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t, "-dev")
	h.start(t)
	h.apply(t, file("good", "10.173.1.0/24", box("good", "good", forever)))
	status := func() string {
		s := decode[map[string]any](t, h, "status")
		return fmt.Sprint(s["plan_index"], s["jails"], s["networks"], s["leases"], s["records"], s["wishes"])
	}
	before, things := status(), counted(t, h.data, h.run)
	for _, w := range wrongs() {
		t.Run(w.name, func(t *testing.T) {
			r := h.ctl("apply", h.write(t, "bad.hcl", w.text(t, h)), "--yes", "--timeout", "20s")
			if r.code != w.code {
				t.Errorf("want exit code %d: %s", w.code, r)
			}
			for _, text := range w.says {
				if !strings.Contains(r.stderr, text) {
					t.Errorf("want %q on stderr: %s", text, r)
				}
			}
			if now := status(); now != before {
				t.Errorf("the cluster was %s and is %s", before, now)
			}
		})
	}
	poll(t, 20*time.Second, "nothing of what was refused is on the machine", func() error {
		now := counted(t, h.data, h.run)
		if now.processes > things.processes || now.cgroups > things.cgroups || now.mounts > things.mounts+4 { // a build leaves its network for the next one
			return fmt.Errorf("the machine had %s and has %s", things, now)
		}
		return nil
	})
	t.Run("unhealthy dependency", func(t *testing.T) { unhealthyDependency(t, h) })
	t.Run("command not found", func(t *testing.T) { commandNotFound(t, h) })
	t.Run("run directory taken", func(t *testing.T) {
		r := command(t.Context(), "", nil, rexcarcer, "-dev", "-data-dir", filepath.Join(h.dir, "second"), "-run-dir", h.run, "-api-port", "0", "-metrics-port", "0", "-dns-port", "0")
		if r.code != 1 || !strings.Contains(r.stderr, "is served by another rexcarcer") || !strings.Contains(r.stderr, "-run-dir") {
			t.Errorf("%s", r)
		}
	})
	t.Run("metrics port taken", func(t *testing.T) {
		r := command(t.Context(), "", nil, rexcarcer, "-dev", "-data-dir", filepath.Join(h.dir, "third"), "-run-dir", filepath.Join(h.dir, "run3"), "-api-port", "0", "-metrics-port", fmt.Sprint(h.metrics), "-dns-port", "0")
		if r.code != 1 || !strings.Contains(r.stderr, fmt.Sprint(h.metrics)) || !strings.Contains(r.stderr, "-metrics-port") {
			t.Errorf("%s", r)
		}
	})
	t.Run("data directory taken", func(t *testing.T) {
		r := command(t.Context(), "", nil, rexcarcer, "-dev", "-data-dir", h.data, "-run-dir", filepath.Join(h.dir, "run4"), "-api-port", "0", "-metrics-port", "0", "-dns-port", "0")
		if r.code != 1 || !strings.Contains(r.stderr, h.data) {
			t.Errorf("%s", r)
		}
	})
	if rows := h.ps(t); rows["good"].Phase != "running" || rows["good"].Restarts != 0 {
		t.Errorf("the good jail: %+v", rows["good"])
	}
}

func unhealthyDependency(t *testing.T, h *host) {
	text := file("sick", "10.173.2.0/24", box("db", "sick", forever, service("db", "100ms")), box("app", "sick", forever, `depends_on = ["db"]`))
	r := h.ctl("apply", h.write(t, "sick.hcl", text), "--yes", "--timeout", "3s")
	if r.code != 3 {
		t.Errorf("want exit code 3: %s", r)
	}
	for _, want := range []string{"jail app", "jail db", "unhealthy", "check of service db", "refused", "try: rexctl"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("want %q: %s", want, r.stderr)
		}
	}
	if row := h.ps(t)["app"]; row.Phase != "pending" {
		t.Errorf("app did not wait: %+v", row)
	}
	h.destroy(t, "sick")
}

func commandNotFound(t *testing.T, h *host) {
	text := file("typo", "10.173.3.0/24", strings.Replace(box("typo", "typo", "x", `restart { policy = "never" }`), `"/bin/sh", "-c", "x"`, `"/bin/no-such-program"`, 1))
	r := h.ctl("apply", h.write(t, "typo.hcl", text), "--yes", "--timeout", "20s")
	if r.code != 3 || !strings.Contains(r.stderr, "/bin/no-such-program") || !strings.Contains(r.stderr, "jail typo") {
		t.Errorf("want exit code 3 and the program: %s", r)
	}
	if left := jailThings(t, h); len(left) > 0 {
		for _, l := range left {
			if strings.Contains(l, h.ps(t)["typo"].UUID) {
				t.Errorf("left of it: %s", l)
			}
		}
	}
	h.destroy(t, "typo")
}

func TestWithoutRootItSaysSo(t *testing.T) {
	t.Parallel()
	real(t)
	own := filepath.Join(scratch, "for-everybody") // nobody must be able to reach it
	if err := os.CopyFS(own, os.DirFS(filepath.Dir(rexcarcer))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(own, 0o755); err != nil {
		t.Fatal(err)
	}
	r := command(t.Context(), "", nil, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", filepath.Join(own, "rexcarcer"), "-dev")
	if r.code != 1 || !strings.Contains(r.stderr, "not root") || !strings.Contains(r.stderr, "-dev -runtime=sim") {
		t.Errorf("want exit code 1 and what to do: %s", r)
	}
	h := sharedHost(t)
	r = command(t.Context(), "", append(h.env(), "HOME=/nonexistent"), "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", filepath.Join(own, "rexctl"), "ps")
	if r.code != 1 || !strings.Contains(r.stderr, "for root") {
		t.Errorf("want exit code 1 and what to do: %s", r)
	}
}

func TestWithoutAnOCIRuntimeItSaysSo(t *testing.T) {
	t.Parallel()
	real(t)
	h, err := makeHost("without-runc", "-dev")
	if err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(h.dir, "path")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	// A mount namespace of its own hides the runtimes, wherever PATH or habit looks for them.
	hide := "for f in runc crun; do for d in /usr/sbin /usr/bin /sbin /bin /usr/local/sbin /usr/local/bin; do if [ -e $d/$f ]; then mount --bind /dev/null $d/$f; fi; done; done; exec \"$@\""
	r := command(t.Context(), "", nil, append([]string{"unshare", "--mount", "sh", "-c", hide, "sh", rexcarcer}, h.flags...)...)
	if r.code != 1 || !strings.Contains(r.stderr, "runc") || !strings.Contains(r.stderr, "apt-get install runc") {
		t.Errorf("want exit code 1 and what to install: %s", r)
	}
	if left := leftovers(h.data, h.run); len(left) > 0 {
		t.Errorf("left on this machine:\n  %s", strings.Join(left, "\n  "))
	}
}
