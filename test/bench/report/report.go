package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// DirVar names the environment variable that says where the JSON files go;
// the default is bench-results in the module's root.
const DirVar = "BENCH_RESULTS"

// Row is one thing measured: ours and the peer's value of every round, in
// Unit. Peer may be empty where there is nothing to compare with.
type Row struct {
	Name           string
	Unit           string // "q/s", "ms", ...
	Ours, Peer     []float64
	PeerName       string
	HigherIsBetter bool
}

// Ratio is median(Ours) / median(Peer), or its inverse where lower is better:
// above 1 always means that ours is better. It is 0 without a peer.
func (r Row) Ratio() float64 {
	ours, peer := Median(r.Ours), Median(r.Peer)
	if !r.HigherIsBetter {
		ours, peer = peer, ours
	}
	if peer == 0 || len(r.Peer) == 0 || len(r.Ours) == 0 {
		return 0
	}
	return ours / peer
}

// Median of v; 0 for none. v is not changed.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	mid := len(s) / 2
	if len(s)%2 == 1 {
		return s[mid]
	}
	return (s[mid-1] + s[mid]) / 2
}

// Write prints rows as a table on stdout and stores them as
// bench-results/NAME.json in the module's root (or in $BENCH_RESULTS).
func Write(name string, rows []Row) error {
	if err := Table(os.Stdout, rows); err != nil {
		return fmt.Errorf("print bench %s: %w", name, err)
	}
	dir, err := resultsDir()
	if err != nil {
		return fmt.Errorf("store bench %s: %w", name, err)
	}
	data, err := Marshal(rows)
	if err != nil {
		return fmt.Errorf("store bench %s: %w", name, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("store bench %s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), data, 0o644); err != nil {
		return fmt.Errorf("store bench %s: %w", name, err)
	}
	return nil
}

// Table prints one line per row: min/median/max of both sides and the ratio.
func Table(w io.Writer, rows []Row) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "BENCH\tUNIT\tOURS min/median/max\tPEER\tPEER min/median/max\tRATIO\tROUNDS")
	for _, r := range rows {
		peer, ratio := "-", "-"
		if len(r.Peer) > 0 {
			peer, ratio = spread(r.Peer), fmt.Sprintf("%.2fx", r.Ratio())
		}
		name := r.PeerName
		if name == "" {
			name = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", r.Name, r.Unit, spread(r.Ours), name, peer, ratio, len(r.Ours))
	}
	return tw.Flush()
}

// Marshal is the JSON that Write stores: an array of objects with name, unit,
// ours, peer (medians), peer_name, ratio (above 1: ours is better), rounds,
// and both sides' value of every round.
func Marshal(rows []Row) ([]byte, error) {
	type row struct {
		Name       string    `json:"name"`
		Unit       string    `json:"unit"`
		Ours       float64   `json:"ours"`
		Peer       float64   `json:"peer"`
		PeerName   string    `json:"peer_name"`
		Ratio      float64   `json:"ratio"`
		Rounds     int       `json:"rounds"`
		OursRounds []float64 `json:"ours_rounds"`
		PeerRounds []float64 `json:"peer_rounds"`
	}
	out := make([]row, 0, len(rows))
	for _, r := range rows {
		out = append(out, row{
			Name: r.Name, Unit: r.Unit, PeerName: r.PeerName,
			Ours: Median(r.Ours), Peer: Median(r.Peer), Ratio: r.Ratio(),
			Rounds: len(r.Ours), OursRounds: r.Ours, PeerRounds: r.Peer,
		})
	}
	data, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

func spread(v []float64) string {
	if len(v) == 0 {
		return "-"
	}
	return strings.Join([]string{number(slices.Min(v)), number(Median(v)), number(slices.Max(v))}, " / ")
}

// number keeps three significant digits of small values and none of the
// fraction of large ones.
func number(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

// resultsDir finds the module's root upwards from the working directory, so
// that a bench may be started from anywhere in the checkout.
func resultsDir() (string, error) {
	if dir := os.Getenv(DirVar); dir != "" {
		return dir, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "bench-results"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.mod above the working directory: set %s", DirVar)
		}
		dir = parent
	}
}
