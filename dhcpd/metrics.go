package dhcpd

import "github.com/prometheus/client_golang/prometheus"

// Metrics are shared by the servers of all networks of a host.
type Metrics struct {
	packets *prometheus.CounterVec
	replies *prometheus.CounterVec
	dropped *prometheus.CounterVec
	batch   prometheus.Histogram
	commit  prometheus.Histogram
}

// NewMetrics registers them; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		packets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rexcarcer_dhcpd_packets_total", Help: "Requests by type of message, whatever became of them.",
		}, []string{"type"}),
		replies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rexcarcer_dhcpd_replies_total", Help: "Replies by type of message.",
		}, []string{"type"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rexcarcer_dhcpd_dropped_total", Help: "Packets that got no reply, by reason.",
		}, []string{"reason"}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rexcarcer_dhcpd_batch_leases", Help: "Leases in one entry of the log.", Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rexcarcer_dhcpd_commit_seconds", Help: "Time from a proposed entry of leases to its end.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}),
	}
	if reg != nil {
		reg.MustRegister(m.packets, m.replies, m.dropped, m.batch, m.commit)
	}
	return m
}
