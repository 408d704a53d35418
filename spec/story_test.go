package spec

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// The stories in testdata read as: files are laid down (rex), then parsed,
// and what comes out is the Wish in short, or what the user sees.
//
//	rex FILE               a .rex file that later commands can read
//	parse [var=(a=1,b=2)]  Parse; prints the Wish or the diagnostics
//	apply FILE             ParseRexWish
//	ini FILE               ParseINI
//	convert FILE           ConvertINI
//	image FILE             ParseRex
//	fmt [name=FILE]        Format
//	constraint             ParseConstraint of each line
func TestStories(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"testdata/valid", "testdata/invalid"} {
		datadriven.Walk(t, dir, func(t *testing.T, path string) {
			files := make(map[string]string)
			datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
				return tell(t, files, td)
			})
		})
	}
}

func tell(t *testing.T, files map[string]string, td *datadriven.TestData) string {
	t.Helper()
	in := testInputs(files)
	name := "cluster.hcl"
	if len(td.CmdArgs) > 0 && len(td.CmdArgs[0].Vals) == 0 {
		name = td.CmdArgs[0].Key
	}
	for _, a := range td.CmdArgs {
		switch a.Key {
		case "var":
			in.Vars = make(map[string]string)
			for _, v := range a.Vals {
				k, val, _ := strings.Cut(v, "=")
				in.Vars[k] = val
			}
		case "known":
			for _, v := range a.Vals {
				in.Networks = append(in.Networks, knownNetwork(t, v))
			}
		case "images":
			in.Images = a.Vals
		}
	}
	src := []byte(td.Input)
	switch td.Cmd {
	case "rex":
		files[name] = td.Input + "\n"
		return ""
	case "parse":
		return outcome(Parse(name, src, in))
	case "apply":
		return outcome(ParseRexWish(name, src, in))
	case "ini":
		return outcome(ParseINI(name, src, in))
	case "convert":
		out, diags := ConvertINI(name, src, in)
		return diags.Format(nil, false) + string(out)
	case "image":
		m, diags := ParseRex(name, src, in)
		if m == nil {
			return diags.Format(nil, false)
		}
		return imageInShort(m)
	case "fmt":
		out, err := Format(name, src)
		if err != nil {
			return err.Error()
		}
		return string(out)
	case "constraint":
		return constraintStory(td.Input)
	}
	t.Fatalf("%s: unknown command %q", td.Pos, td.Cmd)
	return ""
}

func knownNetwork(t *testing.T, s string) KnownNetwork {
	t.Helper()
	part := strings.Fields(strings.ReplaceAll(s, "|", " "))
	return KnownNetwork{Name: part[0], Subnet: mustPrefix(part[1]), Wish: part[2]}
}

func outcome(w *Wish, diags Diagnostics) string {
	if w == nil {
		return diags.Format(nil, false)
	}
	if err := w.Validate(); err != nil {
		return "Validate disagrees with Parse: " + err.Error()
	}
	if err := w.VerifyKeys(); err != nil {
		return err.Error()
	}
	return diags.Format(nil, false) + wishInShort(w)
}

func wishInShort(w *Wish) string {
	var b strings.Builder
	fmt.Fprintf(&b, "wish %s domain=%s\n", w.Name, w.Domain)
	for _, k := range w.SSHKeys {
		fmt.Fprintf(&b, "ssh key %s\n", k)
	}
	for _, n := range w.Networks {
		fmt.Fprintf(&b, "network %s %s", n.Name, n.Subnet)
		if n.Subnet6.IsValid() {
			fmt.Fprintf(&b, " %s", n.Subnet6)
		}
		if n.NAT {
			b.WriteString(" nat")
		}
		for _, p := range n.Publish {
			fmt.Fprintf(&b, " publish=%d/%s->%s", p.Port, orTCP(p.Proto), p.Service)
			if p.Mode != "" || p.Shared || p.Drain != 0 {
				fmt.Fprintf(&b, "(mode=%q shared=%v drain=%v)", p.Mode, p.Shared, p.Drain)
			}
		}
		if len(n.Allow) > 0 {
			fmt.Fprintf(&b, " allow=%v", n.Allow)
		}
		for _, o := range n.Open {
			fmt.Fprintf(&b, " allow=%s%v", o.From, o.Ports)
		}
		b.WriteByte('\n')
	}
	for i := range w.Images {
		b.WriteString(imageInShort(&w.Images[i]))
	}
	for i := range w.Jails {
		b.WriteString(jailInShort(&w.Jails[i]))
	}
	return b.String()
}

func imageInShort(m *Image) string {
	var b strings.Builder
	fmt.Fprintf(&b, "image %s base=%s", m.Name, m.Base)
	if m.Host != "" {
		fmt.Fprintf(&b, " hostname=%s", m.Host)
	}
	if m.Addr.IsValid() {
		fmt.Fprintf(&b, " ip=%s", m.Addr)
	}
	for _, s := range m.Service {
		fmt.Fprintf(&b, " service=%s:%d/%s", s.Name, s.Port, orTCP(s.Proto))
	}
	for _, v := range m.Volumes {
		fmt.Fprintf(&b, " volume=%s", v)
	}
	if len(m.Command) > 0 {
		fmt.Fprintf(&b, " cmd=%q", m.Command)
	}
	if m.SSH {
		b.WriteString(" ssh")
	}
	b.WriteByte('\n')
	for _, s := range m.Steps {
		fmt.Fprintf(&b, "  %d %s %s%s%s%s\n", s.Line, s.Kind, s.Run, strings.Join(s.Src, " "), arrow(s.Dst), envInShort(s.Env)+ownedBy(s.Owner))
	}
	return b.String()
}

func arrow(dst string) string {
	if dst == "" {
		return ""
	}
	return " -> " + dst
}

func ownedBy(owner string) string {
	if owner == "" {
		return ""
	}
	return " owner=" + owner
}

func envInShort(env []EnvVar) string {
	parts := make([]string, len(env))
	for i, e := range env {
		parts[i] = fmt.Sprintf("%s=%q", e.Name, e.Value)
	}
	return strings.Join(parts, " ")
}

func jailInShort(j *Jail) string {
	var b strings.Builder
	fmt.Fprintf(&b, "jail %s %d/%d image=%s", j.Name, j.Index, j.Replicas, j.Image)
	if j.Hostname != "" {
		fmt.Fprintf(&b, " hostname=%s", j.Hostname)
	}
	for _, n := range j.NICs {
		fmt.Fprintf(&b, " nic=%s", n.Network)
		if n.Addr.IsValid() {
			fmt.Fprintf(&b, "/%s", n.Addr)
		}
		if n.Addr6.IsValid() {
			fmt.Fprintf(&b, "/%s", n.Addr6)
		}
	}
	b.WriteByte('\n')
	line := func(format string, args ...any) { fmt.Fprintf(&b, "  "+format+"\n", args...) }
	if len(j.Command) > 0 {
		line("command %q", j.Command)
	}
	if len(j.Env) > 0 {
		line("env %s", envInShort(j.Env))
	}
	for _, s := range j.Services {
		line("service %s %d/%s %s", s.Name, s.Port, orTCP(s.Proto), checkInShort(s.Check))
	}
	for _, v := range j.Volumes {
		line("volume %s %s quota=%s source=%q ro=%v", v.Name, v.Path, FormatSize(v.QuotaBytes), v.Source, v.ReadOnly)
		if v.Snapshot {
			line("  snapshot before change")
		}
	}
	if j.Limits != (Limits{}) {
		line("limits %+v", j.Limits)
	}
	if len(j.Depends) > 0 {
		line("depends %v", j.Depends)
	}
	if r := j.Restart; r != (Restart{"always", DefaultBackoff, DefaultMaxBackoff, 0}) {
		line("restart %+v", r)
	}
	if j.Update != (Update{MaxParallel: 1}) {
		line("update %+v", j.Update)
	}
	if p := fmt.Sprintf("%+v", j.Place); p != fmt.Sprintf("%+v", Placement{}) {
		line("placement %s", p)
	}
	if j.Ephemeral {
		line("ephemeral")
	}
	if j.Socket {
		line("socket")
	}
	if j.User+j.WorkDir+j.Runtime+j.OS+j.Arch != "" || j.Stop != DefaultStopTimeout {
		line("user=%s workdir=%s runtime=%s os=%s arch=%s stop=%v", j.User, j.WorkDir, j.Runtime, j.OS, j.Arch, j.Stop)
	}
	return b.String()
}

func checkInShort(k *Check) string {
	if k == nil {
		return "no check"
	}
	return fmt.Sprintf("check=%+v", *k)
}

// constraintHost is the host that constraint stories are about.
var constraintHost = map[string]string{
	"os": "linux", "arch": "amd64", "host": "db-1", "cpu": "8", "memory": "17179869184",
	"label.rack": "r1", "label.ssd": "true", "label.gpu": "false",
}

func constraintStory(input string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(input, "\n") {
		a, err := ParseAffinity(line)
		if err != nil {
			fmt.Fprintf(&b, "%v\n", err)
			continue
		}
		holds := a.Eval(func(name string) (string, bool) { v, ok := constraintHost[name]; return v, ok })
		fmt.Fprintf(&b, "%s: %v keys=%v weight=%d\n", a, holds, a.Keys(), a.Weight)
	}
	return b.String()
}
