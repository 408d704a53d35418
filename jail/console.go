package jail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// onConsole runs c, an exec of crun, with a terminal that crun makes in the jail and hands to us (--console-socket, as
// docs/terminals.md of runc describes it). Left to itself crun copies what the terminal says, and under load ends before
// the last of it: seen with 1.8.1, where a command that ended at once had said nothing. Here we read until nobody has the
// other end any more. argv gives c's arguments with the socket's name in them.
func onConsole(ctx context.Context, runner run.Runner, c run.Cmd, argv func(socket string) []string, x Exec) error {
	dir, err := os.MkdirTemp("", "rex-") // short: the name of a socket has 107 bytes (unix(7))
	if err != nil {
		return fmt.Errorf("make directory for the terminal's socket: %w", err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "tty")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for the terminal: %w", err)
	}
	defer l.Close()
	c.Argv = argv(socket)

	ended, relayed := make(chan struct{}), make(chan error, 1)
	go func() {
		tty, err := receiveTerminal(l)
		if err == nil {
			err = relayTerminal(tty, x, ended)
		}
		relayed <- err
	}()
	_, err = runner.Run(ctx, c)
	_ = l.Close() // no terminal comes any more
	close(ended)
	if rerr := <-relayed; err == nil && rerr != nil {
		return rerr
	}
	return err
}

// receiveTerminal takes one terminal from whoever connects.
func receiveTerminal(l *net.UnixListener) (*os.File, error) {
	conn, err := l.AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("receive terminal: %w", err)
	}
	defer conn.Close()
	name, rights := make([]byte, 4096), make([]byte, syscall.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(name, rights) //nolint:dogsled // that is what it returns
	if err != nil {
		return nil, fmt.Errorf("receive terminal: %w", err)
	}
	messages, err := syscall.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(fmt.Errorf("receive terminal: %d messages came", len(messages)), err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(fmt.Errorf("receive terminal: %d files came", len(fds)), err)
	}
	syscall.CloseOnExec(fds[0])
	if err := syscall.SetNonblock(fds[0], true); err != nil { // so that Close ends a Read
		return nil, errors.Join(fmt.Errorf("receive terminal: %w", err), syscall.Close(fds[0]))
	}
	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}

// relayTerminal connects x with the terminal until nobody has its other end, or, after ended, what the command left
// behind has had it for execGrace. It closes tty.
func relayTerminal(tty *os.File, x Exec, ended <-chan struct{}) error {
	defer tty.Close()
	if x.Size != (WinSize{}) {
		if err := setSize(tty, x.Size); err != nil {
			return err
		}
	}
	if x.Stdin != nil {
		go func() { // as in onPipes
			if _, err := io.Copy(tty, x.Stdin); err == nil {
				_, _ = tty.Write([]byte{4}) // end of input, as ^D says it
			}
		}()
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(orDiscard(x.Stdout), tty) // EIO when the last holder of the other end has gone
	}()
	defer func() { <-copied }()
	resize := x.Resize
	for {
		select {
		case s, ok := <-resize:
			if !ok {
				resize = nil
				continue
			}
			_ = setSize(tty, s) // a terminal that closes has no size
		case <-copied:
			<-ended
			return nil
		case <-ended:
			select {
			case <-copied:
			case <-time.After(execGrace): // something the command left behind holds the terminal
				_ = tty.Close()
			}
			return nil
		}
	}
}
