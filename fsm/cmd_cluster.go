package fsm

import "strings"

func (c Genesis) decide(t *txn) *Refusal {
	switch {
	case t.s.Cluster.ID != "":
		return refuse(CodeConflict, "cluster "+t.s.Cluster.ID, "is founded already: genesis is the first entry only")
	case !validClusterID(c.ClusterID):
		return refuse(CodeInvalid, "cluster "+c.ClusterID, "the id must be 8 to 64 of a-z, 0-9 and -")
	case c.Domain == "" || len(c.Domain) > 200 || strings.HasPrefix(c.Domain, ".") || strings.HasSuffix(c.Domain, "."):
		return refuse(CodeInvalid, "cluster "+c.ClusterID, "the domain %q must be like rex.internal, with no dot at either end", c.Domain)
	case len(c.CA) > maxPEM:
		return refuse(CodeInvalid, "cluster "+c.ClusterID, "the CA is %d bytes of PEM, %d are the most", len(c.CA), maxPEM)
	}
	t.emit(ClusterFounded{Cluster{ID: c.ClusterID, Domain: strings.ToLower(c.Domain), CA: c.CA, CreatedAt: t.s.Now}})
	return nil
}

const maxPEM = 256 << 10

func validClusterID(id string) bool {
	if len(id) < 8 || len(id) > 64 {
		return false
	}
	for _, r := range id {
		if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') {
			return false
		}
	}
	return true
}
