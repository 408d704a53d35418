package hostagent

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
	"github.com/rexcarcer/rexcarcer/spec"
)

func TestPublishedPortsLeadToHealthyMembersOfBothFamilies(t *testing.T) {
	t.Parallel()
	st := stage.New()
	st.AddHost("h1", 64, 64<<30, nil)
	w, err := stage.ParseWish("demo", "web count=2 net=lan image=x\n")
	if err != nil {
		t.Fatal(err)
	}
	n := &w.Networks[0]
	n.Subnet6 = netip.MustParsePrefix("fd00:66::/64")
	n.Publish = []spec.Publish{{Name: "web", Port: 80, Service: "web", Mode: spec.ModeHTTP, Shared: true, Drain: 5 * time.Second}, {Name: "slow", Port: 81, Service: "web"}}
	n.Open = []spec.Open{{From: "dmz", Ports: []string{"443/tcp", "8000-8100/udp"}}}
	for i := range w.Jails {
		w.Jails[i].Services = []spec.Service{{Name: "web", Port: 8080}}
	}
	w.Normalize()
	st.Must(fsm.ApplyWish{Wish: w})
	st.Build("x")
	st.Must(fsm.PlaceJail{Jail: "web-1", Host: "h1", Seq: 1, Why: "test"})
	for st.Agents() > 0 { // web-1 comes up, web-2 has no place yet
	}
	got := NetworksOf(st.S).Networks[0]
	j, _ := st.S.Jails.Get("web-1")
	four, six := fmt.Sprintf("[%s:8080]", j.Addrs[0].Addr), fmt.Sprintf("[[%s]:8080]", j.Addrs[0].Addr6)
	p := got.Publish[1]
	if fmt.Sprint(p.Members) != four || fmt.Sprint(p.Members6) != six {
		t.Errorf("got members %v and %v, want %s and %s", p.Members, p.Members6, four, six)
	}
	if p.HostPort != 80 || p.Name != "web" || !p.HTTP || !p.Shared || p.Drain != 5*time.Second {
		t.Errorf("got %+v", p)
	}
	if q := got.Publish[0]; q.HTTP || q.Shared || q.Drain != spec.DefaultDrain {
		t.Errorf("got %+v", q)
	}
	if text := fmt.Sprint(got.Open); text != "[{dmz [{443 443 tcp} {8000 8100 udp}]}]" {
		t.Errorf("got open %s", text)
	}
	if c := proxyConfig(got); len(c.Ports) != 1 || c.Ports[0].Port != 80 || !c.V6 {
		t.Errorf("the proxy's are %+v", c)
	}
}
