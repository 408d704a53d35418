package api

import "github.com/rexcarcer/rexcarcer/fsm"

func (s *Server) listCerts(r *request) error {
	st := s.state(r)
	return replyPage(r, st.Index, st.Certs, func(c *fsm.Cert) (CertRow, bool) { return certRow(c), true })
}

func (s *Server) showCert(r *request) error {
	st := s.state(r)
	c, ok := st.Certs.Get(r.PathValue("jail"))
	if !ok {
		return notFound("cert", r.PathValue("jail"))
	}
	row := certRow(c)
	row.PEM = c.PEM
	return r.reply(st.Index, row)
}

func certRow(c *fsm.Cert) CertRow {
	row := CertRow{
		Jail: string(c.Jail), State: "named", Serial: c.Serial, NotAfter: when(c.NotAfter), Names: c.Names, Addrs: []string{}, URI: c.URI,
	}
	if row.Names == nil {
		row.Names = []string{}
	}
	for _, a := range c.Addrs {
		row.Addrs = append(row.Addrs, a.String())
	}
	switch {
	case len(c.CSR) > 0:
		row.State = "requested"
	case c.Stale:
		row.State = "stale"
	case c.PEM != "":
		row.State = "issued"
	}
	return row
}
