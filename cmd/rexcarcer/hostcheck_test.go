package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/freebsdtest"
	"github.com/rexcarcer/rexcarcer/internal/run"
)

// bareHost is a FreeBSD 15.1 whose tools answer from texts that such a system gave.
func bareHost(answers map[string]string) hostCheck {
	h := freebsdtest.New()
	for _, tool := range []string{"ifconfig", "pfctl", "zpool"} {
		h.Handle(tool, func(_ *freebsdtest.Host, c run.Cmd, args []string) freebsdtest.Reply {
			key := tool + " " + strings.Join(args, " ")
			if text, ok := answers[key]; ok {
				return freebsdtest.Reply{Out: text + "\n"}
			}
			return freebsdtest.Fail(1, "%s: not here", key)
		})
	}
	h.Racct = answers["racct"] != ""
	h.SetSysctl("net.inet.ip.forwarding", answers["forwarding"])
	return hostCheck{runner: h, root: answers["user"] == "", exists: func(string) bool { return false }, read: func(string) string { return "" }}
}

var readyHost = map[string]string{
	"ifconfig -C": "bridge epair gif lo vlan wg", "zpool list -H -o name": "zroot", "racct": "1", "forwarding": "1",
	"pfctl -s info": "Status: Enabled for 0 days 00:00:05          Debug: Urgent", "pfctl -s nat": "nat-anchor \"rexcarcer/*\" all\nrdr-anchor \"rexcarcer/*\" all",
	"pfctl -s rules": "anchor \"rexcarcer/*\" all",
}

func TestHostCheckOfAReadyHostAsksForNothing(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := checkHost(t.Context(), &out, bareHost(readyHost), "freebsd"); err != nil || strings.Contains(out.String(), "without") {
		t.Errorf("got %v\n%s", err, out.String())
	}
}

func TestHostCheckSaysInWordsWhatIsMissingAndHowToGetIt(t *testing.T) {
	t.Parallel()
	without := func(key, value string) map[string]string {
		out := map[string]string{}
		for k, v := range readyHost {
			out[k] = v
		}
		delete(out, key)
		if value != "" {
			out[key] = value
		}
		return out
	}
	for _, c := range []struct {
		answers map[string]string
		want    []string
		fails   bool
	}{
		{without("ifconfig -C", "bridge lo"), []string{"MISSING if_epair", "kldload if_epair", "without if_wg"}, true},
		{without("pfctl -s info", ""), []string{"without pf ", `pf_load="YES"`}, false},
		{without("pfctl -s info", "Status: Disabled for 0 days"), []string{"without pf ", "sysrc pf_enable=YES"}, false},
		{without("pfctl -s rules", "pass all"), []string{"without anchors", "nat-anchor \"rexcarcer/*\"\n", "translations before filters"}, false},
		{without("zpool list -H -o name", "no pools available"), []string{"without zfs", "zpool create"}, false},
		{without("forwarding", ""), []string{"without forwarding", "gateway_enable=YES"}, false},
		{without("racct", ""), []string{"without racct", "kern.racct.enable=1"}, false},
		{without("user", "joe"), []string{"MISSING root"}, true},
	} {
		var out bytes.Buffer
		err := checkHost(t.Context(), &out, bareHost(c.answers), "freebsd")
		if (err != nil) != c.fails {
			t.Errorf("%q: got %v", c.want, err)
		}
		for _, w := range c.want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("no %q in\n%s", w, out.String())
			}
		}
	}
	old := bareHost(readyHost)
	old.runner.(*freebsdtest.Host).SetSysctl("net.link.bridge.pfil_member", "1")
	old.runner.(*freebsdtest.Host).SetSysctl("kern.features.vimage", "")
	var out bytes.Buffer
	err := checkHost(t.Context(), &out, old, "freebsd")
	if err == nil || !strings.Contains(err.Error(), "vimage") || !strings.Contains(out.String(), "sysctl net.link.bridge.pfil_member=0,") {
		t.Errorf("got %v\n%s", err, out.String())
	}
	if err := checkHost(t.Context(), &out, old, "plan9"); err == nil {
		t.Error("plan9 runs no jails")
	}
}

func TestHostCheckOfThisMachineChangesNothing(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	_ = checkHost(t.Context(), &out, realHostCheck(), "linux") // whatever is missing here
	if !strings.Contains(out.String(), "nftables") {
		t.Errorf("got %s", out.String())
	}
}
