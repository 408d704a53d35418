package fsm

import (
	"encoding/json"
	"fmt"
)

// happenedJSON is how people and scripts read an Event.
type happenedJSON struct {
	Index  uint64          `json:"index"`
	Time   string          `json:"time"` // RFC 3339, UTC, nanoseconds
	Kind   string          `json:"kind"`
	Object string          `json:"object"`
	Why    string          `json:"why,omitempty"`
	By     string          `json:"by,omitempty"`
	Data   json.RawMessage `json:"data"`
}

// EncodeEvent writes h with index, time, kind, object, why, by and data.
func EncodeEvent(h Happened) ([]byte, error) {
	if h.Event == nil {
		return nil, fmt.Errorf("encode event of index %d: there is none", h.Index)
	}
	data, err := json.Marshal(h.Event)
	if err != nil {
		return nil, fmt.Errorf("encode event %s: %w", h.Event.Kind(), err)
	}
	return json.Marshal(happenedJSON{
		Index: h.Index, Time: h.Time.Time().Format("2006-01-02T15:04:05.000000000Z"),
		Kind: h.Event.Kind(), Object: h.Event.Object(), Why: h.Event.Why(), By: h.By, Data: data,
	})
}

// MarshalJSON is EncodeEvent.
func (h Happened) MarshalJSON() ([]byte, error) { return EncodeEvent(h) }
