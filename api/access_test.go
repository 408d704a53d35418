package api_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/api/apitest"
)

// TestMatrixOfRoutesAndRoles shows who may do what (failures.md, case 30); the
// file is reviewed like code.
func TestMatrixOfRoutesAndRoles(t *testing.T) {
	datadriven.RunTest(t, "testdata/roles.txt", func(t *testing.T, _ *datadriven.TestData) string {
		var b strings.Builder
		for _, rt := range api.RoutesForTest() {
			fmt.Fprintf(&b, "%-6s %-34s %s\n", rt.Method, rt.Pattern, strings.Join(rt.Roles, " "))
		}
		return b.String()
	})
}

// TestEveryRouteRefusesEveryOtherRole walks the whole table: a role without
// the right gets 403 and nothing else, one with it does not.
func TestEveryRouteRefusesEveryOtherRole(t *testing.T) {
	t.Parallel()
	c := apitest.NewCluster(t, nil)
	roles := append(api.Roles(), "", "admin ", "ROOT", "superuser")
	for _, rt := range api.RoutesForTest() {
		for _, role := range roles {
			before := c.Log.State().Index
			ctx := t.Context()
			req := httptest.NewRequestWithContext(ctx, rt.Method, pathParamValue(rt.Pattern), strings.NewReader("{}"))
			res := httptest.NewRecorder()
			serverOf(t, c, apitest.As("user/test", role)).ServeHTTP(res, req)
			may := slices.Contains(rt.Roles, role)
			if refused := res.Code == http.StatusForbidden; refused == may {
				t.Errorf("%s %s as %q: status %d, may=%t", rt.Method, rt.Pattern, role, res.Code, may)
			}
			if !may && c.Log.State().Index != before {
				t.Errorf("%s %s as %q: the log moved although it was refused", rt.Method, rt.Pattern, role)
			}
		}
	}
}

func pathParamValue(pattern string) string { return pathParam.ReplaceAllString(pattern, "nothing") }

// TestNobodyGetsNowhere: without an identity there is no answer but 401, also
// for routes that every identity may use.
func TestNobodyGetsNowhere(t *testing.T) {
	t.Parallel()
	c := apitest.NewCluster(t, nil)
	for name, who := range map[string]api.Identify{
		"refused": func(*http.Request) (string, string, error) { return "", "", errors.New("who are you") },
		"local":   api.IdentifyLocal, // httptest's requests come over no socket
		"any":     api.IdentifyAny(nil),
		"tls":     api.IdentifyTLS(func(*x509.Certificate) (string, string, error) { return "user/x", api.RoleAdmin, nil }),
	} {
		h := serverOf(t, c, who)
		for _, rt := range api.RoutesForTest() {
			req := httptest.NewRequestWithContext(t.Context(), rt.Method, pathParamValue(rt.Pattern), strings.NewReader("{}"))
			req.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}} // sent, but not verified
			res := httptest.NewRecorder()
			h.ServeHTTP(res, req)
			if res.Code != http.StatusUnauthorized {
				t.Errorf("%s: %s %s: status %d, want 401", name, rt.Method, rt.Pattern, res.Code)
			}
		}
	}
}

// TestVerifiedCertificateDecidesTheRole: what roleOf says of the verified leaf
// is who asks.
func TestVerifiedCertificateDecidesTheRole(t *testing.T) {
	t.Parallel()
	leaf := &x509.Certificate{}
	who := api.IdentifyTLS(func(c *x509.Certificate) (string, string, error) {
		if c != leaf {
			t.Errorf("asked about another certificate than the verified leaf")
		}
		return "user/anna", api.RoleReader, nil
	})
	req := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/status", nil)
	req.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf, {}}}}
	by, role, err := who(req)
	if by != "user/anna" || role != api.RoleReader || err != nil {
		t.Errorf("got %q %q %v, want user/anna reader", by, role, err)
	}
}

// TestErrorCodesHaveAStatus: a code without a status would be a 500.
func TestErrorCodesHaveAStatus(t *testing.T) {
	t.Parallel()
	for code, status := range api.ErrorCodes() {
		if status < 400 || status > 599 {
			t.Errorf("code %s has status %d", code, status)
		}
	}
}
