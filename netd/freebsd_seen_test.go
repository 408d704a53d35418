package netd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// seen is one command of a transcript of FreeBSD 15.1.
type seen struct {
	cmd, out, err string
	rc            int
}

// readSeen reads "$ command", "  | output", "  E| error output", "  rc=N".
func readSeen(t *testing.T, name string) []seen {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "freebsd-15.1", name))
	if err != nil {
		t.Fatal(err)
	}
	var all []seen
	for l := range strings.Lines(string(raw)) {
		l = strings.TrimSuffix(l, "\n")
		if cmd, ok := strings.CutPrefix(l, "$ "); ok {
			all = append(all, seen{cmd: cmd})
			continue
		}
		if len(all) == 0 {
			continue
		}
		x := &all[len(all)-1]
		if text, ok := strings.CutPrefix(l, "  | "); ok {
			x.out += text + "\n"
		} else if text, ok := strings.CutPrefix(l, "  E| "); ok {
			x.err += text + "\n"
		} else if n, err := fmt.Sscanf(l, "  rc=%d", &x.rc); n == 1 && err == nil {
			continue
		}
	}
	return all
}

var shows = regexp.MustCompile(`^(?:jexec \S+ /sbin/)?ifconfig (?:-j \S+ )?(?:-D )?(?:-f \S+ )?([a-z0-9]+)$`)

// explained are the failures of the transcripts that concern networks, and what the driver makes of them.
var explained = []struct{ text, meaning string }{
	{"Table does not exist", "told, and the rules are loaded anew"},
	{"Anchor does not exist", "no anchors"},
	{"does not exist", "it is not there: success when it shall go, made when it shall be"},
	{"SIOCSIFNAME (set name): File exists", "the name is taken: told, and the new pair destroyed"},
	{"SIOCSIFNAME (set name): File name too long", "cannot be: names have 11 characters"},
	{"group names may not end in a digit", "cannot be: the group is rexcarcer"},
	{": File exists (errno", "a member already: success"},
	{"BRDGADD nosuch0: No such file", "told"},
	{"BRDGDEL nosuch0: No such file", "not used"},
	{"SIOCSIFMTU (set mtu): Operation not supported", "a member: its bridge decides"},
	{"SIOCSIFVNET: File exists", "an end whose pair has lost its name: destroyed, then moved"},
	{"SIOCSIFRVNET", "not used"},
	{"already exists", "not used: the kernel chooses units"},
	{"pf already enabled", "success"},
	{"pf not enabled", "not used"},
	{"Operation not supported by device", "an anchor that never was: flushed"},
	{"/etc/pf.os", "loaded all the same"},
	{"syntax error", "told"}, {"could not parse host", "told"}, {"Rules must be in order", "told"}, {"Syntax error in config file", "told"},
	{"skipping rule due to errors", "told"}, {"table name too long", "cannot be: names have at most 13 characters"},
	{"reserved for internal use", "cannot be"}, {"cannot be modified from the command line", "cannot be"}, {"unknown port", "told"},
	{"no IP address found", "told"}, {"addresses match", "not used"},
	{"not found", "a jail that is gone: success when it shall go"},
}

// TestFreeBSDReadsAllThatWasSeen shows what the parsers make of the transcripts of a running 15.1.
func TestFreeBSDReadsAllThatWasSeen(t *testing.T) {
	t.Parallel()
	datadriven.RunTest(t, "testdata/freebsd-seen", func(t *testing.T, td *datadriven.TestData) string {
		var b strings.Builder
		for _, x := range readSeen(t, td.Input) {
			if text := readOne(t, x); text != "" {
				fmt.Fprintf(&b, "$ %s\n%s\n", cutText(x.cmd), strings.TrimRight(text, "\n"))
			}
		}
		return b.String()
	})
}

func readOne(t *testing.T, x seen) string {
	t.Helper()
	if x.rc != 0 && regexp.MustCompile(`^(ifconfig|route|pfctl|jexec \S+ /sbin/(ifconfig|pfctl))\b`).MatchString(x.cmd) {
		for _, e := range explained {
			if strings.Contains(x.err, e.text) {
				return "  failed: " + e.meaning
			}
		}
		t.Errorf("%s: %q is not explained", x.cmd, x.err)
		return ""
	}
	m := shows.FindStringSubmatch(x.cmd)
	switch {
	case m != nil && strings.Contains(x.out, "flags="):
		i, err := parseIface(m[1], x.out)
		if err != nil {
			t.Errorf("%s: %v", x.cmd, err)
		}
		return fmt.Sprintf("  %+v", i)
	case strings.HasSuffix(x.cmd, "ifconfig -l") && !strings.Contains(x.cmd, ";"):
		l := hostLinks{}
		for _, name := range strings.Fields(x.out) {
			l[name]++
		}
		return fmt.Sprintf("  %v", l)
	case strings.HasPrefix(x.cmd, "netstat "):
		return fmt.Sprintf("  %+v", parseRoutes(x.out))
	case strings.HasSuffix(x.cmd, "-s Anchors"):
		return fmt.Sprintf("  anchors %q", strings.Fields(x.out))
	case x.cmd == "pfctl -sn" || x.cmd == "pfctl -sr":
		return fmt.Sprintf("  anchors missing: %q", missingAnchors(x.out))
	case x.cmd == "ifconfig epair create" || strings.HasPrefix(x.cmd, "ifconfig epair create descr"), strings.HasPrefix(x.cmd, "ifconfig bridge create descr"):
		name := strings.TrimSpace(x.out)
		if !clonePattern.MatchString(name) {
			t.Errorf("%s: %q is no name that the kernel gives", x.cmd, name)
		}
		return "  made " + name
	}
	return ""
}

func TestFreeBSDErrorsOfPfctlAreTold(t *testing.T) {
	t.Parallel()
	for _, x := range readSeen(t, "07.txt") {
		if !strings.Contains(x.err, "pf.os") {
			continue
		}
		if err := (&run.Error{RC: x.rc, Stderr: strings.TrimSpace(x.err), Err: errors.New("exit status 1")}); !onlyFingerprints(err) {
			t.Errorf("%q: rules that are loaded count as an error", x.err)
		}
	}
	for _, text := range []string{"", "stdin:1: syntax error", "pfctl: /etc/pf.os: No such file or directory\nstdin:1: syntax error"} {
		if onlyFingerprints(&run.Error{RC: 1, Stderr: text}) {
			t.Errorf("%q counts as success", text)
		}
	}
	if !noPF(&run.Error{RC: 1, Stderr: "pfctl: /dev/pf: No such file or directory"}) || !noPF(&run.Error{RC: -1, Err: os.ErrNotExist}) || noPF(&run.Error{RC: 1, Stderr: "x"}) {
		t.Error("a host without pf is not known by what pfctl says")
	}
}

func TestFreeBSDParsersKnowOtherForms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"x0: flags=0 metric 0 mtu 33152\n":                  "{Name:x0 Up:false MTU:33152 Descr: Forged:false Ether:00:00:00:00:00:00 Addrs:[] Groups:[] Members:[]}",
		"x0: flags=0<> metric 0 mtu 33152\n\tgroups: enc\n": "{Name:x0 Up:false MTU:33152 Descr: Forged:false Ether:00:00:00:00:00:00 Addrs:[] Groups:[enc] Members:[]}",
		"x0: flags=8051<UP,POINTOPOINT> metric 0 mtu 1400\n\tinet 10.0.0.1/32 --> 10.0.0.2\n\tinet6 fe80::1%x0/64 scopeid 0x5\n":                                           "{Name:x0 Up:true MTU:1400 Descr: Forged:false Ether:00:00:00:00:00:00 Addrs:[10.0.0.1/32 fe80::1/64] Groups:[] Members:[]}",
		"x0: flags=8843<UP> metric 0 mtu 1500\n\tdescription: a: b\n\tinet 10.0.0.1 netmask 0xffffff00 broadcast 10.0.0.255\n\tinet6 ::1 prefixlen 128\n\tinet nonsense\n": "{Name:x0 Up:true MTU:1500 Descr:a: b Forged:false Ether:00:00:00:00:00:00 Addrs:[10.0.0.1/24 ::1/128] Groups:[] Members:[]}",
		"x0: flags=8843<UP> metric 0 mtu 1500\n\tdescription: a\nx1: flags=1\n":                                                                                            "{Name:x0 Up:true MTU:1500 Descr:a Forged:true Ether:00:00:00:00:00:00 Addrs:[] Groups:[] Members:[]}",
	} {
		x, err := parseIface("x0", text)
		if got := fmt.Sprintf("%+v", x); err != nil || got != want {
			t.Errorf("%q: got %s, %v, want %s", text, got, err, want)
		}
	}
	if _, err := parseIface("x1", "x0: flags=0 metric 0 mtu 1500\n"); err == nil {
		t.Error("another interface was taken for x1")
	}
	got := fmt.Sprint(parseRoutes("Routing tables\n\nInternet:\nDestination Gateway Flags Netif Expire\n10/8 link#1 U em0\n192.168.1 x U em1\n10.1/16x link#1 U em0\nbad link#1 U em0\n" +
		"\nInternet6:\nDestination Gateway Flags Netif Expire\ndefault fe80::1%em0 UGS em0\nfe80::%lo0/64 link#2 U lo0\n"))
	if want := "[{10.0.0.0/8 link#1 U em0} {192.168.1.0/32 x U em1} {::/0 fe80::1%em0 UGS em0} {fe80::/64 link#2 U lo0}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	got = fmt.Sprint(parseRoutes("Internet:\nDestination Gateway Flags Nhop# Mtu Netif Expire\n10.66.0.0/24 link#5 U 3 1500 rbaaaa00010\nshort link#1 U 1\n"))
	if want := "[{10.66.0.0/24 link#5 U rbaaaa00010}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	bridge := []link{{iface: iface{Name: "rbaaaa00010"}}}
	for dev, foreign := range map[string]bool{"rbaaaa00010": false, "rbaaaa0001": false, "rbaaaa00": false, "rb": true, "em0": true} {
		if used := usedBy([]route{{Dst: mustP("10.66.0.0/24"), Dev: dev}}, bridge); (len(used) > 0) != foreign {
			t.Errorf("%s: got %v", dev, used)
		}
	}
	for _, text := range []string{"", " \n", `{"__version": "2", "jail-information": {"jail": []}}`, `{"__version": "2", "jail-information": {}}`} {
		if jails, err := parseJails(text); err != nil || len(jails) != 0 {
			t.Errorf("%q: got %v, %v, want none", text, jails, err)
		}
	}
	if _, err := parseJails("jls: nonsense"); err == nil {
		t.Error("nonsense was read as jails")
	}
	if got := parseAnchors("  rexcarcer/t1-aaaa0001\n  rexcarcer/t2-aaaa0002\n  rexcarcer/t1-x\n  rexcarcer/aaaaaaaa\n", "t1"); !slices.Equal(got, []string{"aaaa0001"}) {
		t.Errorf("got %v", got)
	}
}
