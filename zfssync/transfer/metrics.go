package transfer

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what goes between hosts.
type Metrics struct {
	sentBytes, receivedBytes, reusedBytes prometheus.Counter
	sentFailed                            prometheus.Counter
	faults                                *prometheus.CounterVec
}

// NewMetrics registers with reg; nil counts for nobody.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &Metrics{
		sentBytes:     counter("rexcarcer_transfer_sent_bytes_total", "Bytes sent to other hosts, frames included."),
		receivedBytes: counter("rexcarcer_transfer_received_bytes_total", "Bytes received from other hosts."),
		reusedBytes:   counter("rexcarcer_transfer_reused_bytes_total", "Bytes that did not travel because a chunk was here."),
		sentFailed:    counter("rexcarcer_transfer_send_failures_total", "Streams that ended early on the sender's side."),
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rexcarcer_transfer_source_faults_total", Help: "Faults of sources: lie, stall, cut, busy, refused.",
		}, []string{"fault"}),
	}
	if reg != nil {
		reg.MustRegister(m.sentBytes, m.receivedBytes, m.reusedBytes, m.sentFailed, m.faults)
	}
	return m
}
