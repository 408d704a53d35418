package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func certCommand() *cli.Command {
	return &cli.Command{Name: "cert", Usage: "certificates: ls, show", Subcommands: []*cli.Command{
		{
			Name: "ls", Usage: "list the jails' certificates",
			Action: asking(0, 0, func(c *cli.Context, a *api.Client) ([]api.CertRow, error) { return a.Certs(c.Context) }, listCerts),
		},
		{
			Name: "show", Usage: "a jail's certificate and its PEM", ArgsUsage: "JAIL",
			Action: asking(1, 1, func(c *cli.Context, a *api.Client) (api.CertRow, error) { return a.Cert(c.Context, c.Args().First()) }, showCert),
		},
	}}
}

func listCerts(c *cli.Context, rows []api.CertRow) error {
	return list(c, rows, func(r api.CertRow) string { return r.Jail }, []column[api.CertRow]{
		{title: "JAIL", get: func(r api.CertRow) string { return r.Jail }},
		{title: "STATE", get: func(r api.CertRow) string { return r.State }},
		{title: "NOT AFTER", get: func(r api.CertRow) string { return clock(r.NotAfter) }},
		{title: "SERIAL", get: func(r api.CertRow) string { return r.Serial }},
		{title: "NAME", get: func(r api.CertRow) string {
			if len(r.Names) == 0 {
				return ""
			}
			return r.Names[0]
		}},
		{title: "URI", wide: true, get: func(r api.CertRow) string { return r.URI }},
	})
}

func showCert(c *cli.Context, r api.CertRow) error {
	if structured(c) {
		return document(c, r)
	}
	e := envOf(c)
	err := pairs(e, [][2]string{
		{"Jail", r.Jail}, {"State", r.State}, {"Serial", r.Serial}, {"Not after", clock(r.NotAfter)},
		{"Names", strings.Join(r.Names, "\n")}, {"Addresses", strings.Join(r.Addrs, "\n")}, {"URI", r.URI},
	})
	if err != nil || r.PEM == "" {
		return err
	}
	_, err = io.WriteString(e.stdout, strings.TrimRight(cleanLines(r.PEM), "\n")+"\n")
	return err
}

func hostCommand() *cli.Command {
	return &cli.Command{Name: "host", Usage: "hosts: ls, show, drain, undrain, label, rekey, rm", Subcommands: append([]*cli.Command{
		{
			Name: "ls", Usage: "list hosts",
			Action: asking(0, 0, func(c *cli.Context, a *api.Client) ([]api.HostRow, error) { return a.Hosts(c.Context) }, listHosts),
		},
		{
			Name: "show", Usage: "all about a host", ArgsUsage: "HOST",
			Action: asking(1, 1, lookAtHost, showHost),
		},
	}, hostChanges()...)}
}

func listHosts(c *cli.Context, rows []api.HostRow) error {
	return list(c, rows, func(r api.HostRow) string { return r.Name }, []column[api.HostRow]{
		{title: "NAME", get: func(r api.HostRow) string { return r.Name }},
		{title: "ROLE", get: func(r api.HostRow) string { return r.Role }},
		{title: "LEADER", get: func(r api.HostRow) string { return yes(r.Leader) }},
		{title: "VOTER", wide: true, get: func(r api.HostRow) string { return yes(r.Voter) }},
		{title: "STATE", get: func(r api.HostRow) string { return r.State }, mood: func(r api.HostRow) mood {
			switch r.State {
			case "alive":
				return good
			case "lost":
				return bad
			}
			return warning
		}},
		{title: "OS", get: func(r api.HostRow) string { return r.OS + "/" + r.Arch }},
		{title: "RUNTIME", get: func(r api.HostRow) string { return cell(r.Runtime, false) }},
		{title: "JAILS", get: func(r api.HostRow) string { return fmt.Sprint(r.Jails) }},
		{title: "INDEX", get: func(r api.HostRow) string { return fmt.Sprint(r.AppliedIndex) }},
		{title: "ID", wide: true, get: func(r api.HostRow) string { return string(r.ID) }},
		{title: "ADDR", wide: true, get: func(r api.HostRow) string { return r.Addr }},
		{title: "VERSION", wide: true, get: func(r api.HostRow) string { return r.Version }},
	})
}

func showHost(c *cli.Context, r hostShown) error {
	if structured(c) {
		return document(c, r.HostRow)
	}
	kv := [][2]string{
		{"Name", r.Name}, {"ID", string(r.ID)}, {"Role", r.Role}, {"Leader", yes(r.Leader)}, {"Voter", yes(r.Voter)}, {"State", r.State}, {"System", r.OS + "/" + r.Arch},
		{"Runtime", r.Runtime}, {"Version", r.Version}, {"Address", r.Addr}, {"Applied index", fmt.Sprint(r.AppliedIndex)},
		{"Jails", fmt.Sprint(r.Jails)}, {"CPU", used(float64(r.Used.MilliCPU)/1000, float64(r.Capacity.MilliCPU)/1000)},
		{"Memory", size(r.Used.MemoryBytes) + " reserved of " + size(r.Capacity.MemoryBytes)}, {"Seen", clock(r.SeenAt)},
	}
	if o := r.Overlay; o != nil {
		device := o.Device
		if device == "" {
			device = "no device yet: there is no other host"
		}
		kv = append(kv, [2]string{"Overlay", fmt.Sprintf("%s at %s (%s)", o.Address, o.Endpoint, device)}, [2]string{"Overlay key", o.Key + " since " + clock(o.KeyAt)})
	}
	kv = append(append(kv, clockLines(r.time)...), alarms(r.Alarms, false)...)
	for _, t := range r.streams {
		kv = append(kv, [2]string{"Stream", streamLine(t)})
	}
	kv = append(kv, sorted("Label", r.Labels)...)
	return pairs(envOf(c), append(kv, sorted("Feature", r.Features)...))
}

// clockLines tell how right a host's clock is.
func clockLines(r *api.ClockRow) (kv [][2]string) {
	if r == nil {
		return nil
	}
	switch r.Leader {
	case "":
	case r.Host:
		kv = append(kv, [2]string{"Clock", "it leads: others are compared with it"})
	default:
		way := "ahead of"
		if r.Ahead < 0 {
			way = "behind"
		}
		kv = append(kv, [2]string{"Clock", fmt.Sprintf("%s %s the leader %s, within %s", r.Ahead.Abs().Round(100*time.Microsecond), way, r.Leader, r.Within.Round(100*time.Microsecond))})
	}
	switch c := r.Chrony; {
	case c == nil:
	case c.Error != "":
		kv = append(kv, [2]string{"Chrony", c.Error})
	default:
		kv = append(kv, [2]string{"Chrony", fmt.Sprintf("%s, stratum %d, source %s, off by %s", c.Leap, c.Stratum, cmp.Or(c.Source, "none"), c.Offset)})
	}
	return kv
}

func used(have, of float64) string { return fmt.Sprintf("%g reserved of %g", have, of) }

func sorted(title string, m map[string]string) [][2]string {
	var out [][2]string
	for k, v := range m {
		text := k
		if v != "" {
			text += " = " + v
		}
		out = append(out, [2]string{title, text})
	}
	slices.SortFunc(out, func(a, b [2]string) int { return compare(a[1], b[1]) })
	return out
}

func versionCommand() *cli.Command {
	return &cli.Command{Name: "version", Usage: "of rexctl and of the daemon", Action: showVersion}
}

func showVersion(c *cli.Context) error {
	type both struct {
		Client string       `json:"client"`
		Server *api.Version `json:"server"` // null: no daemon answered
	}
	out := both{Client: version}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	v, serverErr := client.Version(c.Context)
	if serverErr == nil {
		out.Server = &v
	}
	if structured(c) {
		return document(c, out)
	}
	server := "no answer"
	if out.Server != nil {
		server = v.Version + " (" + v.Go + ", " + v.OS + "/" + v.Arch + ")"
	}
	return pairs(envOf(c), [][2]string{{"rexctl", version}, {"rexcarcer", server}})
}
