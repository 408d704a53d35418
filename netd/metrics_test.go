package netd

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestOperationsAndTheirErrorsAreCounted(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	m, err := newMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	good, bad := error(nil), errors.New("x")
	m.observe("attach", time.Now(), &good)
	m.observe("attach", time.Now(), &bad)
	m.drained(3)
	families, err := reg.Gather()
	if err != nil || len(families) != 3 {
		t.Fatalf("got %v, %v, want three families", families, err)
	}
	if got := families[1].Metric[0].GetCounter().GetValue(); got != 1 {
		t.Errorf("got %v errors, want 1", got)
	}
	if got := families[2].Metric[0].GetHistogram().GetSampleCount(); got != 2 {
		t.Errorf("got %v observations, want 2", got)
	}
	if got := families[0].Metric[0].GetCounter().GetValue(); got != 3 {
		t.Errorf("got %v connections cut, want 3", got)
	}
	var none *metrics
	none.drained(1)
	none.observe("attach", time.Now(), &bad) // must not panic
}
