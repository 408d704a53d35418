package fsm

import (
	"fmt"
	"time"
)

// HostID names a member host for its whole life; a wiped host gets a new one.
type HostID string

// JailName is a replica slot: the hostname, unique in the cluster.
type JailName string

// Time is nanoseconds since the Unix epoch, UTC. It comes from Entry.At,
// never from a clock in here.
type Time int64

// Time converts to the standard library's type, in UTC.
func (t Time) Time() time.Time { return time.Unix(0, int64(t)).UTC() }

// Add returns t + d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns t - u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// TimeOf converts from the standard library's type.
func TimeOf(t time.Time) Time { return Time(t.UnixNano()) }

// Code sorts refusals for machines.
type Code string

// The codes of a Refusal.
const (
	CodeInvalid   Code = "invalid"   // the command itself is wrong
	CodeConflict  Code = "conflict"  // what the sender looked at has moved: plan again
	CodeNotFound  Code = "not_found" // no such object
	CodeExhausted Code = "exhausted" // no address, no capacity
	CodeFenced    Code = "fenced"    // an old Seq, or a host that does not own the Run
	CodeInternal  Code = "internal"  // a defect of this program, see ApplyAll
)

// Refusal says why a Command changed nothing.
type Refusal struct {
	Code   Code   `json:"code"`
	Object string `json:"object,omitempty"` // "jail web-1"
	Text   string `json:"text"`             // what was expected, and what to do next
}

// Error implements error.
func (r *Refusal) Error() string {
	if r.Object == "" {
		return r.Text
	}
	return r.Object + ": " + r.Text
}

func refuse(c Code, object, format string, args ...any) *Refusal {
	return &Refusal{Code: c, Object: object, Text: fmt.Sprintf(format, args...)}
}
