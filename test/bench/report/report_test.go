package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRatioAboveOneMeansOursIsBetter(t *testing.T) {
	t.Parallel()
	rate := Row{Ours: []float64{300, 100, 200}, Peer: []float64{100, 90, 110}, HigherIsBetter: true}
	if got := rate.Ratio(); got != 2 {
		t.Errorf("rate: ratio %v, want 2", got)
	}
	latency := Row{Ours: []float64{5, 5}, Peer: []float64{10, 20}}
	if got := latency.Ratio(); got != 3 {
		t.Errorf("latency: ratio %v, want 3", got)
	}
	if got := (Row{Ours: []float64{1}}).Ratio(); got != 0 {
		t.Errorf("no peer: ratio %v, want 0", got)
	}
}

func TestTableShowsSpreadAndRatio(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	rows := []Row{{Name: "dns", Unit: "q/s", Ours: []float64{2000, 4000, 3000}, Peer: []float64{1000, 1500, 1200}, PeerName: "coredns", HigherIsBetter: true}}
	if err := Table(&b, rows); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2000 / 3000 / 4000", "coredns", "2.50x"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, b.String())
		}
	}
}

func TestWriteStoresTheAgreedFields(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	t.Setenv(DirVar, dir)
	if err := Write("x", []Row{{Name: "a", Unit: "ms", Ours: []float64{1}, Peer: []float64{2}, PeerName: "p"}}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "x.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"name", "unit", "ours", "peer", "peer_name", "ratio", "rounds"} {
		if _, ok := got[0][field]; !ok {
			t.Errorf("%s is missing in %s", field, data)
		}
	}
	if got[0]["ratio"] != 2.0 {
		t.Errorf("ratio %v, want 2", got[0]["ratio"])
	}
}
