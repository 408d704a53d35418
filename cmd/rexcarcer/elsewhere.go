package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httputil"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/cluster/rpc"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// elsewhere carries requests about jails to the hosts that they are on: exec,
// a console and logs work from any server. Nil without a cluster port.
func (d *daemon) elsewhere() func(fsm.HostID, string, string) http.Handler {
	if d.peers == nil {
		return nil
	}
	return func(host fsm.HostID, by, role string) http.Handler {
		return &httputil.ReverseProxy{
			Rewrite: func(p *httputil.ProxyRequest) {
				p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = "http", string(host), ""
				p.Out.Header.Set(rpc.HeaderBy, by)
				p.Out.Header.Set(rpc.HeaderRole, role)
			},
			Transport: d.peers.trip, FlushInterval: -1,
			ErrorLog:     slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { cannotCarry(w, d.hostName(host), err) },
		}
	}
}

// cannotCarry answers as the API would.
func cannotCarry(w http.ResponseWriter, host string, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(map[string]*api.Error{"error": { // the peer is gone if this fails
		Code: "unavailable", Object: "host " + host, Message: "it is that host's to answer, and it does not: " + err.Error(), Hint: "rexctl host show " + host,
	}})
}

func (d *daemon) hostName(id fsm.HostID) string {
	if h, ok := d.node.State().Hosts.Get(string(id)); ok {
		return h.Name
	}
	return string(id)
}
