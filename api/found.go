package api

import (
	"context"
	"net/netip"
	"net/url"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Networking is a host's networks as they are found, not as they are wished.
type Networking interface {
	// FoundNetworks looks at one network of this host; "" is all.
	FoundNetworks(ctx context.Context, network string) ([]FoundNetwork, error)
	// JailPath looks at what a jail of this host is connected by.
	JailPath(ctx context.Context, jail fsm.JailName) (JailPath, error)
	// NetworkConsole runs a command in the place of a network's router, in a
	// jail of its own on image; "" is one of the network's.
	NetworkConsole(ctx context.Context, network, image string, r ExecRequest, s ExecStreams) (int, error)
}

// FoundNetwork is a network as it was found on a host.
type FoundNetwork struct {
	Network       string       `json:"network"`
	Host          string       `json:"host"` // that was looked at
	Bridge        string       `json:"bridge"`
	Up            bool         `json:"up"`
	MTU           int          `json:"mtu"`
	HostAddresses []netip.Addr `json:"host_addresses"` // the host's own on the bridge
	Router        FoundRouter  `json:"router"`
	Ports         []FoundPort  `json:"ports"`
	Foreign       []string     `json:"foreign,omitempty"` // members of the bridge that are not ours
	Error         string       `json:"error,omitempty"`   // what could not be looked at
}

// FoundRouter is a network's router as it was found.
type FoundRouter struct {
	Name      string       `json:"name"`
	Running   bool         `json:"running"` // its process, which serves DNS
	Addresses []netip.Addr `json:"addresses"`
	Uplink    netip.Addr   `json:"uplink,omitzero"`   // towards the host
	Outside   []netip.Addr `json:"outside,omitempty"` // its own outside, by DHCP
}

// FoundPort is a jail's interface as it was found.
type FoundPort struct {
	Interface string       `json:"interface"` // in the jail
	Link      string       `json:"link"`      // its end on the bridge
	MAC       string       `json:"mac"`
	Jail      string       `json:"jail"` // "" is none that the cluster knows
	Addresses []netip.Addr `json:"addresses"`
	Pinned    []netip.Addr `json:"pinned"` // that the bridge lets pass
	Up        bool         `json:"up"`
}

// JailPath is the way of a jail's packets as it was found.
type JailPath struct {
	Jail        string     `json:"jail"`
	Host        string     `json:"host"`
	Steps       []PathStep `json:"steps"`       // from the jail outwards
	Differences []string   `json:"differences"` // from what is wished
}

// PathStep is one thing on the way.
type PathStep struct {
	Where string `json:"where"` // jail, bridge, router, host
	What  string `json:"what"`  // interface, port, route, dns, nat, rule, ...
	Found string `json:"found"`
}

func foundRoutes() []route {
	return append(ruleRoutes(), []route{
		{method: "GET", pattern: "/v1/usage", access: forRead, summary: "What the running jails of one host use", query: []param{pHost}, out: []UsageRow{}, handle: atHost((*Server).usage)},
		{method: "GET", pattern: "/v1/found/networks", access: forRead, summary: "Networks of one host as they are found: bridge, router, each interface", query: []param{pNetwork, pHost}, out: []FoundNetwork{}, handle: atHost((*Server).foundNetworks)},
		{method: "GET", pattern: "/v1/jails/{name}/path", access: forRead, summary: "The way of a jail's packets as it is found: interfaces, bridge, router, rules, routes, DNS", out: JailPath{}, handle: (*Server).jailPath},
		{method: "POST", pattern: "/v1/networks/{name}/console", access: forEnter, summary: "Run a command in the place of a network's router: upgrades the connection as exec does", query: []param{{"image", "string", "whose programs are there; default is that of a jail of the network"}, pHost}, in: ExecRequest{}, stream: true, media: execProtocol, handle: atHost((*Server).networkConsole)},
	}...)
}

func (s *Server) foundNetworks(r *request) error {
	st := s.cfg.Log.State()
	name := r.URL.Query().Get("network")
	if _, ok := st.Networks.Get(name); name != "" && !ok {
		return notFound("network", name)
	}
	found, err := s.cfg.Host.FoundNetworks(r.Context(), name)
	if err != nil {
		return failedAs(err)
	}
	for i := range found {
		found[i].Host = s.hostName(st)
	}
	return r.reply(st.Index, found)
}

// hostName is what people call this host.
func (s *Server) hostName(st *fsm.State) string {
	if h, ok := st.Hosts.Get(string(s.cfg.Host.ID())); ok {
		return h.Name
	}
	return string(s.cfg.Host.ID())
}

func (s *Server) jailPath(r *request) error {
	if s.carried(r) {
		return nil
	}
	name, err := s.jailHere(r)
	if err != nil {
		return err
	}
	st := s.cfg.Log.State()
	if run, ok := st.Runs.Get(string(name)); !ok || run.Phase != fsm.Running {
		return fail("not_running", "jail "+string(name), "rexctl why jail/"+string(name), "it is not running, so there is nothing to look at")
	}
	p, err := s.cfg.Host.JailPath(r.Context(), name)
	if err != nil {
		return failedAs(err)
	}
	p.Jail, p.Host = string(name), s.hostName(st)
	return r.reply(st.Index, p)
}

func (s *Server) networkConsole(r *request) error {
	req, err := r.command()
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	if _, ok := s.cfg.Log.State().Networks.Get(name); !ok {
		return notFound("network", name)
	}
	image := r.URL.Query().Get("image")
	return s.upgrade(r, func(ctx context.Context, streams ExecStreams) (int, error) {
		return s.cfg.Host.NetworkConsole(ctx, name, image, req, streams)
	})
}

// FoundNetworks looks at a network of the host that is asked; "" is all.
func (c *Client) FoundNetworks(ctx context.Context, network string) ([]FoundNetwork, error) {
	return only(get[[]FoundNetwork](ctx, c, "/v1/found/networks", "network", network))
}

// JailPath looks at what a jail is connected by, on the host that it is on.
func (c *Client) JailPath(ctx context.Context, jail string) (JailPath, error) {
	return only(get[JailPath](ctx, c, "/v1/jails/"+url.PathEscape(jail)+"/path"))
}

// NetworkConsole runs a command in the place of a network's router; image ""
// is that of a jail of the network.
func (c *Client) NetworkConsole(ctx context.Context, network, image string, r ExecRequest, s ExecStreams) (int, error) {
	q := url.Values{}
	if image != "" {
		q.Set("image", image)
	}
	return c.enter(ctx, "/v1/networks/"+url.PathEscape(network)+"/console", q, "console of network "+network, r, s)
}
