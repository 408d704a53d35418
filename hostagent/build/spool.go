package build

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// spool keeps a build context that comes once, over the network, for several COPY steps. It is read only when the first
// of them needs it.
type spool struct {
	from io.Reader // nil: there is no context
	dir  string
	f    *os.File
}

// open returns the context from its beginning. One reader at a time.
func (s *spool) open() (io.Reader, error) {
	if s.from == nil {
		return nil, errors.New("a COPY step needs the build context, and none was sent: build with rexctl from the directory of the .rex file")
	}
	if s.f == nil {
		f, err := os.CreateTemp(s.dir, "context-")
		if err != nil {
			return nil, fmt.Errorf("keep build context: %w", err)
		}
		s.f = f
		if _, err := io.Copy(f, s.from); err != nil {
			return nil, fmt.Errorf("receive build context: %w", err)
		}
	}
	if _, err := s.f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read build context: %w", err)
	}
	return s.f, nil
}

func (s *spool) close() error {
	if s.f == nil {
		return nil
	}
	return errors.Join(s.f.Close(), os.Remove(s.f.Name()))
}
