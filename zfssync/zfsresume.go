package zfssync

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// ResumeToken implements Streams. The token is checked to be of that very snapshot: it is text that a peer will see.
func (s *ZFS) ResumeToken(ctx context.Context, obj Object, guid string) (string, error) {
	if err := obj.check(); err != nil || !s.can.resume {
		return "", err
	}
	for _, ds := range []string{s.ds("staging", recvName(obj, guid)), s.ds(string(obj.Kind), obj.Name)} {
		if err := s.reread(ctx, ds); err != nil {
			return "", err
		}
		token := s.known(ds).value(propToken)
		if token == "" {
			continue
		}
		out, err := s.z.do(ctx, "send", "-nvt", token)
		if err != nil {
			return "", fmt.Errorf("resume token of %s: %w", obj, err)
		}
		if to, ok := tokenGUID(string(out)); ok && to == guid {
			return token, nil
		}
	}
	return "", nil
}

// tokenGUID reads "toguid = 0x.." from what zfs send -nvt prints.
func tokenGUID(text string) (string, bool) {
	for line := range strings.Lines(text) {
		v, ok := strings.CutPrefix(strings.TrimSpace(line), "toguid = 0x")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(v, 16, 64)
		return strconv.FormatUint(n, 10), err == nil
	}
	return "", false
}

// AbortReceive implements Streams.
func (s *ZFS) AbortReceive(ctx context.Context, obj Object) error {
	if err := obj.check(); err != nil {
		return err
	}
	unlock, err := s.keys.lock(ctx, obj.lockName())
	if err != nil {
		return err
	}
	defer unlock()
	if ds := s.ds(string(obj.Kind), obj.Name); s.own(ds).value(propToken) != "" {
		if _, err := s.z.do(ctx, "receive", "-A", ds); err != nil {
			return fmt.Errorf("abort receive of %s: %w", obj, err)
		}
		if err := s.refresh(ctx, ds); err != nil {
			return err
		}
	}
	for _, name := range s.members("staging") {
		ds := s.ds("staging", name)
		if s.known(ds).value(propToken) == "" || s.busyStaging(ds) {
			continue
		}
		out, err := s.z.do(ctx, "send", "-nvt", s.known(ds).value(propToken))
		if err != nil {
			return fmt.Errorf("abort receive of %s: %w", obj, err)
		}
		if guid, ok := tokenGUID(string(out)); ok && recvName(obj, guid) == name {
			if err := s.remove(ctx, ds); err != nil {
				return fmt.Errorf("abort receive of %s: %w", obj, err)
			}
		}
	}
	return nil
}

func (s *ZFS) busyStaging(ds string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active[ds]
}
