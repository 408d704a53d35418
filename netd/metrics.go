package netd

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a driver; its methods do nothing when it is nil.
type metrics struct {
	seconds *prometheus.HistogramVec // by op
	errors  *prometheus.CounterVec   // by op
	cut     prometheus.Counter
}

// newMetrics registers the metrics; a nil Registerer means that nobody wants them.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	if r == nil {
		return nil, nil //nolint:nilnil // a nil *metrics is usable
	}
	m := &metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rexcarcer_netd_operation_seconds", Help: "Time that an operation on the host's networks took.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14), // 0.5 ms to 4 s
		}, []string{"op"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rexcarcer_netd_operation_errors_total", Help: "Operations on the host's networks that ended in an error.",
		}, []string{"op"}),
		cut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rexcarcer_netd_drained_connections_total", Help: "Connections by published ports that were cut because their member had left.",
		}),
	}
	for _, c := range []prometheus.Collector{m.seconds, m.errors, m.cut} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) drained(connections uint) {
	if m != nil {
		m.cut.Add(float64(connections))
	}
}

// observe is deferred: op is one of set, attach, detach, sweep, drain.
func (m *metrics) observe(op string, begin time.Time, err *error) {
	if m == nil {
		return
	}
	m.seconds.WithLabelValues(op).Observe(time.Since(begin).Seconds())
	if *err != nil {
		m.errors.WithLabelValues(op).Inc()
	}
}
