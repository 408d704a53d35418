package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/api/apitest"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// far is the host h2.
type far struct {
	*apitest.Host
	kept *spec.Image
}

func (far) ID() fsm.HostID { return "h2" }

func (far) Volumes(context.Context) ([]api.VolumeShow, error) {
	return []api.VolumeShow{{VolumeRow: api.VolumeRow{Name: "w.j.v", Host: "h2"}}}, nil
}

func (far) CollectImages(context.Context, api.GCRequest) (api.GCResult, error) {
	return api.GCResult{Bytes: 77}, nil
}

func (far) LookBase(_ context.Context, ref string, known *fsm.Base, _ bool) (fsm.Base, error) {
	if known != nil {
		return fsm.Base{}, fmt.Errorf("version %d is known", known.Version)
	}
	return fsm.Base{Ref: ref, Kind: "bundle", Digest: "sha256:" + strings.Repeat("2", 64), Version: 5}, nil
}

// ExportImage breaks off.
func (far) ExportImage(_ context.Context, _, _ string, open func(format string) io.Writer) error {
	_, err := io.WriteString(open("tar"), strings.Repeat("x", 1<<16))
	return errors.Join(err, errors.New("the disk is gone"))
}

// BuildImage reads the context while it tells of progress.
func (f far) BuildImage(_ context.Context, r api.BuildRequest, progress func(api.BuildEvent)) (api.BuildResult, error) {
	b := make([]byte, 64<<10)
	n := int64(0)
	for {
		k, err := r.Content.Read(b)
		n += int64(k)
		progress(api.BuildEvent{State: "output", Text: "read", Bytes: n})
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return api.BuildResult{}, err
		}
	}
	if f.kept != nil {
		return api.BuildResult{Kept: f.kept}, errors.New("step 1 failed")
	}
	return api.BuildResult{Key: r.Image.Key, Bytes: n}, nil
}

// twoHosts serves dev, which reaches h2 over HTTP.
func twoHosts(t *testing.T, kept *spec.Image) (*apitest.Cluster, *api.Client) {
	t.Helper()
	c := apitest.NewCluster(t, nil)
	if _, err := c.Log.Propose(t.Context(), "host/h2", fsm.RegisterHost{Host: fsm.Host{ID: "h2", Name: "second", Role: "host", Addr: "127.0.0.1:2"}}); err != nil {
		t.Fatal(err)
	}
	forUsers := func(r *http.Request) (string, string, error) { return r.Header.Get("By"), r.Header.Get("Role"), nil }
	there, err := api.New(api.Config{Log: c.Log, Host: far{c.Host, kept}, Plan: planner, Identify: forUsers})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(there.Handler())
	t.Cleanup(srv.Close)
	target, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	trip, quiet := &http.Transport{}, log.New(io.Discard, "", 0)
	t.Cleanup(trip.CloseIdleConnections)
	here, err := c.Server(api.Config{Plan: planner, Identify: api.IdentifyLocal, Elsewhere: func(host fsm.HostID, by, role string) http.Handler {
		if host != "h2" {
			t.Errorf("carried to %s", host)
		}
		return &httputil.ReverseProxy{FlushInterval: -1, ErrorLog: quiet, Transport: trip, Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Header.Set("By", by)
			p.Out.Header.Set("Role", role)
		}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- here.Serve(ctx, l) }()
	client, err := api.NewClient(api.Options{Addr: "unix://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		cancel()
		<-ended
	})
	return c, client
}

func TestAHostThatIsNamedAnswers(t *testing.T) {
	t.Parallel()
	c, client := twoHosts(t, nil)
	for _, name := range []string{"second", "h2"} {
		if rows, err := client.On(name).Volumes(t.Context()); err != nil || len(rows) != 1 || rows[0].Host != "h2" {
			t.Errorf("volumes of %s: %+v, %v", name, rows, err)
		}
	}
	if rows, err := client.On("dev").Volumes(t.Context()); err != nil || len(rows) != 0 {
		t.Errorf("volumes of dev: %+v, %v", rows, err)
	}
	if res, err := client.On("second").CollectImages(t.Context(), api.GCRequest{}); err != nil || res.Bytes != 77 {
		t.Errorf("gc: %+v, %v", res, err)
	}
	var e *api.Error
	if _, err := client.On("third").Volumes(t.Context()); !errors.As(err, &e) || e.Code != "not_found" || e.Object != "host third" {
		t.Errorf("a host that is not there: %v", err)
	}
	if _, err := client.On("second").PinBase(t.Context(), api.PinRequest{Ref: "http://x/a"}); err != nil {
		t.Fatal(err)
	}
	if b, ok := c.Log.State().Bases.Get("http://x/a"); !ok || b.Version != 5 {
		t.Errorf("pinned: %+v", b)
	}
	if _, err := client.On("second").PinBase(t.Context(), api.PinRequest{Ref: "http://x/a", Update: true}); err == nil || !strings.Contains(err.Error(), "version 5 is known") {
		t.Errorf("looked again without knowing what it was: %v", err)
	}
}

func TestABuildOnAnotherHostStreamsBothWaysAndGetsItsName(t *testing.T) {
	t.Parallel()
	c, client := twoHosts(t, nil)
	img := spec.Image{Name: "web", Key: "sha256:" + strings.Repeat("3", 64), Base: "debian:bookworm"}
	events := 0
	const size = 8 << 20
	res, err := client.On("second").Build(t.Context(), api.BuildRequest{Image: img, Content: io.LimitReader(zeros{}, size)}, true, func(api.BuildEvent) { events++ })
	if err != nil || res.Bytes != size || events < 10 {
		t.Fatalf("%+v, %v, %d events", res, err, events)
	}
	st := c.Log.State()
	b, _ := st.Builds.Get(img.Key)
	if named, ok := st.Images.Get("web"); !ok || named.Key != img.Key || b == nil || b.Hosts[0] != "h2" {
		t.Errorf("named %+v, built %+v", named, b)
	}
	// What it holds is looked at there, without anybody's saying so; and an answer that broke off is no answer.
	body, _, err := client.ExportImage(t.Context(), "web", "")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if n, err := io.Copy(io.Discard, body); err == nil {
		t.Errorf("an export that broke off after %d bytes looks whole", n)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestWhatAStepLeftOnAnotherHostGetsItsName(t *testing.T) {
	t.Parallel()
	kept := &spec.Image{Name: "web:failed", Key: "sha256:" + strings.Repeat("4", 64), Base: "debian:bookworm"}
	c, client := twoHosts(t, kept)
	img := spec.Image{Name: "web", Key: "sha256:" + strings.Repeat("3", 64), Base: "debian:bookworm"}
	_, err := client.On("second").Build(t.Context(), api.BuildRequest{Image: img, Keep: true}, true, nil)
	var e *api.Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint, "rexctl image debug web:failed") {
		t.Errorf("got %v", err)
	}
	if named, ok := c.Log.State().Images.Get("web:failed"); !ok || named.Key != kept.Key {
		t.Errorf("named %+v", named)
	}
}

func TestAnExportThatBreaksOffIsSeen(t *testing.T) {
	t.Parallel()
	c := apitest.NewCluster(t, nil)
	s, err := api.New(api.Config{Log: c.Log, Host: far{Host: c.Host}, Plan: planner, Identify: func(*http.Request) (string, string, error) { return "user/x", api.RoleRoot, nil }})
	if err != nil {
		t.Fatal(err)
	}
	img := spec.Image{Name: "web", Key: "sha256:" + strings.Repeat("3", 64), Base: "x"}
	for by, cmd := range []fsm.Command{fsm.ReportBuild{Key: img.Key, Host: apitest.HostID}, fsm.TagImage{Image: img}} {
		if _, err := c.Log.Propose(t.Context(), []string{"host/" + string(apitest.HostID), "user/x"}[by], cmd); err != nil {
			t.Fatal(err)
		}
	}
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL + "/v1/images/web/export")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if n, err := io.Copy(io.Discard, res.Body); res.StatusCode != http.StatusOK || err == nil {
		t.Errorf("status %d, %d bytes, and no error", res.StatusCode, n)
	}
}
