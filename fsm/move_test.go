package fsm

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func (l *log) tellMove(cmd string, word func(int) string, opt func(key, or string) string) string {
	switch cmd {
	case "move":
		if strings.Contains(word(0), ".") {
			return l.told(MoveVolume{word(0), HostID(word(1)), opt("why", "")})
		}
		return l.told(MoveJail{JailName(word(0)), HostID(word(1)), opt("why", "")})
	case "cancel-move":
		return l.told(CancelMove{word(0)})
	case "volume":
		return l.told(ReportVolume{word(0), HostID(word(1)), opt("gone", "") != ""})
	}
	id := uint64(number(opt("id", "0")))
	if all := l.s.MovesOf(word(0)); id == 0 && len(all) > 0 {
		id = all[len(all)-1].ID
	}
	return l.told(MoveStep{word(0), id, HostID(word(1)), MoveDid(word(2)), number(opt("bytes", "0")), opt("why", "")})
}

func (l *log) showMoves(b *strings.Builder) {
	for _, m := range l.s.Moves.All {
		fmt.Fprintf(b, "%s %s to %s: %s, %d bytes, down %v, clean %v %v", m, m.From, m.To, m.Phase, m.Bytes, m.Down, m.FromClean, m.ToClean)
		if m.Error != "" {
			fmt.Fprintf(b, ", %s", m.Error)
		}
		b.WriteByte('\n')
	}
	for id, v := range l.s.Volumes.All {
		fmt.Fprintf(b, "volume %s on %s\n", id, v.Host)
	}
}

// checkMoves: at most one Move of an object goes on, and in each phase the
// jail is where that phase lets it be.
func checkMoves(tb fataler, s *State) {
	tb.Helper()
	active := map[string]bool{}
	for key, m := range s.Moves.All {
		if key != moveKey(m.Object(), m.ID) || m.From == m.To {
			tb.Fatalf("move %q: %+v", key, m)
		}
		if !m.Active() {
			continue
		}
		if active[m.Object()] {
			tb.Fatalf("two moves of %s go on", m)
		}
		active[m.Object()] = true
		for _, h := range []HostID{m.From, m.To} {
			if host, ok := s.Hosts.Get(string(h)); m.Phase != MovePlaced && (!ok || host.State == HostLost) {
				tb.Fatalf("the move of %s goes on, and host %s is lost", m, h)
			}
		}
		if m.Jail == "" {
			continue
		}
		r := s.LiveRun(m.Jail)
		switch {
		case m.Phase == MoveStopped && r != nil,
			m.Phase == MoveCopied && (r == nil || r.Host != m.From || r.StopWhy == ""),
			m.Phase == MovePlaced && (r == nil || r.Host != m.To || r.Phase >= Running && r.StopWhy == ""),
			m.Phase == MoveAsked && r != nil && r.Host != m.From:
			tb.Fatalf("the move of %s is %s, and its run is %+v", m, m.Phase, r)
		}
		for _, id := range m.Volumes {
			if v, ok := s.Volumes.Get(id); ok && m.Phase != MovePlaced && v.Host != m.From || m.Phase == MovePlaced && (!ok || v.Host != m.To) {
				tb.Fatalf("the move of %s is %s, and volume %s is at home on %+v", m, m.Phase, id, v)
			}
		}
	}
}

// TestOldVolumesAreWhereTheirJailsRanLast: logs of before moves say nothing
// of volumes.
func TestOldVolumesAreWhereTheirJailsRanLast(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.must(host("h1"))
	w := testWish("demo", "10.66.0.0/24", 2)
	w.Jails[0].Volumes = append(w.Jails[0].Volumes, readJails("x", []string{"volume=data"})[0].Volumes...)
	l.must(ApplyWish{Wish: w})
	first, _ := l.s.Jails.Get(w.Jails[0].Name)
	second, _ := l.s.Jails.Get(w.Jails[1].Name)
	if got := l.s.HomeOf(first); got != "" {
		t.Errorf("before it ran its volume is on %q", got)
	}
	l.run(JailName(w.Jails[0].Name), "h1")
	l.run(JailName(w.Jails[1].Name), "h1")
	if got := l.s.HomeOf(first); got != "h1" {
		t.Errorf("its volume is on %q, want h1, where it runs", got)
	}
	if got := l.s.HomeOf(second); got != "" {
		t.Errorf("a jail without volumes is at home on %q", got)
	}
}

func drawMove(rt *rapid.T, l *log) Command {
	j := drawJail.Draw(rt, "jail")
	volume := VolumeID(string(j[:1]), string(j), "data")
	switch h := drawHost.Draw(rt, "host"); rapid.IntRange(0, 6).Draw(rt, "move") {
	case 0:
		return CancelMove{string(j)}
	case 1:
		return ReportVolume{volume, h, rapid.Bool().Draw(rt, "gone")}
	case 2:
		return MoveVolume{volume, h, "why"}
	default:
		return MoveJail{j, h, "why"}
	}
}

func drawStep(rt *rapid.T, l *log) Command {
	var all []*Move
	for _, m := range l.s.Moves.All {
		all = append(all, m)
	}
	c := MoveStep{Object: "nobody", ID: 1, Host: drawHost.Draw(rt, "host")}
	if len(all) > 0 {
		m := rapid.SampledFrom(all).Draw(rt, "of")
		c.Object, c.ID = m.Object(), m.ID
		if rapid.IntRange(0, 9).Draw(rt, "side") > 0 {
			c.Host = rapid.SampledFrom([]HostID{m.To, m.To, m.From}).Draw(rt, "by")
		}
	}
	c.Did = rapid.SampledFrom([]MoveDid{DidCopy, DidReady, DidFail, DidClean, DidClean, "odd"}).Draw(rt, "did")
	c.Bytes = rapid.Int64Range(-1, 5).Draw(rt, "bytes")
	return c
}
