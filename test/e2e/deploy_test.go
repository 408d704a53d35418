//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// deployed is a daemon with a deployment directory, on simulated jails: what
// becomes of a file is the same with real ones.
type deployedHost struct {
	*host
	dir string
}

func (d deployedHost) put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (d deployedHost) take(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(d.dir, name)); err != nil {
		t.Fatal(err)
	}
}

// until waits until status has these wishes, and these alarms begin so.
func (d deployedHost) until(t *testing.T, what string, wishes []string, alarms ...string) {
	t.Helper()
	poll(t, 60*time.Second, what, func() error {
		var s struct {
			Wishes []string `json:"wishes"`
			Alarms []struct{ Name, Text string }
		}
		if r := d.ctl("status", "-o", "json"); r.code != 0 {
			return errors.New(r.String())
		} else if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
			return err
		}
		if !slices.Equal(s.Wishes, wishes) || len(s.Alarms) != len(alarms) {
			return fmt.Errorf("there are %q with the alarms %q, want %q and %q", s.Wishes, s.Alarms, wishes, alarms)
		}
		for i, want := range alarms {
			if got := s.Alarms[i].Name + ": " + s.Alarms[i].Text; !strings.HasPrefix(got, want) {
				return fmt.Errorf("the alarm is %q, want %q", got, want)
			}
		}
		return nil
	})
}

const vesselINI = "[vessel-supervisor]\nimage=box\ntag=1.0\ncommand=sh /etc/rc\nrestart=true\n\n[network:lab]\ntype=nat\naddress=dhcp\n"

func TestADeploymentDirectoryIsWhatTheClusterBecomes(t *testing.T) {
	t.Parallel()
	h := newHost(t, "-dev", "-runtime=sim")
	d := deployedHost{h, filepath.Join(h.dir, "deploy")}
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h.flags = append(h.flags, "-deploy-dir", d.dir, "-deploy-every", "100ms")
	d.put(t, "images.hcl", "cluster \"images\" {}\nimage \"box:1.0\" { base = \"host:/\" }\n")
	d.put(t, "web.ini", vesselINI)
	d.put(t, "lab.ini", "[network:lab]\ntype=nat\naddress=10.180.1.0/24\n")
	d.put(t, ".hidden.ini", "rubbish")
	d.put(t, "README", "rubbish")
	h.start(t)
	d.until(t, "what was there before the daemon", []string{"images", "lab", "web"})
	if out := h.must(t, "events"); !strings.Contains(out, "deploy-dir") {
		t.Errorf("the events do not say who applied it:\n%s", out)
	}
	d.put(t, "bad.ini", "[vessel-supervisor]\nimgae=box\n")
	d.until(t, "a bad file changes nothing and is told", []string{"images", "lab", "web"}, `deploy bad.ini: bad.ini:2:1: unknown key "imgae" in [vessel-supervisor]`)
	d.put(t, "web.ini", vesselINI+"\n[jail]\nhost.hostname=front\n\n[dataset:data]\nmount=/data\n")
	poll(t, 60*time.Second, "a change is applied", func() error {
		if r := h.ctl("show", "web", "-o", "json"); !strings.Contains(r.stdout, `"front"`) {
			return errors.New(r.String())
		}
		return nil
	})
	d.put(t, "bad.ini", strings.Replace(vesselINI, "sh /etc/rc", "sh /etc/other", 1))
	d.until(t, "once it is mended it is applied", []string{"bad", "images", "lab", "web"})

	// Killed and started again: what was removed meanwhile goes, and nothing else is done.
	h.kill(t)
	d.take(t, "bad.ini")
	h.start(t)
	d.until(t, "what went while the daemon was away", []string{"images", "lab", "web"})
	h.must(t, "destroy", "web", "--yes", "--wait=none")
	d.until(t, "what somebody destroys comes back", []string{"images", "lab", "web"})

	// What is not ours is left alone.
	h.must(t, "apply", h.write(t, "other.hcl", "cluster \"other\" {}\nnetwork \"other\" { subnet = \"10.180.2.0/24\" }\n"), "--yes")
	d.put(t, "other.ini", "[network:mine]\naddress=10.180.3.0/24\n")
	d.until(t, "a name that is taken", []string{"images", "lab", "other", "web"}, "deploy other.ini: other was applied by somebody else")
	d.take(t, "other.ini")
	d.until(t, "its alarm goes with it", []string{"images", "lab", "other", "web"})

	d.take(t, "web.ini")
	d.take(t, "lab.ini")
	d.until(t, "what goes is destroyed", []string{"images", "other"})
	if err := os.Rename(d.dir, d.dir+"-away"); err != nil {
		t.Fatal(err)
	}
	d.until(t, "a directory that is not there destroys nothing", []string{"images", "other"}, "deploy directory: ")
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d.until(t, "nor does an empty one in its place", []string{"images", "other"}, "deploy directory: deployment directory "+d.dir+" is empty and another one")
}
