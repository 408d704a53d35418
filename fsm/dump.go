package fsm

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
)

// header is what a State has beside its trees.
type header struct {
	Index        uint64  `json:"index"`
	Now          Time    `json:"now"`
	Chain        []byte  `json:"chain"`
	PlanIndex    uint64  `json:"plan_index"`
	RecordsIndex uint64  `json:"records_index"`
	LostSeq      uint64  `json:"lost_seq"`
	Cluster      Cluster `json:"cluster"`
}

func (s *State) header() header {
	return header{s.Index, s.Now, s.Chain[:], s.PlanIndex, s.RecordsIndex, s.lostSeq, s.Cluster}
}

// section is one tree on its way out. Its number is in every snapshot: never
// give one to another tree.
type section struct {
	number byte
	name   string
	each   func(yield func(key string, value any) bool)
}

func sectionOf[V any](number byte, name string, t Tree[V]) section {
	return section{number, name, func(yield func(string, any) bool) {
		for k, v := range t.All {
			if !yield(k, v) {
				return
			}
		}
	}}
}

// The numbers of what a snapshot holds. What is not here follows from the rest.
const (
	secEnd byte = iota
	secHeader
	secWishes
	secNetworks
	secImages
	secBuilds
	secJails
	secRuns
	secLeases
	secRecords
	secCerts
	secHosts
	secYoung
	secOld
	secLasts
	secTokens
	secDenied
	secSigners
	secBases
	secMoves
	secVolumes
)

// stored are the trees that a snapshot holds.
func (s *State) stored() []section {
	return []section{
		sectionOf(secWishes, "wish", s.Wishes),
		sectionOf(secNetworks, "network", s.Networks),
		sectionOf(secImages, "image", s.Images),
		sectionOf(secBuilds, "build", s.Builds),
		sectionOf(secJails, "jail", s.Jails),
		sectionOf(secRuns, "run", s.Runs),
		sectionOf(secLeases, "lease", s.Leases),
		sectionOf(secRecords, "record", s.Records),
		sectionOf(secCerts, "cert", s.Certs),
		sectionOf(secHosts, "host", s.Hosts),
		sectionOf(secYoung, "id", s.young),
		sectionOf(secOld, "old-id", s.old),
		{secLasts, "had", s.eachLast},
		sectionOf(secTokens, "token", s.Tokens),
		sectionOf(secDenied, "denied", s.Denied),
		sectionOf(secRevoked, "revoked", s.Revoked),
		sectionOf(secParts, "part", s.parts),
		sectionOf(secSigners, "signer", s.Signers),
		sectionOf(secBases, "base", s.Bases),
		sectionOf(secMoves, "move", s.Moves),
		sectionOf(secVolumes, "volume", s.Volumes),
		sectionOf(secGuests, "guest", s.Guests),
	}
}

// eachLast gives LeaseKeys as bytes: they are no UTF-8, which JSON strings are.
func (s *State) eachLast(yield func(string, any) bool) {
	for k, v := range s.lasts.All {
		if !yield(k, []byte(v)) {
			return
		}
	}
}

// Dump writes all of s as text: one line per object, sorted. Two States with
// the same dump behave alike for ever.
func (s *State) Dump(w io.Writer) error {
	b := bufio.NewWriterSize(w, 1<<16)
	line := func(name, key string, v any) error {
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("dump %s %q: %w", name, key, err)
		}
		_, err = fmt.Fprintf(b, "%s %q %s\n", name, key, text)
		return err
	}
	if err := line("state", "", s.header()); err != nil {
		return err
	}
	sections := append(s.stored(),
		sectionOf(0, "group", s.Groups), sectionOf(0, "by-host", s.ByHost), sectionOf(0, "load", s.Load))
	for _, sec := range sections {
		for k, v := range sec.each {
			if err := line(sec.name, k, v); err != nil {
				return err
			}
		}
	}
	return b.Flush()
}

// Hash is the SHA-256 of Dump: equal at an index on all hosts, or one of them
// has gone astray. It costs a walk over all objects.
func (s *State) Hash() [32]byte {
	h := sha256.New()
	if err := s.Dump(h); err != nil {
		fmt.Fprintf(h, "error: %v", err) // no value in a State fails to encode; never equal if one did
	}
	return [32]byte(h.Sum(nil))
}
