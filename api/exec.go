package api

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// exec checks all that can be checked over plain HTTP, then takes the
// connection over and speaks frames on it.
func (s *Server) exec(r *request) error {
	if s.carried(r) {
		return nil
	}
	req, err := r.command()
	if err != nil {
		return err
	}
	name, err := s.jailHere(r)
	if err != nil {
		return err
	}
	if run, ok := s.cfg.Log.State().Runs.Get(string(name)); !ok || run.Phase != fsm.Running {
		return fail("not_running", "jail "+string(name), "rexctl why jail/"+string(name), "it is not running")
	}
	return s.upgrade(r, func(ctx context.Context, streams ExecStreams) (int, error) {
		return s.cfg.Host.Exec(ctx, name, req, streams)
	})
}

// debugImage is exec in a jail that is made for it.
func (s *Server) debugImage(r *request) error {
	req, err := r.command()
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	if _, ok := s.cfg.Log.State().Images.Get(name); !ok {
		return notFound("image", name)
	}
	return s.upgrade(r, func(ctx context.Context, streams ExecStreams) (int, error) {
		return s.cfg.Host.DebugImage(ctx, name, req, streams)
	})
}

// command reads what is to be run, and wants the connection to be upgraded.
func (r *request) command() (req ExecRequest, err error) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), execProtocol) {
		r.w.Header().Set("Upgrade", execProtocol)
		return req, fail("bad_request", "", "use rexctl exec", "this route needs Upgrade: %s", execProtocol)
	}
	if err := r.decode(&req); err != nil {
		return req, err
	}
	return req, checkExec(req)
}

// upgrade takes the connection over for one command.
func (s *Server) upgrade(r *request, run func(context.Context, ExecStreams) (int, error)) error {
	conn, buffered, err := r.rc.Hijack()
	if err != nil {
		return fail("bad_request", "", "connect with HTTP/1.1", "the connection cannot be upgraded: %v", err)
	}
	defer func() { _ = conn.Close() }()
	r.w.(*recorder).code = http.StatusSwitchingProtocols
	_ = conn.SetDeadline(time.Time{})
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", execProtocol); err != nil {
		return err
	}
	return s.session(r.Context(), conn, buffered, run)
}

func checkExec(req ExecRequest) error {
	if len(req.Argv) == 0 || req.Argv[0] == "" {
		return fail("invalid", "", "rexctl exec JAIL -- CMD", "argv is empty")
	}
	for _, list := range [][]string{req.Argv, req.Env, {req.User, req.Dir}} {
		for _, text := range list {
			if strings.ContainsRune(text, 0) {
				return fail("invalid", "", "", "an argument holds a zero byte")
			}
		}
	}
	for _, e := range req.Env {
		if i := strings.IndexByte(e, '='); i < 1 {
			return fail("invalid", "", "", "env %q is not NAME=value", e)
		}
	}
	return nil
}

// session runs the command between two directions of frames. It ends with the
// command or with the connection, whichever is first, and waits for both.
func (s *Server) session(ctx context.Context, conn net.Conn, in io.Reader, run func(context.Context, ExecStreams) (int, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &frameWriter{w: conn, before: func() { _ = conn.SetWriteDeadline(time.Now().Add(streamStall)) }}
	stdin, feed := io.Pipe()
	resize := make(chan Size, 1)

	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel() // the peer is gone: so is the command
		defer close(resize)
		defer func() { _ = feed.CloseWithError(io.ErrUnexpectedEOF) }()
		receive(in, feed, resize)
	})
	wg.Go(func() { beat(ctx, cancel, out) })

	code, err := run(ctx, ExecStreams{Stdin: stdin, Stdout: out.of(frameStdout), Stderr: out.of(frameStderr), Resize: resize})
	if err != nil {
		b, _ := json.Marshal(asError(err)) // strings only: cannot fail
		_ = out.write(frameError, b)
	} else {
		_ = out.write(frameExit, binary.BigEndian.AppendUint32(nil, uint32(int32(code))))
	}
	cancel()
	_ = stdin.Close()
	// Ends receive: the client has got the last frame and closes, or has this long.
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	wg.Wait()
	return err
}

// receive hands the client's frames on until the connection ends.
func receive(in io.Reader, stdin *io.PipeWriter, resize chan Size) {
	buf := make([]byte, maxFrame)
	for {
		kind, b, err := readFrame(in, buf)
		if err != nil {
			return
		}
		switch kind {
		case frameStdin:
			// An error means that the command no longer reads: not the
			// connection's fault, and resize must still arrive.
			_, _ = stdin.Write(b)
		case frameStdinEnd:
			_ = stdin.Close()
		case frameResize:
			if size, ok := decodeSize(b); ok {
				select {
				case <-resize: // nobody took the last one: only the newest matters
				default:
				}
				resize <- size
			}
		}
	}
}

// beat makes a dead client known while the command is silent.
func beat(ctx context.Context, cancel context.CancelFunc, out *frameWriter) {
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if out.write(frameAlive, nil) != nil {
				cancel() // a command that reads nothing would hide it
				return
			}
		}
	}
}
