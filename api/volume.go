package api

import "regexp"

// What the storage takes as names; checked here so that nothing else gets near a path.
var (
	volumeRE   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)
	snapshotRE = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)
)

// volumeName is the volume that the path names.
func (r *request) volumeName() (string, error) {
	name := r.PathValue("name")
	if !volumeRE.MatchString(name) {
		return "", fail("invalid", "", "rexctl volume ls", "%.80q is no volume: want WISH.JAIL.VOLUME", name)
	}
	return name, nil
}

func checkSnapshot(name string) error {
	if !snapshotRE.MatchString(name) {
		return fail("invalid", "", "rexctl volume show VOLUME", "%.80q is no name for a snapshot: want 1 to 128 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit", name)
	}
	return nil
}

// volumeAndSnapshot are the two that the path names.
func (r *request) volumeAndSnapshot() (volume, snapshot string, err error) {
	if volume, err = r.volumeName(); err != nil {
		return "", "", err
	}
	snapshot = r.PathValue("snapshot")
	return volume, snapshot, checkSnapshot(snapshot)
}

func (s *Server) listVolumes(r *request) error {
	list, err := s.cfg.Host.Volumes(r.Context())
	if err != nil {
		return err
	}
	rows := []VolumeRow{}
	for _, v := range list {
		rows = append(rows, v.VolumeRow)
	}
	return r.reply(s.cfg.Log.State().Index, rows)
}

func (s *Server) showVolume(r *request) error {
	name, err := r.volumeName()
	if err != nil {
		return err
	}
	return s.replyVolume(r, name)
}

func (s *Server) replyVolume(r *request, name string) error {
	v, err := s.cfg.Host.Volume(r.Context(), name)
	if err != nil {
		return err
	}
	if v.Snapshot == nil {
		v.Snapshot = []VolumeSnapshot{}
	}
	return r.reply(s.cfg.Log.State().Index, v)
}

func (s *Server) removeVolume(r *request) error {
	name, err := r.volumeName()
	if err != nil {
		return err
	}
	v, err := s.cfg.Host.Volume(r.Context(), name)
	if err != nil {
		return err
	}
	if err := s.cfg.Host.RemoveVolume(r.Context(), name); err != nil {
		return err
	}
	return r.reply(s.cfg.Log.State().Index, v.VolumeRow)
}

func (s *Server) snapshotVolume(r *request) error {
	name, snapshot, err := r.volumeAndSnapshot()
	if err != nil {
		return err
	}
	made, err := s.cfg.Host.SnapshotVolume(r.Context(), name, snapshot)
	if err != nil {
		return err
	}
	return r.reply(s.cfg.Log.State().Index, made)
}

func (s *Server) dropVolumeSnapshot(r *request) error {
	name, snapshot, err := r.volumeAndSnapshot()
	if err != nil {
		return err
	}
	if err := s.cfg.Host.DropVolumeSnapshot(r.Context(), name, snapshot); err != nil {
		return err
	}
	return s.replyVolume(r, name)
}

func (s *Server) rollbackVolume(r *request) error {
	name, err := r.volumeName()
	if err != nil {
		return err
	}
	var in RollbackRequest
	if err := r.decode(&in); err != nil {
		return err
	}
	if err := checkSnapshot(in.Snapshot); err != nil {
		return err
	}
	if err := s.cfg.Host.RollbackVolume(r.Context(), name, in); err != nil {
		return err
	}
	return s.replyVolume(r, name)
}
