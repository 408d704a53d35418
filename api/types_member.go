package api

import (
	"context"
	"time"
)

// TokenRequest asks for a join token.
type TokenRequest struct {
	Role string `json:"role"`           // server or host
	TTL  string `json:"ttl,omitempty"`  // as 1h; default 1h, at most a year
	Uses *int   `json:"uses,omitempty"` // hosts that may join by it; default 1, 0 is any number
}

// TokenMade is the answer: the only time that the secret is shown.
type TokenMade struct {
	ID      string    `json:"id"`
	Token   string    `json:"token"`
	Role    string    `json:"role"`
	Uses    int       `json:"uses"`
	Expires time.Time `json:"expires"`
}

// TokenRow is one token without its secret.
type TokenRow struct {
	ID        string    `json:"id"`
	Role      string    `json:"role"`
	State     string    `json:"state"` // usable, or why it is not
	Uses      int       `json:"uses"`  // at most; 0: any number
	Hosts     []string  `json:"hosts"` // that joined by it
	Expires   time.Time `json:"expires"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
}

// HostLabels changes labels of a host.
type HostLabels struct {
	Set    map[string]string `json:"set,omitempty"`
	Remove []string          `json:"remove,omitempty"`
}

// Reads says how new this host's State is.
type Reads interface {
	// Consistent returns when the State holds all that was acknowledged
	// before the call.
	Consistent(ctx context.Context) error
	// LastContact is when this host last heard a leader; alone is true where
	// it leads itself.
	LastContact() (at time.Time, alone bool)
}
