package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

// exports are the forms in which records can be had for other programs.
var exports = map[string]func(w io.Writer, domain string, rows []api.RecordRow){
	"unbound": exportUnbound, "zone": exportZone, "hosts": exportHosts,
}

func dnsExportCommand() *cli.Command {
	return &cli.Command{
		Name: "export", Usage: "print the records for another DNS server", ArgsUsage: "[NETWORK]",
		Flags:  []cli.Flag{&cli.StringFlag{Name: "format", Value: "unbound", Usage: "`FORM`: unbound (local-data of its configuration), zone (lines of a zone file, without SOA) or hosts (/etc/hosts)"}},
		Action: exportDNS,
	}
}

func exportDNS(c *cli.Context) error {
	write := exports[c.String("format")]
	if write == nil {
		return usagef("--format %s: want unbound, zone or hosts", c.String("format"))
	}
	return asking(0, 1, func(c *cli.Context, a *api.Client) ([]api.RecordRow, error) {
		return a.Records(c.Context, c.Args().First())
	}, func(c *cli.Context, rows []api.RecordRow) error {
		a, err := connect(c)
		if err != nil {
			return err
		}
		defer a.Close()
		status, err := a.Status(c.Context)
		if err != nil {
			return err
		}
		out := bufio.NewWriter(c.App.Writer)
		write(out, status.Domain, rows)
		return out.Flush()
	})(c)
}

// recordLine is r as it stands in a zone file.
func recordLine(r api.RecordRow) string {
	return fmt.Sprintf("%s. %d IN %s %s", safe(r.Name), r.TTL, safe(r.Type), safeWords(r.Data))
}

// safeWords is safe for each word of s.
func safeWords(s string) string {
	words := strings.Fields(s)
	for i := range words {
		words[i] = safe(words[i])
	}
	return strings.Join(words, " ")
}

// exportUnbound makes unbound answer for domain alone: a name that is not there
// is not looked for elsewhere.
func exportUnbound(w io.Writer, domain string, rows []api.RecordRow) {
	fmt.Fprintf(w, "server:\n\tlocal-zone: \"%s.\" static\n", safe(domain))
	for _, r := range rows {
		fmt.Fprintf(w, "\tlocal-data: \"%s\"\n", recordLine(r))
	}
}

func exportZone(w io.Writer, _ string, rows []api.RecordRow) {
	for _, r := range rows {
		fmt.Fprintln(w, recordLine(r))
	}
}

// exportHosts has a line for each address, with all of its names.
func exportHosts(w io.Writer, _ string, rows []api.RecordRow) {
	names := map[string][]string{}
	var addresses []string
	for _, r := range rows {
		if r.Type != "A" && r.Type != "AAAA" {
			continue
		}
		if names[r.Data] == nil {
			addresses = append(addresses, r.Data)
		}
		if !slices.Contains(names[r.Data], r.Name) {
			names[r.Data] = append(names[r.Data], r.Name)
		}
	}
	for _, address := range addresses {
		fmt.Fprintf(w, "%s\t%s\n", safe(address), safeWords(strings.Join(names[address], " ")))
	}
}
