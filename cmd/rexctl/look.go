package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

// asking makes an action of what a command asks and how it prints the answer.
func asking[T any](least, most int, ask func(*cli.Context, *api.Client) (T, error), show func(*cli.Context, T) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := wantArgs(c, least, most); err != nil {
			return err
		}
		client, err := connect(c)
		if err != nil {
			return err
		}
		defer client.Close()
		answer, err := ask(c, client)
		if err != nil {
			return err
		}
		return show(c, answer)
	}
}

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "the cluster in one screen",
		Action: asking(0, 0, func(c *cli.Context, a *api.Client) (api.Status, error) { return a.Status(c.Context) }, showStatus),
	}
}

func showStatus(c *cli.Context, s api.Status) error {
	if structured(c) {
		return document(c, s)
	}
	host := s.HostName
	if s.Simulated {
		host += " (simulated: its jails are not real)"
	}
	jails := fmt.Sprintf("%d, %d running, %d healthy", s.Jails.Total, s.Jails.Running, s.Jails.Healthy)
	for _, part := range []struct {
		n    int
		word string
	}{{s.Jails.Unhealthy, "unhealthy"}, {s.Jails.Pending, "pending"}, {s.Jails.Failed, "failed"}, {s.Jails.Stopped, "stopped"}} {
		if part.n > 0 {
			jails += fmt.Sprintf(", %d %s", part.n, part.word)
		}
	}
	if s.CALocked {
		host += ", its CA keys are locked: rexctl ca unlock"
	}
	kv := [][2]string{
		{"Cluster", s.ClusterID}, {"Domain", s.Domain}, {"Host", host}, {"Runtime", s.Runtime}, {"Version", s.Version},
		{"Index", fmt.Sprint(s.Index)}, {"Hosts", fmt.Sprintf("%d, %d alive", s.Hosts.Total, s.Hosts.Alive)}, {"Jails", jails},
		{"Networks", fmt.Sprint(s.Networks)}, {"Images", fmt.Sprint(s.Images)}, {"Leases", fmt.Sprint(s.Leases)}, {"DNS records", fmt.Sprint(s.Records)},
		{"Applied", strings.Join(s.Wishes, ", ")},
	}
	return pairs(envOf(c), append(kv, alarms(s.Alarms, true)...))
}

// alarms are what a person has to see to, for pairs.
func alarms(rows []api.AlarmRow, host bool) (kv [][2]string) {
	for _, a := range rows {
		text := a.Name + ": " + a.Text + " (since " + clock(a.Since) + ")"
		if host {
			text = "host " + a.Host + ": " + text
		}
		kv = append(kv, [2]string{"ALARM", text})
	}
	return kv
}

func dnsCommand() *cli.Command {
	return &cli.Command{Name: "dns", Usage: "names: query, ls, export", Subcommands: []*cli.Command{
		{Name: "query", Usage: "ask the host's DNS server", ArgsUsage: "NAME|ADDRESS [TYPE]", Action: asking(1, 2, queryDNS, showAnswer)},
		{
			Name: "ls", Usage: "list the records that are served", ArgsUsage: "[NETWORK]",
			Action: asking(0, 1, func(c *cli.Context, a *api.Client) ([]api.RecordRow, error) {
				return a.Records(c.Context, c.Args().First())
			}, listRecords),
		},
		dnsExportCommand(),
	}}
}

func queryDNS(c *cli.Context, a *api.Client) (api.DNSAnswer, error) {
	return a.QueryDNS(c.Context, c.Args().Get(0), c.Args().Get(1))
}

// showAnswer prints an answer as a zone file has it; no such name is exit 1.
func showAnswer(c *cli.Context, a api.DNSAnswer) error {
	rows := a.Answers
	var err error
	if structured(c) {
		err = document(c, a)
	} else {
		err = list(c, rows, func(r api.DNSRecord) string { return r.Data }, []column[api.DNSRecord]{
			{title: "NAME", get: func(r api.DNSRecord) string { return r.Name }},
			{title: "TTL", get: func(r api.DNSRecord) string { return fmt.Sprint(r.TTL) }},
			{title: "TYPE", get: func(r api.DNSRecord) string { return r.Type }},
			{title: "DATA", get: func(r api.DNSRecord) string { return r.Data }},
		})
	}
	if err != nil {
		return err
	}
	if a.Rcode != "NOERROR" {
		return fmt.Errorf("%s %s: %s\n  try: rexctl dns ls", safe(a.Name), safe(a.Type), a.Rcode)
	}
	if len(rows) == 0 {
		return fmt.Errorf("%s %s: the name exists, but has no such record\n  try: rexctl dns ls", safe(a.Name), safe(a.Type))
	}
	return nil
}

func listRecords(c *cli.Context, rows []api.RecordRow) error {
	return list(c, rows, func(r api.RecordRow) string { return r.Name }, []column[api.RecordRow]{
		{title: "NAME", get: func(r api.RecordRow) string { return r.Name }},
		{title: "TYPE", get: func(r api.RecordRow) string { return r.Type }},
		{title: "TTL", get: func(r api.RecordRow) string { return fmt.Sprint(r.TTL) }},
		{title: "DATA", get: func(r api.RecordRow) string { return r.Data }},
		{title: "JAIL", get: func(r api.RecordRow) string { return r.Jail }},
		{title: "SERVICE", get: func(r api.RecordRow) string { return r.Service }},
		{title: "NETWORK", wide: true, get: func(r api.RecordRow) string { return r.Network }},
	})
}

func serviceCommand() *cli.Command {
	return &cli.Command{Name: "service", Usage: "services: ls", Subcommands: []*cli.Command{{
		Name: "ls", Usage: "list services and their members", ArgsUsage: "[NETWORK]",
		Action: asking(0, 1, func(c *cli.Context, a *api.Client) ([]api.ServiceRow, error) {
			return a.Services(c.Context, c.Args().First())
		}, listServices),
	}}}
}

func listServices(c *cli.Context, rows []api.ServiceRow) error {
	members := func(r api.ServiceRow) string {
		out := make([]string, len(r.Members))
		for i, m := range r.Members {
			out[i] = m.Jail
			if a, err := netip.ParseAddrPort(m.Address); err == nil {
				out[i] += "=" + a.String()
			}
		}
		return strings.Join(out, ",")
	}
	return list(c, rows, func(r api.ServiceRow) string { return r.Name }, []column[api.ServiceRow]{
		{title: "NAME", get: func(r api.ServiceRow) string { return r.Name }},
		{title: "NETWORK", get: func(r api.ServiceRow) string { return r.Network }},
		{title: "PORT", get: func(r api.ServiceRow) string { return fmt.Sprintf("%d/%s", r.Port, r.Proto) }},
		{title: "HEALTHY", get: func(r api.ServiceRow) string { return fmt.Sprintf("%d/%d", r.Healthy, len(r.Members)) }, mood: func(r api.ServiceRow) mood {
			switch r.Healthy {
			case len(r.Members):
				return good
			case 0:
				return bad
			}
			return warning
		}},
		{title: "FQDN", get: func(r api.ServiceRow) string { return r.FQDN }},
		{title: "MEMBERS", wide: true, get: members},
	})
}
