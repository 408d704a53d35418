package jail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// onPipes runs c on plain streams. Input is copied by us into a pipe of our own, so that a caller whose input never
// ends (a network connection) does not keep us after the command has ended.
func onPipes(ctx context.Context, runner run.Runner, c run.Cmd, x Exec) error {
	c.Stdout, c.Stderr = orDiscard(x.Stdout), orDiscard(x.Stderr)
	if x.Stdin == nil {
		_, err := runner.Run(ctx, c)
		return err
	}
	if f, ok := x.Stdin.(*os.File); ok {
		c.Stdin = f
		_, err := runner.Run(ctx, c)
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	defer r.Close()
	go func() { // ends when the input does, or at the first write after the command has gone
		_, _ = io.Copy(w, x.Stdin)
		_ = w.Close()
	}()
	c.Stdin = r
	_, err = runner.Run(ctx, c)
	return err
}

// onTerminal runs c on a terminal of ours. With relay it is raw from the beginning: the command is a runtime that makes the
// jail's own terminal, to which it passes bytes, and job control happens there; it makes ours raw too late, or (runc 1.1)
// not at all, and ctrl-C or ctrl-D would be taken here. resized, if not nil, is told each new size as well.
func onTerminal(ctx context.Context, runner run.Runner, c run.Cmd, x Exec, relay bool, resized func(WinSize)) error {
	ours, theirs, err := pty.Open()
	if err != nil {
		return fmt.Errorf("open terminal: %w", err)
	}
	defer ours.Close()
	size := x.Size
	if size == (WinSize{}) {
		size = WinSize{Rows: 24, Cols: 80}
	}
	if err := setSize(ours, size); err != nil {
		return errors.Join(err, theirs.Close())
	}
	if relay {
		if _, err := term.MakeRaw(int(theirs.Fd())); err != nil {
			return errors.Join(fmt.Errorf("make terminal raw: %w", err), theirs.Close())
		}
	}
	c.Stdin, c.Stdout, c.Stderr, c.TTY = theirs, theirs, theirs, true

	ended := make(chan struct{})
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		for {
			select {
			case s, ok := <-x.Resize:
				if !ok {
					return
				}
				_ = setSize(ours, s) // a terminal that closes has no size
				if resized != nil {
					resized(s)
				}
			case <-ended:
				return
			}
		}
	}()
	if x.Stdin != nil {
		go func() { // as in onPipes
			if _, err := io.Copy(ours, x.Stdin); err == nil {
				_, _ = ours.Write([]byte{4}) // end of input, as ^D says it
			}
		}()
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(orDiscard(x.Stdout), ours) // EIO when the last holder of the other end has gone
	}()
	_, err = runner.Run(ctx, c)
	_ = theirs.Close()
	select {
	case <-copied:
	case <-time.After(execGrace): // something the command left behind holds the terminal
	}
	close(ended)
	<-settled
	return err
}

func setSize(f *os.File, s WinSize) error {
	if err := pty.Setsize(f, &pty.Winsize{Rows: s.Rows, Cols: s.Cols}); err != nil {
		return fmt.Errorf("set size of terminal: %w", err)
	}
	return nil
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
