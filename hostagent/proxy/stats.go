package proxy

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Stat is what haproxy counts for one member since it was started or reloaded.
type Stat struct {
	Port               uint16
	Member             string // address and port
	State              string
	Sessions, Requests uint64
	Codes              [6]uint64 // answers 1xx..5xx at 1..5
	In, Out            uint64    // bytes
}

// Stats asks for those members that are in use or were.
func (p *Proxy) Stats(ctx context.Context) ([]Stat, error) {
	text, err := p.Ask(ctx, Admin, "show stat")
	if err != nil {
		return nil, err
	}
	return parseStats(text)
}

// plain says in our words how haproxy sees a member that it does not check.
func plain(status string) string {
	switch {
	case status == "no check":
		return "up"
	case strings.HasPrefix(status, "DRAIN"):
		return "leaving"
	case strings.HasPrefix(status, "MAINT"):
		return "gone"
	}
	return strings.ToLower(status)
}

// parseStats reads the CSV of `show stat`; its first line names the fields.
func parseStats(text string) (out []Stat, err error) {
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "# "))).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("statistics of haproxy: %q: %w", text[:min(len(text), 40)], err)
	}
	for _, row := range rows[1:] {
		get := func(name string) string {
			for i, n := range rows[0] {
				if n == name && i < len(row) {
					return row[i]
				}
			}
			return ""
		}
		number := func(name string) uint64 {
			n, _ := strconv.ParseUint(get(name), 10, 64) // empty where it does not apply
			return n
		}
		port, found := strings.CutPrefix(get("pxname"), "b_")
		n, err := strconv.ParseUint(port, 10, 16)
		const aServer = "2" // type; the others are frontends, backends and sockets
		if !found || err != nil || get("type") != aServer || strings.HasPrefix(get("status"), "MAINT") && number("stot") == 0 {
			continue
		}
		s := Stat{Port: uint16(n), Member: get("addr"), State: plain(get("status")), Sessions: number("stot"), Requests: number("req_tot"), In: number("bin"), Out: number("bout")}
		for i := 1; i < len(s.Codes); i++ {
			s.Codes[i] = number(fmt.Sprintf("hrsp_%dxx", i))
		}
		for _, c := range s.Codes {
			if s.Requests == 0 {
				s.Requests += c
			}
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, byMember)
	return out, nil
}

// byMember is the order of ports and addresses: haproxy's own is that in which members came.
func byMember(a, b Stat) int {
	x, _ := netip.ParseAddrPort(a.Member) // what is none comes first
	y, _ := netip.ParseAddrPort(b.Member)
	return cmp.Or(cmp.Compare(a.Port, b.Port), x.Compare(y))
}
