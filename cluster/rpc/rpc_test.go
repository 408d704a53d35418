package rpc

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/cluster"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/pki"
)

// Case 32 of the failures: a captured host speaks for nobody but itself.
func TestAMemberSpeaksForItself(t *testing.T) {
	t.Parallel()
	server, host := pki.ID{Role: pki.RoleServer, Name: "h-1"}, pki.ID{Role: pki.RoleHost, Name: "h-2"}
	for _, c := range []struct {
		peer pki.ID
		by   string
		cmd  fsm.Command
		ok   bool
	}{
		{host, "host/h-2", fsm.ReportRun{}, true},
		{host, "host/h-2", fsm.RequestCert{}, true},
		{host, "host/h-1", fsm.ReportRun{}, false},
		{server, "host/h-2", fsm.ReportRun{}, false},
		{host, "host/h-2", fsm.PlaceJail{}, false},
		{host, "host/h-2", fsm.CreateToken{}, false},
		{host, "user/root", fsm.ApplyWish{}, false},
		{host, "scheduler", fsm.PlaceJail{}, false},
		{host, "token/abcdefgh", fsm.AdmitHost{}, false},
		{server, "user/root", fsm.ApplyWish{}, true},
		{server, "user/root", fsm.PlaceJail{}, false},
		{server, "scheduler", fsm.PlaceJail{}, false},
		{server, "ca", fsm.SetCert{}, false},
		{server, "cluster", fsm.RaiseGeneration{}, false},
		{server, "token/abcdefgh", fsm.AdmitHost{}, true},
		{server, "token/abcdefgh", fsm.ApplyWish{}, false},
		{server, "", fsm.ApplyWish{}, false},
		{host, "", fsm.ReportRun{}, false},
		{host, "host/" + host.Name, fsm.LeaseGuests{Host: fsm.HostID(host.Name)}, true},
		{host, "host/" + host.Name, fsm.EndGuests{Host: fsm.HostID(host.Name)}, true},
	} {
		if err := MayPropose(c.peer, fsm.Entry{By: c.by, Cmd: c.cmd}); (err == nil) != c.ok {
			t.Errorf("%s brings %s by %q: %v, want success %v", c.peer, c.cmd.Kind(), c.by, err, c.ok)
		}
	}
}

// TestEveryKindHasAnOwner reads package fsm: a new kind must be put into one
// of the tables, or nobody but the leader itself can propose it.
func TestEveryKindHasAnOwner(t *testing.T) {
	t.Parallel()
	found := 0
	files, err := filepath.Glob("../../fsm/command*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != "Kind" {
				continue
			}
			text := f.Body.List[0].(*ast.ReturnStmt).Results[0].(*ast.BasicLit).Value
			kind, err := strconv.Unquote(text)
			if err != nil {
				t.Fatal(err)
			}
			found++
			if !ofHosts[kind] && !ofUsers[kind] && !ofTokens[kind] && !ofLeader[kind] {
				t.Errorf("%s is in no table of gate.go: who may bring it to the leader?", kind)
			}
		}
	}
	if found < 28 {
		t.Errorf("only %d kinds were found: look elsewhere", found)
	}
}

// fake leads or does not.
type fake struct {
	leads bool
	err   error
}

func (f fake) ProposeHere(_ context.Context, e fsm.Entry) (fsm.Applied, error) {
	if !f.leads {
		return fsm.Applied{}, fmt.Errorf("here: %w", cluster.ErrNotLeader)
	}
	return fsm.Applied{Index: 7}, f.err
}

func (f fake) ReadIndexHere(context.Context) (uint64, error) {
	if !f.leads {
		return 0, cluster.ErrNotLeader
	}
	return 9, nil
}

func (f fake) Heard(from fsm.HostID, p cluster.Ping) cluster.Pong {
	return cluster.Pong{Leader: "h-1", Leading: f.leads, Index: p.Applied}
}

// direct answers requests without a network, as a peer.
type direct struct{ h *handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	switch r.URL.Path {
	case "/rpc/index":
		d.h.index(w, r)
	case "/rpc/ping":
		d.h.ping(w, r)
	default:
		d.h.propose(w, r)
	}
	return w.Result(), nil
}

func TestAnswersOfALeaderAndOfAnother(t *testing.T) {
	t.Parallel()
	refusal := &fsm.Refusal{Code: fsm.CodeConflict, Object: "jail web", Text: "no"}
	ask := func(f fake) *Client { return NewClient(direct{&handler{f, func(pki.ID, string, string) {}}}) }
	if i, err := ask(fake{leads: true}).ReadIndex(t.Context(), "h-1"); i != 9 || err != nil {
		t.Errorf("read index: %d, %v", i, err)
	}
	if _, err := ask(fake{}).ReadIndex(t.Context(), "h-1"); !errors.Is(err, cluster.ErrNotLeader) {
		t.Errorf("read index elsewhere: %v", err)
	}
	if p, err := ask(fake{leads: true}).Ping(t.Context(), "h-1", cluster.Ping{Applied: 3}); err != nil || p.Index != 3 || !p.Leading {
		t.Errorf("ping: %+v, %v", p, err)
	}
	// A request without a certificate speaks for nobody.
	_, err := ask(fake{leads: true, err: refusal}).Propose(t.Context(), "h-1", fsm.Entry{V: fsm.Version, By: "user/root", Cmd: fsm.RestartJail{Jail: "web"}})
	if got := (*fsm.Refusal)(nil); !errors.As(err, &got) || got.Code != fsm.CodeFenced {
		t.Errorf("nobody proposes: %v", err)
	}
	w := httptest.NewRecorder()
	Handler(fake{leads: true}, nil, func(pki.ID, string, string) {}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/rpc/index", strings.NewReader("")))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("a request without a certificate: status %d", w.Code)
	}
}
