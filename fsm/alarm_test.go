package fsm

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestAlarmsOfAHostAreBounded(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.must(host("h1"))
	for i := range maxAlarms {
		l.must(ReportAlarm{"h1", fmt.Sprintf("deploy %02d.ini", i), "bad"})
	}
	l.refused(ReportAlarm{"h1", "one more", "bad"}, CodeExhausted)
	l.must(ReportAlarm{"h1", "deploy 07.ini", "other text"})
	l.must(ReportAlarm{"h1", "deploy 07.ini", ""})
	l.must(ReportAlarm{"h1", "one more", "bad"})
	checkInvariants(t, l.s)
}

var recordAlarms = flag.Bool("record-alarms", false, "write testdata/log/v2-alarms anew: only before it is released")

// TestRecordAlarmLog keeps a log of what came with alarms, if it was asked to.
func TestRecordAlarmLog(t *testing.T) {
	l := newLog(t)
	h := host("h1")
	h.Host.Level = Level
	l.must(h)
	l.must(ReportAlarm{"h1", "deploy web.ini", "web.ini:3:1: unknown key"})
	l.must(ReportAlarm{"h1", "clock", "3s ahead"})
	l.must(ReportAlarm{"h1", "clock", "4s ahead"})
	l.must(ReportAlarm{"h1", "deploy web.ini", ""})
	h.Host.Version = "other"
	l.must(h)
	checkInvariants(t, l.s)
	if !*recordAlarms {
		return
	}
	var b bytes.Buffer
	for _, item := range l.items {
		b.Write(item.Raw)
		b.WriteByte('\n')
	}
	dir := filepath.Join("testdata", "log", "v2-alarms")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"log.jsonl": b.Bytes(), "state.txt": []byte(dumpOf(l.s))} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
