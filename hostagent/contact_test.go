package hostagent

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// A daemon that is killed while its host is cut off must not give its jails the
// whole fence once more: the leader has not heard that it was killed.
func TestTheLastContactOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "contact")
	f := contactFile{path: path}
	if _, ok := f.read(); ok {
		t.Error("a contact was read where none was written")
	}
	if err := f.write(3 * time.Second); err != nil {
		t.Fatal(err)
	}
	next := contactFile{path: path}
	ago, ok := next.read()
	if !ok || ago < 3*time.Second || ago > time.Minute {
		t.Errorf("heard %s ago (%v), want 3 s and what the test took", ago, ok)
	}
	if err := next.write(ago + time.Second); err != nil { // older than what is there
		t.Fatal(err)
	}
	if again, _ := (&contactFile{path: path}).read(); again < ago || again > ago+time.Minute {
		t.Errorf("an older contact was written: %s ago", again)
	}
	now, err := monotonic()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "soon", "-1", strconv.FormatInt(now+int64(time.Hour), 10)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if ago, ok := (&contactFile{path: path}).read(); ok {
			t.Errorf("%q was read as %s ago", text, ago)
		}
	}
}
