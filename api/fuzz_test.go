package api_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/api/apitest"
)

// FuzzFrames: whatever a peer sends, reading ends, and never takes more than
// was sent.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{3, 0, 0, 0, 2, 'h', 'i'})
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{2, 0, 0, 0, 4, 0, 24})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := api.ReadFramesForTest(bytes.NewReader(b))
		if err == nil || len(got) > len(b) {
			t.Errorf("%d bytes of %d, %v", len(got), len(b), err)
		}
	})
}

// FuzzRequests: no request makes the server panic or answer anything but
// success or an error of its own form.
func FuzzRequests(f *testing.F) {
	for _, rt := range api.RoutesForTest() {
		f.Add(rt.Method, pathParamValue(rt.Pattern), "index=1&wait=0s", `{"name":"x"}`)
	}
	f.Add("GET", "/v1/jails/%24(x)", "", "")
	f.Add("GET", "/v1/why", "object=jail+%00", "")
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://x/", strings.NewReader(body))
		if err != nil || strings.Contains(query, "follow") || strings.Contains(query, "wait") {
			return
		}
		req.URL.Path, req.URL.RawQuery = path, query
		h := serverOf(t, apitest.NewCluster(t, nil), apitest.As("user/root", api.RoleRoot))
		res := httptest.NewRecorder()
		h.ServeHTTP(res, req)
		if res.Code >= 500 && res.Code != http.StatusInsufficientStorage {
			t.Errorf("%s %s?%s: %d %s", method, path, query, res.Code, res.Body)
		}
	})
}
