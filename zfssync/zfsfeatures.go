package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// zfsCan is what this host's zfs(8) can do, found out once. Its own usage text tells: a call without a dataset changes
// nothing, and prints the options of that very version.
type zfsCan struct {
	sendFlags []string // that make streams smaller or whole, each known here
	resume    bool     // receive -s, send -t, receive -A, property receive_resume_token
	recvSet   bool     // receive -o and -x
	fuse      bool     // it is zfs-fuse
	version   string
}

func (z zfsCmd) detect(ctx context.Context) (zfsCan, error) {
	var can zfsCan
	send, err := z.usage(ctx, "send")
	if err != nil {
		return can, err
	}
	recv, err := z.usage(ctx, "receive")
	if err != nil {
		return can, err
	}
	for _, f := range []string{"L", "e", "c"} { // large blocks, embedded data, compressed blocks
		if hasFlag(send, "send", f) {
			can.sendFlags = append(can.sendFlags, f)
		}
	}
	can.resume = hasFlag(recv, "receive", "s") && strings.Contains(send, "-t ") && strings.Contains(recv, "-A ")
	can.recvSet = strings.Contains(recv, "[-o ") && strings.Contains(recv, "[-x ")
	res, err := z.run.Run(ctx, run.Cmd{Argv: []string{"zfs", "version"}, Timeout: zfsTime})
	if can.version = "before 0.8"; err == nil { // "zfs version" came with 0.8
		can.version, _, _ = strings.Cut(strings.TrimSpace(string(res.Stdout)), "\n")
	} else if _, err := os.Stat("/var/run/zfs/zfs_socket"); err == nil {
		can.version, can.fuse = "zfs-fuse", true
	}
	return can, nil
}

// usage returns what "zfs VERB" says of itself.
func (z zfsCmd) usage(ctx context.Context, verb string) (string, error) {
	res, err := z.run.Run(ctx, run.Cmd{Argv: []string{"zfs", verb}, Timeout: zfsTime})
	text := string(res.Stderr)
	if e, ok := errors.AsType[*run.Error](err); ok && e.RC == 2 {
		text = e.Stderr + text
	} else if err != nil {
		return "", fmt.Errorf("ask zfs(8) what it can do: %w: install ZFS (Debian: zfsutils-linux, or zfs-fuse), or use the overlay storage", err)
	}
	return text, nil
}

// hasFlag looks for a one-letter option in lines such as "send [-DLPbcehnpsVvw] [-i|-I snapshot] <snapshot>".
func hasFlag(usage, verb, flag string) bool {
	for line := range strings.Lines(usage) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), verb+" [-")
		if !ok {
			continue
		}
		if flags, _, _ := strings.Cut(rest, "]"); strings.Contains(flags, flag) {
			return true
		}
	}
	return false
}

// features says it for people.
func (c zfsCan) features() Features {
	f := Features{
		Driver: "zfs", Quota: true, MaxLayers: maxLayers, Format: FormatZFS, Increments: true, Atomic: true, Resume: c.resume,
		VolatileReason: "a clone is cheap and durable anyway",
		Version:        c.version,
	}
	if !c.resume {
		f.ResumeReason = "this zfs(8) knows no resume tokens (receive -s): a cut stream begins anew"
		f.Lacks = append(f.Lacks, "zfs receive -s: "+f.ResumeReason)
	}
	if !c.recvSet {
		f.Lacks = append(f.Lacks, "zfs receive -o and -x: properties are set after a receive, while the dataset is still in staging")
	}
	if len(c.sendFlags) < 3 {
		f.Lacks = append(f.Lacks, "zfs send -L -e -c: streams carry blocks as they are in memory")
	}
	return f
}
