package transfer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Source is a host that may have what is wanted.
type Source struct {
	Name string            // for messages, scores and progress: the host's
	Host string            // in the URL, if HTTP serves several hosts
	HTTP http.RoundTripper // leads to that host's Server; see NewTransport

	Doubtful bool // nobody says that it has what is wanted: the others are asked before it
}

// NewTransport returns a RoundTripper whose connections come from dial: mTLS, with ALPN negotiated and the peer's role
// checked, though the URLs say http. hostport is that of the URL. Close its idle connections when it is of no more use.
func NewTransport(dial func(ctx context.Context, hostport string) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, hostport string) (net.Conn, error) { return dial(ctx, hostport) }, DisableCompression: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute,
		ResponseHeaderTimeout: 30 * time.Second, ReadBufferSize: 64 << 10, ForceAttemptHTTP2: false,
	}
}

// maxAnswer bounds what is read of a JSON answer.
const maxAnswer = 8 << 20

// request begins one request; an answer other than 200 is a *RemoteError.
func (s Source) request(ctx context.Context, method, path string, q url.Values, body io.Reader) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: cmp.Or(s.Host, "zfssync"), Path: path, RawQuery: q.Encode()} // encrypted: see NewTransport
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	resp, err := s.HTTP.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", s.Name, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	r := &RemoteError{}
	if err != nil || json.Unmarshal(b, r) != nil || r.Code == "" {
		r.Code, r.Message = CodeFailed, "status "+resp.Status
	}
	r.Source = s.Name
	return nil, r
}

// call makes one request and decodes its answer.
func (s Source) call(ctx context.Context, method, path string, q url.Values, v any) error {
	resp, err := s.request(ctx, method, path, q, http.NoBody)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("read answer of %s: %w", s.Name, err)
	}
	return nil
}

func queryOf(o zfssync.Object) url.Values {
	return url.Values{"kind": {string(o.Kind)}, "name": {o.Name}}
}

// Manifest asks what the image key is made of there; zfssync.ErrNotFound. reads is the format that is wanted, where the source
// has a choice.
func (s Source) Manifest(ctx context.Context, key string, reads zfssync.Format) (Manifest, error) {
	var m Manifest
	if err := s.call(ctx, http.MethodGet, pathImage, url.Values{"key": {key}, "reads": {string(reads)}}, &m); err != nil {
		return m, err
	}
	if err := m.check(key); err != nil {
		return m, fmt.Errorf("%w: manifest of %s: %w", errLie, s.Name, err)
	}
	return m, nil
}

// Snapshots lists what the source has of an object, oldest first.
func (s Source) Snapshots(ctx context.Context, o zfssync.Object) ([]zfssync.Snapshot, error) {
	var list []zfssync.Snapshot
	if err := s.call(ctx, http.MethodGet, pathSnapshots, queryOf(o), &list); err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Object != o || list[i].GUID == "" {
			return nil, fmt.Errorf("%w: %s lists a snapshot of another object", errLie, s.Name)
		}
	}
	return list, nil
}

// TakeSnapshot makes one there; its name begins with TemporaryPrefix.
func (s Source) TakeSnapshot(ctx context.Context, o zfssync.Object, name string) (zfssync.Snapshot, error) {
	q := queryOf(o)
	q.Set("snapshot", name)
	var snap zfssync.Snapshot
	err := s.call(ctx, http.MethodPost, pathSnapshots, q, &snap)
	return snap, err
}

// DropSnapshot removes one that TakeSnapshot has made there. None is success.
func (s Source) DropSnapshot(ctx context.Context, o zfssync.Object, name string) error {
	q := queryOf(o)
	q.Set("snapshot", name)
	var v struct{}
	return s.call(ctx, http.MethodDelete, pathSnapshots, q, &v)
}

// Faults of a source, as metrics count them.
const (
	faultLie     = "lie"
	faultStall   = "stall"
	faultCut     = "cut"
	faultBusy    = "busy"
	faultRefused = "refused" // it does not have it, or may not give it
)

// errStall ends a request that brings nothing.
var errStall = errors.New("nothing came in time")

// faultOf judges what ended a request; "" when it was ourselves.
func faultOf(ctx context.Context, err error) string {
	var r *RemoteError
	switch {
	case err == nil || ctx.Err() != nil:
		return ""
	case errors.Is(err, errLie):
		return faultLie
	case errors.Is(err, errStall):
		return faultStall
	case errors.As(err, &r) && r.Code == CodeBusy:
		return faultBusy
	case errors.As(err, &r) && r.Code != CodeFailed:
		return faultRefused
	}
	return faultCut
}
