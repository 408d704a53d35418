package zfssync

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// ReceiveBase makes the lowest layer key out of a file that holds a full stream of zfs send, packed or not. ref is what
// List tells of it.
func ReceiveBase(ctx context.Context, s Streams, key, ref, path string, limits Limits) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, done, err := Unpack(f, limits)
	if err != nil {
		return fmt.Errorf("base %s: %w", ref, err)
	}
	defer done()
	// The store wants to be told what it is about to read: the first record says it (drr_begin of sys/zfs_ioctl.h:
	// drr_toguid, drr_fromguid).
	in := bufio.NewReaderSize(r, 128<<10)
	head, err := in.Peek(56)
	if err != nil {
		return fmt.Errorf("base %s: read the stream's first record: %w", ref, err)
	}
	if binary.LittleEndian.Uint64(head[48:]) != 0 {
		return errors.New("base " + ref + ": the stream is an increment of another: write it anew, without -i")
	}
	opt := ReceiveOptions{
		Format: FormatZFS, Snapshot: LayerSnapshot, GUID: strconv.FormatUint(binary.LittleEndian.Uint64(head[40:]), 10), Base: ref, Limits: limits,
	}
	if err := s.Receive(ctx, Object{KindLayer, key}, opt, in); err != nil {
		return fmt.Errorf("base %s: %w", ref, err)
	}
	return nil
}
