package hostagent

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// contactFile keeps when a leader was heard last, for the daemon after this
// one. It holds nanoseconds of the machine's monotonic clock, which no one sets
// and which begins anew at a boot: a time that is still to come is of an earlier
// boot, and nothing runs from then.
type contactFile struct {
	path string
	last int64 // what was written last
}

// contactStep is how exact the file is; it errs towards an older contact.
const contactStep = 500 * time.Millisecond

// read says how long ago a leader was heard, by what an earlier daemon wrote.
func (f *contactFile) read() (ago time.Duration, ok bool) {
	raw, err := os.ReadFile(f.path)
	if err != nil {
		return 0, false
	}
	at, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	now, nowErr := monotonic()
	if err != nil || nowErr != nil || at <= 0 || at > now {
		return 0, false
	}
	f.last = at
	return time.Duration(now - at), true
}

// write notes that a leader was heard so long ago. It writes when that moved by
// contactStep.
func (f *contactFile) write(ago time.Duration) error {
	now, err := monotonic()
	if err != nil {
		return err
	}
	at := now - int64(ago)
	if at < f.last+int64(contactStep) {
		return nil
	}
	if err := os.WriteFile(f.path, strconv.AppendInt(nil, at, 10), 0o600); err != nil {
		return fmt.Errorf("keep the last contact: %w", err)
	}
	f.last = at
	return nil
}

func monotonic() (int64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0, fmt.Errorf("read the monotonic clock: %w", err)
	}
	return t.Nano(), nil
}
