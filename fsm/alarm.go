package fsm

import (
	"slices"
	"strings"
)

// Alarm is something about a host that a person has to see to: its clock is
// wrong, a file of its deployment directory cannot be applied. It stays until
// the host says that it is over.
type Alarm struct {
	Name  string `json:"name"` // what it is about, 1..128 bytes: clock, deploy web.ini
	Text  string `json:"text"`
	Since Time   `json:"since"` // when it was raised; another text does not change it
}

// ReportAlarm raises an alarm of a host, gives it another text, or with an
// empty Text ends it.
type ReportAlarm struct {
	Host HostID `json:"host"`
	Name string `json:"name"`
	Text string `json:"text,omitempty"`
}

// AlarmRaised says that there is something to see to, or more to say of it.
type AlarmRaised struct {
	Host  *Host // with the alarm
	Alarm Alarm
}

// AlarmEnded says that it is over.
type AlarmEnded struct {
	Host *Host // without the alarm
	Name string
}

// maxAlarms is how many a host may have at a time.
const maxAlarms = 64

// Kind implements Command.
func (ReportAlarm) Kind() string { return "report_alarm" }

// Kind implements Event.
func (AlarmRaised) Kind() string { return "alarm_raised" }

// Kind implements Event.
func (AlarmEnded) Kind() string { return "alarm_ended" }

// Object implements Event.
func (e AlarmRaised) Object() string { return "host " + e.Host.Name }

// Object implements Event.
func (e AlarmEnded) Object() string { return "host " + e.Host.Name }

// Why implements Event.
func (e AlarmRaised) Why() string { return e.Alarm.Name + ": " + e.Alarm.Text }

// Why implements Event.
func (e AlarmEnded) Why() string { return e.Name }

func (e AlarmRaised) evolve(t *txn) { t.hosts.put(string(e.Host.ID), e.Host) }
func (e AlarmEnded) evolve(t *txn)  { t.hosts.put(string(e.Host.ID), e.Host) }

func (c ReportAlarm) decide(t *txn) *Refusal {
	old, ok := t.hosts.get(string(c.Host))
	switch {
	case !ok:
		return noHost(c.Host)
	case !speaksFor(t.by, c.Host):
		return refuse(CodeFenced, "host "+old.Name, "%s cannot raise an alarm of it", t.by)
	case c.Name == "" || !plainText(c.Name, 128):
		return refuse(CodeInvalid, "host "+old.Name, "the alarm's name %.128q must be 1 to 128 bytes without control characters", c.Name)
	case !plainText(c.Text, maxReason):
		return refuse(CodeInvalid, "host "+old.Name, "the alarm's text has control characters in it, or more than %d bytes", maxReason)
	}
	now := *old
	i, had := slices.BinarySearchFunc(old.Alarms, c.Name, func(a Alarm, name string) int { return strings.Compare(a.Name, name) })
	switch {
	case c.Text == "" && !had, had && old.Alarms[i].Text == c.Text:
		return nil
	case c.Text == "":
		now.Alarms = slices.Delete(slices.Clone(old.Alarms), i, i+1)
		if len(now.Alarms) == 0 {
			now.Alarms = nil
		}
		t.emit(AlarmEnded{&now, c.Name})
		return nil
	case had:
		now.Alarms = slices.Clone(old.Alarms)
		now.Alarms[i].Text = c.Text
	case len(old.Alarms) >= maxAlarms:
		return refuse(CodeExhausted, "host "+old.Name, "it has %d alarms already", maxAlarms)
	default:
		now.Alarms = slices.Insert(slices.Clone(old.Alarms), i, Alarm{c.Name, c.Text, t.s.Now})
	}
	t.emit(AlarmRaised{&now, now.Alarms[i]})
	return nil
}
