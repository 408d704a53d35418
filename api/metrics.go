package api

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	streams  prometheus.Gauge
}

func newMetrics() *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rexcarcer_api_requests_total",
			Help: "Requests by route, method and HTTP status.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "rexcarcer_api_request_duration_seconds",
			Help:    "Time to answer, by route; streams are left out.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .5, 1, 5, 30},
		}, []string{"route"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rexcarcer_api_streams",
			Help: "Open streams: events, logs, builds, exec sessions.",
		}),
	}
}

// register adds the metrics to r. A second server of the same process counts
// into those of the first.
func (m *metrics) register(r prometheus.Registerer) error {
	var err error
	if m.requests, err = shared(r, m.requests); err != nil {
		return err
	}
	if m.duration, err = shared(r, m.duration); err != nil {
		return err
	}
	m.streams, err = shared(r, m.streams)
	return err
}

func shared[C prometheus.Collector](r prometheus.Registerer, c C) (C, error) {
	err := r.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if known, ok := already.ExistingCollector.(C); ok {
			return known, nil
		}
	}
	return c, err
}

func (m *metrics) seen(rt route, code int, took time.Duration) {
	m.requests.WithLabelValues(rt.pattern, rt.method, strconv.Itoa(code)).Inc()
	if !rt.stream {
		m.duration.WithLabelValues(rt.pattern).Observe(took.Seconds())
	}
}
