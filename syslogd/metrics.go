package syslogd

import "github.com/prometheus/client_golang/prometheus"

// Metrics of the daemon's side. All methods work on nil.
type Metrics struct {
	taken *prometheus.CounterVec
	sent  *prometheus.CounterVec
}

// NewMetrics registers them with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		taken: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rexcarcer_syslogd_messages_total",
			Help: "Messages that jails logged by syslog: kept, of nobody that is known here (stranger), or too many (lost)."}, []string{"result"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rexcarcer_syslogd_forwarded_total",
			Help: "Messages of jails for another syslog server: sent, or lost because it took none for long."}, []string{"result"}),
	}
	for _, result := range []string{"kept", "stranger", "lost"} {
		m.taken.WithLabelValues(result)
	}
	reg.MustRegister(m.taken, m.sent)
	return m
}

// Taken counts n messages: kept, stranger or lost.
func (m *Metrics) Taken(result string, n int) {
	if m != nil {
		m.taken.WithLabelValues(result).Add(float64(n))
	}
}

func (m *Metrics) forwarded(result string) {
	if m != nil {
		m.sent.WithLabelValues(result).Inc()
	}
}
