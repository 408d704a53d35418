package jail

import (
	"context"
	"fmt"
)

// Stats reads the jail's control group.
func (l *Linux) Stats(_ context.Context, id string) (Stats, error) {
	if !idPattern.MatchString(id) {
		return Stats{}, ErrNotFound
	}
	s, err := l.cg.stats(id)
	if err != nil {
		return s, fmt.Errorf("stats of jail %s: %w", id, err)
	}
	return s, nil
}

// Update writes the limits into the jail's control group.
func (l *Linux) Update(_ context.Context, id string, lim Limits) error {
	t, err := l.get(id)
	if err != nil {
		return fmt.Errorf("update jail %s: %w", id, err)
	}
	if err := lim.check(fmt.Errorf); err != nil {
		return fmt.Errorf("update jail %s: %w", id, err)
	}
	t.op.Lock()
	defer t.op.Unlock()
	if err := l.cg.update(id, lim, l.cg.canLimitSwap()); err != nil {
		return fmt.Errorf("update jail %s: %w", id, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rec == nil {
		return nil
	}
	t.rec.Spec.Limits = lim
	return t.rec.save(l.dir(id))
}
