package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

// TestChronyIsAskedForReal runs Debian's chronyd, which does not touch the
// clock (-x), and asks it as host show does.
func TestChronyIsAskedForReal(t *testing.T) {
	t.Parallel()
	testenv.RequireRoot(t)
	testenv.RequireTool(t, "chronyd")
	testenv.RequireTool(t, "chronyc")
	dir, err := os.MkdirTemp("/var/tmp", "rc-chrony-") //nolint:usetesting // a socket's path is short, and chronyd wants a directory of its own for its socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "chronyd.sock")
	conf := fmt.Sprintf("local stratum 7\nport 0\ncmdport 0\nbindcmdaddress %s\npidfile %s\n", socket, filepath.Join(dir, "pid"))
	if err := os.WriteFile(filepath.Join(dir, "chrony.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command("chronyd", "-d", "-x", "-u", "root", "-f", filepath.Join(dir, "chrony.conf"))
	var out strings.Builder
	daemon.Stdout, daemon.Stderr = &out, &out
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
		if t.Failed() {
			t.Logf("chronyd: %s", out.String())
		}
	}()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c := chrony(t.Context(), run.Real{}, "-h", socket)
		if c != nil && c.Error == "" && c.Stratum == 7 {
			if c.Leap != "Normal" || c.Offset.Abs() > time.Second {
				t.Errorf("it says %+v", c)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after 30 s chronyc says %+v", c)
		}
	}
}

func TestWhatChronySaysIsRead(t *testing.T) {
	t.Parallel()
	c, err := parseTracking("C0000202,192.0.2.2,3,1763800000.123,-0.000012345,-0.000001,0.000002,-1.5,0.001,0.02,0.013000000,0.000500000,64.2,Normal\n")
	if err != nil || c.Source != "192.0.2.2" || c.Stratum != 3 || c.Offset != 12345*time.Nanosecond || c.RootDelay != 13*time.Millisecond || c.Dispersion != 500*time.Microsecond || c.Leap != "Normal" {
		t.Errorf("got %+v, %v", c, err)
	}
	for _, bad := range []string{"", "506 Cannot talk to daemon\n", "a,b,c,d,e,f,g,h,i,j,k,l,m,n\n"} {
		if c, err := parseTracking(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, c)
		}
	}
	if c := chrony(t.Context(), run.Real{}, "-h", "/no/such/socket"); c != nil && c.Error == "" {
		t.Errorf("without a daemon: %+v, want an error", c)
	}
}
