package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/api/apitest"
)

func TestExecPassesStreamsAndCode(t *testing.T) {
	t.Parallel()
	c := apitest.NewCluster(t, nil)
	client := serve(t, c, api.IdentifyLocal)
	apply(t, client, "web")
	big := strings.Repeat("0123456789abcdef", 1<<14) // several frames
	for _, tc := range []struct {
		name     string
		req      api.ExecRequest
		in       string
		out, err string
		code     int
	}{
		{"echo", api.ExecRequest{Argv: []string{"echo", "a b", "$(x)"}}, "", "a b $(x)\n", "", 0},
		{"stderr", api.ExecRequest{Argv: []string{"complain", "oh"}}, "", "", "oh\n", 1},
		{"stdin", api.ExecRequest{Argv: []string{"cat"}}, big, big, "", 0},
		{"no stdin", api.ExecRequest{Argv: []string{"cat"}}, "", "", "", 0},
		{"code", api.ExecRequest{Argv: []string{"exit", "137"}}, "", "", "", 137},
		{"options", api.ExecRequest{Argv: []string{"env"}, Env: []string{"A=1"}, User: "u", Dir: "/d", TTY: true, Size: api.Size{Rows: 2, Cols: 3}}, "", "jail=web user=u dir=/d env=A=1 tty=true size=3x2\n", "", 0},
	} {
		var out, errOut bytes.Buffer
		s := api.ExecStreams{Stdout: &out, Stderr: &errOut}
		if tc.in != "" {
			s.Stdin = strings.NewReader(tc.in)
		}
		code, err := client.Exec(t.Context(), "web", tc.req, s)
		if err != nil || code != tc.code || out.String() != tc.out || errOut.String() != tc.err {
			t.Errorf("%s: code %d, stdout %.60q, stderr %.60q, %v; want %d, %.60q, %.60q", tc.name, code, out.String(), errOut.String(), err, tc.code, tc.out, tc.err)
		}
	}
	sizes := make(chan api.Size, 2)
	sizes <- api.Size{Rows: 50, Cols: 1}
	var out bytes.Buffer
	if code, err := client.Exec(t.Context(), "web", api.ExecRequest{Argv: []string{"resize"}}, api.ExecStreams{Stdout: &out, Stderr: &out, Resize: sizes}); err != nil || code != 0 || out.String() != "1x50\n" {
		t.Errorf("resize: %d, %q, %v", code, out.String(), err)
	}
}

func TestExecErrorsNameTheJail(t *testing.T) {
	t.Parallel()
	c := apitest.NewCluster(t, nil)
	client := serve(t, c, api.IdentifyLocal)
	apply(t, client, "web")
	if _, err := client.WantJail(t.Context(), "web", "stopped"); err != nil {
		t.Fatal(err)
	}
	s := api.ExecStreams{Stdout: io.Discard, Stderr: io.Discard}
	for _, tc := range []struct {
		jail string
		argv []string
		want string
	}{
		{"web", []string{"ls"}, "jail web: it is not running"},
		{"none", []string{"ls"}, "jail none: no such jail"},
		{"web", nil, "argv is empty"},
		{"web", []string{"a\x00b"}, "zero byte"},
		{"a..b", []string{"ls"}, "is no jail name"},
	} {
		_, err := client.Exec(t.Context(), tc.jail, api.ExecRequest{Argv: tc.argv}, s)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %q: got %v, want %q", tc.jail, tc.argv, err, tc.want)
		}
	}
	if _, err := client.WantJail(t.Context(), "web", "running"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Exec(t.Context(), "web", api.ExecRequest{Argv: []string{"nonsense"}}, s); err == nil || !strings.Contains(err.Error(), `exec "nonsense"`) {
		t.Errorf("no such command: got %v", err)
	}
}

// TestExecEndsWithItsClient: a command does not outlive the session.
func TestExecEndsWithItsClient(t *testing.T) {
	t.Parallel()
	c := apitest.NewCluster(t, nil)
	client := serve(t, c, api.IdentifyLocal)
	apply(t, client, "web")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := client.Exec(ctx, "web", api.ExecRequest{Argv: []string{"hang"}}, api.ExecStreams{Stdout: w, Stderr: io.Discard})
		ended <- err
	}()
	if _, err := io.ReadFull(r, make([]byte, len("hanging\n"))); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	apitest.Eventually(t, "the command has ended", func() bool { return c.Host.Said("hang ended") })
}
