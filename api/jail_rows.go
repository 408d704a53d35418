package api

import (
	"encoding/json"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// rowsChunk is about how many bytes of a list go out at once: a list of
// 100,000 jails is 40 MB, and the peer reads the first while the last are made.
const rowsChunk = 64 << 10

func (s *Server) listJails(r *request) error {
	p, err := r.page()
	if err != nil {
		return err
	}
	st, err := s.current(r)
	if err != nil {
		return err
	}
	network, wish := r.URL.Query().Get("network"), r.URL.Query().Get("wish")
	jails := fsm.BesideFrom(st.Jails, st.Runs, p.from())
	if wish != "" {
		jails = jailsOfWish(st, wish, p.after)
	}
	w := &rowWriter{r: r, index: st.Index, whole: p.limit > 0, b: append(make([]byte, 0, rowsChunk+4<<10), '[')}
	n, last := 0, ""
	for j, run := range jails {
		if network != "" && !onNetwork(j, network) {
			continue
		}
		if p.full(n) {
			r.next(last)
			break
		}
		if n++; n > 1 {
			w.b = append(w.b, ',')
		}
		row := rowOf(st, j, run)
		last = row.Name
		if w.b = row.appendJSON(w.b); !w.flush() {
			return nil
		}
	}
	w.whole = false
	w.b = append(w.b, "]\n"...)
	w.write()
	return nil
}

// rowWriter sends a list as it is made, or, where a header tells how it ends, as
// a whole.
type rowWriter struct {
	r     *request
	index uint64
	whole bool
	begun bool
	b     []byte
}

// flush sends what there is, if it is enough. It reports whether the peer is
// still there.
func (w *rowWriter) flush() bool {
	return w.whole || len(w.b) < rowsChunk || w.write()
}

func (w *rowWriter) write() bool {
	if !w.begun {
		h := w.r.w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Rex-Index", strconv.FormatUint(w.index, 10))
		w.r.w.WriteHeader(http.StatusOK)
		w.begun = true
	}
	_, err := w.r.w.Write(w.b)
	w.b = w.b[:0]
	return err == nil
}

// jailsOfWish are the jails of one wish with their Runs, by name, those after
// one of them. Groups are few where jails are many, and a group is of one wish.
func jailsOfWish(st *fsm.State, wish, after string) iter.Seq2[*fsm.Jail, *fsm.Run] {
	var names []fsm.JailName
	for g := range st.Groups.Values {
		if g.Wish == wish {
			names = append(names, g.Jails...)
		}
	}
	slices.Sort(names)
	if after != "" {
		at, found := slices.BinarySearch(names, fsm.JailName(after))
		if found {
			at++
		}
		names = names[at:]
	}
	return func(yield func(*fsm.Jail, *fsm.Run) bool) {
		for _, name := range names {
			j, ok := st.Jails.Get(string(name))
			if !ok {
				continue
			}
			run, _ := st.Runs.Get(string(name))
			if !yield(j, run) {
				return
			}
		}
	}
}

// appendJSON appends what json.Marshal makes of the row, byte for byte.
func (row *JailRow) appendJSON(b []byte) []byte {
	b = appendText(append(b, `{"name":`...), row.Name)
	b = appendText(append(b, `,"uuid":`...), row.UUID)
	b = appendText(append(b, `,"network":`...), row.Network)
	b = appendText(append(b, `,"host":`...), row.Host)
	b = appendText(append(b, `,"phase":`...), row.Phase)
	b = appendText(append(b, `,"health":`...), row.Health)
	b = append(b, `,"addresses":[`...)
	for i, a := range row.Addresses {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, a)
	}
	b = strconv.AppendUint(append(b, `],"restarts":`...), row.Restarts, 10)
	b = appendText(append(b, `,"image":`...), row.Image)
	b = appendText(append(b, `,"want":`...), row.Want)
	b = appendText(append(b, `,"group":`...), row.Group)
	b = appendText(append(b, `,"wish":`...), row.Wish)
	b = strconv.AppendBool(append(b, `,"up_to_date":`...), row.UpToDate)
	b = appendText(append(b, `,"policy":`...), row.Policy)
	if row.Reason != "" {
		b = appendText(append(b, `,"reason":`...), row.Reason)
	}
	if row.Simulated {
		b = append(b, `,"simulated":true`...)
	}
	if !row.Since.IsZero() {
		b = row.Since.AppendFormat(append(b, `,"since":"`...), time.RFC3339Nano)
		b = append(b, '"')
	}
	return append(b, '}')
}

// appendText quotes s as JSON; the fast way is for what needs no escapes.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0x7f || c >= utf8.RuneSelf {
			q, err := json.Marshal(s)
			if err != nil { // a string always encodes
				q = []byte(`""`)
			}
			return append(b, q...)
		}
	}
	b = append(append(b, '"'), s...)
	return append(b, '"')
}
