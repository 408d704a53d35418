package api_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/api/apitest"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// TestMovesAreAskedForFollowedAndCancelled: what forbids a move is said before
// the log is asked, --force overrules wishes only, and a move that is asked
// for while the last one is tidied up after waits for that.
func TestMovesAreAskedForFollowedAndCancelled(t *testing.T) {
	t.Parallel()
	c := apitest.NewCluster(t, nil)
	c.AddHost("two", 4, 8<<30, nil)
	w, found := spec.Parse("test.hcl", []byte("cluster \"demo\" {}\nimage \"i\" {\n  base = \"host:/\"\n}\njail \"db\" {\n  image = \"i\"\n  network = \"none\"\n  command = [\"serve\"]\n  volume \"data\" {\n    path = \"/data\"\n  }\n}\n"), spec.Inputs{})
	if found.HasErrors() {
		t.Fatal(found)
	}
	propose := func(by string, cmd fsm.Command) {
		if _, err := c.Log.Propose(t.Context(), by, cmd); err != nil {
			t.Error(err)
		}
	}
	propose("user/root", fsm.ApplyWish{Wish: *w})
	c.Settle()
	from := c.Log.State().LiveRun("db").Host
	var to *fsm.Host
	for _, h := range c.Log.State().Hosts.All {
		if h.ID != from {
			to = h
		}
	}
	var never, wished []string
	server, err := c.Server(api.Config{
		Plan: planner, Identify: apitest.As("user/test", api.RoleRoot),
		Hinders: func(*fsm.State, fsm.JailName, fsm.HostID) (_, _ []string) { return never, wished },
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, body string, status int, want string) string {
		t.Helper()
		res := httptest.NewRecorder()
		server.Handler().ServeHTTP(res, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
		if res.Code != status || !strings.Contains(res.Body.String(), want) {
			t.Fatalf("%s %s %s: status %d, want %d\n%s\nwant %q in it", method, path, body, res.Code, status, res.Body, want)
		}
		return res.Body.String()
	}
	there := `{"to": "` + to.Name + `"}`

	ask("POST", "/v1/jails/db/move", `{}`, 422, "say to which host")
	ask("POST", "/v1/jails/db/move", `{"to": "mars"}`, 404, "no such host")
	never = []string{"image: it is nowhere"}
	ask("POST", "/v1/jails/db/move", `{"to": "`+to.Name+`", "force": true}`, 422, "it is nowhere")
	never, wished = nil, []string{"pin: is not " + to.Name}
	ask("POST", "/v1/jails/db/move", there, 422, "--force")
	ask("POST", "/v1/jails/db/move", `{"to": "`+to.Name+`", "force": true}`, 200, "move_asked")
	wished = nil
	ask("POST", "/v1/jails/db/move", there, 200, `"events":[]`)

	var rows []api.MoveRow
	if err := json.Unmarshal([]byte(ask("GET", "/v1/moves?object=db", "", 200, "by force, against pin")), &rows); err != nil || len(rows) != 1 ||
		rows[0].Phase != "asked" || rows[0].To != to.Name || len(rows[0].Volumes) != 1 {
		t.Errorf("%+v, %v", rows, err)
	}
	ask("DELETE", "/v1/volumes/demo.db.data/move", "", 404, "none that goes on")
	ask("DELETE", "/v1/jails/db/move", "", 200, "move_failed")
	ask("POST", "/v1/volumes/demo.db.data/move", there, 404, "no host has said")

	id := rows[0].ID
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, h := range []fsm.HostID{from, to.ID} {
			propose("host/"+string(h), fsm.MoveStep{Object: "db", ID: id, Host: h, Did: fsm.DidClean})
		}
	}()
	ask("POST", "/v1/jails/db/move", there, 200, "move_asked")
	<-done
}
