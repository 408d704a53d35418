package transfer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/run"
	"github.com/rexcarcer/rexcarcer/internal/zfstest"
	"github.com/rexcarcer/rexcarcer/pki"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

const senderVar = "REXCARCER_TEST_SENDER"

// TestSender is a daemon that has an image, as a process of its own, and nothing otherwise. It writes its address to
// standard output and ends with its standard input.
func TestSender(t *testing.T) {
	text := os.Getenv(senderVar)
	if text == "" {
		return
	}
	var r receiver
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	roots, err := pki.NewPool(r.CA)
	if err != nil {
		t.Fatal(err)
	}
	id, err := pki.NewIdentity(r.Chain, r.Key)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("address " + listen(t, id, roots, NewServer(ServerConfig{Store: r.open(t), Allow: allowHosts})))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// sender is that process.
type sender struct {
	x    *exec.Cmd
	in   io.Closer
	addr string
}

func startSender(t *testing.T, r receiver) *sender {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	s := &sender{x: exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSender$")}
	s.x.Env = append(os.Environ(), senderVar+"="+string(text))
	s.x.Stderr = os.Stderr
	out, err := s.x.StdoutPipe()
	in, ierr := s.x.StdinPipe()
	if err = errors.Join(err, ierr); err == nil {
		err = s.x.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.in = in
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if addr, ok := strings.CutPrefix(lines.Text(), "address "); ok {
			s.addr = addr
			go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
			return s
		}
	}
	t.Fatalf("the sender has no address: %v", s.x.Wait())
	return nil
}

func (s *sender) stop() {
	_ = s.in.Close()
	_ = s.x.Wait() // killed, or at its end
}

// zfsOf kills the "zfs send" or "zfs receive" that is a child of a process.
func zfsOf(pid int, what string) (killed bool) {
	dirs, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, d := range dirs {
		text, err := os.ReadFile(d)
		if err != nil {
			continue // it is gone
		}
		head, tail, ok := strings.Cut(string(text), ") ")
		f := strings.Fields(tail)
		if !ok || !strings.HasSuffix(head, "(zfs") || len(f) < 2 || f[1] != strconv.Itoa(pid) {
			continue
		}
		child, err := strconv.Atoi(strings.Fields(head)[0])
		argv, _ := os.ReadFile(filepath.Join(filepath.Dir(d), "cmdline"))
		if err == nil && strings.HasPrefix(string(argv), "zfs\x00"+what+"\x00") && syscall.Kill(child, syscall.SIGKILL) == nil {
			killed = true
		}
	}
	return killed
}

// datasets lists all that a pool holds.
func datasets(t *testing.T, pool string) []string {
	t.Helper()
	res, err := run.Real{}.Run(context.Background(), run.Cmd{Argv: []string{"zfs", "list", "-H", "-r", "-t", "all", "-o", "name", pool}})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(res.Stdout))
}

func TestOnZFSAnythingMayBeKilledInATransfer(t *testing.T) {
	if !zfstest.Isolated(t) {
		return
	}
	dir := t.TempDir()
	f, w := newFabric(t), newWire(t)
	pools := [2]string{zfstest.Pool(t, 256<<20), zfstest.Pool(t, 256<<20)}
	there := receiver{Dir: dir + "/there", Dataset: pools[0] + "/rex", CA: f.ca.CertPEM()}
	there.Chain, there.Key = f.issue(t, pki.RoleHost, "there")
	store, err := zfssync.OpenZFS(t.Context(), zfssync.Config{Dir: there.Dir, Dataset: there.Dataset, Instance: "transfer", Runner: run.Real{}})
	if err != nil {
		t.Fatal(err)
	}
	img := realImage(t, store, 3<<20)
	want := rootOf(t, store, img, uuidA)
	if err := errors.Join(store.Destroy(t.Context(), uuidA), store.Teardown(t.Context()), store.Close()); err != nil {
		t.Fatal(err)
	}
	sent := datasets(t, pools[0])
	here := receiver{Dir: dir + "/here", Dataset: pools[1] + "/rex", Addr: w.Addr().String(), Image: img, CA: f.ca.CertPEM()}
	here.Chain, here.Key = f.issue(t, pki.RoleHost, "here")
	var clean []string // what a transfer leaves in which nothing was killed
	hits := 0
	for i, p := range []struct {
		victim string
		at     int64
	}{{"", 1 << 40}, {"receiver", 600_000}, {"sender", 300_000}, {"zfs send", 10_000}, {"zfs receive", 700_000}, {"receiver", 3_400_000}} {
		s := startSender(t, there)
		x := &exec.Cmd{}
		var mu sync.Mutex // until x is there
		mu.Lock()
		struck := false
		w.set(s.addr, p.at, func() bool {
			mu.Lock()
			defer mu.Unlock()
			switch p.victim {
			case "receiver":
				struck = x.Process.Kill() == nil
			case "sender":
				struck = s.x.Process.Kill() == nil
			case "zfs send":
				struck = zfsOf(s.x.Process.Pid, "send")
			case "zfs receive":
				struck = zfsOf(x.Process.Pid, "receive")
			}
			return struck
		})
		x = here.start(t)
		mu.Unlock()
		first := x.Wait()
		if p.victim == "sender" {
			s.stop()
			s = startSender(t, there)
		}
		w.set(s.addr, 1<<40, nil)
		if err := here.start(t).Wait(); err != nil {
			t.Fatalf("%s killed after %d bytes (%v): started again: %v", p.victim, p.at, first, err)
		}
		s.stop()
		if struck {
			hits++
		}
		got := afterKill(t, here, want)
		if i == 0 {
			clean = got
		}
		if !slices.Equal(got, clean) {
			t.Errorf("%s killed after %d bytes: the pool holds\n%q\nwant\n%q", p.victim, p.at, got, clean)
		}
		t.Logf("%s after %d bytes: killed %v, first end %v, %d datasets", p.victim, p.at, struck, first, len(got))
	}
	t.Logf("%d kills in time", hits)
	if hits < 3 {
		t.Errorf("only %d were killed in time", hits)
	}
	if left := datasets(t, pools[0]); !slices.Equal(left, sent) {
		t.Errorf("the sender's pool holds\n%q\nwant\n%q", left, sent)
	}
}

// afterKill compares what the receiver has made, says what its pool holds, and empties it.
func afterKill(t *testing.T, r receiver, want string) []string {
	t.Helper()
	s, err := zfssync.OpenZFS(t.Context(), zfssync.Config{Dir: r.Dir, Dataset: r.Dataset, Instance: "transfer", Runner: run.Real{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sweep(t.Context(), zfssync.Keep{AllJails: true}); err != nil {
		t.Fatal(err)
	}
	if got := rootOf(t, s, r.Image, uuidB); got != want {
		t.Errorf("the image is another one:\n%s\nwant\n%s", got, want)
	}
	if err := s.Destroy(t.Context(), uuidB); err != nil {
		t.Fatal(err)
	}
	pool, _, _ := strings.Cut(r.Dataset, "/")
	all := datasets(t, pool)
	if _, err := s.Sweep(t.Context(), zfssync.Keep{AllJails: true, Images: []string{}}); err != nil {
		t.Fatal(err)
	}
	if s.HasLayer(key(1)) {
		t.Fatal("the pool was not emptied")
	}
	if err := errors.Join(s.Teardown(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	return all
}
