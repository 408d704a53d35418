package mesh

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	failures prometheus.Counter
}

var (
	deviceDesc = prometheus.NewDesc("rexcarcer_mesh_device_info", "1 while the overlay has a device; kind is kernel or userspace.", []string{"kind"}, nil)
	peersDesc  = prometheus.NewDesc("rexcarcer_mesh_peers", "Keys of other hosts that the device knows.", nil, nil)
	freshDesc  = prometheus.NewDesc("rexcarcer_mesh_peers_fresh", "Peers that shook hands within three minutes: sessions live no longer.", nil, nil)
	bytesDesc  = prometheus.NewDesc("rexcarcer_mesh_bytes_total", "Bytes through the device, by direction.", []string{"direction"}, nil)
)

func newMetrics(reg prometheus.Registerer, m *Mesh) (*metrics, error) {
	x := &metrics{failures: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "rexcarcer_mesh_failures_total", Help: "Changes of the overlay's device that failed."})}
	if reg == nil {
		return x, nil
	}
	if err := reg.Register(x.failures); err != nil {
		return nil, err
	}
	return x, reg.Register(m)
}

// Describe implements prometheus.Collector.
func (m *Mesh) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{deviceDesc, peersDesc, freshDesc, bytesDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector: the device itself is asked.
func (m *Mesh) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	v, err := m.Show(ctx)
	if err != nil || v.Kind == "" {
		return
	}
	fresh, received, sent := 0, int64(0), int64(0)
	for _, p := range v.Peers {
		if time.Since(p.Handshake) < 3*time.Minute {
			fresh++
		}
		received, sent = received+p.Received, sent+p.Sent
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(deviceDesc, 1, v.Kind)
	gauge(peersDesc, float64(len(v.Peers)))
	gauge(freshDesc, float64(fresh))
	out <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(received), "received")
	out <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(sent), "sent")
}
