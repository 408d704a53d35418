package jail

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// oomLook bounds the look into the kernel's messages: an end is not held up for it.
const oomLook = 5 * time.Second

// wantedMemory says whether the kernel killed the first process of r for its limit of memory. A rule that kills says nothing;
// so there is one beside it that logs, with the pid that it hit (kern_rctl.c), and whoever was killed is looked for there.
func (f *FreeBSD) wantedMemory(ctx context.Context, r *record, e Exit) bool {
	if e.Signal != "SIGKILL" || r.Spec.Limits.MemoryBytes == 0 || r.PID == 0 {
		return false
	}
	if on, err := f.racct(ctx); err != nil || !on {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, oomLook)
	defer cancel()
	text, err := f.sysctl(ctx, "-n", "kern.msgbuf")
	return err == nil && hitMemory(text, r.Jail, r.PID)
}

// hitMemory looks for: rctl: rule "jail:web-1:memoryuse:log=67108864" matched by pid 812 (sh), uid 0, jail web-1.
func hitMemory(messages, jail string, pid int) bool {
	line := regexp.MustCompile(`rctl: rule "jail:` + regexp.QuoteMeta(jail) + `:memoryuse:[a-z]+=[0-9]+[^"]*" matched by pid ` + fmt.Sprint(pid) + `\b`)
	for l := range strings.Lines(messages) {
		if line.MatchString(l) {
			return true
		}
	}
	return false
}
