package netd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/rexcarcer/rexcarcer/internal/freebsdtest"
	"github.com/rexcarcer/rexcarcer/internal/run"
)

// bsdWorld is a modelled host and the driver on it.
type bsdWorld struct {
	host  *freebsdtest.Host
	d     *freebsd
	log   bytes.Buffer
	taken map[string]bool // "port/proto" that another program has
}

// newBSD is a host with a NIC and a default route; pf is off.
func newBSD(tb testing.TB) *bsdWorld {
	tb.Helper()
	w := &bsdWorld{host: freebsdtest.New(), taken: map[string]bool{}}
	w.host.Net.AddNIC("em0", netip.MustParsePrefix("192.0.2.2/24"), "192.0.2.1")
	w.restart(tb)
	return w
}

// restart is a daemon that knows nothing of its predecessor.
func (w *bsdWorld) restart(tb testing.TB) {
	tb.Helper()
	d, err := newFreeBSD(Options{Instance: "t1", RunDir: "/var/run/rexcarcer/t1", Runner: w.host, Log: slog.New(slog.NewTextHandler(&w.log,
		&slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))})
	if err != nil {
		tb.Fatal(err)
	}
	d.root = true
	d.relays.bind = func(p Publish) (io.Closer, error) {
		if w.taken[portKeyOf(p)] {
			return nil, fmt.Errorf("listen: %w", syscall.EADDRINUSE)
		}
		return io.NopCloser(nil), nil
	}
	w.d = d
}

// TestFreeBSDStories tells what is done on a host of FreeBSD 15.1, command by command. "state" shows what came of it.
//
//	host pf=on|off|none forward release=1402000
//	set            networks as in TestRules
//	attach         ID NAME NETWORK=ADDR...
//	detach, sweep  IDs
//	... quiet      without the commands
//	show NETWORK, list, probe, teardown, restart, state, limits
func TestFreeBSDStories(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/freebsd", func(t *testing.T, path string) {
		var w *bsdWorld
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			if td.Cmd == "host" {
				w = newBSD(t)
				w.setup(td)
				return ""
			}
			w.host.ResetCalls()
			w.log.Reset()
			out := w.tell(t, td)
			calls := strings.Join(w.host.Calls(), "\n")
			if td.HasArg("quiet") {
				calls = ""
			}
			if td.Cmd == "state" {
				return w.host.State()
			}
			if all := strings.Trim(calls+"\n"+w.log.String()+out, "\n"); all != "" {
				return all + "\n"
			}
			return ""
		})
		if w != nil && len(w.host.Net.Panics) > 0 {
			t.Error(w.host.Net.Panics)
		}
	})
}

const adminRules = "set skip on lo0\n" + AnchorLines + "pass all\n"

func (w *bsdWorld) setup(td *datadriven.TestData) {
	for _, a := range td.CmdArgs {
		switch a.Key {
		case "pf":
			switch a.Vals[0] {
			case "on":
				w.host.Net.HostRules(adminRules)
			case "bare":
				w.host.Net.HostRules("pass all\n")
			case "none":
				w.host.Net.NoPF()
			}
		case "forward":
			w.host.SetSysctl("net.inet.ip.forwarding", "1")
		case "release":
			w.host.SetSysctl("kern.osreldate", a.Vals[0])
		case "bridged":
			w.host.SetSysctl("net.link.bridge.pfil_bridge", "1")
		case "nosysv":
			w.host.Handle("jail", func(h *freebsdtest.Host, c run.Cmd, args []string) freebsdtest.Reply {
				if slices.Contains(args, "sysvmsg=new") {
					return freebsdtest.Fail(1, "jail: unknown parameter: sysvmsg")
				}
				return freebsdtest.JailCommand(h, c, args)
			})
		case "nopfos":
			w.host.Net.NoFingerprints()
		}
	}
}

// tell does one command of a story and returns what it answered.
func (w *bsdWorld) tell(t *testing.T, td *datadriven.TestData) string {
	t.Helper()
	ctx := t.Context()
	answer := func(text string, err error) string {
		if err != nil {
			return "error: " + err.Error()
		}
		return text
	}
	switch td.Cmd {
	case "set", "check":
		var c Config
		for line := range strings.Lines(td.Input) {
			c.Networks = append(c.Networks, parseNetwork(t, strings.Fields(line)))
		}
		if td.Cmd == "check" {
			return answer("", w.d.Check(ctx, c))
		}
		return answer("", w.d.Set(ctx, c))
	case "attach":
		return answer(w.d.Attach(ctx, parseJail(strings.Fields(td.Input))))
	case "detach":
		return answer("", w.d.Detach(ctx, td.Input))
	case "sweep":
		return answer("", w.d.Sweep(ctx, strings.Fields(td.Input)))
	case "show":
		v, err := w.d.Show(ctx, td.Input)
		return answer(fmt.Sprintf("%+v", v), err)
	case "list":
		ids, err := w.d.List(ctx)
		return answer(strings.Join(ids, " "), err)
	case "router":
		return answer(w.d.RouterNS(td.Input))
	case "probe":
		return answer("", w.d.Probe(ctx))
	case "teardown":
		return answer("", w.d.Teardown(ctx))
	case "limits":
		routes, err := w.d.routes(ctx, false)
		if err != nil {
			return answer("", err)
		}
		h, err := w.d.readHost(ctx, routes)
		return answer(strings.Join(h.limits(), "\n"), err)
	case "restart":
		w.restart(t)
		return ""
	case "returned": // from a jail of somebody else
		f := strings.SplitN(td.Input, " ", 2)
		w.host.Net.Stray(f[0], f[1])
		if td.HasArg("first") {
			w.host.Net.Edit(func(nics []*freebsdtest.NIC) {
				last := nics[len(nics)-1]
				copy(nics[1:], nics)
				nics[0] = last
			})
		}
		return ""
	case "stray":
		f := strings.SplitN(td.Input, " ", 2)
		w.host.Net.Stray(f[0], strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(f[1]), freebsdGroup)
		return ""
	case "taken":
		w.taken[td.Input] = true
		w.host.Net.Sockstat = "USER     COMMAND    PID   FD  PROTO  LOCAL ADDRESS         FOREIGN ADDRESS\nwww      nginx      812   6   tcp4   *:15432               *:*\n"
		return ""
	case "state":
		return ""
	}
	return answer("", errors.New("unknown command "+td.Cmd))
}

// parseJail reads "99aabbcc web alpha=10.66.0.7 beta=10.67.0.7,fd00::7".
func parseJail(f []string) NSConfig {
	c := NSConfig{ID: f[0], Name: f[1]}
	for i, p := range f[2:] {
		network, addrs, _ := strings.Cut(p, "=")
		four, six, _ := strings.Cut(addrs, ",")
		port := Port{Network: network, NIC: i, Addr: netip.MustParseAddr(four)}
		if six != "" {
			port.Addr6 = netip.MustParseAddr(six)
		}
		c.Ports = append(c.Ports, port)
	}
	return c
}
