//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// fatal ends a poll at once: waiting longer cannot help.
type fatal struct{ error }

// pollErr asks ok until it has no complaint, or returns its last one.
func pollErr(within time.Duration, ok func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := ok()
		if err == nil || errors.As(err, &fatal{}) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %s: %w", within, err)
		}
		time.Sleep(50 * time.Millisecond) // the only sleep in this package
	}
}

// poll fails the test when ok still complains after a while.
func poll(t *testing.T, within time.Duration, what string, ok func() error) {
	t.Helper()
	if err := pollErr(within, ok); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
