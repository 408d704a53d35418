package api

import (
	"context"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// timeoutBefore is WithTimeout that ends a second before ctx does.
func timeoutBefore(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if end, ok := ctx.Deadline(); ok {
		d = min(d, time.Until(end)-time.Second)
	}
	return context.WithTimeout(ctx, d)
}

// when is t for JSON: the zero fsm.Time is the zero time.Time.
func when(t fsm.Time) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return t.Time()
}
