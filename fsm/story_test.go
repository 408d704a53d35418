package fsm

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/rexcarcer/rexcarcer/spec"
)

// TestStories runs testdata/story: a command, ----, the events that it made.
// Rewrite with: go test ./fsm -run TestStories -rewrite
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/story", func(t *testing.T, path string) {
		l := newLog(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			l.tb = t
			before, beforeHash := l.s, l.s.Hash()
			out := l.tell(d)
			if before.Hash() != beforeHash {
				t.Fatalf("%s: %s changed the State that it was given", d.Pos, d.Cmd)
			}
			checkInvariants(t, l.s)
			return out
		})
	})
}

func (l *log) tell(d *datadriven.TestData) string {
	word := func(i int) string {
		if i >= len(d.CmdArgs) {
			d.Fatalf(l.tb.(*testing.T), "%s wants more words", d.Cmd)
		}
		return d.CmdArgs[i].Key
	}
	opt := func(key, or string) string {
		for _, a := range d.CmdArgs {
			if a.Key == key && len(a.Vals) == 1 {
				return a.Vals[0]
			}
		}
		return or
	}
	seq := func(j string) uint64 {
		if s := opt("seq", ""); s != "" {
			return uint64(number(s))
		}
		return l.s.NextSeq(JailName(j)) - 1
	}
	switch d.Cmd {
	case "pass":
		dur, err := time.ParseDuration(word(0))
		if err != nil {
			return err.Error()
		}
		l.now += Time(dur)
		return ""
	case "show":
		return l.show(word(0))
	case "host":
		h := host(word(0))
		h.Host.Capacity = Resources{MilliCPU: number(opt("cpu", "4000")), MemoryBytes: number(opt("mem", "8589934592")), Jails: number(opt("jails", "0"))}
		return l.told(h)
	case "apply":
		return l.told(ApplyWish{Wish: readWish(word(0), opt("domain", ""), d.Input), Base: uint64(number(opt("base", "0")))})
	case "destroy":
		return l.told(DestroyWish{Name: word(0), Base: uint64(number(opt("base", "0")))})
	case "want":
		return l.told(WantJail{JailName(word(0)), Want(word(1))})
	case "restart":
		return l.told(RestartJail{JailName(word(0))})
	case "place":
		s := uint64(number(opt("seq", "0")))
		if s == 0 {
			s = l.s.NextSeq(JailName(word(0)))
		}
		return l.told(PlaceJail{Jail: JailName(word(0)), Host: HostID(word(1)), Seq: s, Why: "story"})
	case "stop":
		return l.told(StopRun{JailName(word(0)), seq(word(0)), opt("why", "story"), JailName(opt("for", ""))})
	case "report":
		return l.told(ReportRun{
			Jail: JailName(word(0)), Host: HostID(word(1)), Seq: seq(word(0)), Phase: phaseOf(word(2)),
			Health: Health(opt("health", "")), Reason: opt("reason", ""), Exit: exitOf(opt("exit", "")),
		})
	case "mark":
		return l.told(MarkHost{HostID(word(0)), HostState(word(1)), opt("why", ""), Time(number(opt("fence", "0"))), opt("over", "") != "", nil})
	case "alarm":
		return l.told(ReportAlarm{HostID(word(0)), opt("name", "clock"), opt("text", "")})
	case "token":
		uses, ttl := opt("uses", "1"), opt("ttl", "1h")
		life, err := time.ParseDuration(ttl)
		if err != nil {
			return err.Error()
		}
		return l.told(CreateToken{word(0), bytes.Repeat([]byte{1}, 32), opt("role", RoleServer), int(number(uses)), l.now.Add(life)})
	case "revoke":
		return l.told(RevokeToken{word(0)})
	case "admit":
		return l.told(AdmitHost{word(0), HostID(word(1)), opt("name", "name-"+word(1)), opt("role", RoleServer), opt("peer", "10.0.0.1:7370"), strings.Repeat(opt("key", "ab"), 32)})
	case "knocked":
		return l.told(ReportJoin{word(0), "10.0.0.9:1234", opt("why", "it has expired")})
	case "label":
		return l.told(LabelHost{Host: HostID(word(0)), Set: labels(opt("set", "")), Remove: fields(opt("remove", ""))})
	case "remove":
		return l.told(RemoveHost{Host: HostID(word(0)), Force: opt("force", "") != "", Why: opt("why", "")})
	case "overlay":
		cmd := ReportOverlay{HostID(word(0)), testOverlayKey(int(number(word(1)))), "", opt("at", "10.0.0.1:51820"), opt("device", "userspace")}
		if next := opt("next", ""); next != "" {
			cmd.Next = testOverlayKey(int(number(next)))
		}
		return l.told(cmd)
	case "rekey":
		return l.told(RekeyHost{HostID(word(0))})
	case "gossip":
		return l.told(RotateGossip{bytes.Repeat([]byte{byte(number(word(0)))}, int(number(opt("bytes", "32"))))})
	case "generation":
		return l.told(RaiseGeneration{uint64(number(word(0))), "story"})
	case "csr":
		return l.told(RequestCert{JailName(word(0)), HostID(word(1)), seq(word(0)), []byte(word(2))})
	case "cert":
		cmd := SetCert{JailName(word(0)), seq(word(0)), word(1), word(1), l.now.Add(time.Hour), nil, opt("ca", "")}
		if host := opt("host", ""); host != "" { // signed without a CSR in the log, for the names of now or another
			cert, _ := l.s.Certs.Get(word(0))
			cmd.Of = &CertOf{HostID(host), cert.Names, cert.Addrs, cert.URI}
			if name := opt("name", ""); name != "" {
				cmd.Of.Names = []string{name}
			}
		}
		return l.told(cmd)
	case "move", "cancel-move", "step", "volume":
		return l.tellMove(d.Cmd, word, opt)
	case "tag":
		return l.told(TagImage{spec.Image{Name: word(0), Key: testKey(int(number(word(1)))), Base: "debian:bookworm"}})
	case "untag":
		return l.told(UntagImage{word(0)})
	case "trust":
		return l.told(testSigner(word(0)))
	case "untrust":
		return l.told(UntrustSigner{testSigner(word(0)).Signer.Fingerprint})
	case "pin":
		c := testPin(uint64(number(word(1))))
		c.Base.Ref, c.Downgrade = word(0), opt("downgrade", "") != ""
		if key := opt("digest", ""); key != "" {
			c.Base.Digest = testKey(int(number(key)))
		}
		if created := opt("created", ""); created != "" {
			c.Base.Created = Time(number(created))
		}
		return l.told(c)
	case "unpin":
		return l.told(UnpinBase{word(0)})
	case "refuse":
		return l.told(RefuseBase{word(0), HostID(word(1)), word(2), opt("text", "")})
	case "lease", "end":
		return l.tellGuest(d.Cmd, word, opt)
	case "build":
		return l.told(ReportBuild{Key: testKey(int(number(word(0)))), Host: HostID(word(1)), Bytes: number(opt("bytes", "0")), Gone: opt("gone", "") != ""})
	}
	return "unknown command " + d.Cmd
}

func (l *log) told(c Command) string {
	events, err := l.apply(c)
	if r, ok := err.(*Refusal); ok {
		return fmt.Sprintf("refused, %s: %v", r.Code, r)
	}
	if len(events) == 0 {
		return "nothing to do"
	}
	var b strings.Builder
	for _, h := range events {
		fmt.Fprintf(&b, "%s %s", h.Event.Kind(), h.Event.Object())
		if why := h.Event.Why(); why != "" {
			fmt.Fprintf(&b, ": %s", why)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (l *log) show(what string) string {
	var b strings.Builder
	switch what {
	case "leases":
		for _, x := range l.s.Leases.All {
			fmt.Fprintf(&b, "%s %s %s jail=%s last=%s\n", x.Network, x.Addr, x.MAC, x.Jail, x.Last)
		}
	case "guests":
		for _, g := range l.s.Guests.All {
			fmt.Fprintf(&b, "%s %s client=%q name=%q live=%v\n", g.Network, g.Addr, g.Client, g.Hostname, g.Live())
		}
	case "records":
		for _, r := range l.s.Records.All {
			fmt.Fprintf(&b, "%s %d %s\n", r.Name, r.TTL, r.answer())
		}
	case "jails":
		for name, j := range l.s.Jails.All {
			fmt.Fprintf(&b, "%s want=%s hash=%.8s key=..%s addrs=%d old=%d\n", name, j.Want, j.Hash, j.Spec.ImageKey[max(0, len(j.Spec.ImageKey)-4):], len(j.Addrs), len(j.OldAddrs))
		}
	case "runs":
		for name, r := range l.s.Runs.All {
			fmt.Fprintf(&b, "%s %d on %s: %s, %s, total=%d stop=%q\n", name, r.Seq, r.Host, r.Phase, r.Health, r.Total, r.StopWhy)
		}
	case "alarms":
		for _, h := range l.s.Hosts.All {
			for _, a := range h.Alarms {
				fmt.Fprintf(&b, "%s %s since %s: %s\n", h.Name, a.Name, a.Since.Time().Format("15:04:05"), a.Text)
			}
		}
	case "hosts":
		for id, h := range l.s.Hosts.All {
			fmt.Fprintf(&b, "%s %s %s %s peer=%q labels=%v\n", id, h.Name, h.Role, h.State, h.Peer, h.Labels)
		}
		for id, d := range l.s.Denied.All {
			fmt.Fprintf(&b, "denied %s %s\n", id, d.Name)
		}
	case "tokens":
		for id, k := range l.s.Tokens.All {
			fmt.Fprintf(&b, "%s %s %d of %d %v %q\n", id, k.Role, len(k.Uses), k.Max, k.Uses, k.Usable(l.s.Now))
		}
	case "bases":
		for ref, x := range l.s.Bases.All {
			fmt.Fprintf(&b, "%s version %d ..%s by %s\n", ref, x.Version, x.Digest[len(x.Digest)-2:], x.SignedBy)
		}
		for _, x := range l.s.Signers.All {
			fmt.Fprintf(&b, "signer %s trusted by %s\n", x.Name, x.TrustedBy)
		}
	case "moves":
		l.showMoves(&b)
	case "cluster":
		fmt.Fprintf(&b, "generation %d, newest gossip key %.4s\n", l.s.Cluster.Generation, l.s.Cluster.GossipKeys[0])
	case "groups":
		for name, g := range l.s.Groups.All {
			healthy, total := l.s.GroupHealthy(name)
			fmt.Fprintf(&b, "%s %v %d/%d\n", name, g.Jails, healthy, total)
		}
	case "load":
		for h, r := range l.s.Load.All {
			fmt.Fprintf(&b, "%s %+v\n", h, r)
		}
	case "certs":
		for name, c := range l.s.Certs.All {
			fmt.Fprintf(&b, "%s %s %v csr=%q serial=%q stale=%v\n", name, c.URI, c.Addrs, c.CSR, c.Serial, c.Stale)
		}
	case "networks":
		for name, n := range l.s.Networks.All {
			fmt.Fprintf(&b, "%s %s gateway=%s host=%s id=%s gone=%v\n", name, n.subnets(), n.Gateway, n.HostAddr, n.ID, n.Gone)
		}
	case "index":
		fmt.Fprintf(&b, "index=%d plan=%d records=%d\n", l.s.Index, l.s.PlanIndex, l.s.RecordsIndex)
	}
	return b.String()
}

// readWish reads lines such as
//
//	network NAME SUBNET [SUBNET6]
//	image NAME NUMBER
//	jail NAME[*COUNT] image=I net=N[@ADDR],N2 svc=NAME:PORT env=K=V mem=BYTES hostname=H volume=NAME
func readWish(name, domain, text string) spec.Wish {
	w := spec.Wish{Name: name, Domain: domain}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch f[0] {
		case "network":
			n := spec.Network{Name: f[1], Subnet: netip.MustParsePrefix(f[2])}
			if len(f) > 3 {
				n.Subnet6 = netip.MustParsePrefix(f[3])
			}
			w.Networks = append(w.Networks, n)
		case "dhcp":
			n := &w.Networks[len(w.Networks)-1]
			n.DHCP = &spec.DHCP{}
			for _, text := range f[1:] {
				r, err := spec.ParseAddrRange(text)
				if err != nil {
					panic(err)
				}
				n.DHCP.Ranges = append(n.DHCP.Ranges, r)
			}
		case "publish":
			n := &w.Networks[len(w.Networks)-1]
			n.Publish = append(n.Publish, spec.Publish{Name: f[1], Port: uint16(number(f[2])), Service: f[1], Shared: len(f) > 3 && f[3] == "shared"})
		case "image":
			w.Images = append(w.Images, spec.Image{Name: f[1], Key: testKey(int(number(f[2]))), Base: "debian:bookworm"})
		case "jail":
			w.Jails = append(w.Jails, readJails(f[1], f[2:])...)
		}
	}
	w.Normalize()
	return w
}

func readJails(name string, args []string) []spec.Jail {
	name, count, counted := strings.Cut(name, "*")
	n := 1
	if counted {
		n = int(number(count))
	}
	var all []spec.Jail
	for i := range n {
		j := spec.Jail{Name: name, Group: name, Replicas: n, Image: "base", Command: []string{"serve"}}
		if counted {
			j.Name, j.Index = fmt.Sprintf("%s-%d", name, i+1), i+1
		}
		for _, a := range args {
			readJailArg(&j, a)
		}
		all = append(all, j)
	}
	return all
}

func readJailArg(j *spec.Jail, a string) {
	k, v, _ := strings.Cut(a, "=")
	switch k {
	case "image":
		j.Image = v
	case "net":
		for nic := range strings.SplitSeq(v, ",") {
			net, addr, fixed := strings.Cut(nic, "@")
			n := spec.NIC{Network: net}
			if fixed {
				n.Addr = netip.MustParseAddr(addr)
			}
			j.NICs = append(j.NICs, n)
		}
	case "svc":
		svc, port, _ := strings.Cut(v, ":")
		j.Services = append(j.Services, spec.Service{Name: svc, Port: uint16(number(port))})
	case "env":
		key, val, _ := strings.Cut(v, "=")
		j.Env = append(j.Env, spec.EnvVar{Name: key, Value: val})
	case "mem":
		j.Limits.MemoryBytes = number(v)
	case "hostname":
		j.Hostname = v
	case "priority":
		j.Place.Priority = int(number(v))
	case "volume":
		j.Volumes = append(j.Volumes, spec.Volume{Name: v, Path: "/" + v})
	}
}

func fields(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ';' })
}

func labels(s string) map[string]string {
	out := map[string]string{}
	for _, f := range fields(s) {
		k, v, _ := strings.Cut(f, ":")
		out[k] = v
	}
	return out
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func phaseOf(s string) Phase {
	for p, name := range phaseNames {
		if name == s && name != "" {
			return Phase(p)
		}
	}
	return 0
}

func exitOf(s string) *Exit {
	if s == "" {
		return nil
	}
	return &Exit{Known: true, Code: int(number(s))}
}
