package run

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
)

// Transcript is a Runner for tests: it answers calls, in order, from a text, and starts nothing.
//
//	$ zfs list -Hp -o name tank
//	tank
//	$ zfs destroy tank/x
//	! cannot destroy 'tank/x': dataset is busy
//	? 1
//
// A line with "$ " is the argv that must come next (as Error shows it: odd arguments in single quotes); the lines after it
// are standard output; "! " is a line of standard error, "? " the exit code, "< " a line that must be on standard input,
// "# " a comment. A call that differs is an error, and so is every one after it.
type Transcript struct {
	mu    sync.Mutex // guards all below
	calls []exchange
	next  int
	bad   error
}

type exchange struct {
	line           int
	argv           string
	stdin          string
	stdout, stderr strings.Builder
	rc             int
}

// NewTranscript parses text; the error names the line.
func NewTranscript(text string) (*Transcript, error) {
	t := &Transcript{}
	for i, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		l = strings.TrimLeft(l, "\t")
		if argv, ok := strings.CutPrefix(l, "$ "); ok {
			t.calls = append(t.calls, exchange{line: i + 1, argv: argv})
			continue
		}
		if strings.HasPrefix(l, "# ") {
			continue
		}
		if len(t.calls) == 0 {
			if strings.TrimSpace(l) == "" {
				continue
			}
			return nil, fmt.Errorf("transcript line %d: output before the first \"$ \" line", i+1)
		}
		if err := t.calls[len(t.calls)-1].add(l); err != nil {
			return nil, fmt.Errorf("transcript line %d: %w", i+1, err)
		}
	}
	return t, nil
}

func (x *exchange) add(l string) error {
	if s, ok := strings.CutPrefix(l, "! "); ok {
		x.stderr.WriteString(s + "\n")
	} else if s, ok := strings.CutPrefix(l, "< "); ok {
		x.stdin += s + "\n"
	} else if s, ok := strings.CutPrefix(l, "? "); ok {
		if _, err := fmt.Sscanf(s, "%d", &x.rc); err != nil {
			return fmt.Errorf("exit code %q: %w", s, err)
		}
	} else {
		x.stdout.WriteString(l + "\n")
	}
	return nil
}

// Run answers the next call of the text.
func (t *Transcript) Run(ctx context.Context, c Cmd) (Result, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Result{RC: -1}, &Error{Argv: c.Argv, RC: -1, Err: err}
	}
	x, err := t.match(c)
	if err != nil {
		return Result{RC: -1}, &Error{Argv: c.Argv, RC: -1, Err: err}
	}
	res := Result{RC: x.rc}
	if err := deliver(c.Stdout, &res.Stdout, x.stdout.String()); err != nil {
		return res, &Error{Argv: c.Argv, RC: -1, Err: err}
	}
	if err := deliver(c.Stderr, &res.Stderr, x.stderr.String()); err != nil {
		return res, &Error{Argv: c.Argv, RC: -1, Err: err}
	}
	if x.rc != 0 {
		return res, &Error{Argv: c.Argv, RC: x.rc, Stderr: strings.TrimSpace(x.stderr.String()), Err: fmt.Errorf("exit status %d", x.rc)}
	}
	return res, nil
}

func (t *Transcript) match(c Cmd) (*exchange, error) {
	if t.bad != nil {
		return nil, t.bad
	}
	got := quoteArgv(c.Argv)
	if t.next >= len(t.calls) {
		t.bad = fmt.Errorf("transcript: call after the last one: %s", got)
		return nil, t.bad
	}
	x := &t.calls[t.next]
	if got != x.argv {
		t.bad = fmt.Errorf("transcript line %d: got call %s, want %s", x.line, got, x.argv)
		return nil, t.bad
	}
	if x.stdin != "" {
		var in []byte
		if c.Stdin != nil {
			var err error
			if in, err = io.ReadAll(c.Stdin); err != nil {
				return nil, fmt.Errorf("read standard input: %w", err)
			}
		}
		if string(in) != x.stdin {
			t.bad = fmt.Errorf("transcript line %d: got input %q, want %q", x.line, in, x.stdin)
			return nil, t.bad
		}
	}
	t.next++
	return x, nil
}

func deliver(w io.Writer, buf *[]byte, s string) error {
	if w == nil {
		*buf = []byte(s)
		return nil
	}
	_, err := io.WriteString(w, s)
	return err
}

// Done returns nil when every call of the text was made and no other; tests end with it.
func (t *Transcript) Done() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bad != nil {
		return t.bad
	}
	if t.next < len(t.calls) {
		return fmt.Errorf("transcript line %d: %d calls were not made, first: %s", t.calls[t.next].line, len(t.calls)-t.next, t.calls[t.next].argv)
	}
	return nil
}
