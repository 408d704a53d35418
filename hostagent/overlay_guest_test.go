package hostagent

import (
	"slices"
	"testing"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/netd"
)

// TestGuestsAreReachedOnTheHostWhereTheyAre: also when they are plugged in elsewhere.
func TestGuestsAreReachedOnTheHostWhereTheyAre(t *testing.T) {
	t.Parallel()
	st := overlaid(t)
	n, _ := st.S.Networks.Get("lan")
	addr := n.DHCPRanges()[0].First
	way := netd.Remote{Network: "lan", Addr: addr}
	behind := func(host fsm.HostID) string {
		o := OverlayOf(st.S, host)
		if slices.Contains(o.Remote, way) != slices.ContainsFunc(o.Peers, func(p OverlayPeer) bool { return slices.Contains(p.Allowed, addr) }) {
			t.Errorf("%s has ways %v and peers %+v", host, o.Remote, o.Peers)
		}
		for _, p := range o.Peers {
			if slices.Contains(p.Allowed, addr) {
				h, _ := st.S.Hosts.Get(string(host))
				if p.Name == h.Name {
					t.Errorf("%s is its own peer", host)
				}
				return p.Name
			}
		}
		return ""
	}
	lease := func(host fsm.HostID) {
		st.Must(fsm.LeaseGuests{Network: "lan", Host: host, Guests: []fsm.GuestAsk{{Addr: addr, Client: "c", MAC: "c", Seconds: 60}}})
	}
	name := func(host fsm.HostID) string {
		h, _ := st.S.Hosts.Get(string(host))
		return h.Name
	}
	for _, at := range []fsm.HostID{"h1", "h2"} {
		lease(at)
		for _, host := range []fsm.HostID{"h1", "h2", "h3"} {
			want := name(at)
			if host == at {
				want = ""
			}
			if got := behind(host); got != want {
				t.Errorf("while it is at %s, %s looks for it behind %q", at, host, got)
			}
		}
	}
	st.Must(fsm.EndGuests{Network: "lan", Host: "h2", Ends: []fsm.GuestEnd{{Addr: addr, Client: "c", How: fsm.GuestReleased}}})
	if got := behind("h3"); got != "" {
		t.Errorf("a guest that left is behind %q", got)
	}
}
