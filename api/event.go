package api

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
)

func eventOf(h fsm.Happened, n int) Event {
	return Event{Index: h.Index, N: n, Time: h.Time.Time(), Kind: h.Event.Kind(), Object: h.Event.Object(), Why: h.Event.Why(), By: h.By}
}

// position is the last event that a reader knows: the N-th of an entry, or
// with N 0 all of it.
type position struct {
	index uint64
	n     int
}

func parsePosition(text string) (position, error) {
	if text == "" {
		return position{}, nil
	}
	head, tail, some := strings.Cut(text, ".")
	var p position
	var err error
	if p.index, err = strconv.ParseUint(head, 10, 64); err == nil && some {
		p.n, err = strconv.Atoi(tail)
	}
	if err != nil || p.n < 0 {
		return p, fail("bad_request", "", "--since INDEX", "since %q is neither INDEX nor INDEX.N", text)
	}
	return p, nil
}

// since is what to ask the log for: of a half-read entry, all of it again.
func (p position) since() uint64 {
	if p.n > 0 && p.index > 0 {
		return p.index - 1
	}
	return p.index
}

func (p position) knows(index uint64, n int) bool {
	return index < p.index || (index == p.index && (p.n == 0 || n <= p.n))
}

// events streams what happened. It never skips: a reader that is too slow is
// cut off and resumes where it was.
func (s *Server) events(r *request) error {
	q := r.URL.Query()
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = q.Get("since")
	}
	from, err := parsePosition(text)
	if err != nil {
		return err
	}
	follow, err := flagParam(r.Request, "follow")
	if err != nil {
		return err
	}
	withData, err := flagParam(r.Request, "data")
	if err != nil {
		return err
	}
	media := ndjson
	if strings.Contains(r.Header.Get("Accept"), eventStream) {
		media = eventStream
	}
	object, kind := q.Get("object"), q.Get("kind")

	// A past that is no longer kept must be an answer, not a broken stream:
	// the answer begins with the first event.
	var out *lines
	begin := func() *lines {
		if out == nil {
			out = newLines(r, media)
		}
		return out
	}
	defer func() {
		if out != nil {
			out.close()
		}
	}()
	if follow && from.since() >= s.cfg.Log.State().Index {
		begin() // nothing to come yet: say that all is well
	}
	var last uint64
	n := 0
	err = s.cfg.Log.Events(r.Context(), from.since(), follow, func(h fsm.Happened) error {
		if h.Index != last {
			last, n = h.Index, 0
		}
		n++
		e := eventOf(h, n)
		if from.knows(e.Index, n) || (object != "" && e.Object != object) || (kind != "" && e.Kind != kind) {
			return nil
		}
		if withData {
			if e.Data, err = json.Marshal(h.Event); err != nil {
				return err
			}
		}
		return begin().sendEvent(strconv.FormatUint(e.Index, 10)+"."+strconv.Itoa(n), e.Kind, e)
	})
	if err != nil {
		return err
	}
	begin()
	return nil
}

func (s *Server) history(r *request) error {
	q := r.URL.Query()
	limit := 1000
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 10000 {
			return fail("bad_request", "", "", "limit=%q is not 1 to 10000", text)
		}
		limit = n
	}
	object := q.Get("object")
	since, err := s.oldest(r)
	if err != nil {
		return err
	}
	rows := []Event{}
	var last uint64
	n := 0
	err = s.cfg.Log.Events(r.Context(), since, false, func(h fsm.Happened) error {
		if h.Index != last {
			last, n = h.Index, 0
		}
		n++
		if e := eventOf(h, n); object == "" || e.Object == object {
			if rows = append(rows, e); len(rows) > limit {
				rows = rows[1:]
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.reply(s.cfg.Log.State().Index, rows)
}
