package fsm

import "strings"

func (c PlaceJail) decide(t *txn) *Refusal {
	object := "jail " + string(c.Jail)
	j, ok := t.jails.get(string(c.Jail))
	if !ok {
		return noJail(c.Jail)
	}
	last, ran := t.runs.get(string(c.Jail))
	next := j.SeqBase + 1
	if ran {
		next = last.Seq + 1
	}
	switch {
	case j.Want != WantRunning:
		return refuse(CodeConflict, object, "is wanted %s, not running", j.Want)
	case ran && !last.Phase.Over():
		return refuse(CodeConflict, object, "run %d on host %s is %s: it must be over first", last.Seq, last.Host, last.Phase)
	case c.Seq != next:
		return refuse(CodeFenced, object, "run %d cannot be placed: the next one is %d", c.Seq, next)
	}
	if c.From != "" && !validHostID(string(c.From)) {
		return refuse(CodeInvalid, object, "%.80q, which it has left, is no host's id", c.From)
	}
	if r := t.hostTakes(object, c.Host, Demand(&j.Spec)); r != nil {
		return r
	}
	if r := t.moveHolds(j, c.Host); r != nil {
		return r
	}
	run := t.nextRun(j, c.Host, c.Why)
	run.Attempt, run.From = max(c.Attempt, 0), c.From
	if ran && last.StopWhy == "" && last.Phase != Lost {
		run.Total++
	}
	t.emit(JailPlaced{run})
	return nil
}

// hostTakes checks that the host is there, wants jails and has room.
func (t *txn) hostTakes(object string, id HostID, res Resources) *Refusal {
	h, ok := t.hosts.get(string(id))
	if !ok {
		return refuse(CodeNotFound, "host "+string(id), "is not known: list hosts with `rexctl host ls`")
	}
	if h.State != HostAlive {
		return refuse(CodeConflict, object, "cannot be placed on host %s, which is %s", h.Name, h.State)
	}
	used, _ := t.load.get(string(id))
	if !h.Capacity.Fits(used, res) {
		return refuse(CodeExhausted, object, "host %s has no room for %v: %v of %v are taken (a capacity of 0 is no limit)", h.Name, res, used, h.Capacity)
	}
	return nil
}

func (c StopRun) decide(t *txn) *Refusal {
	r, ok := t.runs.get(string(c.Jail))
	switch {
	case !ok || c.Seq > r.Seq:
		return refuse(CodeNotFound, "jail "+string(c.Jail), "has no run %d", c.Seq)
	case len(c.For) > maxJailName:
		return refuse(CodeInvalid, "jail "+string(c.Jail), "the name of who needs the room has %d bytes, %d are the most", len(c.For), maxJailName)
	case c.Seq < r.Seq || r.Phase.Over():
		return nil // over already, as asked
	}
	t.stopFor(r, c.Why, c.For)
	return nil
}

// The longest Reason and Why that are kept, and the longest name of a jail, in
// bytes.
const (
	maxReason   = 4096
	maxJailName = 63
)

func (c ReportRun) decide(t *txn) *Refusal {
	r, ok := t.runs.get(string(c.Jail))
	if refusal := c.fence(t, r, ok); refusal != nil {
		return refusal
	}
	now, refusal := c.moved(r, t.s.Now)
	if refusal != nil || now == nil {
		return refusal
	}
	t.emit(RunReported{now, r.Phase})
	t.serve(r, now)
	switch {
	case now.Phase.Over():
		t.runOver(c.Jail)
	case now.Phase == Running && r.Phase != Running:
		t.moveRan(now)
	}
	return nil
}

// object is only spelled out for a refusal: reports are the hot path.
func (c ReportRun) object() string { return "jail " + string(c.Jail) }

// fence lets only the owner of the newest Run speak.
func (c ReportRun) fence(t *txn, r *Run, ok bool) *Refusal {
	switch {
	case !ok:
		return refuse(CodeFenced, c.object(), "has no run: end what runs of it on host %s", c.Host)
	case c.Seq != r.Seq:
		return refuse(CodeFenced, c.object(), "run %d on host %s is not the newest, that is run %d on host %s: end it", c.Seq, c.Host, r.Seq, r.Host)
	case c.Host != r.Host || !speaksFor(t.by, c.Host):
		return refuse(CodeFenced, c.object(), "run %d belongs to host %s, not to %s (said by %s)", r.Seq, r.Host, c.Host, t.by)
	}
	return nil
}

// speaksFor: a host speaks for itself only. Other identities are checked
// where they come in.
func speaksFor(by string, h HostID) bool {
	id, isHost := strings.CutPrefix(by, "host/")
	return !isHost || id == string(h)
}

// moved is r after the report; nil if it says nothing new.
func (c ReportRun) moved(r *Run, at Time) (*Run, *Refusal) {
	switch {
	case c.Phase < Placed || c.Phase > Lost:
		return nil, refuse(CodeInvalid, c.object(), "there is no %s", c.Phase)
	case c.Health != "" && c.Health != HealthUnknown && c.Health != HealthHealthy && c.Health != HealthUnhealthy:
		return nil, refuse(CodeInvalid, c.object(), "health %q is not unknown, healthy or unhealthy", c.Health)
	case len(c.Reason) > maxReason:
		return nil, refuse(CodeInvalid, c.object(), "the reason has %d bytes, %d are the most", len(c.Reason), maxReason)
	case r.Phase.Over() && c.Phase == r.Phase:
		return nil, nil // said before
	case r.Phase.Over():
		return nil, refuse(CodeFenced, c.object(), "run %d is over (%s): end what is left of it", r.Seq, r.Phase)
	case c.Phase < r.Phase:
		return nil, refuse(CodeConflict, c.object(), "run %d is %s already and cannot be %s again", r.Seq, r.Phase, c.Phase)
	}
	now := *r
	now.Phase = c.Phase
	if c.Health != "" {
		now.Health = c.Health
	}
	if c.Reason != "" || c.Phase != r.Phase {
		now.Reason = c.Reason
	}
	if c.Exit != nil {
		now.Exit = c.Exit
	}
	if now.Phase == Running && now.StartedAt == 0 {
		now.StartedAt = at
	}
	now.settle(r, at)
	if now == *r || now.Exit != nil && r.Exit != nil && *now.Exit == *r.Exit && equalButExit(now, *r) {
		return nil, nil
	}
	return &now, nil
}

// settle sets what follows from phase and health. HealthyAt of a Run that is
// over stays: how long it was healthy decides about backoff.
func (r *Run) settle(old *Run, at Time) {
	switch {
	case r.Phase.Over():
		r.Health = HealthUnknown
		r.EndedAt = at
	case r.Health != HealthHealthy:
		r.HealthyAt = 0
	case old.Health != HealthHealthy || old.HealthyAt == 0:
		r.HealthyAt = at
	}
}

func equalButExit(a, b Run) bool {
	a.Exit, b.Exit = nil, nil
	return a == b
}
