package spec

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseSize reads a size in bytes: a number with an optional unit K, M, G, T
// or P (powers of 1024; "512M", "1.5G", "2GiB" and "2GB" too).
func ParseSize(s string) (int64, error) {
	t := strings.TrimSpace(s)
	digits := strings.TrimRight(t, "KMGTPkmgtpiIbB ")
	unit := strings.ToUpper(strings.TrimSpace(t[len(digits):]))
	unit = strings.TrimSuffix(strings.TrimSuffix(unit, "B"), "I")
	shift := 0
	if unit != "" {
		i := strings.Index("KMGTP", unit)
		if len(unit) != 1 || i < 0 {
			return 0, fmt.Errorf("%q is not a size: write a number with K, M, G, T or P", clip(s))
		}
		shift = 10 * (i + 1)
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || strings.Trim(digits, "0123456789.") != "" {
		return 0, fmt.Errorf("%q is not a size: write a number with K, M, G, T or P", clip(s))
	}
	n = math.Ldexp(n, shift)
	if n > MaxBytes {
		return 0, fmt.Errorf("the size %q is more than %s", clip(s), FormatSize(MaxBytes))
	}
	return int64(n), nil
}

// FormatSize writes n bytes as ParseSize reads it, with the largest unit that
// leaves a whole number.
func FormatSize(n int64) string {
	for _, unit := range []string{"", "K", "M", "G", "T"} {
		if n == 0 || n%1024 != 0 {
			return strconv.FormatInt(n, 10) + unit
		}
		n /= 1024
	}
	return strconv.FormatInt(n, 10) + "P"
}
