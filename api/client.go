package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DefaultAddr is where the local daemon listens.
const DefaultAddr = "unix:///var/run/rexcarcer/rexcarcer.sock"

// Options say how to reach a daemon.
type Options struct {
	Addr       string `json:"addr"`                  // unix:///path or https://host:port; empty is DefaultAddr
	CACert     string `json:"cacert,omitempty"`      // file with the cluster's CA
	ClientCert string `json:"client_cert,omitempty"` // file
	ClientKey  string `json:"client_key,omitempty"`  // file
	Token      string `json:"token,omitempty"`       // sent as a bearer token
	At         string `json:"-"`                     // index of the log or time (RFC 3339) to look back to; empty is now
}

// OptionsFromEnv reads the variables REX_ADDR, REX_CACERT, REX_CLIENT_CERT,
// REX_CLIENT_KEY and REX_TOKEN through getenv; what is not set comes from base.
func OptionsFromEnv(base Options, getenv func(string) string) Options {
	return Options{
		Addr:       cmp.Or(getenv("REX_ADDR"), base.Addr),
		CACert:     cmp.Or(getenv("REX_CACERT"), base.CACert),
		ClientCert: cmp.Or(getenv("REX_CLIENT_CERT"), base.ClientCert),
		ClientKey:  cmp.Or(getenv("REX_CLIENT_KEY"), base.ClientKey),
		Token:      cmp.Or(getenv("REX_TOKEN"), base.Token),
		At:         base.At,
	}
}

// Unreachable says that no daemon answered.
type Unreachable struct {
	Addr string
	Err  error
}

// Error implements error.
func (u *Unreachable) Error() string { return fmt.Sprintf("no daemon at %s: %v", u.Addr, u.Err) }

// Unwrap gives the network's error.
func (u *Unreachable) Unwrap() error { return u.Err }

// Client speaks to one daemon. It may be used from many goroutines.
type Client struct {
	addr  string // as given
	base  string // URL without a path
	token string
	at    string // see Options.At
	host  string // that is meant, see On
	http  *http.Client
	dial  func(ctx context.Context) (net.Conn, error)
	once  *sync.Once // of OnStale

	// OnStale, if set, is told of an answer from a host that has not heard a
	// leader for a while. It is set before the first request.
	OnStale func(Stale)
}

// Stale is an answer that may be old.
type Stale struct {
	Host  string        // name
	Since time.Duration // the last word of a leader; 0: never since its start
	Index uint64        // of the State that it answered from
}

// staleAfter is when the last word of a leader is long ago: members are told
// once a second.
const staleAfter = 5 * time.Second

// noticeStale tells of an old answer, once for each Client.
func (c *Client) noticeStale(h http.Header) {
	text := h.Get(headerContact)
	if c.OnStale == nil || text == "" || text == "0" {
		return
	}
	age, err := time.ParseDuration(text)
	if text != "never" && (err != nil || age < staleAfter) {
		return
	}
	index, _ := strconv.ParseUint(h.Get("Rex-Index"), 10, 64) // 0 where an answer has none
	c.once.Do(func() { c.OnStale(Stale{Host: h.Get(headerHost), Since: age, Index: index}) })
}

// NewClient makes a Client; it does not connect yet.
func NewClient(o Options) (*Client, error) {
	addr := cmp.Or(o.Addr, DefaultAddr)
	u, err := url.Parse(addr)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", addr, err)
	}
	c := &Client{once: &sync.Once{}, addr: addr, token: o.Token, at: o.At}
	switch {
	case u.Scheme == "unix" && u.Path != "" && u.Host == "":
		c.base = "http://local"
		c.dial = func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", u.Path)
		}
	case u.Scheme == "https" && u.Host != "":
		conf, err := tlsConfig(o)
		if err != nil {
			return nil, err
		}
		host := u.Host
		if u.Port() == "" {
			host = net.JoinHostPort(u.Hostname(), "7372")
		}
		conf.ServerName = u.Hostname()
		c.base = "https://" + host
		c.dial = func(ctx context.Context) (net.Conn, error) {
			d := tls.Dialer{Config: conf}
			return d.DialContext(ctx, "tcp", host)
		}
	default:
		return nil, fmt.Errorf("address %q: want unix:///path or https://host:port", addr)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) }
	c.http = &http.Client{Transport: &http.Transport{DialContext: dial, DialTLSContext: dial, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 8}}
	return c, nil
}

func tlsConfig(o Options) (*tls.Config, error) {
	// exec takes connections over, which HTTP/2 does not have.
	conf := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}}
	if o.CACert != "" {
		pem, err := os.ReadFile(o.CACert)
		if err != nil {
			return nil, fmt.Errorf("read the cluster's CA: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the cluster's CA: %s holds no PEM certificate", o.CACert)
		}
	}
	if (o.ClientCert == "") != (o.ClientKey == "") {
		return nil, errors.New("a client certificate and its key go together: set both REX_CLIENT_CERT and REX_CLIENT_KEY")
	}
	if o.ClientCert != "" {
		pair, err := tls.LoadX509KeyPair(o.ClientCert, o.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("load the client certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// On returns a Client for the same daemon that means another host of the
// cluster, by name or id, where one host answers: its volumes, its images, its
// builds. An empty host is the one that is asked, or has the image.
func (c *Client) On(host string) *Client {
	other := *c
	other.host = host
	return &other
}

// Addr is the daemon's address as it was given.
func (c *Client) Addr() string { return c.addr }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) request(ctx context.Context, method, path string, q url.Values, body io.Reader) (*http.Request, error) {
	target := c.base + path
	q = maps.Clone(q)
	if q == nil {
		q = url.Values{}
	}
	if c.at != "" && method == http.MethodGet {
		q.Set("at", c.at)
	}
	if c.host != "" {
		q.Set("host", c.host)
	}
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// send sends req and returns the answer if it is a good one; the caller closes its body.
func (c *Client) send(req *http.Request) (*http.Response, error) {
	res, err := c.http.Do(req)
	if err != nil {
		if req.Context().Err() != nil {
			return nil, fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, req.Context().Err())
		}
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, &Unreachable{c.addr, op.Err}
		}
		return nil, fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err)
	}
	if res.StatusCode < 300 {
		c.noticeStale(res.Header)
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	return nil, readError(res)
}

func readError(res *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	var body errorBody
	if err != nil || json.Unmarshal(b, &body) != nil || body.Error == nil {
		return &Error{Status: res.StatusCode, Code: "internal", Message: "the server answered " + res.Status + " " + strings.TrimSpace(string(b))}
	}
	body.Error.Status = res.StatusCode
	return body.Error
}

// call does one whole exchange: in and out may be nil. It returns the log
// index that the answer was made at.
func (c *Client) call(ctx context.Context, method, path string, q url.Values, ifMatch uint64, in, out any) (uint64, error) {
	h, err := c.exchange(ctx, method, path, q, ifMatch, in, out)
	index, _ := strconv.ParseUint(h.Get("Rex-Index"), 10, 64) // 0 where an answer has none
	return index, err
}

// exchange is call with all headers of the answer.
func (c *Client) exchange(ctx context.Context, method, path string, q url.Values, ifMatch uint64, in, out any) (http.Header, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("%s %s: encode: %w", method, path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := c.request(ctx, method, path, q, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if ifMatch > 0 {
		req.Header.Set("If-Match", `"`+strconv.FormatUint(ifMatch, 10)+`"`)
	}
	res, err := c.send(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if out == nil {
		return res.Header, nil
	}
	if rows, long := out.(*[]JailRow); long {
		err = decodeRows(res.Body, rows)
	} else {
		err = json.NewDecoder(res.Body).Decode(out)
	}
	if err != nil {
		return res.Header, fmt.Errorf("%s %s: the answer is not what was expected: %w", method, path, err)
	}
	return res.Header, nil
}

// Do sends any request, for `rexctl api`. The caller closes the answer's body.
func (c *Client) Do(ctx context.Context, method, path string, body io.Reader, header http.Header) (*http.Response, error) {
	req, err := c.request(ctx, method, path, nil, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	return c.send(req)
}
