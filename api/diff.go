package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// ChangeRow is one object that was not the same at two indexes of the log.
type ChangeRow struct {
	Kind   string        `json:"kind"`
	Name   string        `json:"name"`
	Action string        `json:"action"`           // create, change or remove
	Fields []FieldChange `json:"fields,omitempty"` // of a change
}

// FieldChange is one value inside an object. What was or is not there is null.
type FieldChange struct {
	Path string          `json:"path"` // as spec.limits.memory
	From json.RawMessage `json:"from,omitempty"`
	To   json.RawMessage `json:"to,omitempty"`
}

// maxChanges bounds an answer: who compares more wants an export.
const maxChanges = 100_000

func (s *Server) diff(r *request) error {
	q := r.URL.Query()
	if q.Get("from") == "" {
		return fail("bad_request", "", "rexctl diff --from 120", "from= says from where: an index of the log, or a time")
	}
	from, err := s.stateAt(r, q.Get("from"))
	if err != nil {
		return err
	}
	to := s.cfg.Log.State()
	if q.Get("to") != "" {
		if to, err = s.stateAt(r, q.Get("to")); err != nil {
			return err
		}
	}
	kind, rows := q.Get("kind"), []ChangeRow{}
	for c := range fsm.Diff(from, to) {
		if kind != "" && kind != c.Kind {
			continue
		}
		row, err := changeRow(c)
		if err != nil {
			return err
		}
		if row.Action == "change" && len(row.Fields) == 0 {
			continue
		}
		if len(rows) == maxChanges {
			return fail("too_large", "", "ask for one kind, or for a shorter time", "more than %d objects differ", maxChanges)
		}
		rows = append(rows, row)
	}
	return r.reply(to.Index, rows)
}

func changeRow(c fsm.Change) (ChangeRow, error) {
	row := ChangeRow{Kind: c.Kind, Action: "change"}
	switch {
	case c.Before == nil:
		row.Action, row.Name = "create", nameOf(c.Key, c.After)
		return row, nil
	case c.After == nil:
		row.Action, row.Name = "remove", nameOf(c.Key, c.Before)
		return row, nil
	}
	row.Name = nameOf(c.Key, c.After)
	before, err := leaves(c.Before)
	if err != nil {
		return row, fmt.Errorf("compare %s %s: %w", row.Kind, row.Name, err)
	}
	after, err := leaves(c.After)
	if err != nil {
		return row, fmt.Errorf("compare %s %s: %w", row.Kind, row.Name, err)
	}
	paths := maps.Clone(before)
	maps.Copy(paths, after)
	for _, p := range slices.SortedFunc(maps.Keys(paths), natural) {
		if !bytes.Equal(before[p], after[p]) {
			row.Fields = append(row.Fields, FieldChange{p, before[p], after[p]})
		}
	}
	return row, nil
}

// nameOf is an object's name for people: keys of leases and records hold bytes.
func nameOf(key string, v any) string {
	switch v := v.(type) {
	case *fsm.Lease:
		return v.Network + " " + v.Addr.String()
	case *fsm.Guest:
		return v.Network + " " + v.Addr.String()
	case *fsm.Record:
		if v.Addr.IsValid() {
			return v.Name + " " + v.Type + " " + v.Addr.String()
		}
		return fmt.Sprintf("%s %s %s", v.Name, v.Type, v.Target)
	case *fsm.Host:
		return v.Name
	}
	return key
}

// leaves are the values of v's JSON that hold no others, by path. A list is
// compared whole: which of two equal elements moved says nothing.
func leaves(v any) (map[string]json.RawMessage, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	out := map[string]json.RawMessage{}
	return out, leavesOf("", b, out)
}

func leavesOf(path string, b json.RawMessage, out map[string]json.RawMessage) error {
	var fields map[string]json.RawMessage
	if len(b) == 0 || b[0] != '{' {
		out[path] = b
		return nil
	}
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	for name, value := range fields {
		p := name
		if path != "" {
			p = path + "." + name
		}
		if err := leavesOf(p, value, out); err != nil {
			return err
		}
	}
	return nil
}

// natural orders paths as words.
func natural(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), cmp.Compare[string])
}

// Audit says that a host's log leads to what the host works with.
type Audit struct {
	Host    string `json:"host"`
	From    uint64 `json:"from"` // the first entry that was applied again
	To      uint64 `json:"to"`   // the last
	Entries int    `json:"entries"`
	States  int    `json:"states"` // archived States that were equal
	Chain   string `json:"chain"`  // hex, the hash over all entries up to To
}

func (s *Server) audit(r *request) error {
	st := s.cfg.Log.State()
	if s.cfg.Past == nil {
		return fail("unavailable", "", "", "this daemon keeps no past")
	}
	to := uint64(0)
	if text := r.URL.Query().Get("to"); text != "" {
		var err error
		if to, err = strconv.ParseUint(text, 10, 64); err != nil {
			return fail("bad_request", "", "", "to=%q is not an index of the log", text)
		}
		// A host that lags has to catch up before it can be compared.
		if st, err = s.cfg.Log.Wait(r.Context(), func(st *fsm.State) bool { return st.Index >= to }); err != nil {
			return err
		}
	}
	a, err := s.cfg.Past.Verify(r.Context(), to)
	if err != nil {
		return fail("failed", "", "host rm it, move its data directory away, and join it anew", "%v", err)
	}
	a.Host = string(s.cfg.Host.ID())
	if h, ok := st.Hosts.Get(a.Host); ok {
		a.Host = h.Name
	}
	return r.reply(a.To, a)
}
