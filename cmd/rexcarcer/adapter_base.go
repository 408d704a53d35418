package main

import (
	"context"
	"io"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

func (h apiHost) ReadSigner(text string) (fsm.Signer, error) {
	s, err := bundle.ParseSigner([]byte(text))
	if err != nil {
		return fsm.Signer{}, err
	}
	return fsm.Signer{Fingerprint: s.Fingerprint, Name: s.Subject, PEM: s.PEM(), NotBefore: fsm.TimeOf(s.NotBefore), NotAfter: fsm.TimeOf(s.NotAfter)}, nil
}

func (h apiHost) LookBase(ctx context.Context, ref string, known *fsm.Base, downgrade bool) (fsm.Base, error) {
	return h.d.agent.LookBase(ctx, ref, known, downgrade)
}

func (h apiHost) UploadBase(ctx context.Context, name string, next func() (file string, content io.Reader, err error)) error {
	return h.d.agent.UploadBase(ctx, name, next)
}

func (h apiHost) ExportImage(ctx context.Context, name, format string, open func(format string) io.Writer) error {
	return h.d.agent.ExportImage(ctx, name, format, func(f zfssync.Format) io.Writer { return open(string(f)) })
}
