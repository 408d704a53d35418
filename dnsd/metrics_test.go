package dnsd

import (
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func TestMetricsCountAndAreWellFormed(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	m := NewMetrics(reg)
	h := NewHandler(nil, m)
	h.SetZone(NewZone(testTable()))
	for range 3 {
		ask(t, h, query("db.prod.rex.internal.", dns.TypeA), inside, true)
	}
	ask(t, h, query("nope.rex.internal.", dns.TypeTXT), inside, true)
	ask(t, h, query("many.prod.rex.internal.", dns.TypeA), inside, true)
	h.Answer(nil, []byte{1}, inside, true)
	m.shard(1).observe(3*time.Microsecond, 5)
	m.shard(2).observe(time.Hour, 1)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	got := map[string]string{}
	for _, family := range families {
		for _, metric := range family.Metric {
			name := family.GetName()
			for _, label := range metric.Label {
				name += " " + label.GetValue()
			}
			got[name] = fmt.Sprint(metric.GetCounter().GetValue() + metric.GetGauge().GetValue())
			for _, bucket := range metric.GetHistogram().GetBucket() {
				if bucket.GetUpperBound() == 4e-6 {
					got[name] = fmt.Sprintf("%d observations, %d below 4us", metric.GetHistogram().GetSampleCount(), bucket.GetCumulativeCount())
				}
			}
		}
	}
	for name, want := range map[string]string{
		`rexcarcer_dnsd_queries_total NOERROR A`:      "4",
		`rexcarcer_dnsd_queries_total NXDOMAIN other`: "1",
		`rexcarcer_dnsd_truncated_total`:              "1",
		`rexcarcer_dnsd_dropped_total`:                "1",
		`rexcarcer_dnsd_panics_total`:                 "0",
		`rexcarcer_dnsd_zone_serial`:                  "4242",
		`rexcarcer_dnsd_query_duration_seconds`:       "6 observations, 5 below 4us",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}
