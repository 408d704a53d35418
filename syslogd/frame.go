package syslogd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// maxFrame is how long a message may say that it is, in bytes. What is over
// MaxMessage of it is passed over.
const maxFrame = 1 << 20

// frames cuts a stream into messages: RFC 6587, both ways, told apart message
// by message: a count in front, or a line end behind.
type frames struct {
	in  *bufio.Reader
	buf [MaxMessage]byte
}

func newFrames(r io.Reader) *frames { return &frames{in: bufio.NewReaderSize(r, 4096)} }

// next is the next message, valid until the call after it. io.EOF at the end.
func (f *frames) next() ([]byte, error) {
	for {
		c, err := f.in.ReadByte()
		switch {
		case err != nil:
			return nil, err
		case c == '\n' || c == '\r' || c == 0:
			continue // between messages
		case c >= '1' && c <= '9':
			return f.counted(int(c - '0'))
		}
		f.buf[0] = c
		return f.line(1)
	}
}

// counted reads the rest of LENGTH BLANK MESSAGE.
func (f *frames) counted(length int) ([]byte, error) {
	for {
		c, err := f.in.ReadByte()
		switch {
		case err != nil:
			return nil, unexpected(err)
		case c == ' ':
			n := min(length, MaxMessage)
			if _, err := io.ReadFull(f.in, f.buf[:n]); err != nil {
				return nil, unexpected(err)
			}
			if _, err := f.in.Discard(length - n); err != nil {
				return nil, unexpected(err)
			}
			return f.buf[:n], nil
		case c < '0' || c > '9':
			return nil, errors.New("a count of octets does not end")
		}
		if length = 10*length + int(c-'0'); length > maxFrame {
			return nil, fmt.Errorf("a message of more than %d bytes is announced", maxFrame)
		}
	}
}

// line reads the rest of a message that ends with the line; n bytes are there.
func (f *frames) line(n int) ([]byte, error) {
	for {
		c, err := f.in.ReadByte()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if err != nil || c == '\n' || c == 0 {
			return f.buf[:n], nil //nolint:nilerr // the last line of a stream need not end
		}
		if n < MaxMessage {
			f.buf[n] = c
			n++
		}
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
