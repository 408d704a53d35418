package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Error is an error answer. Code sorts it for programs, Message and Hint are
// for people.
type Error struct {
	Status  int    `json:"-"`                // HTTP
	Code    string `json:"code"`             // invalid, conflict, not_found, exhausted, fenced, forbidden, ...
	Object  string `json:"object,omitempty"` // "jail web-1"
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // the next thing to try
}

// Error implements error: the object, what is wrong, what to do next.
func (e *Error) Error() string {
	s := e.Message
	if e.Object != "" {
		s = e.Object + ": " + s
	}
	if e.Hint != "" {
		s += "\n  try: " + e.Hint
	}
	return s
}

type errorBody struct {
	Error *Error `json:"error"`
}

// statusOf maps a code to HTTP. 409 and 422 are RFC 9110 sections 15.5.10 and
// 15.5.21; 507 is RFC 4918 section 11.5.
var statusOf = map[string]int{
	string(fsm.CodeInvalid):   http.StatusUnprocessableEntity,
	string(fsm.CodeConflict):  http.StatusConflict,
	string(fsm.CodeNotFound):  http.StatusNotFound,
	string(fsm.CodeExhausted): http.StatusInsufficientStorage,
	string(fsm.CodeFenced):    http.StatusConflict,
	"forbidden":               http.StatusForbidden,
	"unauthenticated":         http.StatusUnauthorized,
	"bad_request":             http.StatusBadRequest,
	"too_large":               http.StatusRequestEntityTooLarge,
	"too_old":                 http.StatusGone,
	"elsewhere":               http.StatusMisdirectedRequest,
	"not_running":             http.StatusConflict,
	"failed":                  http.StatusUnprocessableEntity,
	"busy":                    http.StatusServiceUnavailable,
	"unavailable":             http.StatusServiceUnavailable,
	"timeout":                 http.StatusGatewayTimeout,
	"method_not_allowed":      http.StatusMethodNotAllowed,
	"internal":                http.StatusInternalServerError,
}

func fail(code, object, hint, format string, args ...any) *Error {
	return &Error{Status: statusOf[code], Code: code, Object: object, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func notFound(kind, name string) *Error {
	verb := map[string]string{
		"jail": "rexctl ps", "network": "rexctl network ls", "image": "rexctl image ls", "host": "rexctl host ls",
		"cert": "rexctl cert ls", "wish": "rexctl status", "volume": "rexctl volume ls",
	}[kind]
	return fail("not_found", kind+" "+name, verb, "no such %s", kind)
}

// asError turns whatever a handler returned into an answer.
func asError(err error) *Error {
	var e *Error
	var refusal *fsm.Refusal
	var tooBig *http.MaxBytesError
	var old interface{ Oldest() uint64 }
	switch {
	case errors.As(err, &e):
		if e.Status == 0 { // made outside of this package
			e.Status = statusOf[e.Code]
		}
		return e
	case errors.As(err, &refusal):
		e = fail(string(refusal.Code), refusal.Object, "", "%s", refusal.Text)
		if refusal.Code == fsm.CodeConflict {
			e.Hint = "rexctl plan, then apply again"
		}
		if e.Status == 0 {
			e.Status = http.StatusConflict
		}
		return e
	case errors.As(err, &tooBig):
		return fail("too_large", "", "", "the request is larger than the limit of %d bytes", tooBig.Limit)
	case errors.As(err, &old):
		return fail("too_old", "", fmt.Sprintf("--since %d", old.Oldest()), "events before index %d are no longer kept", old.Oldest())
	case errors.Is(err, context.DeadlineExceeded):
		return fail("timeout", "", "rexctl status", "the cluster did not answer in time: %v", err)
	case errors.Is(err, context.Canceled):
		return fail("unavailable", "", "", "the request was given up: %v", err)
	}
	return fail("internal", "", "the daemon's log has more", "%v", err)
}

func writeError(w http.ResponseWriter, e *Error) {
	if e.Status == 0 {
		e.Status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(errorBody{e}) // the peer is gone if this fails
}
