package run

import (
	"bytes"
	"errors"
)

// MaxOutput bounds the standard output that is collected into a Result; a command that writes more is killed by a
// broken pipe and ends in an error.
const MaxOutput = 64 << 20

const maxStderr = 64 << 10

var errTooMuch = errors.New("more output than 64 MiB")

// head keeps the first MaxOutput bytes and then refuses.
type head struct{ bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	if h.Len()+len(p) > MaxOutput {
		return 0, errTooMuch
	}
	return h.Buffer.Write(p)
}

// tail keeps the last maxStderr bytes.
type tail struct{ buf []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if len(t.buf) > 2*maxStderr {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-maxStderr:]...)
	}
	return len(p), nil
}

func (t *tail) Bytes() []byte {
	if len(t.buf) > maxStderr {
		return t.buf[len(t.buf)-maxStderr:]
	}
	return t.buf
}
