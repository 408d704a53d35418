package jail

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Offsets in struct kinfo_proc of 64-bit FreeBSD (sys/user.h), which is the same on all of them and begins with its own size.
const (
	kinfoSize    = 1088
	kinfoPID     = 72
	kinfoRSS     = 264 // pages
	kinfoRuntime = 328 // microseconds
	kinfoStart   = 336 // struct timeval
	kinfoStat    = 388
	kinfoJID     = 592

	statZombie = 5 // SZOMB, sys/proc.h
)

// parseKinfo reads what sysctl kern.proc.proc returns, and keeps the processes of jails.
func parseKinfo(raw []byte, pageSize int) ([]jailProcess, error) {
	var out []jailProcess
	le := binary.LittleEndian
	for ; len(raw) > 0; raw = raw[kinfoSize:] {
		if len(raw) < kinfoSize || le.Uint32(raw) != kinfoSize {
			return nil, fmt.Errorf("the kernel's list of processes has entries of another size than %d bytes: this version of FreeBSD is not known", kinfoSize)
		}
		jid := int(int32(le.Uint32(raw[kinfoJID:])))
		if jid == 0 || raw[kinfoStat] == statZombie {
			continue
		}
		out = append(out, jailProcess{
			pid: int(int32(le.Uint32(raw[kinfoPID:]))), jid: jid,
			started: le.Uint64(raw[kinfoStart:])*1e6 + le.Uint64(raw[kinfoStart+8:]),
			rss:     int64(le.Uint64(raw[kinfoRSS:])) * int64(pageSize),
			cpu:     time.Duration(le.Uint64(raw[kinfoRuntime:])) * time.Microsecond,
		})
	}
	return out, nil
}
