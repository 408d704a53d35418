package freebsdtest

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// The grammar of pf.conf(5), as far as a driver may use it: what 12 to 15 read alike, in pf's order.
const (
	pfIf   = `[a-z][a-z0-9_.]{0,14}`
	pfAddr = `[0-9a-f.:]+(?:/[0-9]+)?`
	pfHost = `(?:any|` + pfAddr + `|\(` + pfIf + `(?::0)?\)|<[a-z0-9_]{1,31}>)`
	pfPort = `(?: port [0-9]+)?`
	pfType = `(?:echoreq|neighbrsol|neighbradv)`
)

var pfLines = []struct {
	kind int // of the order
	re   *regexp.Regexp
}{
	{0, regexp.MustCompile(`^set skip on ` + pfIf + `$`)},
	{1, regexp.MustCompile(`^table <([a-z0-9_]{1,31})> persist \{ (` + pfAddr + `(?:, ` + pfAddr + `)*)? \}$`)},
	{2, regexp.MustCompile(`^scrub on ` + pfIf + ` max-mss [0-9]+$`)},
	{3, regexp.MustCompile(`^nat on ` + pfIf + ` inet6? from ` + pfHost + ` to ` + pfHost + ` -> \(` + pfIf + `:0\)$`)},
	{3, regexp.MustCompile(`^rdr pass on ` + pfIf + ` inet6? proto (?:tcp|udp) from any to ` + pfHost + ` port [0-9]+ -> (?:` + pfAddr + `|<[a-z0-9_]{1,31}>) port [0-9]+(?: round-robin)?$`)},
	{4, regexp.MustCompile(`^(?:pass|block(?: return| drop)?)(?: in| out)?(?: log)?(?: quick)?(?: on ` + pfIf + `)?(?: inet6?)?(?: proto (?:tcp|udp|icmp6?))?` +
		`(?: all| from ` + pfHost + pfPort + ` to ` + pfHost + pfPort + `)(?: icmp6?-type (?:` + pfType + `|\{ ` + pfType + `(?:, ` + pfType + `)* \}))?(?: (?:keep|no) state)?$`)},
}

var pfTable = regexp.MustCompile(`<([a-z0-9_]+)>`)

// CheckPF reads a ruleset as pfctl -n does, and returns its tables. It was written from pf.conf(5), not from the writer that
// it checks; a line that it does not know is a syntax error.
func CheckPF(text string) (map[string][]string, error) {
	tables := map[string][]string{}
	last := 0
	for i, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if l == "" {
			continue
		}
		kind := -1
		var groups []string
		for _, p := range pfLines {
			if m := p.re.FindStringSubmatch(l); m != nil {
				kind, groups = p.kind, m
			}
		}
		switch {
		case kind < 0:
			return nil, fmt.Errorf("stdin:%d: syntax error", i+1)
		case kind < last:
			return nil, fmt.Errorf("stdin:%d: Rules must be in order: options, ethernet, normalization, queueing, translation, filtering", i+1)
		}
		last = kind
		if kind == 1 {
			tables[groups[1]] = strings.Split(groups[2], ", ")
			if groups[2] == "" {
				tables[groups[1]] = []string{}
			}
			continue
		}
		if err := families(i+1, l); err != nil {
			return nil, err
		}
		for _, m := range pfTable.FindAllStringSubmatch(l, -1) {
			if tables[m[1]] == nil {
				return nil, fmt.Errorf("stdin:%d: table <%s> is not defined", i+1, m[1])
			}
		}
	}
	return tables, nil
}

// families: all addresses of a rule are of its family.
func families(line int, l string) error {
	four, six := strings.Contains(l, " inet "), strings.Contains(l, " inet6 ")
	seen4, seen6 := false, false
	for _, word := range strings.Fields(l) {
		p, err := netip.ParsePrefix(word)
		if err != nil {
			a, err := netip.ParseAddr(word)
			if err != nil {
				continue
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		seen4, seen6 = seen4 || p.Addr().Is4(), seen6 || p.Addr().Is6()
	}
	if four && seen6 || six && seen4 || seen4 && seen6 {
		return fmt.Errorf("stdin:%d: rule expands to no valid combination", line)
	}
	if strings.Contains(l, "proto icmp ") && six || strings.Contains(l, "proto icmp6 ") && four {
		return fmt.Errorf("stdin:%d: protocol and address family differ", line)
	}
	return nil
}
