package api

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

func get[T any](ctx context.Context, c *Client, path string, kv ...string) (T, uint64, error) {
	var out T
	index, err := c.call(ctx, "GET", path, query(kv...), 0, nil, &out)
	return out, index, err
}

func only[T any](v T, _ uint64, err error) (T, error) { return v, err }

// Version asks what answers.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return only(get[Version](ctx, c, "/v1/version"))
}

// Status is the cluster in one screen.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return only(get[Status](ctx, c, "/v1/status"))
}

// Plan asks what applying w would do.
func (c *Client) Plan(ctx context.Context, w *spec.Wish) (*Plan, error) {
	var raw json.RawMessage
	if _, err := c.call(ctx, "POST", "/v1/plan", nil, 0, w, &raw); err != nil {
		return nil, err
	}
	p := &Plan{Raw: raw}
	return p, json.Unmarshal(raw, p)
}

// DestroyPlan asks what destroying the wish would do.
func (c *Client) DestroyPlan(ctx context.Context, name string) (*Plan, error) {
	raw, _, err := get[json.RawMessage](ctx, c, "/v1/wishes/"+url.PathEscape(name)+"/destroy-plan")
	if err != nil {
		return nil, err
	}
	p := &Plan{Raw: raw}
	return p, json.Unmarshal(raw, p)
}

// ApplyWish makes w the truth, if the cluster is still as it was at base; 0
// does not ask for that.
func (c *Client) ApplyWish(ctx context.Context, w *spec.Wish, base uint64) (Applied, error) {
	var out Applied
	_, err := c.call(ctx, "PUT", "/v1/wishes/"+url.PathEscape(w.Name), nil, base, w, &out)
	return out, err
}

// DestroyWish removes all that the wish declared.
func (c *Client) DestroyWish(ctx context.Context, name string, base uint64) (Applied, error) {
	var out Applied
	_, err := c.call(ctx, "DELETE", "/v1/wishes/"+url.PathEscape(name), nil, base, nil, &out)
	return out, err
}

// Wishes lists what was applied.
func (c *Client) Wishes(ctx context.Context) ([]WishRow, error) {
	return only(get[[]WishRow](ctx, c, "/v1/wishes"))
}

// Wish is one wish as it was applied.
func (c *Client) Wish(ctx context.Context, name string) (*spec.Wish, error) {
	return only(get[*spec.Wish](ctx, c, "/v1/wishes/"+url.PathEscape(name)))
}

// JailFilter narrows a list of jails; empty fields do not.
type JailFilter struct{ Network, Wish string }

// Jails lists jails.
func (c *Client) Jails(ctx context.Context, f JailFilter) ([]JailRow, error) {
	return only(get[[]JailRow](ctx, c, "/v1/jails", "network", f.Network, "wish", f.Wish))
}

// JailsAfter waits until the log is past index (or wait is over, at most a
// minute) and lists jails with the index they were read at.
func (c *Client) JailsAfter(ctx context.Context, f JailFilter, index uint64, wait time.Duration) ([]JailRow, uint64, error) {
	return get[[]JailRow](ctx, c, "/v1/jails", "network", f.Network, "wish", f.Wish,
		"index", strconv.FormatUint(index, 10), "wait", wait.String())
}

// Settled waits until the networks of the host that answers, published ports
// among them, are as the log had them at index, but no longer than wait.
func (c *Client) Settled(ctx context.Context, index uint64, wait time.Duration) error {
	_, _, err := get[Settled](ctx, c, "/v1/settled", "index", strconv.FormatUint(index, 10), "wait", wait.String())
	return err
}

// Jail shows one jail.
func (c *Client) Jail(ctx context.Context, name string) (JailShow, error) {
	return only(get[JailShow](ctx, c, "/v1/jails/"+url.PathEscape(name)))
}

// WantJail starts, stops or removes a jail.
func (c *Client) WantJail(ctx context.Context, name string, want fsm.Want) (Applied, error) {
	var out Applied
	method, path := "POST", "/v1/jails/"+url.PathEscape(name)
	switch want {
	case fsm.WantRunning:
		path += "/start"
	case fsm.WantStopped:
		path += "/stop"
	case fsm.WantGone:
		method = "DELETE"
	}
	_, err := c.call(ctx, method, path, nil, 0, nil, &out)
	return out, err
}

// RestartJail replaces the jail's run by a new one.
func (c *Client) RestartJail(ctx context.Context, name string) (Applied, error) {
	var out Applied
	_, err := c.call(ctx, "POST", "/v1/jails/"+url.PathEscape(name)+"/restart", nil, 0, nil, &out)
	return out, err
}

// Networks lists networks.
func (c *Client) Networks(ctx context.Context) ([]NetworkRow, error) {
	return only(get[[]NetworkRow](ctx, c, "/v1/networks"))
}

// Network shows one network.
func (c *Client) Network(ctx context.Context, name string) (NetworkRow, error) {
	return only(get[NetworkRow](ctx, c, "/v1/networks/"+url.PathEscape(name)))
}

// Images lists image names.
func (c *Client) Images(ctx context.Context) ([]ImageRow, error) {
	return only(get[[]ImageRow](ctx, c, "/v1/images"))
}

// Builds lists image keys that exist somewhere.
func (c *Client) Builds(ctx context.Context) ([]BuildRow, error) {
	return only(get[[]BuildRow](ctx, c, "/v1/builds"))
}

// RemoveImage removes a name that no jail uses.
func (c *Client) RemoveImage(ctx context.Context, name string) (Applied, error) {
	var out Applied
	_, err := c.call(ctx, "DELETE", "/v1/images/"+url.PathEscape(name), nil, 0, nil, &out)
	return out, err
}

// QueryDNS asks the host's DNS server; qtype "" is A.
func (c *Client) QueryDNS(ctx context.Context, name, qtype string) (DNSAnswer, error) {
	return only(get[DNSAnswer](ctx, c, "/v1/dns/query", "name", name, "type", qtype))
}

// Cert shows one jail's certificate.
func (c *Client) Cert(ctx context.Context, jail string) (CertRow, error) {
	return only(get[CertRow](ctx, c, "/v1/certs/"+url.PathEscape(jail)))
}

// Services lists services and their members.
func (c *Client) Services(ctx context.Context, network string) ([]ServiceRow, error) {
	return only(get[[]ServiceRow](ctx, c, "/v1/services", "network", network))
}

// Hosts lists hosts.
func (c *Client) Hosts(ctx context.Context) ([]HostRow, error) {
	return only(get[[]HostRow](ctx, c, "/v1/hosts"))
}

// Host shows one host, by name or id.
func (c *Client) Host(ctx context.Context, name string) (HostRow, error) {
	return only(get[HostRow](ctx, c, "/v1/hosts/"+url.PathEscape(name)))
}

// History lists what happened to an object ("jail web-1"), or to all for "".
func (c *Client) History(ctx context.Context, object string, limit int) ([]Event, error) {
	return only(get[[]Event](ctx, c, "/v1/history", "object", object, "limit", strconv.Itoa(limit)))
}

// Why says why an object ("jail web-1") is as it is.
func (c *Client) Why(ctx context.Context, object string) (Why, error) {
	return only(get[Why](ctx, c, "/v1/why", "object", object))
}

// RawWish is one wish as it was applied, as the daemon sends it.
func (c *Client) RawWish(ctx context.Context, name string) (json.RawMessage, error) {
	return only(get[json.RawMessage](ctx, c, "/v1/wishes/"+url.PathEscape(name)))
}

// Diff is what was not the same at two indexes of the log or times (RFC 3339);
// an empty to is now, an empty kind all kinds.
func (c *Client) Diff(ctx context.Context, from, to, kind string) ([]ChangeRow, error) {
	return only(get[[]ChangeRow](ctx, c, "/v1/diff", "from", from, "to", to, "kind", kind))
}

// Audit has a host apply its log again, up to index to (0: all), and compare.
// An empty host is the one that is asked.
func (c *Client) Audit(ctx context.Context, host string, to uint64) (Audit, error) {
	until := ""
	if to > 0 {
		until = strconv.FormatUint(to, 10)
	}
	return only(get[Audit](ctx, c, "/v1/audit", "host", host, "to", until))
}
