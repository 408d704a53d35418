package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/rexcarcer/rexcarcer/spec"
)

// maxLine bounds a line of a stream in bytes.
const maxLine = 16 << 20

// EventFilter says which events are wanted.
type EventFilter struct {
	Since  uint64 // index of the last event that is known
	Follow bool
	Object string // "jail web-1"; empty: of all
	Kind   string // empty: all
	Data   bool   // with the events' own fields
}

// Events yields what happened, oldest first. With Follow it goes on until ctx
// ends or yield fails, and after a broken connection it resumes behind the
// last event that was yielded, so that none is lost or seen twice.
func (c *Client) Events(ctx context.Context, f EventFilter, yield func(Event) error) error {
	last := strconv.FormatUint(f.Since, 10)
	const first, longest = 100 * time.Millisecond, 5 * time.Second
	delay := first
	for {
		var stop error // what yield said
		err := c.eventsOnce(ctx, f, last, func(e Event) error {
			delay = first
			last = strconv.FormatUint(e.Index, 10) + "." + strconv.Itoa(e.N)
			stop = yield(e)
			return stop
		})
		var answer *Error
		switch {
		case stop != nil:
			return stop
		case ctx.Err() != nil:
			return ctx.Err()
		case !f.Follow || (errors.As(err, &answer) && answer.Code != "busy"):
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay):
		}
		delay = min(delay*2, longest)
	}
}

func (c *Client) eventsOnce(ctx context.Context, f EventFilter, since string, yield func(Event) error) error {
	q := url.Values{"follow": {strconv.FormatBool(f.Follow)}, "data": {strconv.FormatBool(f.Data)}}
	if f.Object != "" {
		q.Set("object", f.Object)
	}
	if f.Kind != "" {
		q.Set("kind", f.Kind)
	}
	req, err := c.request(ctx, "GET", "/v1/events", q, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Last-Event-ID", since)
	res, err := c.send(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	return readLines(res.Body, func(line []byte) error {
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		return yield(e)
	})
}

func readLines(r io.Reader, each func([]byte) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 64<<10), maxLine)
	for sc.Scan() {
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue // a sign of life
		}
		if err := each(sc.Bytes()); err != nil {
			return err
		}
	}
	return sc.Err()
}

// Logs copies a jail's output to w.
func (c *Client) Logs(ctx context.Context, jail string, o LogOptions, w io.Writer) error {
	q := url.Values{"follow": {strconv.FormatBool(o.Follow)}}
	if o.UntilEnd {
		q.Set("until_end", "true")
	}
	if !o.Since.IsZero() {
		q.Set("since", o.Since.UTC().Format(time.RFC3339Nano))
	}
	if o.Tail >= 0 {
		q.Set("tail", strconv.Itoa(o.Tail))
	}
	req, err := c.request(ctx, "GET", "/v1/jails/"+url.PathEscape(jail)+"/logs", q, nil)
	if err != nil {
		return err
	}
	res, err := c.send(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(w, res.Body); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("read the log of jail %s: %w", jail, err)
	}
	if text := res.Trailer.Get(trailerError); text != "" {
		if plain, err := strconv.Unquote(text); err == nil {
			text = plain
		}
		return errors.New(text)
	}
	return nil
}

// Build builds an image on the daemon's host. b.Content may be nil if the
// image copies nothing; with tag the image also gets its name.
func (c *Client) Build(ctx context.Context, b BuildRequest, tag bool, progress func(BuildEvent)) (BuildResult, error) {
	res, kept, err := c.build(ctx, b, tag && c.host == "", progress)
	if kept != nil {
		_, tagErr := c.TagImage(ctx, *kept)
		if e := (*Error)(nil); errors.As(err, &e) && tagErr == nil {
			e.Hint = keptHint(kept.Name)
		}
		return res, errors.Join(err, tagErr)
	}
	if err == nil && tag && c.host != "" { // a host that is no server may not speak for us
		_, err = c.TagImage(ctx, b.Image)
	}
	return res, err
}

// TagImage gives an image that was built its name.
func (c *Client) TagImage(ctx context.Context, img spec.Image) (Applied, error) {
	var out Applied
	_, err := c.On("").call(ctx, "PUT", "/v1/images/"+url.PathEscape(img.Name), nil, 0, img, &out)
	return out, err
}

func (c *Client) build(ctx context.Context, b BuildRequest, tag bool, progress func(BuildEvent)) (BuildResult, *spec.Image, error) {
	body, feed := io.Pipe()
	form := multipart.NewWriter(feed)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = feed.CloseWithError(writeForm(form, b.Image, b.Content)) // a pipe's CloseWithError never fails
	}()
	defer func() {
		_ = body.Close() // ends writeForm when the answer came before the whole context was sent
		<-done
	}()
	q := url.Values{"tag": {strconv.FormatBool(tag)}, "keep": {strconv.FormatBool(b.Keep)}}
	if b.Timeout > 0 {
		q.Set("timeout", b.Timeout.String())
	}
	req, err := c.request(ctx, "POST", "/v1/images/build", q, body)
	if err != nil {
		return BuildResult{}, nil, err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	res, err := c.send(req)
	if err != nil {
		return BuildResult{}, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	return readBuild(res, b.Image.Name, progress)
}

func readBuild(res *http.Response, name string, progress func(BuildEvent)) (_ BuildResult, kept *spec.Image, _ error) {
	var out *BuildResult
	err := readLines(res.Body, func(b []byte) error {
		var line BuildLine
		if err := json.Unmarshal(b, &line); err != nil {
			return fmt.Errorf("build image %s: %w", name, err)
		}
		switch {
		case line.Error != nil:
			kept = line.Kept
			return line.Error
		case line.Result != nil:
			out = line.Result
		case line.Progress != nil && progress != nil:
			progress(*line.Progress)
		}
		return nil
	})
	switch {
	case err != nil:
		return BuildResult{}, kept, err
	case out == nil:
		return BuildResult{}, nil, fmt.Errorf("build image %s: the connection ended before the build did", name)
	}
	return *out, nil, nil
}

func writeForm(form *multipart.Writer, img spec.Image, content io.Reader) error {
	part, err := form.CreateFormField("image")
	if err != nil {
		return err
	}
	if err := json.NewEncoder(part).Encode(img); err != nil {
		return err
	}
	if content != nil {
		if part, err = form.CreateFormFile("context", "context.tar"); err != nil {
			return err
		}
		if _, err := io.Copy(part, content); err != nil {
			return err
		}
	}
	return form.Close()
}
