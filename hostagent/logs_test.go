package hostagent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestALongLogIsCutAndItsOlderPartKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jail.log")
	writer, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close() //nolint:errcheck // the test is over
	write := func(s string) {
		if _, err := writer.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Repeat("old\n", 100))
	if err := rotateOne(path, 1000); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || len(b) != 400 {
		t.Fatalf("a short log was touched: %d bytes, %v", len(b), err)
	}
	if err := rotateOne(path, 100); err != nil {
		t.Fatal(err)
	}
	write("new\n")
	now, err1 := os.ReadFile(path)
	older, err2 := os.ReadFile(path + ".1")
	if err1 != nil || err2 != nil || string(now) != "new\n" || len(older) != 400 {
		t.Errorf("after the cut: %q now, %d bytes older, errors %v %v", now, len(older), err1, err2)
	}
}

func TestTailBeginsAtTheRightLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jail.log")
	long := strings.Repeat("x", 70<<10)
	text := "one\ntwo\n" + long + "\nfour\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{0: "", 1: "four\n", 2: long + "\nfour\n", 3: "two\n" + long + "\nfour\n", 9: text} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := seekTail(f, n); err != nil {
			t.Fatal(err)
		}
		rest := make([]byte, len(text))
		got, _ := f.Read(rest)
		if string(rest[:got]) != want {
			t.Errorf("tail %d: got %d bytes, want %d", n, got, len(want))
		}
		_ = f.Close()
	}
}
