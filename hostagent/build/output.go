package build

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	tailLines  = 20                     // shown when a step fails
	maxLine    = 16 << 10               // longer ones are cut into pieces
	followTick = 100 * time.Millisecond // a person watches
)

// lineReader follows a growing file line by line. Owned by the goroutine in follow until that returns.
type lineReader struct {
	emit func(string)
	tail []string // the last lines
	buf  []byte
}

// follow reads f until ended is closed, and then to its end.
func (l *lineReader) follow(f io.Reader, ended <-chan struct{}) error {
	tick := time.NewTicker(followTick)
	defer tick.Stop()
	for last := false; ; {
		if err := l.drain(f); err != nil {
			return err
		}
		if last {
			if len(l.buf) > 0 {
				l.line(l.buf)
			}
			return nil
		}
		select {
		case <-ended:
			last = true
		case <-tick.C:
		}
	}
}

// drain reads what is there now.
func (l *lineReader) drain(f io.Reader) error {
	chunk := make([]byte, 32<<10)
	for {
		n, err := f.Read(chunk)
		l.buf = append(l.buf, chunk[:n]...)
		for {
			i := bytes.IndexByte(l.buf, '\n')
			if i < 0 {
				break
			}
			l.line(l.buf[:i])
			l.buf = l.buf[i+1:]
		}
		if len(l.buf) >= 2*maxLine { // a line without an end
			l.line(l.buf)
			l.buf = nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read output of the step: %w", err)
		}
	}
}

// line shows what a terminal would: of a progress bar drawn over itself, the last state.
func (l *lineReader) line(b []byte) {
	b = bytes.TrimRight(b, "\r")
	if i := bytes.LastIndexByte(b, '\r'); i >= 0 {
		b = b[i+1:]
	}
	for len(b) > maxLine {
		l.show(b[:maxLine])
		b = b[maxLine:]
	}
	l.show(b)
}

func (l *lineReader) show(b []byte) {
	s := string(bytes.ToValidUTF8(b, []byte("?")))
	if l.tail = append(l.tail, s); len(l.tail) > tailLines {
		l.tail = l.tail[1:]
	}
	l.emit(s)
}
