package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/getkin/kin-openapi/openapi3"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/api/apitest"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// planner has the shape of plan.Make, which the API may not import.
func planner(s *fsm.State, w *spec.Wish) (any, error) {
	p := api.Plan{BaseIndex: s.PlanIndex, Steps: []api.PlanStep{}}
	for _, j := range w.Jails {
		if _, ok := s.Jails.Get(j.Name); !ok {
			p.Steps = append(p.Steps, api.PlanStep{Action: "create", Kind: "jail", Name: j.Name, Host: "dev", Reason: "it is new"})
		}
	}
	return p, nil
}

// TestStories runs the requests of testdata/v1 and compares the answers, whose
// JSON must be as openapi.json says.
func TestStories(t *testing.T) {
	doc := load(t)
	datadriven.Walk(t, "testdata/v1", func(t *testing.T, path string) {
		c := apitest.NewCluster(t, nil)
		role := api.RoleRoot
		var wish []byte
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "as":
				d.ScanArgs(t, "role", &role)
				return ""
			case "wish":
				w, found := spec.Parse("test.hcl", []byte(d.Input), spec.Inputs{})
				if found.HasErrors() {
					return found.Error()
				}
				b, err := json.Marshal(w)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				wish = b
				return fmt.Sprintf("%d jails", len(w.Jails))
			case "forget":
				var index uint64
				d.ScanArgs(t, "index", &index)
				c.Log.Forget(index)
				return ""
			case "refuse":
				c.Log.Refuse(fmt.Errorf("%s", d.Input))
				return ""
			case "request":
				return ask(t, doc, serverOf(t, c, apitest.As("user/test", role)), d.Input, wish)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

func serverOf(t testing.TB, c *apitest.Cluster, who api.Identify) http.Handler {
	t.Helper()
	s, err := c.Server(api.Config{Plan: planner, Identify: who})
	if err != nil {
		t.Fatal(err)
	}
	return s.Handler()
}

// derived are values that fsm makes: they say nothing that a reader could check.
var derived = regexp.MustCompile(`"(chain|hash|mac|uuid|uri)": "[^"]+"`)

// ask sends "METHOD PATH", header lines, an empty line and a body, where
// $wish is the wish, and returns status and answer.
func ask(t *testing.T, doc *openapi3.T, h http.Handler, input string, wish []byte) string {
	t.Helper()
	head, body, _ := strings.Cut(input, "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	method, target, _ := strings.Cut(lines[0], " ")
	if strings.TrimSpace(body) == "$wish" {
		body = string(wish)
	}
	req := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	for _, l := range lines[1:] {
		k, v, _ := strings.Cut(l, ": ")
		req.Header.Set(k, v)
	}
	res := httptest.NewRecorder()
	h.ServeHTTP(res, req)
	conforms(t, doc, method, strings.SplitN(target, "?", 2)[0], res.Result())
	var text bytes.Buffer
	if strings.HasPrefix(res.Header().Get("Content-Type"), "application/json") {
		if err := json.Indent(&text, res.Body.Bytes(), "", " "); err != nil {
			t.Fatalf("%s %s: no JSON: %v", method, target, err)
		}
	} else {
		text.Write(res.Body.Bytes())
	}
	return fmt.Sprintf("%d\n%s", res.Code, derived.ReplaceAllString(text.String(), `"$1": "..."`))
}

// conforms compares an answer with the document.
func conforms(t *testing.T, doc *openapi3.T, method, path string, res *http.Response) {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	media, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	if media == "text/plain" || media == "text/event-stream" {
		return
	}
	var op *openapi3.Operation
	for pattern, item := range doc.Paths.Map() {
		if matchPath(pattern, path) && item.GetOperation(method) != nil && (op == nil || !strings.Contains(pattern, "{")) {
			op = item.GetOperation(method)
		}
	}
	answer := doc.Components.Schemas["Error"]
	if res.StatusCode < 300 {
		if op == nil {
			t.Fatalf("%s %s: openapi.json has no such operation", method, path)
		}
		answer = op.Responses.Value("200").Value.Content.Get(media).Schema
	}
	for _, line := range documents(media, b) {
		var v any
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%s %s: no JSON: %v: %s", method, path, err, line)
		}
		if err := answer.Value.VisitJSON(v); err != nil {
			t.Errorf("%s %s: the answer is not as openapi.json says: %v", method, path, err)
		}
	}
}

func documents(media string, b []byte) [][]byte {
	if media != "application/x-ndjson" {
		return [][]byte{b}
	}
	var out [][]byte
	for line := range bytes.Lines(b) {
		if len(bytes.TrimSpace(line)) > 0 {
			out = append(out, line)
		}
	}
	return out
}

func matchPath(pattern, path string) bool {
	p, q := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(p) != len(q) {
		return false
	}
	for i := range p {
		if p[i] != q[i] && !strings.HasPrefix(p[i], "{") {
			return false
		}
	}
	return true
}
