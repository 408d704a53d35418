package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/api/apitest"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

var errStop = errors.New("stop")

// TestEventsResumeAfterTheServerIsGone: a reader that follows gets every event
// once and in order, although the server goes away in between.
func TestEventsResumeAfterTheServerIsGone(t *testing.T) {
	t.Parallel()
	c := apitest.NewCluster(t, nil)
	path := filepath.Join(t.TempDir(), "rex.sock")
	stop := serveAt(t, c, api.IdentifyLocal, path)
	client, err := api.NewClient(api.Options{Addr: "unix://" + path})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	var mu sync.Mutex
	var got []api.Event
	seen := func(kind, object string) bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.ContainsFunc(got, func(e api.Event) bool { return e.Kind == kind && e.Object == object })
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- client.Events(ctx, api.EventFilter{Follow: true}, func(e api.Event) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, e)
			return nil
		})
	}()
	apply(t, client, "web")
	apitest.Eventually(t, "the first wish is seen", func() bool { return seen("cert_issued", "cert web") })
	stop()
	stop = serveAt(t, c, api.IdentifyLocal, path)
	defer stop()
	apply(t, client, "web", "other")
	apitest.Eventually(t, "the second wish is seen", func() bool { return seen("cert_issued", "cert other") })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v, want canceled", err)
	}
	all, err := client.History(t.Context(), "", 10000)
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(got) != len(all) {
		t.Fatalf("got %d events, %d happened", len(got), len(all))
	}
	for i := range all {
		if got[i].Index != all[i].Index || got[i].N != all[i].N || got[i].Kind != all[i].Kind {
			t.Fatalf("event %d: got %+v, want %+v", i, got[i], all[i])
		}
	}
}

// TestHalfAnEntryResumesBehindTheLastEvent: Last-Event-ID N.K skips exactly K
// events of entry N, for every K.
func TestHalfAnEntryResumesBehindTheLastEvent(t *testing.T) {
	t.Parallel()
	c := apitest.NewCluster(t, nil)
	client := serve(t, c, api.IdentifyLocal)
	apply(t, client, "web")
	all, err := client.History(t.Context(), "", 10000)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range all {
		res, err := client.Do(t.Context(), "GET", "/v1/events", nil, http.Header{"Last-Event-Id": {idOf(e)}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b, []byte("\n")); n != len(all)-i-1 {
			t.Errorf("after %s: %d events, want %d", idOf(e), n, len(all)-i-1)
		}
	}
}

func idOf(e api.Event) string { return fmt.Sprintf("%d.%d", e.Index, e.N) }

func TestAPastThatIsGoneEndsTheFollower(t *testing.T) {
	t.Parallel()
	c := apitest.NewCluster(t, nil)
	client := serve(t, c, api.IdentifyLocal)
	c.Log.Forget(2)
	err := client.Events(t.Context(), api.EventFilter{Since: 1, Follow: true}, func(api.Event) error { return nil })
	var e *api.Error
	if !errors.As(err, &e) || e.Code != "too_old" || e.Status != http.StatusGone || !strings.Contains(e.Hint, "--since 2") {
		t.Errorf("got %v, want too_old with the oldest index", err)
	}
}

func TestYieldEndsTheStream(t *testing.T) {
	t.Parallel()
	client := serve(t, apitest.NewCluster(t, nil), api.IdentifyLocal)
	n := 0
	err := client.Events(t.Context(), api.EventFilter{Follow: true}, func(api.Event) error { n++; return errStop })
	if !errors.Is(err, errStop) || n != 1 {
		t.Errorf("got %v after %d events, want errStop after 1", err, n)
	}
}

func TestLogsAreCopiedAndFollowed(t *testing.T) {
	t.Parallel()
	c := apitest.NewCluster(t, nil)
	client := serve(t, c, api.IdentifyLocal)
	apply(t, client, "web", "broken")
	var b bytes.Buffer
	if err := client.Logs(t.Context(), "web", api.LogOptions{Tail: -1}, &b); err != nil || b.String() != "starting web\nlistening\nready\n" {
		t.Fatalf("got %q, %v", b.String(), err)
	}
	b.Reset()
	if err := client.Logs(t.Context(), "web", api.LogOptions{Tail: 1}, &b); err != nil || b.String() != "ready\n" {
		t.Fatalf("tail: got %q, %v", b.String(), err)
	}
	if err := client.Logs(t.Context(), "broken", api.LogOptions{Tail: -1}, io.Discard); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("an error after the first byte: got %v", err)
	}
	if err := client.Logs(t.Context(), "none", api.LogOptions{}, io.Discard); err == nil || !strings.Contains(err.Error(), "jail none") {
		t.Errorf("no such jail: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- client.Logs(ctx, "web", api.LogOptions{Follow: true}, w) }()
	c.Host.Say("one more")
	text := make([]byte, 0, 64)
	buf := make([]byte, 64)
	for !bytes.Contains(text, []byte("one more\n")) {
		n, err := r.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, buf[:n]...)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("follow ended with %v", err)
	}
}

func TestBuildReportsProgressThenTheLogKnowsTheKey(t *testing.T) {
	t.Parallel()
	c := apitest.NewCluster(t, nil)
	client := serve(t, c, api.IdentifyLocal)
	img := spec.Image{Name: "web:1", Key: "sha256:" + strings.Repeat("a", 64), Base: "debian:bookworm", Context: "sha256:" + strings.Repeat("b", 64), Steps: []spec.Step{
		{Kind: spec.StepRun, Run: "true", Text: "RUN true", Line: 2, Key: "sha256:" + strings.Repeat("c", 64)},
	}}
	var states []string
	res, err := client.Build(t.Context(), api.BuildRequest{Image: img, Content: bytes.NewReader(make([]byte, 3<<20))}, false, func(e api.BuildEvent) { states = append(states, e.State+" "+e.Text) })
	if err != nil || res.Key != img.Key || res.Bytes != 3<<20 {
		t.Fatalf("got %+v, %v", res, err)
	}
	if want := []string{"start debian:bookworm", "start RUN true", "done RUN true"}; !slices.Equal(states, want) {
		t.Errorf("progress %q, want %q", states, want)
	}
	builds, err := client.Builds(t.Context())
	if err != nil || len(builds) != 1 || builds[0].Key != img.Key || !slices.Equal(builds[0].Hosts, []fsm.HostID{apitest.HostID}) {
		t.Errorf("builds %+v, %v", builds, err)
	}
	img.Steps[0].Run = "false"
	img.Key = "sha256:" + strings.Repeat("d", 64)
	_, err = client.Build(t.Context(), api.BuildRequest{Image: img, Content: bytes.NewReader([]byte{1})}, true, nil)
	var e *api.Error
	if !errors.As(err, &e) || e.Code != "failed" || !strings.Contains(err.Error(), "RUN true") {
		t.Errorf("a failing step: got %v", err)
	}
	if _, known := c.Log.State().Builds.Get(img.Key); known {
		t.Error("the log knows a build that failed")
	}
}

// TestBuildWithoutTheRightIsRefusedBeforeTheContext: the client hears 403, not
// a broken pipe, however large the context is.
func TestBuildWithoutTheRightIsRefusedBeforeTheContext(t *testing.T) {
	t.Parallel()
	client := serve(t, apitest.NewCluster(t, nil), apitest.As("user/x", api.RoleReader))
	_, err := client.Build(t.Context(), api.BuildRequest{Image: spec.Image{Name: "x", Key: "y"}, Content: bytes.NewReader(make([]byte, 1<<10))}, false, nil)
	var e *api.Error
	if !errors.As(err, &e) || e.Status != http.StatusForbidden {
		t.Errorf("got %v, want 403", err)
	}
}

func TestEventsWaitForNothingButTheCaller(t *testing.T) {
	t.Parallel()
	client := serve(t, apitest.NewCluster(t, nil), api.IdentifyLocal)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := client.Events(ctx, api.EventFilter{Since: 100, Follow: true}, func(api.Event) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the caller's deadline", err)
	}
}
