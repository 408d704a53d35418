package api

import (
	"net/http"
	"runtime/debug"
)

// recorder remembers whether and how an answer began.
type recorder struct {
	http.ResponseWriter
	code int // 0: not begun
}

func (r *recorder) WriteHeader(code int) {
	if r.code == 0 {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) status() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}

func stack() string {
	const keep = 4 << 10
	b := debug.Stack()
	if len(b) > keep {
		b = b[:keep]
	}
	return string(b)
}
