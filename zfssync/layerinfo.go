package zfssync

import "time"

// LayerInfo describes a committed layer.
type LayerInfo struct {
	Key       string    `json:"key"`
	Parents   []string  `json:"parents,omitempty"` // keys below it, nearest first
	Base      string    `json:"base,omitempty"`    // what it was made from, for a lowest layer
	Bytes     int64     `json:"bytes"`             // of this layer alone, on disk
	CreatedAt time.Time `json:"created_at"`
}

// Layer describes the committed layer key; ErrNotFound.
func (l layout) Layer(key string) (LayerInfo, error) {
	m, err := l.readLayer(key)
	if err != nil {
		return LayerInfo{}, err
	}
	return LayerInfo{Key: m.Key, Parents: m.Chain, Base: m.Base, Bytes: m.Bytes, CreatedAt: m.CreatedAt}, nil
}

// Layer implements the same for a Store that holds nothing.
func (s *Sim) Layer(key string) (LayerInfo, error) { return LayerInfo{Key: key}, nil }
