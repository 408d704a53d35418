package fsm

// The commands about what is trusted: CAs, and certificates that are not any more.

// AddCA makes another CA trusted, which signs once every server has its key.
// One at a time: refused while another is on its way in or out.
type AddCA struct {
	ID     string `json:"id"`               // 16 hex digits
	PEM    string `json:"pem"`              // self-signed certificate
	Cross  string `json:"cross"`            // the same key under the CA that signs now
	Over   string `json:"over"`             // id of the CA that signs now
	Host   HostID `json:"host"`             // server that made the key
	Hold   bool   `json:"hold,omitempty"`   // wait for ChainCA before it signs
	Retire int64  `json:"retire,omitempty"` // nanoseconds; see CA.Retire
}

// HoldCA says that a server has a CA's key on its disk.
type HoldCA struct {
	ID   string `json:"id"`
	Host HostID `json:"host"`
}

// ActivateCA lets a CA sign. The one that signed until now stays trusted for
// CA.Retire.
type ActivateCA struct {
	ID string `json:"id"`
}

// ChainCA puts a CA under the operator's own: Chain is its certificate from
// there, and what is between that and the operator's root.
type ChainCA struct {
	ID    string `json:"id"`
	Over  string `json:"over,omitempty"` // its PEM, where the cluster still has its first CA only
	Chain string `json:"chain"`
}

// RetireCA ends the trust in a CA that does not sign. The cluster's own duty
// may do that at CA.RetireAt, a user at any time.
type RetireCA struct {
	ID string `json:"id"`
}

// RevokeCert makes every daemon refuse a certificate: one by Serial, or all
// of Subject that are there now, or the one that Jail has.
type RevokeCert struct {
	Serial  string   `json:"serial,omitempty"`
	Subject string   `json:"subject,omitempty"` // SPIFFE URI
	Jail    JailName `json:"jail,omitempty"`
	Until   Time     `json:"until,omitempty"` // when what is revoked ends by itself; 0: a year from now
	Why     string   `json:"why,omitempty"`
}

// ReportAbuse records that a member asked for what is another's, and was refused.
type ReportAbuse struct {
	Host HostID `json:"host"`
	What string `json:"what"` // what it asked for
	Why  string `json:"why,omitempty"`
}

// Kind implements Command for each of them.
func (AddCA) Kind() string       { return "add_ca" }
func (HoldCA) Kind() string      { return "hold_ca" }
func (ActivateCA) Kind() string  { return "activate_ca" }
func (ChainCA) Kind() string     { return "chain_ca" }
func (RetireCA) Kind() string    { return "retire_ca" }
func (RevokeCert) Kind() string  { return "revoke_cert" }
func (ReportAbuse) Kind() string { return "report_abuse" }
