package zfssync

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

func transcript(t *testing.T, text string) *run.Transcript {
	t.Helper()
	tr, err := run.NewTranscript(text)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Done(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// The usage texts are those of FreeBSD 15.1 and of zfs-fuse 0.7.
func TestFeaturesOfZFSAreReadFromItsUsage(t *testing.T) {
	t.Parallel()
	modern, err := zfsCmd{run: transcript(t, `
$ zfs send
! missing snapshot argument
! usage:
! 	send [-DLPbcehnpsVvw] [-i|-I snapshot] <snapshot>
! 	send [-DnVvPe] -t <receive_resume_token>
? 2
$ zfs receive
! missing snapshot argument
! usage:
! 	receive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ...
! 	    <filesystem|volume|snapshot>
! 	receive -A <filesystem|volume>
? 2
$ zfs version
zfs-2.4.2-1-FreeBSD_g6330a45b0
zfs-kmod-2.4.2-1-FreeBSD_g6330a45b0
`)}.detect(t.Context())
	if err != nil || !modern.resume || !modern.recvSet || strings.Join(modern.sendFlags, "") != "Lec" || modern.version != "zfs-2.4.2-1-FreeBSD_g6330a45b0" {
		t.Errorf("modern: %+v, %v", modern, err)
	}
	if f := modern.features(); !f.Resume || len(f.Lacks) != 0 {
		t.Errorf("modern: %+v", f)
	}
	old, err := zfsCmd{run: transcript(t, `
$ zfs send
! missing snapshot argument
! usage:
! 	send [-RDp] [-[iI] snapshot] <snapshot>
? 2
$ zfs receive
! missing snapshot argument
! usage:
! 	receive [-vnF] <filesystem|volume|snapshot>
? 2
$ zfs version
! unrecognized command 'version'
? 2
`)}.detect(t.Context())
	if err != nil || old.resume || old.recvSet || len(old.sendFlags) != 0 {
		t.Errorf("old: %+v, %v", old, err)
	}
	if f := old.features(); f.Resume || f.ResumeReason == "" || len(f.Lacks) != 3 {
		t.Errorf("old: %+v", f)
	}
}

// head makes the first record of a stream.
func head(kind uint32, payload uint32, versionInfo, to, from uint64) []byte {
	b := make([]byte, headerSize)
	le := binary.LittleEndian
	le.PutUint32(b[4:], payload)
	le.PutUint64(b[8:], 0x2F5bacbac)
	le.PutUint64(b[16:], versionInfo)
	le.PutUint32(b[32:], kind)
	le.PutUint64(b[40:], to)
	le.PutUint64(b[48:], from)
	return b
}

func TestAStreamIsCheckedBeforeZFSSeesAByteOfIt(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		b       []byte
		opt     ReceiveOptions
		refusal string
	}{
		"as said":        {head(2, 0, 1, 7, 5), ReceiveOptions{GUID: "7", From: "5"}, ""},
		"full":           {head(2, 0, 1, 7, 0), ReceiveOptions{GUID: "7"}, ""},
		"resumed":        {head(2, 99, 1, 7, 0), ReceiveOptions{GUID: "7", Resumable: true}, ""},
		"another":        {head(2, 0, 1, 8, 5), ReceiveOptions{GUID: "7", From: "5"}, "not of 7"},
		"another origin": {head(2, 0, 1, 7, 6), ReceiveOptions{GUID: "7", From: "5"}, "begins at"},
		"a package":      {head(2, 0, 2, 7, 5), ReceiveOptions{GUID: "7", From: "5"}, "several streams"},
		"raw":            {head(2, 99, 1, 7, 5), ReceiveOptions{GUID: "7", From: "5"}, "more than"},
		"a volume":       {head(3, 0, 1, 7, 5), ReceiveOptions{GUID: "7", From: "5"}, "not of a file system"},
		"junk":           {bytes.Repeat([]byte("x"), 400), ReceiveOptions{GUID: "7"}, "no ZFS stream"},
		"short":          {head(2, 0, 1, 7, 5)[:100], ReceiveOptions{GUID: "7"}, "first record"},
	} {
		h, b, err := readHead(bytes.NewReader(c.b), c.opt.Resumable)
		if err == nil {
			err = h.match(c.opt)
			if err == nil && !bytes.Equal(b, c.b) {
				t.Errorf("%s: the record was changed", what)
			}
		}
		if (err != nil) != (c.refusal != "") || err != nil && !strings.Contains(err.Error(), c.refusal) {
			t.Errorf("%s: got %v, want %q", what, err, c.refusal)
		}
	}
}

// The call and its answer are those seen on FreeBSD 15.1.
func TestResumeTokensAreCheckedToBeOfTheSnapshot(t *testing.T) {
	t.Parallel()
	got, ok := tokenGUID("resume token contents:\nnvlist version: 0\n\tobject = 0x1\n\toffset = 0x0\n\tbytes = 0x0\n\ttoguid = 0x2f\n\ttoname = zroot/a@m1\n")
	if !ok || got != "47" {
		t.Errorf("got %q, %v", got, ok)
	}
	if _, ok := tokenGUID("cannot resume send: resume token is corrupt"); ok {
		t.Error("a corrupt token has a GUID")
	}
	z := &ZFS{root: "tank/rex", can: zfsCan{resume: true, sendFlags: []string{"L", "e", "c"}}}
	args, err := z.sendArgs(zsnap{}, SendOptions{Resume: "1-10ef55f429-100-789c"})
	if err != nil || strings.Join(args, " ") != "send -t 1-10ef55f429-100-789c" {
		t.Errorf("got %q, %v", args, err)
	}
	if _, err := z.sendArgs(zsnap{}, SendOptions{Resume: "--help"}); err == nil {
		t.Error("an option was taken for a token")
	}
	props, err := z.receivedProps(Object{KindJail, "u"}, ReceiveOptions{Image: "i", Layer: "l"})
	if err != nil {
		t.Fatal(err)
	}
	z.can.recvSet = true
	if got := strings.Join(z.receiveFlags(ReceiveOptions{Resumable: true}, props[:2]), " "); got != "-s -x mountpoint -o canmount=noauto -o rexcarcer:instance=" {
		t.Errorf("flags: %q", got)
	}
}
