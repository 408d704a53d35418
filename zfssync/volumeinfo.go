package zfssync

import "context"

// VolumeInfo describes a volume.
type VolumeInfo struct {
	ID         VolumeID `json:"id"`
	QuotaBytes int64    `json:"quota_bytes"` // wished for, 0: none
	QuotaKept  bool     `json:"quota_kept"`  // it is enforced; see Features.Quota
	Bytes      int64    `json:"bytes"`       // on disk, without snapshots; -1 when it was not counted before ctx ended
	InUse      bool     `json:"in_use"`      // it is bound for a jail
}

// VolumeInfo describes a volume of a Store that holds nothing.
func (s *Sim) VolumeInfo(_ context.Context, id VolumeID) (VolumeInfo, error) {
	return VolumeInfo{ID: id}, nil
}
