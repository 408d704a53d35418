//go:build !linux && !freebsd

package hostagent

import "math"

// freeBytes is unknown here: nobody is kept from writing.
func freeBytes(string) (int64, error) { return math.MaxInt64, nil }
