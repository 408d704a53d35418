package hostagent

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	start    prometheus.Histogram
	failures *prometheus.CounterVec
	adopted  prometheus.Counter
	fenced   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		start: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rexcarcer_hostagent_jail_start_seconds",
			Help: "From looking at a placed Run to its first process running.", Buckets: prometheus.ExponentialBuckets(0.004, 2, 12)}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rexcarcer_hostagent_step_failures_total",
			Help: "Steps that failed and were tried again, by step."}, []string{"step"}),
		adopted: prometheus.NewCounter(prometheus.CounterOpts{Name: "rexcarcer_hostagent_adopted_jails_total",
			Help: "Running jails that this process took over from its predecessor."}),
		fenced: prometheus.NewGauge(prometheus.GaugeOpts{Name: "rexcarcer_hostagent_fenced_state",
			Help: "1 while no leader is heard and jails that may start elsewhere are stopped."}),
	}
	if reg != nil {
		reg.MustRegister(m.start, m.failures, m.adopted, m.fenced)
	}
	return m
}
