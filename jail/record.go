package jail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// record is what the driver knows about one jail, kept in StateDir/<id>/record.json: written before the runtime starts, when
// the pid is known, and at the end. It is renamed into place but never synced: it describes processes, which do not
// survive the crash of a host either; Boot tells records of another boot.
type record struct {
	Spec      Spec
	Boot      string
	Runtime   string // path of the OCI runtime that started it, and that knows it
	Jail      string `json:",omitempty"` // FreeBSD: the jail's name in the kernel
	Booted    bool   `json:",omitempty"` // FreeBSD: a whole system, whose /etc/rc has run; it has no first process
	PID       int    // 0: the runtime had not answered
	Ticks     uint64 // start time of PID, see startTicks: a pid that was used again differs
	StartedAt time.Time
	Exit      *Exit
}

func (r *record) status() Status {
	s := Status{ID: r.Spec.ID, Name: r.Spec.Name, UUID: r.Spec.UUID, Seq: r.Spec.Seq, StartedAt: r.StartedAt, Exit: r.Exit}
	switch {
	case r.Exit != nil:
		s.Phase = Stopped
	case r.PID != 0 || r.Booted:
		s.Phase, s.PID = Running, r.PID
	default:
		s.Phase = Created
	}
	return s
}

func (r *record) save(dir string) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode record of %s: %w", r.Spec.ID, err)
	}
	tmp := filepath.Join(dir, ".record.json")
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return fmt.Errorf("write record of %s: %w", r.Spec.ID, err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, "record.json")); err != nil {
		return fmt.Errorf("write record of %s: %w", r.Spec.ID, err)
	}
	return nil
}

// loadRecord returns ErrNotFound when dir holds none; one that cannot be read is an error, and Remove gets rid of it.
func loadRecord(dir string) (*record, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "record.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read record: %w", err)
	}
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("read record %s: %w", dir, err)
	}
	return &r, nil
}

// readPID returns what the runtime wrote into its pid file; 0 when it has not.
func readPID(dir string) int {
	raw, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}

// startTicks is field 22 of /proc/PID/stat (proc(5)): when the process started, in clock ticks since boot.
func startTicks(pid int) (uint64, error) {
	f, err := statFields(pid)
	if err != nil {
		return 0, err
	}
	if len(f) < 20 {
		return 0, fmt.Errorf("read /proc/%d/stat: no start time", pid)
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// statFields are those of /proc/PID/stat from the third, the state, on. The second, the name in parentheses, may hold
// anything, so they are counted from its end.
func statFields(pid int) ([]string, error) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:])), nil
}

func bootID() string {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// inGroup says whether the process is in the control group, which only our runtime puts it into.
func inGroup(pid int, group string) bool {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return false
	}
	for l := range strings.Lines(string(raw)) {
		if strings.HasSuffix(strings.TrimSpace(l), ":"+group) {
			return true
		}
	}
	return false
}
