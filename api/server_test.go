package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/api/apitest"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// serve runs the API on a unix socket until the test ends, and checks that
// nothing is left of it.
func serve(t *testing.T, c *apitest.Cluster, who api.Identify) *api.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rex.sock")
	stop := serveAt(t, c, who, path)
	t.Cleanup(stop)
	client, err := api.NewClient(api.Options{Addr: "unix://" + path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func serveAt(t *testing.T, c *apitest.Cluster, who api.Identify, path string) (stop func()) {
	t.Helper()
	s, err := c.Server(api.Config{Plan: planner, Identify: who})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	return func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the server does not end")
		}
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// apply applies a small wish of jails with these names.
func apply(t *testing.T, client *api.Client, jails ...string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("cluster \"demo\" {}\nnetwork \"net\" { subnet = \"10.1.2.0/24\" }\nimage \"base\" { base = \"debian:bookworm\" }\n")
	for _, j := range jails {
		fmt.Fprintf(&b, "jail %q {\n  image = \"base\"\n  network = \"net\"\n  command = [\"/bin/web\"]\n}\n", j)
	}
	w, found := spec.Parse("test.hcl", []byte(b.String()), spec.Inputs{})
	if found.HasErrors() {
		t.Fatal(found)
	}
	if _, err := client.ApplyWish(t.Context(), w, 0); err != nil {
		t.Fatal(err)
	}
}

func TestRootAndTheDaemonsUserMayUseTheSocket(t *testing.T) {
	t.Parallel()
	client := serve(t, apitest.NewCluster(t, nil), api.IdentifyAny(nil))
	st, err := client.Status(t.Context())
	if err != nil || st.ClusterID != "test-cluster" {
		t.Fatalf("got %+v, %v", st, err)
	}
	apply(t, client, "web")
	events, err := client.History(t.Context(), "wish demo", 10)
	if err != nil || len(events) != 1 {
		t.Fatalf("history: %v, %v", events, err)
	}
	want := "user/root"
	if uid := os.Geteuid(); uid != 0 {
		want = fmt.Sprintf("user/uid-%d", uid)
	}
	if events[0].By != want {
		t.Errorf("by %q, want %q", events[0].By, want)
	}
}

// TestBlockingQueryWaitsForTheLog: ?index=N answers with a State past N, and
// with what there is when the wait is over.
func TestBlockingQueryWaitsForTheLog(t *testing.T) {
	t.Parallel()
	c := apitest.NewCluster(t, nil)
	client := serve(t, c, api.IdentifyLocal)
	index := c.Log.State().Index
	rows, at, err := client.JailsAfter(t.Context(), api.JailFilter{}, index, time.Millisecond)
	if err != nil || len(rows) != 0 || at != index {
		t.Fatalf("after the wait: %v at %d, %v; want the newest State at %d", rows, at, err, index)
	}
	type answer struct {
		rows []api.JailRow
		at   uint64
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		rows, at, err := client.JailsAfter(t.Context(), api.JailFilter{}, index, 20*time.Second)
		got <- answer{rows, at, err}
	}()
	apply(t, client, "web")
	if a := <-got; a.err != nil || a.at <= index || len(a.rows) != 1 {
		t.Errorf("got %v at %d, %v; want one jail past %d", a.rows, a.at, a.err, index)
	}
}

func TestPanicIsAnAnswerAndNotTheEnd(t *testing.T) {
	t.Parallel()
	c := apitest.NewCluster(t, nil)
	s, err := api.New(api.Config{
		Log: c.Log, Host: c.Host, Identify: apitest.As("user/root", api.RoleRoot),
		Plan: func(*fsm.State, *spec.Wish) (any, error) { panic("boom") },
	})
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/plan", strings.NewReader(`{"name":"demo"}`))
	res := httptest.NewRecorder()
	s.Handler().ServeHTTP(res, req)
	if res.Code != http.StatusInternalServerError || !strings.Contains(res.Body.String(), "boom") {
		t.Errorf("got %d %s", res.Code, res.Body)
	}
}

func TestHugeBodyIsRefused(t *testing.T) {
	t.Parallel()
	h := serverOf(t, apitest.NewCluster(t, nil), apitest.As("user/root", api.RoleRoot))
	body := io.MultiReader(strings.NewReader(`{"name":"`), io.LimitReader(endless{}, 9<<20))
	req := httptest.NewRequestWithContext(t.Context(), "PUT", "/v1/wishes/demo", body)
	res := httptest.NewRecorder()
	h.ServeHTTP(res, req)
	if res.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d %s, want 413", res.Code, res.Body)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'a'
	}
	return len(b), nil
}

func TestMetricsCountByRouteAndCode(t *testing.T) {
	t.Parallel()
	c := apitest.NewCluster(t, nil)
	reg := prometheus.NewPedanticRegistry()
	for range 2 { // the daemon has two servers on one registry
		s, err := c.Server(api.Config{Plan: planner, Identify: apitest.As("user/root", api.RoleRoot), Registry: reg})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/v1/jails/one", "/v1/jails/two", "/nothing"} {
			s.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "rexcarcer_api_") || f.GetHelp() == "" {
			t.Errorf("metric %q, help %q", f.GetName(), f.GetHelp())
		}
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		`rexcarcer_api_requests_total{code="404",method="GET",route="/v1/jails/{name}"} 4`,
		`rexcarcer_api_requests_total{code="404",method="any",route="none"} 2`,
		`rexcarcer_api_request_duration_seconds_count{route="/v1/jails/{name}"} 4`,
		`rexcarcer_api_streams 0`,
	} {
		if !strings.Contains(b.String(), want+"\n") {
			t.Errorf("lacks %s in:\n%s", want, b.String())
		}
	}
}

func TestMissingDaemonIsSaid(t *testing.T) {
	t.Parallel()
	client, err := api.NewClient(api.Options{Addr: "unix://" + filepath.Join(t.TempDir(), "none.sock")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Status(t.Context())
	var gone *api.Unreachable
	if !errors.As(err, &gone) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want Unreachable: no such file", err)
	}
}

func TestAddressesThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"http://host:7372", "host:7372", "unix://", "unix://host/x.sock", "https://", "ftp://x", "\x00"} {
		if _, err := api.NewClient(api.Options{Addr: addr}); err == nil {
			t.Errorf("%q: taken", addr)
		}
	}
	if _, err := api.NewClient(api.Options{Addr: "https://h", ClientCert: "x"}); err == nil {
		t.Error("a client certificate without a key: taken")
	}
}
