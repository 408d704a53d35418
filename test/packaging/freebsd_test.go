package packaging

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

const from = "../../packaging/freebsd"

func read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// stubSubr plays rc.subr(8): it starts command with command_args, but prints them.
const stubSubr = `load_rc_config() { rexcarcer_enable="${RC_ENABLE:-}"; }
run_rc_command() {
	case "$rexcarcer_enable" in [Yy][Ee][Ss]) ;; *) echo "Cannot '$1' $name."; return 0 ;; esac
	[ -d "$required_dirs" ] || { echo "$required_dirs is not a directory"; return 1; }
	case "$1" in start) ${start_precmd} && echo "$command $command_args" ;; esac
}
`

func TestRcScriptStartsTheDaemonUnderASupervisor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	subr := filepath.Join(dir, "rc.subr")
	if err := os.WriteFile(subr, []byte(stubSubr), 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "etc")
	if err := os.Mkdir(config, 0o700); err != nil {
		t.Fatal(err)
	}
	text := read(t, from+"/rc.d/rexcarcer")
	for _, want := range []string{"# PROVIDE: rexcarcer\n", "# REQUIRE: LOGIN", "# KEYWORD: nojail shutdown\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	script := filepath.Join(dir, "rexcarcer")
	text = strings.NewReplacer("/etc/rc.subr", subr, "/usr/local/etc/rexcarcer", config, "/var/", dir+"/var/").Replace(text)
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", "-n", script).CombinedOutput(); err != nil {
		t.Fatalf("sh -n: %s", out)
	}
	start := func(enable string) string {
		c := exec.Command("sh", script, "start")
		c.Env = append(os.Environ(), "RC_ENABLE="+enable)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Errorf("start: %v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := start(""); got != "Cannot 'start' rexcarcer." {
		t.Errorf("not enabled: %q", got)
	}
	want := "/usr/sbin/daemon -f -S -T rexcarcer -P " + dir + "/var/run/rexcarcer.pid -r -R 5 /usr/local/sbin/rexcarcer -config-dir " + config
	for range 2 {
		if got := start("YES"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, d := range []string{"var/db/rexcarcer", "var/run/rexcarcer", "var/log/rexcarcer", "etc/jails", "etc/rexcarcer.hcl"} {
		if _, err := os.Stat(filepath.Join(dir, d)); err != nil {
			t.Error(err)
		}
	}
}

func TestPeriodicScriptIsQuietUntilItIsEnabled(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("sh", from+"/periodic/450.rexcarcer").CombinedOutput()
	if err != nil || len(out) != 0 {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestManualPagesAreCleanForMandoc(t *testing.T) {
	t.Parallel()
	mandoc := testenv.RequireTool(t, "mandoc")
	for _, page := range []string{"rexcarcer.8", "rexctl.1"} {
		if out, err := exec.Command(mandoc, "-Tlint", "-Wwarning", from+"/man/"+page).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", page, err, out)
		}
	}
}

func TestPackageHoldsWhatItsManifestAndThePortSay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, p := range []string{"rexcarcer", "rexctl"} { // the binaries' own tests are elsewhere
		if err := os.WriteFile(filepath.Join(dir, p), []byte("program "+p), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("bash", "../../scripts/freebsd-pkg", "arm64", "v1.2-3-gabc", dir, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	name := strings.TrimSpace(string(out))
	if filepath.Base(name) != "rexcarcer-1.2.3.gabc-aarch64.pkg" {
		t.Errorf("got %s", name)
	}
	names, sums := unpack(t, name)
	var m struct {
		Version, ABI string
		Files        map[string]string
	}
	if err := json.Unmarshal([]byte(sums["+MANIFEST"]), &m); err != nil || names[0] != "+COMPACT_MANIFEST" || names[1] != "+MANIFEST" {
		t.Fatalf("manifest: %v, first are %q", err, names[:2])
	}
	if m.Version != "1.2.3.gabc" || m.ABI != "FreeBSD:*:aarch64" || !json.Valid([]byte(sums["+COMPACT_MANIFEST"])) {
		t.Errorf("got %+v", m)
	}
	var listed []string
	for path, sum := range m.Files {
		listed = append(listed, strings.TrimPrefix(path, "/usr/local/"))
		if got := sha256.Sum256([]byte(sums[path])); "1$"+hex.EncodeToString(got[:]) != sum {
			t.Errorf("%s: another content than the manifest says", path)
		}
	}
	slices.Sort(listed)
	if plist := strings.Fields(read(t, from+"/port/pkg-plist")); !slices.Equal(listed, plist) {
		t.Errorf("the package holds %q, the port %q", listed, plist)
	}
}

func unpack(t *testing.T, name string) (names []string, content map[string]string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	content = map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, content
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		content[h.Name] = string(raw)
	}
}
