package fsm

import (
	"fmt"
	"strings"
	"time"
)

// FetchState is how far a host has come with an image that others have.
type FetchState string

// The states. Each fetch has the first, and then one of the others if its host
// lives to say so.
const (
	FetchBegun  FetchState = "begun"
	FetchDone   FetchState = "done"
	FetchFailed FetchState = "failed"
)

// ReportFetch tells that a host fetches an image from others. It changes
// nothing but history: who holds what is said by ReportBuild.
type ReportFetch struct {
	Key   string        `json:"key"`
	Host  HostID        `json:"host"`
	State FetchState    `json:"state"`
	From  []string      `json:"from,omitempty"`  // names of hosts
	Bytes int64         `json:"bytes,omitempty"` // that came over the line
	Took  time.Duration `json:"took,omitempty"`
	Error string        `json:"error,omitempty"` // of failed
}

// FetchReported is that as an event. Only history knows.
type FetchReported ReportFetch

// maxFetchFrom is how many hosts one image may have come from.
const maxFetchFrom = 100

// Kind implements Command.
func (ReportFetch) Kind() string { return "report_fetch" }

// Kind implements Event: fetch_begun, fetch_done or fetch_failed.
func (e FetchReported) Kind() string { return "fetch_" + string(e.State) }

// Object implements Event.
func (e FetchReported) Object() string { return "build " + e.Key }

// Why says which host, and with the end how much came, how long it took and
// from where.
func (e FetchReported) Why() string {
	why := "by host " + string(e.Host)
	if e.State == FetchBegun {
		return why
	}
	why += fmt.Sprintf(": %d bytes in %s", e.Bytes, e.Took.Round(time.Millisecond))
	if len(e.From) > 0 {
		why += " from " + strings.Join(e.From, ", ")
	}
	if e.Error != "" {
		why += ": " + e.Error
	}
	return why
}

func (FetchReported) evolve(*txn) {}

func (c ReportFetch) decide(t *txn) *Refusal {
	object := "build " + clipText(c.Key, 80)
	switch _, known := t.hosts.get(string(c.Host)); {
	case !validKey(c.Key):
		return refuse(CodeInvalid, "build", "the key %.80q is not sha256: and 64 hex digits", c.Key)
	case !known:
		return refuse(CodeNotFound, "host "+string(c.Host), "is not known: it must register first")
	case !speaksFor(t.by, c.Host):
		return refuse(CodeFenced, object, "%s cannot say what host %s fetches", t.by, c.Host)
	case c.State != FetchBegun && c.State != FetchDone && c.State != FetchFailed:
		return refuse(CodeInvalid, object, "the state %.40q is not begun, done or failed", string(c.State))
	case c.Bytes < 0 || c.Took < 0:
		return refuse(CodeInvalid, object, "its size %d or time %d is negative", c.Bytes, c.Took)
	case len(c.From) > maxFetchFrom || !plainText(c.Error, maxReason):
		return refuse(CodeInvalid, object, "has control characters in it or is too long")
	}
	for _, from := range c.From {
		if !plainText(from, 64) {
			return refuse(CodeInvalid, object, "the host %.80q has control characters in it or is too long", from)
		}
	}
	t.emit(FetchReported(c))
	return nil
}
