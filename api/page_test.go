package api_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/api/apitest"
)

// paged walks along a list by the headers, as a client that is not ours would.
func paged(t *testing.T, c *api.Client, path string, limit int) (bodies []string) {
	t.Helper()
	for after := ""; ; {
		target := fmt.Sprintf("%slimit=%d", path, limit)
		if after != "" {
			target += "&after=" + url.QueryEscape(after)
		}
		res, err := c.Do(t.Context(), "GET", target, nil, http.Header{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, strings.TrimSuffix(strings.TrimPrefix(string(b), "["), "]\n"))
		if after = res.Header.Get("Rex-Next"); after == "" {
			return bodies
		}
		if len(bodies) > 100 {
			t.Fatalf("%s has no end", path)
		}
	}
}

// TestPagesTogetherAreTheList: for each list that has pages, of any size.
func TestPagesTogetherAreTheList(t *testing.T) {
	c := apitest.NewCluster(t, nil)
	client := serve(t, c, apitest.As("user/test", "admin"))
	var names []string
	for i := range 23 {
		names = append(names, fmt.Sprintf("jail-%02d", i))
	}
	apply(t, client, names...)
	c.Settle()
	for _, path := range []string{"/v1/jails?", "/v1/jails?wish=demo&", "/v1/jails?network=net&", "/v1/leases?", "/v1/leases?network=net&", "/v1/dns/records?", "/v1/dns/records?network=net&", "/v1/certs?"} {
		whole := paged(t, client, path, 10_000)
		if len(whole) != 1 || strings.Count(whole[0], "},{") < len(names)-1 {
			t.Errorf("%s: %d pages: %s", path, len(whole), whole[0])
			continue
		}
		for _, limit := range []int{1, 5, 22, 23, 24} {
			if limit == 1 && strings.Contains(path, "dns") {
				limit = 2
			}
			pages := paged(t, client, path, limit)
			for i, p := range pages {
				if n := strings.Count(p, "},{") + 1; n > limit || n < limit && i < len(pages)-1 {
					t.Errorf("%s with limit %d: page %d has %d rows", path, limit, i, n)
				}
			}
			if got := strings.Join(pages, ","); got != whole[0] {
				t.Errorf("%s with limit %d: %d pages are not the list:\n%s\n%s", path, limit, len(pages), got, whole[0])
			}
		}
	}
	for _, bad := range []string{"/v1/jails?limit=0", "/v1/jails?limit=10001", "/v1/jails?limit=x", "/v1/certs?limit=-1", "/v1/leases?limit=2&after=net"} {
		if _, err := client.Do(t.Context(), "GET", bad, nil, http.Header{}); err == nil || !strings.Contains(err.Error(), "want") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestClientPagesByItself(t *testing.T) {
	c := apitest.NewCluster(t, nil)
	client := serve(t, c, apitest.As("user/test", "admin"))
	apply(t, client, "one", "two", "three", "four", "five")
	var got []string
	n := 0
	for rows, err := range client.JailPages(t.Context(), api.JailFilter{}, 2) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		for _, r := range rows {
			got = append(got, r.Name)
		}
	}
	if want := []string{"five", "four", "one", "three", "two"}; n != 2 || !slices.Equal(got, want) {
		t.Errorf("%d pages with %q, want %q", n, got, want)
	}
	rows, err := client.Jails(t.Context(), api.JailFilter{})
	if err != nil || len(rows) != 5 || rows[4].Name != "two" {
		t.Errorf("the list as a whole: %+v, %v", rows, err)
	}
	leases, err := client.Leases(t.Context(), "")
	if err != nil || len(leases) != 5 {
		t.Errorf("leases: %+v, %v", leases, err)
	}
}
