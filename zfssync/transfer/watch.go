package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/time/rate"
)

// trickle is how many bytes must come within the stall time: a source that sends one now and then stalls too.
const trickle = 4 << 10

// watched is a body from which something must come in time. Only the time spent in its reads counts: neither our own
// limit nor a slow disk here is the source's fault.
type watched struct {
	ctx    context.Context //nolint:containedctx // of one request
	cancel context.CancelCauseFunc
	body   io.ReadCloser
	limit  *rate.Limiter
	stall  time.Duration
	timer  *time.Timer
	spent  time.Duration // in reads since the last progress
	came   int           // bytes since then
	count  func(int)
}

// watch returns a context for one request; body is set when its answer has come. Until then the timer runs.
func watch(ctx context.Context, stall time.Duration, limit *rate.Limiter, count func(int)) (*watched, context.Context) {
	w := &watched{stall: stall, limit: limit, count: count}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(stall, func() { w.cancel(fmt.Errorf("%w (%v)", errStall, stall)) })
	return w, w.ctx
}

// opened begins to watch the body.
func (w *watched) opened(body io.ReadCloser) {
	w.timer.Stop()
	w.body = body
}

// progress says that the source has done something, though it sent little.
func (w *watched) progress() { w.spent, w.came = 0, 0 }

// Read reads what is there.
func (w *watched) Read(p []byte) (int, error) {
	if w.limit != nil && len(p) > limitPiece {
		p = p[:limitPiece]
	}
	begin := time.Now()
	w.timer.Reset(w.stall - w.spent)
	n, err := w.body.Read(p)
	w.timer.Stop()
	w.spent += time.Since(begin)
	if w.came += n; w.came >= trickle {
		w.progress()
	} else if w.spent >= w.stall && err == nil {
		err = fmt.Errorf("%w (%v)", errStall, w.stall)
	}
	w.count(n)
	if w.limit != nil && n > 0 {
		if lerr := w.limit.WaitN(w.ctx, n); lerr != nil && err == nil {
			err = lerr
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = w.why(err)
	}
	return n, err
}

// why says why we ended the request ourselves, if we did.
func (w *watched) why(err error) error {
	if cause := context.Cause(w.ctx); errors.Is(cause, errStall) {
		return cause
	}
	return err
}

// close ends the request.
func (w *watched) close() {
	w.timer.Stop()
	w.cancel(nil)
	if w.body != nil {
		_ = w.body.Close() // its connection is thrown away
	}
}
