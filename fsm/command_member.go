package fsm

// The commands about members: who may join, who has joined, who is out.

// CreateToken lets hosts join until Expires. Only the secret's hash is in the
// log; who creates the token keeps the secret.
type CreateToken struct {
	ID      string `json:"id"`             // 8 to 32 of a-z and 2-7
	Hash    []byte `json:"hash"`           // SHA-256 of the secret
	Role    string `json:"role"`           // server or host
	Uses    int    `json:"uses,omitempty"` // hosts that may join by it, at most 10,000; 0: any number
	Expires Time   `json:"expires"`        // at most a year ahead
}

// RevokeToken ends a token. Hosts that have joined by it stay.
type RevokeToken struct {
	ID string `json:"id"`
}

// AdmitHost uses a token: the host is known from now on and may have a
// certificate with Role. The same host with the same key may ask again
// without another use, for its answer may have been lost.
type AdmitHost struct {
	Token string `json:"token"`
	Host  HostID `json:"host"`
	Name  string `json:"name"`
	Role  string `json:"role"`
	Peer  string `json:"peer"` // HOST:PORT of its cluster port
	Key   string `json:"key"`  // SHA-256 of its public key, in hex
}

// ReportJoin records that somebody showed a known token and was refused.
type ReportJoin struct {
	Token string `json:"token"`
	From  string `json:"from"` // address of who asked
	Why   string `json:"why"`
}

// LabelHost sets labels of a host over those that it was started with. A
// label that is removed comes back with the host's next start if it was
// started with it.
type LabelHost struct {
	Host   HostID            `json:"host"`
	Set    map[string]string `json:"set,omitempty"`
	Remove []string          `json:"remove,omitempty"`
}

// RemoveHost takes a host out of the cluster for good: its id and its
// certificate are refused from now on. Without Force it must be lost, or
// draining with nothing on it.
type RemoveHost struct {
	Host  HostID `json:"host"`
	Force bool   `json:"force,omitempty"`
	Fence Time   `json:"fence,omitempty"` // as MarkHost.Fence
	Why   string `json:"why,omitempty"`
}

// RotateGossip makes Key the one that gossip is encrypted with. The one
// before it is still understood.
type RotateGossip struct {
	Key []byte `json:"key"` // 32 bytes
}

// RaiseGeneration is what the survivor of a lost quorum proposes first: the
// members of generations before it are refused.
type RaiseGeneration struct {
	Generation uint64 `json:"generation"`
	Why        string `json:"why,omitempty"`
}

// Kind implements Command for each of them.
func (CreateToken) Kind() string     { return "create_token" }
func (RevokeToken) Kind() string     { return "revoke_token" }
func (AdmitHost) Kind() string       { return "admit_host" }
func (ReportJoin) Kind() string      { return "report_join" }
func (LabelHost) Kind() string       { return "label_host" }
func (RemoveHost) Kind() string      { return "remove_host" }
func (RotateGossip) Kind() string    { return "rotate_gossip" }
func (RaiseGeneration) Kind() string { return "raise_generation" }
