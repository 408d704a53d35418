package transfer

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Metrics counts what goes between hosts.
type Metrics struct {
	sentBytes, receivedBytes, reusedBytes prometheus.Counter
	sentFailed                            prometheus.Counter
	faults                                *prometheus.CounterVec
	receiveFailed                         *prometheus.CounterVec
	running                               *prometheus.GaugeVec
	seconds                               *prometheus.HistogramVec
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
		receiveFailed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rexcarcer_transfer_receive_failures_total", Help: "Streams that were not received in the end, by reason.",
		}, []string{"reason"}),
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rexcarcer_transfer_running_streams", Help: "Streams between hosts that run now: in, out.",
		}, []string{"direction"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rexcarcer_transfer_stream_seconds", Help: "How long streams between hosts took, failed ones too: in, out.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 10),
		}, []string{"direction"}),
	}
	if reg != nil {
		reg.MustRegister(m.sentBytes, m.receivedBytes, m.reusedBytes, m.sentFailed, m.faults, m.receiveFailed, m.running, m.seconds)
	}
	return m
}

// stream counts one that has begun; call what it returns when it is over, and err is set.
func (m *Metrics) stream(direction string, begun time.Time, err *error) (over func()) {
	m.running.WithLabelValues(direction).Inc()
	return func() {
		m.running.WithLabelValues(direction).Dec()
		m.seconds.WithLabelValues(direction).Observe(time.Since(begun).Seconds())
		switch {
		case *err == nil:
		case direction == "in":
			m.receiveFailed.WithLabelValues(reasonOf(*err)).Inc()
		default:
			m.sentFailed.Inc()
		}
	}
}

// reasonOf names why a stream was not received, in few words.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "given-up"
	case errors.Is(err, zfssync.ErrNoSpace):
		return "no-space"
	case errors.Is(err, errLie):
		return faultLie
	case errors.Is(err, errStall):
		return faultStall
	case errors.Is(err, errRestart), errors.Is(err, zfssync.ErrNotFound):
		return faultRefused
	}
	return "failed"
}
