package plan

import (
	"fmt"

	"github.com/rexcarcer/rexcarcer/spec"
)

// dhcpNames is what a network says about its guests, a word or two for each
// thing: what two networks do not have in common is what changes.
func dhcpNames(d *spec.DHCP) []string {
	if d == nil {
		return nil
	}
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if d.Off {
		say("off")
	}
	for _, r := range d.Ranges {
		say("%s", r)
	}
	if d.Lease != 0 {
		say("lease %s", d.Lease)
	}
	for _, h := range d.Hosts {
		say("host %s (%s, %s)", h.Name, h.MAC, h.Addr)
	}
	for _, a := range d.DNS {
		say("dns %s", a)
	}
	for _, a := range d.NTP {
		say("ntp %s", a)
	}
	for _, s := range d.Search {
		say("search %s", s)
	}
	for _, r := range d.Routes {
		say("route %s via %s", r.To, r.Via)
	}
	if d.NextServer.IsValid() {
		say("next_server %s", d.NextServer)
	}
	if d.Bootfile != "" {
		say("bootfile %s", d.Bootfile)
	}
	if d.MTU != 0 {
		say("mtu %d", d.MTU)
	}
	return all
}
