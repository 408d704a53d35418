package cluster

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	proposals  *prometheus.CounterVec
	commit     prometheus.Histogram
	batch      prometheus.Histogram
	apply      prometheus.Histogram
	index      prometheus.Gauge
	diskErrors prometheus.Counter
	voters     prometheus.Gauge
	tolerance  prometheus.Gauge
	skew       prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		proposals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rexcarcer_cluster_proposals_total",
			Help: "Commands proposed on this host, by result."}, []string{"result"}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rexcarcer_cluster_commit_seconds",
			Help: "From Propose to applied.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16)}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rexcarcer_cluster_batch_entries",
			Help: "Entries folded at once.", Buckets: prometheus.ExponentialBuckets(1, 2, 11)}),
		apply: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rexcarcer_cluster_apply_seconds",
			Help: "Time to fold one batch and publish.", Buckets: prometheus.ExponentialBuckets(0.00001, 4, 10)}),
		index: prometheus.NewGauge(prometheus.GaugeOpts{Name: "rexcarcer_cluster_applied_index",
			Help: "Log index of the published State."}),
		diskErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "rexcarcer_cluster_disk_errors_total",
			Help: "Small writes that the data directory refused."}),
		voters: prometheus.NewGauge(prometheus.GaugeOpts{Name: "rexcarcer_cluster_voting_hosts",
			Help: "Servers that vote, as the leader sees it."}),
		tolerance: prometheus.NewGauge(prometheus.GaugeOpts{Name: "rexcarcer_cluster_spare_voting_hosts",
			Help: "Voters that may fail before nothing can be written, as the leader sees it."}),
		skew: prometheus.NewGauge(prometheus.GaugeOpts{Name: "rexcarcer_cluster_clock_offset_seconds",
			Help: "How far this host's clock is ahead of the leader's; below 0: behind. 0 on the leader."}),
	}
	if reg != nil {
		reg.MustRegister(m.proposals, m.commit, m.batch, m.apply, m.index, m.diskErrors, m.voters, m.tolerance, m.skew)
	}
	return m
}
