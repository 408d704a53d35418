package api

import (
	"encoding/json"
	"errors"
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
	st, err := s.current(r)
	if err != nil {
		return err
	}
	network, wish := r.URL.Query().Get("network"), r.URL.Query().Get("wish")
	jails := fsm.Beside(st.Jails, st.Runs)
	if wish != "" {
		jails = jailsOfWish(st, wish)
	}
	h := r.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Rex-Index", strconv.FormatUint(st.Index, 10))
	r.w.WriteHeader(http.StatusOK)
	b := append(make([]byte, 0, rowsChunk+4<<10), '[')
	first := true
	for j, run := range jails {
		if network != "" && !onNetwork(j, network) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		row := rowOf(st, j, run)
		if b = row.appendJSON(b); len(b) < rowsChunk {
			continue
		}
		if _, err := r.w.Write(b); err != nil {
			return nil // the peer is gone
		}
		b = b[:0]
	}
	_, _ = r.w.Write(append(b, "]\n"...)) // as above
	return nil
}

// jailsOfWish are the jails of one wish with their Runs, by name. Groups are
// few where jails are many, and a group is of one wish.
func jailsOfWish(st *fsm.State, wish string) iter.Seq2[*fsm.Jail, *fsm.Run] {
	var names []fsm.JailName
	for g := range st.Groups.Values {
		if g.Wish == wish {
			names = append(names, g.Jails...)
		}
	}
	slices.Sort(names)
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

// decodeRows takes a list of jails as it comes, row by row: it may have 40 MB,
// and the server is still writing the end of it.
func decodeRows(d *json.Decoder, rows *[]JailRow) error {
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return errors.Join(errors.New("it is no list"), err)
	}
	*rows = []JailRow{}
	for d.More() {
		var row JailRow
		if err := d.Decode(&row); err != nil {
			return err
		}
		*rows = append(*rows, row)
	}
	_, err := d.Token() // without it the list was cut off
	return err
}
