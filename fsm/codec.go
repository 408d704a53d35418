package fsm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// MaxEntry is the longest encoding of an entry, in bytes: raft would take
// more, and stall its followers with it.
const MaxEntry = 8 << 20

// UnknownKindError is a well-formed entry of a kind or version that this
// program does not know. The replica that gets it must stop and be upgraded:
// skipping it would let its State go another way than the others'.
type UnknownKindError struct {
	V    uint16
	Kind string
}

// Error implements error.
func (e *UnknownKindError) Error() string {
	return fmt.Sprintf("entry version %d, kind %q: unknown to this version (it knows %d); upgrade this host", e.V, e.Kind, Version)
}

// MalformedError is an entry that is none: no version of the program writes
// such bytes. All replicas fold it as an Entry without a Cmd, see Apply.
type MalformedError struct{ Err error }

// Error implements error.
func (e *MalformedError) Error() string { return "decode entry: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *MalformedError) Unwrap() error { return e.Err }

// Encode writes e as one line of JSON with the keys v, id, at, by, kind, cmd
// in this order. The same Entry gives the same bytes.
func Encode(e Entry) ([]byte, error) {
	if e.Cmd == nil {
		return nil, fmt.Errorf("encode entry %s: it has no command", e.ID)
	}
	cmd, err := json.Marshal(e.Cmd)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", e.Cmd.Kind(), err)
	}
	b := make([]byte, 0, len(cmd)+len(e.ID)+len(e.By)+96)
	b = append(b, `{"v":`...)
	b = strconv.AppendUint(b, uint64(e.V), 10)
	b = append(b, `,"id":`...)
	b = appendString(b, e.ID)
	b = append(b, `,"at":`...)
	b = strconv.AppendInt(b, int64(e.At), 10)
	b = append(b, `,"by":`...)
	b = appendString(b, e.By)
	b = append(b, `,"kind":"`...)
	b = append(b, e.Cmd.Kind()...)
	b = append(b, `","cmd":`...)
	b = append(append(b, cmd...), '}')
	if len(b) > MaxEntry {
		return nil, fmt.Errorf("encode %s: %d bytes, an entry has at most %d: split the wish", e.Cmd.Kind(), len(b), MaxEntry)
	}
	return b, nil
}

// appendString quotes s as JSON; the fast way is for what needs no escapes.
func appendString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			q, err := json.Marshal(s)
			if err != nil { // a string always encodes
				q = []byte(`""`)
			}
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// envelope is an entry whose command is still text.
type envelope struct {
	V    uint16          `json:"v"`
	ID   string          `json:"id"`
	At   Time            `json:"at"`
	By   string          `json:"by"`
	Kind string          `json:"kind"`
	Cmd  json.RawMessage `json:"cmd"`
}

// Decode reads what Encode wrote. It is total: any bytes give an Entry, an
// *UnknownKindError or a *MalformedError. Fields that it does not know are
// ignored: later versions of the program may have written them.
func Decode(raw []byte) (Entry, error) {
	if len(raw) > MaxEntry {
		return Entry{}, &MalformedError{fmt.Errorf("%d bytes, %d are the most", len(raw), MaxEntry)}
	}
	env, ok := split(raw)
	if !ok {
		if err := json.Unmarshal(raw, &env); err != nil {
			return Entry{}, &MalformedError{err}
		}
	}
	if env.V == 0 || env.Kind == "" {
		return Entry{}, &MalformedError{fmt.Errorf("no version or no kind")}
	}
	decode, known := decoders[env.Kind]
	if env.V > Version || !known {
		return Entry{}, &UnknownKindError{env.V, env.Kind}
	}
	cmd, err := decode(env.Cmd)
	if err != nil {
		return Entry{}, &MalformedError{fmt.Errorf("%s: %w", env.Kind, err)}
	}
	return Entry{V: env.V, ID: env.ID, At: env.At, By: env.By, Cmd: cmd}, nil
}

// split takes apart the exact form that Encode writes, without a JSON parser
// over the command, which is parsed right after. Anything else is left to it.
func split(raw []byte) (envelope, bool) {
	s := scan{b: raw, ok: true}
	s.lit(`{"v":`)
	v := s.number()
	s.lit(`,"id":`)
	id := s.plain()
	s.lit(`,"at":`)
	at := s.number()
	s.lit(`,"by":`)
	by := s.plain()
	s.lit(`,"kind":`)
	kind := s.plain()
	s.lit(`,"cmd":`)
	if !s.ok || len(s.b) < 2 || s.b[len(s.b)-1] != '}' || v < 0 || v > 1<<16-1 {
		return envelope{}, false
	}
	return envelope{uint16(v), id, Time(at), by, kind, s.b[:len(s.b)-1]}, true
}

// scan eats bytes from the left; ok is false from the first that does not fit.
type scan struct {
	b  []byte
	ok bool
}

func (s *scan) lit(want string) {
	if s.ok = s.ok && len(s.b) >= len(want) && string(s.b[:len(want)]) == want; s.ok {
		s.b = s.b[len(want):]
	}
}

func (s *scan) number() int64 {
	n := 0
	for n < len(s.b) && (s.b[n] >= '0' && s.b[n] <= '9' || n == 0 && s.b[n] == '-') {
		n++
	}
	v, err := strconv.ParseInt(string(s.b[:n]), 10, 64)
	s.ok = s.ok && err == nil
	s.b = s.b[n:]
	return v
}

// plain is a string without escapes.
func (s *scan) plain() string {
	if s.lit(`"`); !s.ok {
		return ""
	}
	n := bytes.IndexByte(s.b, '"')
	if n < 0 {
		s.ok = false
		return ""
	}
	text := s.b[:n]
	for _, c := range text {
		if c < ' ' || c == '\\' || c >= utf8.RuneSelf {
			s.ok = false
			return ""
		}
	}
	s.b = s.b[n+1:]
	return string(text)
}

// decoders has every kind that was ever written. A kind is never taken out,
// and never gets another meaning.
var decoders = map[string]func([]byte) (Command, error){
	Genesis{}.Kind():      decodeAs[Genesis],
	ApplyWish{}.Kind():    decodeAs[ApplyWish],
	DestroyWish{}.Kind():  decodeAs[DestroyWish],
	WantJail{}.Kind():     decodeAs[WantJail],
	RestartJail{}.Kind():  decodeAs[RestartJail],
	PlaceJail{}.Kind():    decodeAs[PlaceJail],
	StopRun{}.Kind():      decodeAs[StopRun],
	ReportRun{}.Kind():    decodeAs[ReportRun],
	RegisterHost{}.Kind(): decodeAs[RegisterHost],
	MarkHost{}.Kind():     decodeAs[MarkHost],
	RequestCert{}.Kind():  decodeAs[RequestCert],
	SetCert{}.Kind():      decodeAs[SetCert],
	TagImage{}.Kind():     decodeAs[TagImage],
	UntagImage{}.Kind():   decodeAs[UntagImage],
	ReportBuild{}.Kind():  decodeAs[ReportBuild],

	TrustSigner{}.Kind():   decodeAs[TrustSigner],
	UntrustSigner{}.Kind(): decodeAs[UntrustSigner],
	PinBase{}.Kind():       decodeAs[PinBase],
	UnpinBase{}.Kind():     decodeAs[UnpinBase],
	RefuseBase{}.Kind():    decodeAs[RefuseBase],
	ReportFetch{}.Kind():   decodeAs[ReportFetch],

	MoveJail{}.Kind():     decodeAs[MoveJail],
	MoveVolume{}.Kind():   decodeAs[MoveVolume],
	CancelMove{}.Kind():   decodeAs[CancelMove],
	MoveStep{}.Kind():     decodeAs[MoveStep],
	ReportVolume{}.Kind(): decodeAs[ReportVolume],

	CreateToken{}.Kind():     decodeAs[CreateToken],
	RevokeToken{}.Kind():     decodeAs[RevokeToken],
	AdmitHost{}.Kind():       decodeAs[AdmitHost],
	ReportJoin{}.Kind():      decodeAs[ReportJoin],
	LabelHost{}.Kind():       decodeAs[LabelHost],
	RemoveHost{}.Kind():      decodeAs[RemoveHost],
	RotateGossip{}.Kind():    decodeAs[RotateGossip],
	RaiseGeneration{}.Kind(): decodeAs[RaiseGeneration],

	AddCA{}.Kind():      decodeAs[AddCA],
	HoldCA{}.Kind():     decodeAs[HoldCA],
	ActivateCA{}.Kind(): decodeAs[ActivateCA],
	ChainCA{}.Kind():    decodeAs[ChainCA],
	RetireCA{}.Kind():   decodeAs[RetireCA],
	RevokeCert{}.Kind(): decodeAs[RevokeCert],

	ReportOverlay{}.Kind(): decodeAs[ReportOverlay],
	RekeyHost{}.Kind():     decodeAs[RekeyHost],

	ReportAlarm{}.Kind():  decodeAs[ReportAlarm],
	ReportAbuse{}.Kind():  decodeAs[ReportAbuse],
	RestorePart{}.Kind():  decodeAs[RestorePart],
	RestoreState{}.Kind(): decodeAs[RestoreState],

	LeaseGuests{}.Kind(): decodeAs[LeaseGuests],
	EndGuests{}.Kind():   decodeAs[EndGuests],
}

func decodeAs[C Command](b []byte) (Command, error) {
	var c C
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, err
	}
	return c, nil
}
