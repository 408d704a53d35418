package cluster

import (
	"context"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// hclogTo sends what raft logs to l, one level lower: its warnings are its
// own business until we see their effect.
func hclogTo(l *slog.Logger) hclog.Logger {
	sink := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Info, Output: io.Discard})
	sink.RegisterSink(slogSink{l})
	return sink
}

type slogSink struct{ l *slog.Logger }

// Accept implements hclog.SinkAdapter.
func (s slogSink) Accept(name string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch {
	case level >= hclog.Error:
		to = slog.LevelWarn
	case level == hclog.Warn:
		to = slog.LevelInfo
	}
	s.l.Log(context.Background(), to, name+": "+msg, args...)
}
