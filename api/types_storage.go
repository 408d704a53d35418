package api

import "context"

// Storage is what a host's storage can be asked; see Host.
type Storage interface {
	// CollectImages removes images and layers that nobody needs.
	CollectImages(ctx context.Context, r GCRequest) (GCResult, error)
}

// GCRequest says what an image gc may remove.
type GCRequest struct {
	DryRun     bool `json:"dry_run,omitempty"`     // only say what would go
	KeepNewest int  `json:"keep_newest,omitempty"` // unneeded images that stay, 0..100000
	Bases      bool `json:"bases,omitempty"`       // also base layers that nothing stands on
}

// GCResult is what an image gc removed, or would remove.
type GCResult struct {
	DryRun  bool      `json:"dry_run"`
	Bytes   int64     `json:"bytes"` // on disk
	Removed []Garbage `json:"removed"`
	Busy    bool      `json:"busy"` // a build under way kept layers that nobody needs
}

// Garbage is one thing that an image gc removed.
type Garbage struct {
	Kind  string `json:"kind"` // image, layer, base
	Key   string `json:"key"`
	Name  string `json:"name,omitempty"` // of the image, or what the base was made from
	Bytes int64  `json:"bytes"`
}
