package main

import (
	"testing"

	"github.com/rexcarcer/rexcarcer/api"
)

func TestAStreamIsToldInOneLine(t *testing.T) {
	t.Parallel()
	for want, row := range map[string]api.TransferRow{
		"fetches layer 0123456789ab from h2: 512 B of 1.0 KiB, 256 B/s, 2s left": {
			Direction: "in", Object: "layer sha256:0123456789abcdef", Peer: "h2", Bytes: 512, Total: 1024, Rate: 256, LeftMs: 2000,
		},
		"sends volume w.db.data to h3: 1.0 KiB, 1.0 KiB/s": {Direction: "out", Object: "volume w.db.data", Peer: "h3", Bytes: 1024, Total: 1024, Rate: 1024},
		"fetches jail x: 0 B, 0 B/s":                       {Direction: "in", Object: "jail x"},
	} {
		if got := streamLine(row); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}
