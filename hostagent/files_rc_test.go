package hostagent

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// stubSubr is as much of rc.subr(8) as the scripts use.
const stubSubr = `warn() { echo "$name: WARNING: $*" >&2; }
load_rc_config() { :; }
run_rc_command() { eval "_cmd=\$${1}_cmd"; eval "$_cmd"; }
`

func rcScripts(t *testing.T) (files map[string]string) {
	t.Helper()
	want := Want{Jail: &fsm.Jail{UUID: "u-1", Names: []string{"web-1.lan.rex.internal"}, Addrs: []fsm.Addr{{Network: "lan", Addr: netip.MustParseAddr("10.77.0.5")}}}}
	want.Jail.Spec.Name, want.Jail.Spec.Hostname = "web-1", "web-1"
	want.Jail.Spec.Env = []spec.EnvVar{{Name: "A", Value: "it's $HOME `id` \"x\""}}
	files = map[string]string{}
	for _, f := range freebsdFiles(&fsm.State{}, want) {
		files[f.name] = f.text
	}
	return files
}

func TestRcScriptsOfFreeBSDAreCleanAndIdempotent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	files := rcScripts(t)
	subr := write("rc.subr", stubSubr)
	for name, text := range files {
		if strings.HasPrefix(name, "etc/rc.d/") {
			if out, err := exec.Command("sh", "-n", write(filepath.Base(name), text)).CombinedOutput(); err != nil {
				t.Errorf("%s: %s", name, out)
			}
			for _, want := range []string{"# PROVIDE: " + filepath.Base(name), "# REQUIRE: ", "# BEFORE: "} {
				if !strings.Contains(text, want) {
					t.Errorf("%s: no %q", name, want)
				}
			}
		}
	}
	have := write("ifconfig", "echo 'lo0: flags=1008049<UP>'; printf '\\tinet 127.0.0.1 netmask 0xff000000\\n\\tinet 10.77.0.5 netmask 0xffffff00\\n'")
	run := func(ifconfig, verb string) (string, error) {
		text := strings.NewReplacer("/etc/rc.subr", subr, "/sbin/ifconfig", "sh "+ifconfig).Replace(files["etc/rc.d/netconf"])
		out, err := exec.Command("sh", write("netconf.run", text), verb).CombinedOutput()
		return string(out), err
	}
	for range 2 {
		if out, err := run(have, "start"); err != nil || out != "" {
			t.Errorf("start: %q, %v", out, err)
		}
	}
	if out, err := run(have, "stop"); err != nil || out != "" {
		t.Errorf("stop: %q, %v", out, err)
	}
	lacks := write("ifconfig.without", "printf '\\tinet 10.77.0.55 netmask 0xffffff00\\n'")
	if out, err := run(lacks, "start"); err == nil || !strings.Contains(out, "address 10.77.0.5 is missing") {
		t.Errorf("without its address: %q, %v", out, err)
	}
}

func TestVariablesOfAFreeBSDJailAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "envvars")
	if err := os.WriteFile(path, []byte(rcScripts(t)["etc/rc.d/envvars"]), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", `. "$1"; . "$1"; printf '%s|%s' "$A" "$RC_ADDRESS"`, "sh", path).Output()
	if err != nil || string(out) != "it's $HOME `id` \"x\"|10.77.0.5" {
		t.Errorf("got %q, %v", out, err)
	}
	if got := rcScripts(t)["etc/rc.conf.d/hostname"]; got != "hostname=\"web-1\"\n" {
		t.Errorf("got %q", got)
	}
	out, err = exec.Command("sh", "-c", "x="+rcQuote("a\"$b`c`\\")+`; printf %s "$x"`).Output()
	if err != nil || string(out) != "a\"$b`c`\\" {
		t.Errorf("quoted word: %q, %v", out, err)
	}
}

// Where both have a file, FreeBSD's is the one that the jail gets.
func TestFilesOfFreeBSDStandInForTheOthers(t *testing.T) {
	t.Parallel()
	want := Want{Jail: &fsm.Jail{UUID: "u-1", Names: []string{"web-1.lan.rex.internal"}}}
	want.Jail.Spec.Name = "web-1"
	s := fsm.New()
	text := map[string]string{}
	for _, f := range instead(jailFiles(s, want), freebsdFiles(s, want)) {
		if _, twice := text[f.name]; twice {
			t.Errorf("%s is written twice", f.name)
		}
		text[f.name] = f.text
	}
	if text["etc/rc.d/netconf"] != netconfScript(want.Jail) || text["etc/hosts"] == "" || text["etc/rc.conf.d/hostname"] == "" {
		t.Errorf("the jail gets %q", text)
	}
}
