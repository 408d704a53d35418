package api

import (
	"context"
	"net/url"
)

// Ruling is what a host's networks let through.
type Ruling interface {
	// NetworkRules are the effective rules of a network of this host.
	NetworkRules(ctx context.Context, network string) ([]NetworkRule, error)
	// ProxyMembers are the places of the network's proxy on this host; none without one.
	ProxyMembers(ctx context.Context, network string) ([]ProxyMember, error)
}

// NetworkRule is one effective rule in words.
type NetworkRule struct {
	Where string `json:"where"` // bridge, router or host
	From  string `json:"from"`
	To    string `json:"to"`
	What  string `json:"what"`
	Then  string `json:"then"`
	Why   string `json:"why"`
}

// ProxyMember is one member of a published port of mode "http", as the proxy counts it.
type ProxyMember struct {
	Port     uint16 `json:"port"`   // of the host
	Member   string `json:"member"` // address and port
	State    string `json:"state"`  // up, leaving or gone
	Sessions uint64 `json:"sessions"`
	Requests uint64 `json:"requests"`
	Good     uint64 `json:"answers_2xx"`
	Wrong    uint64 `json:"answers_4xx"`
	Failed   uint64 `json:"answers_5xx"`
	BytesIn  uint64 `json:"bytes_in"`
	BytesOut uint64 `json:"bytes_out"`
}

func ruleRoutes() []route {
	return []route{
		{method: "GET", pattern: "/v1/networks/{name}/rules", access: forRead, summary: "The effective rules of a network on one host, in words", query: []param{pHost}, out: []NetworkRule{}, handle: atHost((*Server).networkRules)},
		{method: "GET", pattern: "/v1/networks/{name}/proxy", access: forRead, summary: "What the proxy of a network's published ports counts on one host", query: []param{pHost}, out: []ProxyMember{}, handle: atHost((*Server).proxyMembers)},
	}
}

func (s *Server) networkRules(r *request) error {
	return aboutNetwork(s, r, s.cfg.Host.NetworkRules)
}

func (s *Server) proxyMembers(r *request) error {
	return aboutNetwork(s, r, s.cfg.Host.ProxyMembers)
}

func aboutNetwork[T any](s *Server, r *request, ask func(context.Context, string) ([]T, error)) error {
	st, name := s.cfg.Log.State(), r.PathValue("name")
	if _, ok := st.Networks.Get(name); !ok {
		return notFound("network", name)
	}
	rows, err := ask(r.Context(), name)
	if err != nil {
		return failedAs(err)
	}
	return r.reply(st.Index, append([]T{}, rows...))
}

// NetworkRules are the effective rules of a network on the host that is asked.
func (c *Client) NetworkRules(ctx context.Context, network string) ([]NetworkRule, error) {
	return only(get[[]NetworkRule](ctx, c, "/v1/networks/"+url.PathEscape(network)+"/rules"))
}

// ProxyMembers are what a network's proxy counts on the host that is asked.
func (c *Client) ProxyMembers(ctx context.Context, network string) ([]ProxyMember, error) {
	return only(get[[]ProxyMember](ctx, c, "/v1/networks/"+url.PathEscape(network)+"/proxy"))
}
