//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// startRsyslog runs Debian's rsyslog until the test ends: what comes over TCP
// to the port that it returns is written to the file.
func startRsyslog(t *testing.T) (port int, file string) {
	t.Helper()
	testenv.RequireTool(t, "rsyslogd")
	port, err := testenv.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file = filepath.Join(dir, "messages")
	conf := fmt.Sprintf(`global(workDirectory=%q)
module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="%d")
template(name="told" type="string" string="%%pri-text%% %%hostname%% %%app-name%%[%%procid%%]%%msg%%\n")
action(type="omfile" file=%q template="told")
`, dir, port, file)
	if err := os.WriteFile(filepath.Join(dir, "rsyslog.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("rsyslogd", "-n", "-f", filepath.Join(dir, "rsyslog.conf"), "-i", filepath.Join(dir, "pid"))
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has nothing to lose
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("rsyslogd: %s", out.String())
		}
	})
	return port, file
}

// A jail logs to the target in its own files, by its own syslogd, and by hand
// over UDP and TCP; another one pretends to be it.
func TestWhatJailsLogIsInTheirLogsAndSentOn(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"openssl", "nsenter"} {
		testenv.RequireTool(t, tool)
	}
	port, messages := startRsyslog(t)
	h := newHost(t, "-dev", "-syslog-forward", fmt.Sprintf("tcp://127.0.0.1:%d", port))
	h.start(t)
	// busybox's syslogd does not read rsyslog's file, so the test does.
	script := `to=$(sed -n 's/^\*\.\* @//p' /etc/rsyslog.d/90-rexcarcer.conf); echo console; syslogd -n -R "$to" & ` + forever
	h.apply(t, file("logs", "10.174.60.0/24", box("log-1", "logs", script), box("log-2", "logs", forever),
		// A whole Debian, whose rsyslog reads the jail's own files.
		"image \"deb-logs\" { base = \"host:/\" }", strings.Replace(box("log-3", "logs", "rm -f /run/rsyslogd.pid; rsyslogd; "+forever), "box-logs", "deb-logs", 1)))
	logs := func(jail string, want ...string) error {
		text := h.ctl("logs", jail, "--since", "10m").stdout
		for _, w := range want {
			if !strings.Contains(text, w) {
				return fmt.Errorf("the log of %s has no %q:\n%s", jail, w, text)
			}
		}
		return nil
	}
	poll(t, 20*time.Second, "by the jail's own syslogd", func() error {
		h.must(t, "exec", "log-1", "--", "logger", "-t", "app", "-p", "local3.err", "by logger")
		return logs("log-1", "console\n", " local3.err app: by logger\n")
	})
	h.must(t, "exec", "log-1", "--", "sh", "-c", `printf '<34>1 2026-11-22T08:00:00Z log-2 su 42 ID47 - over TCP\n' | nc -w 2 10.174.60.1 514 || :`)
	poll(t, 20*time.Second, "over TCP", func() error { return logs("log-1", " auth.crit su[42]: over TCP\n") })
	if err := logs("log-2", "over TCP"); err == nil {
		t.Error("one jail writes into the log of another")
	}
	poll(t, 20*time.Second, "by Debian's rsyslog", func() error {
		if r := h.ctl("exec", "log-3", "--", "logger", "-t", "deb", "from Debian"); r.code != 0 {
			return errors.New(r.String())
		}
		return logs("log-3", " user.notice deb: from Debian\n")
	})

	// Over TLS by the certificate that the jail has; that of another jail is not believed.
	rows := h.ps(t)
	pid := h.pid(rows["log-1"].UUID)
	overTLS := func(by, text string) {
		t.Helper()
		root := fmt.Sprintf("/proc/%d/root/etc/ssl/rc/", h.pid(rows[by].UUID))
		cmd := exec.CommandContext(t.Context(), "nsenter", "-t", strconv.Itoa(pid), "-n", "timeout", "20", "openssl", "s_client", "-quiet", "-no_ign_eof", "-connect", "10.174.60.1:6514",
			"-cert", root+"host.crt", "-key", root+"host.key", "-CAfile", root+"cluster.crt", "-verify_return_error")
		cmd.Stdin = strings.NewReader(fmt.Sprintf("%d %s", len(text), text))
		out, err := cmd.CombinedOutput()
		t.Logf("with the certificate of %s: %v, %s", by, err, out)
	}
	overTLS("log-1", "<35>1 - - su - - - over TLS")
	poll(t, 20*time.Second, "over TLS", func() error { return logs("log-1", " auth.err su: over TLS\n") })
	overTLS("log-2", "<35>1 - - su - - - by a stranger")
	overTLS("log-1", "<35>1 - - su - - - over TLS again")
	poll(t, 20*time.Second, "over TLS", func() error { return logs("log-1", " auth.err su: over TLS again\n") })
	if logs("log-1", "stranger") == nil || logs("log-2", "stranger") == nil {
		t.Error("a jail logs by the certificate of another")
	}
	poll(t, 20*time.Second, "rsyslog has it, under the jail's real name", func() error {
		raw, err := os.ReadFile(messages)
		text := string(raw)
		for _, want := range []string{"local3.err log-1.logs.rex.internal app[-]by logger", "auth.crit log-1.logs.rex.internal su[42]over TCP"} {
			if !strings.Contains(text, want) {
				err = errors.Join(err, fmt.Errorf("no %q in:\n%s", want, text))
			}
		}
		return err
	})
	h.destroy(t, "logs")
}
