package pki

import (
	"fmt"
	"net/url"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Role is what kind of thing a certificate speaks for.
type Role string

// The roles; each is the first path segment of a SPIFFE URI.
const (
	RoleJail   Role = "jail"
	RoleHost   Role = "host"   // a member that never votes
	RoleServer Role = "server" // a member that may vote and lead
	RoleUser   Role = "user"
)

// ID is who a certificate speaks for.
type ID struct {
	Cluster string // SPIFFE trust domain: the cluster's name
	Role    Role
	Name    string // jail's name, host's id or user's name
}

// String is the SPIFFE URI, spiffe://CLUSTER/ROLE/NAME.
func (id ID) String() string {
	return "spiffe://" + id.Cluster + "/" + string(id.Role) + "/" + id.Name
}

// uri checks id against the SPIFFE rules and the known roles.
func (id ID) uri() (*url.URL, error) {
	parsed, err := ParseID(id.String())
	if err != nil {
		return nil, err
	}
	if parsed != id {
		return nil, fmt.Errorf("identity %q is not in its normal form", id.String())
	}
	return &url.URL{Scheme: "spiffe", Host: id.Cluster, Path: "/" + string(id.Role) + "/" + id.Name}, nil
}

// ParseID reads a SPIFFE URI of this cluster manager. Any other shape or role
// is an error.
func ParseID(uri string) (ID, error) {
	sid, err := spiffeid.FromString(uri)
	if err != nil {
		return ID{}, fmt.Errorf("identity %q: %w", uri, err)
	}
	id := ID{Cluster: sid.TrustDomain().Name()}
	role, name, ok := cutSegment(sid.Path())
	if !ok {
		return ID{}, fmt.Errorf("identity %q: want spiffe://CLUSTER/ROLE/NAME", uri)
	}
	id.Role, id.Name = Role(role), name
	switch id.Role {
	case RoleJail, RoleHost, RoleServer, RoleUser:
		return id, nil
	}
	return ID{}, fmt.Errorf("identity %q: role %q is none of jail, host, server, user", uri, role)
}

// cutSegment splits "/a/b" into a and b; more or fewer segments are refused.
func cutSegment(path string) (first, second string, ok bool) {
	if len(path) == 0 || path[0] != '/' {
		return "", "", false
	}
	for i := 1; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		first, second = path[1:i], path[i+1:]
		for j := range len(second) {
			if second[j] == '/' {
				return "", "", false
			}
		}
		return first, second, first != "" && second != ""
	}
	return "", "", false
}
