package netsock

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what jails ask; one for all listeners.
type Metrics struct {
	requests *prometheus.CounterVec
	refused  *prometheus.CounterVec
}

// NewMetrics registers them with reg, which may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rexcarcer_netsock_requests_total",
			Help: "Requests of jails that were answered, by type."}, []string{"type"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rexcarcer_netsock_refused_total",
			Help: "Requests and connections of jails that were refused, by reason."}, []string{"reason"}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.refused)
	}
	return m
}
