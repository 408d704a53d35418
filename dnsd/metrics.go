package dnsd

import (
	"math/bits"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// Counting must not cost what it counts: every worker has a shard of its own,
// with plain counters by position; they are added up when somebody looks.

// countedTypes are those that have a label of their own; all others share one.
var countedTypes = [...]uint16{dns.TypeA, dns.TypeAAAA, dns.TypePTR, dns.TypeSRV, dns.TypeSOA, dns.TypeNS}

const (
	numTypes   = len(countedTypes) + 1
	numRcodes  = 6 // NOERROR .. REFUSED; all others share one more
	numShards  = 16
	numBuckets = 20 // of latency: below 1 us, 2 us, 4 us ... 524 ms
)

// shard is one worker's counters. Several workers may share one.
type shard struct {
	queries   [numTypes][numRcodes + 1]atomic.Uint64
	truncated atomic.Uint64
	dropped   atomic.Uint64
	panics    atomic.Uint64
	limited   atomic.Uint64
	latency   [numBuckets + 1]atomic.Uint64
	nanos     atomic.Uint64
	_         [64]byte // the next shard is another worker's cache line
}

// count enters a reply to a query for typ.
func (s *shard) count(typ uint16, reply []byte) {
	t := 0
	for t < len(countedTypes) && countedTypes[t] != typ {
		t++
	}
	rcode := min(reply[3]&maskRcode, numRcodes)
	s.queries[t][rcode].Add(1)
	if reply[2]&bitTC != 0 {
		s.truncated.Add(1)
	}
}

// observe enters how long n queries that were handled together took.
func (s *shard) observe(took time.Duration, n int) {
	bucket := min(bits.Len64(uint64(max(took, 0))/1000), numBuckets)
	s.latency[bucket].Add(uint64(n))
	s.nanos.Add(uint64(max(took, 0)) * uint64(n))
}

// Metrics are the package's counters.
type Metrics struct {
	shards   [numShards]shard
	forwards *prometheus.CounterVec

	transfers *prometheus.CounterVec
	notifies  *prometheus.CounterVec
	records   prometheus.Gauge
	serial    prometheus.Gauge
}

// NewMetrics registers the package's metrics with reg, which may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		forwards: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rexcarcer_dnsd_forwards_total", Help: "Queries handed to the host's resolvers, by result.",
		}, []string{"result"}),
		transfers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rexcarcer_dnsd_transfers_total", Help: "Zone transfers asked for over TCP: axfr and ixfr were sent, refused to strangers, overload when too many were under way.",
		}, []string{"result"}),
		notifies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rexcarcer_dnsd_notifies_total", Help: "Secondaries told of a change of a zone, by whether they answered.",
		}, []string{"result"}),
		records: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rexcarcer_dnsd_zone_records", Help: "Records served now.",
		}),
		serial: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rexcarcer_dnsd_zone_serial", Help: "Log index that the served zone was made of, modulo 2^32.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.forwards, m.transfers, m.notifies, m.records, m.serial, collector{m})
	}
	return m
}

func (m *Metrics) shard(worker int) *shard { return &m.shards[worker%numShards] }

func (m *Metrics) zone(z *Zone) {
	m.records.Set(float64(z.Records))
	m.serial.Set(float64(z.serial))
}

var (
	descQueries = prometheus.NewDesc("rexcarcer_dnsd_queries_total",
		"Queries answered from the zone, by type asked and result.", []string{"type", "rcode"}, nil)
	descTruncated = prometheus.NewDesc("rexcarcer_dnsd_truncated_total",
		"Replies that did not fit and told the client to use TCP.", nil, nil)
	descDropped = prometheus.NewDesc("rexcarcer_dnsd_dropped_total",
		"Packets that deserved no reply.", nil, nil)
	descPanics = prometheus.NewDesc("rexcarcer_dnsd_panics_total",
		"Queries that ran into a bug of ours.", nil, nil)
	descLimited = prometheus.NewDesc("rexcarcer_dnsd_limited_total",
		"UDP queries beyond their source's rate: every second one was sent to TCP, the others had no reply.", nil, nil)
	descLatency = prometheus.NewDesc("rexcarcer_dnsd_query_duration_seconds",
		"From reading a query to writing its reply, without forwards.", nil, nil)
)

// collector adds the shards up.
type collector struct{ m *Metrics }

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{descQueries, descTruncated, descDropped, descPanics, descLimited, descLatency} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	var sum struct {
		queries                    [numTypes][numRcodes + 1]uint64
		truncated, dropped, panics uint64
		limited                    uint64
		latency                    [numBuckets + 1]uint64
		nanos                      uint64
	}
	for i := range c.m.shards {
		s := &c.m.shards[i]
		for t := range s.queries {
			for r := range s.queries[t] {
				sum.queries[t][r] += s.queries[t][r].Load()
			}
		}
		for b := range s.latency {
			sum.latency[b] += s.latency[b].Load()
		}
		sum.truncated += s.truncated.Load()
		sum.dropped += s.dropped.Load()
		sum.panics += s.panics.Load()
		sum.limited += s.limited.Load()
		sum.nanos += s.nanos.Load()
	}
	for t := range sum.queries {
		for r, n := range sum.queries[t] {
			if n > 0 {
				ch <- prometheus.MustNewConstMetric(descQueries, prometheus.CounterValue, float64(n), typeLabel(t), rcodeLabel(r))
			}
		}
	}
	ch <- prometheus.MustNewConstMetric(descTruncated, prometheus.CounterValue, float64(sum.truncated))
	ch <- prometheus.MustNewConstMetric(descDropped, prometheus.CounterValue, float64(sum.dropped))
	ch <- prometheus.MustNewConstMetric(descPanics, prometheus.CounterValue, float64(sum.panics))
	ch <- prometheus.MustNewConstMetric(descLimited, prometheus.CounterValue, float64(sum.limited))
	buckets, total := map[float64]uint64{}, uint64(0)
	for b, n := range sum.latency {
		total += n
		if b < numBuckets {
			buckets[float64(uint64(1)<<b)/1e6] = total
		}
	}
	ch <- prometheus.MustNewConstHistogram(descLatency, total, float64(sum.nanos)/1e9, buckets)
}

func typeLabel(i int) string {
	if i < len(countedTypes) {
		return dns.TypeToString[countedTypes[i]]
	}
	return "other"
}

func rcodeLabel(i int) string {
	if i == numRcodes {
		return "other"
	}
	if name, ok := dns.RcodeToString[i]; ok {
		return name
	}
	return strconv.Itoa(i)
}
