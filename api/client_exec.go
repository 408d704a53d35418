package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// Exec runs a command in a jail and returns its exit code. It does not wait
// for s.Stdin to end: a read that is under way when the command ends is left
// behind. s.Resize may be nil.
func (c *Client) Exec(ctx context.Context, jail string, r ExecRequest, s ExecStreams) (int, error) {
	return c.enter(ctx, "/v1/jails/"+url.PathEscape(jail)+"/exec", nil, "exec in jail "+jail, r, s)
}

// DebugImage does the same in a throw-away jail on an image.
func (c *Client) DebugImage(ctx context.Context, image string, r ExecRequest, s ExecStreams) (int, error) {
	return c.enter(ctx, "/v1/images/"+url.PathEscape(image)+"/debug", nil, "look into image "+image, r, s)
}

func (c *Client) enter(ctx context.Context, path string, q url.Values, what string, r ExecRequest, s ExecStreams) (int, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("%s: encode: %w", what, err)
	}
	req, err := c.request(ctx, "POST", path, q, bytes.NewReader(b))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", execProtocol)
	req.Header.Set("Content-Type", "application/json")
	conn, err := c.dial(ctx)
	if err != nil {
		return 0, &Unreachable{c.addr, err}
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	in := bufio.NewReader(conn)
	if err := upgrade(conn, in, req); err != nil {
		return 0, err
	}
	code, err := talk(conn, in, s)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil {
		var answer *Error
		if errors.As(err, &answer) {
			return 0, err
		}
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return code, nil
}

func upgrade(conn net.Conn, in *bufio.Reader, req *http.Request) error {
	if err := req.Write(conn); err != nil {
		return fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err)
	}
	res, err := http.ReadResponse(in, req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		defer func() { _ = res.Body.Close() }()
		return readError(res)
	}
	return nil
}

// talk moves frames until the command has ended. The goroutines that feed
// stdin and resize end with the connection or, for a blocked Read, with it.
func talk(conn net.Conn, in io.Reader, s ExecStreams) (int, error) {
	out := &frameWriter{w: conn}
	ended := make(chan struct{})
	defer close(ended)
	if s.Stdin != nil {
		go sendStdin(out, s.Stdin)
	} else if err := out.write(frameStdinEnd, nil); err != nil {
		return 0, err
	}
	if s.Resize != nil {
		go sendResize(out, s.Resize, ended)
	}
	buf := make([]byte, maxFrame)
	for {
		kind, b, err := readFrame(in, buf)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the connection ended before the command did")
			}
			return 0, err
		}
		switch kind {
		case frameStdout:
			_, err = s.Stdout.Write(b)
		case frameStderr:
			_, err = s.Stderr.Write(b)
		case frameExit:
			if len(b) != 4 {
				return 0, errors.New("a broken exit frame")
			}
			return int(int32(binary.BigEndian.Uint32(b))), nil
		case frameError:
			e := &Error{}
			if err := json.Unmarshal(b, e); err != nil {
				return 0, fmt.Errorf("a broken error frame: %w", err)
			}
			return 0, e
		}
		if err != nil {
			return 0, err
		}
	}
}

func sendStdin(out *frameWriter, in io.Reader) {
	_, err := io.Copy(out.of(frameStdin), in)
	if err == nil {
		_ = out.write(frameStdinEnd, nil) // the session is over if this fails
	}
}

func sendResize(out *frameWriter, resize <-chan Size, ended <-chan struct{}) {
	for {
		select {
		case size, ok := <-resize:
			if !ok || out.write(frameResize, encodeSize(size)) != nil {
				return
			}
		case <-ended:
			return
		}
	}
}
