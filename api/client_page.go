package api

import (
	"context"
	"iter"
	"net/url"
	"strconv"
)

// nextRows is how many rows a Client asks for at once, after the first page.
const nextRows = 5000

// pages asks for a long list page by page, the first one with so many rows. A
// past State would be rebuilt for each page, so it is asked for as a whole.
func pages[T any](ctx context.Context, c *Client, path string, q url.Values, first int) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		for limit := first; ; limit = nextRows {
			if c.at == "" {
				q.Set("limit", strconv.Itoa(limit))
			}
			var rows []T
			h, err := c.exchange(ctx, "GET", path, q, 0, nil, &rows)
			if err != nil {
				yield(nil, err)
				return
			}
			next := nextPage(h)
			if !yield(rows, nil) || next == "" {
				return
			}
			q.Set("after", next)
		}
	}
}

// all joins the pages of a list.
func all[T any](seq iter.Seq2[[]T, error]) ([]T, error) {
	out := []T{}
	for rows, err := range seq {
		if err != nil {
			return nil, err
		}
		out = append(out, rows...)
	}
	return out, nil
}

// query makes a url.Values of what is not empty.
func query(kv ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(kv); i += 2 {
		if kv[i+1] != "" {
			q.Set(kv[i], kv[i+1])
		}
	}
	return q
}

// JailPages lists jails by name, in pages: the first one of so many rows (1 to
// 10,000) is there when the others are not yet made. It ends after an error. A
// jail that is there all the time is on one page; the pages are not of one
// State.
func (c *Client) JailPages(ctx context.Context, f JailFilter, first int) iter.Seq2[[]JailRow, error] {
	return pages[JailRow](ctx, c, "/v1/jails", query("network", f.Network, "wish", f.Wish), first)
}

// Leases lists leases, of one network or of all.
func (c *Client) Leases(ctx context.Context, network string) ([]LeaseRow, error) {
	return all(pages[LeaseRow](ctx, c, "/v1/leases", query("network", network), nextRows))
}

// Records lists the DNS records that are served.
func (c *Client) Records(ctx context.Context, network string) ([]RecordRow, error) {
	return all(pages[RecordRow](ctx, c, "/v1/dns/records", query("network", network), nextRows))
}

// Certs lists certificates.
func (c *Client) Certs(ctx context.Context) ([]CertRow, error) {
	return all(pages[CertRow](ctx, c, "/v1/certs", query(), nextRows))
}
