package zfssync

import (
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
)

// headerSize is that of dmu_replay_record_t with drr_begin, as every zfs(8) begins a stream (sys/zfs_ioctl.h).
const headerSize = 312

// streamHead is what the first record of a ZFS stream says.
type streamHead struct {
	to, from uint64 // GUIDs; from is 0 in a full stream
}

// readHead reads and checks the first record. What it says is checked before zfs(8), which trusts its input far more,
// sees a byte. It returns the record as it was, to be put in front of the rest.
func readHead(r io.Reader, resumed bool) (streamHead, []byte, error) {
	b := make([]byte, headerSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return streamHead{}, nil, fmt.Errorf("read the stream's first record: %w", err)
	}
	const magic, begin, substream = 0x2F5bacbac, 0, 1
	le := binary.LittleEndian
	switch {
	case le.Uint64(b[8:]) != magic || le.Uint32(b[0:]) != begin:
		return streamHead{}, nil, fmt.Errorf("it is no ZFS stream of a little-endian host")
	case le.Uint32(b[4:]) != 0 && !resumed: // one that goes on after a cut says here where
		return streamHead{}, nil, fmt.Errorf("it carries more than one snapshot's files (zfs send -w): refused")
	case le.Uint64(b[16:])&3 != substream:
		return streamHead{}, nil, fmt.Errorf("it is a package of several streams (zfs send -R): refused")
	case le.Uint32(b[32:]) != 2: // DMU_OST_ZFS
		return streamHead{}, nil, fmt.Errorf("it is not of a file system")
	}
	return streamHead{to: le.Uint64(b[40:]), from: le.Uint64(b[48:])}, b, nil
}

// match compares the stream with what its sender said of it.
func (h streamHead) match(opt ReceiveOptions) error {
	if to := strconv.FormatUint(h.to, 10); to != opt.GUID {
		return fmt.Errorf("it is of snapshot %s, not of %s: refused", to, opt.GUID)
	}
	from := strconv.FormatUint(h.from, 10)
	if h.from == 0 {
		from = ""
	}
	if from != opt.From {
		return fmt.Errorf("it begins at %q, not at %q: refused", from, opt.From)
	}
	return nil
}
