package transfer

import (
	"golang.org/x/time/rate"
)

const (
	limitPiece = 16 << 10
	limitLeast = 64 << 10 // bytes per second: below it every peer would seem to stall
)

// newLimiter returns nil for no limit.
func newLimiter(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	n := max(bytesPerSecond, limitLeast)
	return rate.NewLimiter(rate.Limit(n), max(limitPiece, int(min(n/10, 1<<20))))
}
