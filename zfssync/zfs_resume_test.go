package zfssync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// newZFS plays the zfs(8) of FreeBSD 15.1 (OpenZFS 2.4) while it receives one dataset. Its words are those that were seen there.
type newZFS struct {
	staged, to string
	token      string // of a cut receive
	at         string // where the whole dataset is
	calls      []string
}

func (z *newZFS) fail(rc int, text string) (run.Result, error) {
	return run.Result{RC: rc}, &run.Error{Argv: []string{"zfs"}, RC: rc, Stderr: text, Err: errors.New("exit status")}
}

func (z *newZFS) run(_ context.Context, c run.Cmd) (run.Result, error) {
	a := c.Argv[1:]
	z.calls = append(z.calls, strings.Join(a, " "))
	last := a[len(a)-1]
	switch {
	case a[0] == "get":
		return z.get(a[5], last)
	case a[0] == "receive" && a[1] == "-u" && slices.Contains(a, "-s"):
		if _, err := io.ReadAll(c.Stdin); err != nil {
			z.token = "1-10ef55f429-100-789c"
			return z.fail(1, "cannot receive new filesystem stream: checksum mismatch or incomplete stream.\nPartially received snapshot is saved.\n"+
				"A resuming stream can be generated on the sending system by running:\n    zfs send -t "+z.token)
		}
		z.token, z.at = "", z.staged
	case a[0] == "send" && a[1] == "-nvt":
		if last != z.token {
			return z.fail(255, "cannot resume send: resume token is corrupt (invalid format)")
		}
		return run.Result{Stdout: []byte("resume token contents:\nnvlist version: 0\n\tobject = 0x1\n\toffset = 0x0\n\tbytes = 0x0\n\ttoguid = 0x7\n\ttoname = zroot/a@s1\n\tembedok = 1\n\tcompressok = 1\nfull send of zroot/a@s1 estimated size is 3.38M\n")}, nil
	case a[0] == "rename":
		z.at = last
	case a[0] == "destroy":
		z.token, z.at = "", ""
	}
	return run.Result{}, nil
}

// get answers zfs get -Hp -r -o name,property,value,source PROPS DATASET.
func (z *newZFS) get(props, ds string) (run.Result, error) {
	if ds != z.at && (ds != z.staged || z.token == "") {
		return z.fail(1, "cannot open '"+ds+"': dataset does not exist")
	}
	var b bytes.Buffer
	names := []string{ds}
	if z.at != "" {
		names = append(names, ds+"@s1")
	}
	for _, name := range names {
		for p := range strings.SplitSeq(props, ",") {
			value, source := "-", "-"
			switch {
			case p == propInstance && strings.Contains(ds, "/staging/"):
				value, source = "me", "inherited from tank/rex/staging"
			case p == propInstance:
				value, source = "me", "local"
			case p == propToken && z.token != "" && !strings.Contains(name, "@"):
				value = z.token
			case p == "guid" && strings.Contains(name, "@"):
				value = "7"
			case p == "type":
				value = "filesystem"
				if strings.Contains(name, "@") {
					value = "snapshot"
				}
			}
			fmt.Fprintf(&b, "%s\t%s\t%s\t%s\n", name, p, value, source)
		}
	}
	return run.Result{Stdout: b.Bytes()}, nil
}

func TestACutReceiveGoesOnFromItsToken(t *testing.T) {
	t.Parallel()
	obj := Object{KindVolume, "w.db.data"}
	z := &newZFS{staged: "tank/rex/staging/" + recvName(obj, "7")}
	s := &ZFS{
		root: "tank/rex", c: Config{Instance: "me"}, z: zfsCmd{run: run.Func(z.run)}, can: zfsCan{resume: true, recvSet: true, sendFlags: []string{"L"}},
		keys: keyLocks{m: map[string]*keyLock{}}, index: map[string]zset{}, active: map[string]bool{},
	}
	opt := ReceiveOptions{Format: FormatZFS, Snapshot: "s1", GUID: "7", Resumable: true}
	cut := errors.New("the line was cut")
	err := s.Receive(t.Context(), obj, opt, io.MultiReader(bytes.NewReader(head(2, 0, 1, 7, 0)), failing{cut}))
	if !errors.Is(err, cut) || !strings.Contains(err.Error(), "Partially received snapshot is saved") {
		t.Fatalf("cut: %v", err)
	}
	token, err := s.ResumeToken(t.Context(), obj, "7")
	if err != nil || token != z.token || token == "" {
		t.Fatalf("token %q, %v", token, err)
	}
	if other, err := s.ResumeToken(t.Context(), obj, "8"); err != nil || other != "" {
		t.Errorf("another snapshot goes on from it: %q, %v", other, err)
	}
	if err := s.Receive(t.Context(), obj, opt, bytes.NewReader(head(2, 99, 1, 7, 0))); err != nil {
		t.Fatal(err)
	}
	if token, err := s.ResumeToken(t.Context(), obj, "7"); err != nil || token != "" {
		t.Errorf("afterwards there is a token: %q, %v", token, err)
	}
	want := "receive -u -s -x mountpoint"
	n := 0
	for _, c := range z.calls {
		if strings.HasPrefix(c, "destroy") {
			t.Errorf("what came was thrown away: %s", c)
		}
		if strings.HasPrefix(c, want) && strings.HasSuffix(c, z.staged+"@s1") {
			n++
		}
	}
	if n != 2 || z.at != "tank/rex/volume/w.db.data" {
		t.Errorf("%d receives, the dataset is at %q; calls:\n%s", n, z.at, strings.Join(z.calls, "\n"))
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
