package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/spec"
)

// sections are the settings of a unit file, "Section.Key" to value.
func sections(t *testing.T, text string) map[string]string {
	t.Helper()
	out, section := map[string]string{}, ""
	for _, line := range strings.Split(text, "\n") {
		switch line = strings.TrimSpace(line); {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok || section == "" {
				t.Fatalf("line %q", line)
			}
			if _, twice := out[section+"."+key]; twice {
				t.Errorf("%s is set twice in [%s]", key, section)
			}
			out[section+"."+key] = value
		}
	}
	return out
}

func TestTheUnitLeavesJailsAloneAndWaitsUntilItIsReady(t *testing.T) {
	t.Parallel()
	const path = "../../packaging/systemd/rexcarcer.service"
	got := sections(t, read(t, path))
	for key, want := range map[string]string{
		"Service.Type": "notify", "Service.KillMode": "process", "Service.Delegate": "yes", "Service.Restart": "always",
		"Service.TimeoutStartSec": "infinity", "Service.RuntimeDirectoryPreserve": "yes", "Install.WantedBy": "multi-user.target",
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	program, flags, _ := strings.Cut(got["Service.ExecStart"], " ")
	if filepath.Base(program) != "rexcarcer" || flags != "-config-dir /etc/rexcarcer" {
		t.Errorf("it starts %q", got["Service.ExecStart"])
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return // systemd is not here: what it would say more is not known
	}
	// The program must be there for it to be content.
	dir := t.TempDir()
	text := strings.Replace(read(t, path), program, "/bin/true", 1)
	unit := filepath.Join(dir, "rexcarcer.service")
	if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", unit).CombinedOutput()
	ours := regexp.MustCompile(`(?m)^.*rexcarcer\.service.*$`).FindAllString(string(out), -1)
	if len(ours) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, strings.Join(ours, "\n"))
	}
}

func TestSampleClustersAreValid(t *testing.T) {
	t.Parallel()
	const path = "../../examples/three-hosts/cluster.hcl"
	w, diags := spec.Parse(path, []byte(read(t, path)), spec.Inputs{})
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	if len(w.Jails) != 4 || len(w.Networks) != 1 {
		t.Errorf("%d jails, %d networks", len(w.Jails), len(w.Networks))
	}
}
