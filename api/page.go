package api

import (
	"cmp"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Long lists are answered in pages to who asks for that: ?limit rows after the
// row that ?after names, in the order of the State. A page is of the State as it
// is when it is asked for, so what is there all the time is in exactly one.

// headerNext names the last row of a page that is not the last one.
const headerNext = "Rex-Next"

// pageMost is how many rows a page has at most.
const pageMost = 10_000

var (
	pLimit = param{"limit", "integer", "at most so many rows, to 10000; if there are more, the header Rex-Next says what to give as after"}
	pAfter = param{"after", "string", "only what comes after this row: Rex-Next of the page before"}
)

// page is which part of a list was asked for.
type page struct {
	after string
	limit int // 0: no limit
}

func (r *request) page() (p page, err error) {
	q := r.URL.Query()
	p.after = q.Get("after")
	if text := q.Get("limit"); text != "" {
		if p.limit, err = strconv.Atoi(text); err != nil || p.limit < 1 || p.limit > pageMost {
			return p, fail("bad_request", "", "leave limit out for the whole list", "limit=%q: want 1 to %d", text, pageMost)
		}
	}
	return p, nil
}

// from is the lowest key of a Tree that may be on the page.
func (p page) from() string {
	if p.after == "" {
		return ""
	}
	return p.after + "\x00"
}

// full reports whether a page of n rows has no room for another.
func (p page) full(n int) bool { return p.limit > 0 && n >= p.limit }

// next tells the peer, before the answer, where the next page begins.
func (r *request) next(after string) { r.w.Header().Set(headerNext, after) }

// replyPage answers with the rows of t's values on the page.
func replyPage[V, T any](r *request, index uint64, t fsm.Tree[V], row func(V) (T, bool)) error {
	p, err := r.page()
	if err != nil {
		return err
	}
	rows, last := []T{}, ""
	for key, v := range t.From(p.from()) {
		x, ok := row(v)
		if !ok {
			continue
		}
		if p.full(len(rows)) {
			r.next(last)
			break
		}
		rows, last = append(rows, x), key
	}
	return r.reply(index, rows)
}

// leasePage is a page of the leases of some networks, by network and address.
// In ?after a lease is NETWORK/ADDRESS.
func leasePage(st *fsm.State, networks []string, p page) (rows []LeaseRow, next string, err error) {
	name, text, _ := strings.Cut(p.after, "/")
	after, err := netip.ParseAddr(text)
	if p.after != "" && err != nil {
		return nil, "", fail("bad_request", "", "give Rex-Next of the page before", "after=%q: want NETWORK/ADDRESS", p.after)
	}
	rows = []LeaseRow{}
	for _, network := range networks {
		from := network + "/"
		switch {
		case network < name:
			continue
		case network == name:
			from = fsm.LeaseKey(network, after) + "\x00"
		}
		rows = append(rows, leasesOf(st, network, from, p)...)
		if p.limit > 0 && len(rows) > p.limit {
			rows = rows[:p.limit]
			last := rows[p.limit-1]
			return rows, last.Network + "/" + last.Address.String(), nil
		}
	}
	return rows, "", nil
}

// leasesOf are the leases of a network from a key on: all of them, or enough to
// fill a page and one more.
func leasesOf(st *fsm.State, network, from string, p page) []LeaseRow {
	var rows []LeaseRow
	of := func(key string, n int) bool {
		return strings.HasPrefix(key, network+"/") && (p.limit == 0 || n <= p.limit)
	}
	for key, l := range st.Leases.From(from) {
		if !of(key, len(rows)) {
			break
		}
		rows = append(rows, leaseRow(l))
	}
	jails := len(rows)
	for key, g := range st.Guests.From(from) {
		if !of(key, len(rows)-jails) {
			break
		}
		rows = append(rows, guestRow(g))
	}
	slices.SortFunc(rows, func(a, b LeaseRow) int {
		return cmp.Compare(fsm.LeaseKey(network, a.Address), fsm.LeaseKey(network, b.Address))
	})
	return rows
}

// nextPage is where the page after an answer begins; "": there is none.
func nextPage(h http.Header) string { return h.Get(headerNext) }
