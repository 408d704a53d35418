package api

// maxKeep is the largest GCRequest.KeepNewest that means anything.
const maxKeep = 100_000

func (s *Server) collectImages(r *request) error {
	var in GCRequest
	if err := r.decode(&in); err != nil {
		return err
	}
	if in.KeepNewest < 0 || in.KeepNewest > maxKeep {
		return fail("invalid", "", "rexctl image gc --keep-newest 10", "keep_newest is %d: want 0 to %d", in.KeepNewest, maxKeep)
	}
	res, err := s.cfg.Host.CollectImages(r.Context(), in)
	if err != nil {
		return err
	}
	if res.Removed == nil {
		res.Removed = []Garbage{}
	}
	return r.reply(s.cfg.Log.State().Index, res)
}
