package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// pHost is the parameter of routes that one host answers, see atHost.
var pHost = param{"host", "string", "name or id of the host that is meant; default is the one that is asked"}

type handler func(*Server, *request) error

// atHost lets ?host say which host answers.
func atHost(h handler) handler {
	return func(s *Server, r *request) error {
		to, err := s.meant(r)
		if err != nil || s.carriedTo(r, to) {
			return err
		}
		return h(s, r)
	}
}

// atHolder lets ?host say which host answers, and else one that has the image.
func atHolder(h handler) handler {
	return atHost(func(s *Server, r *request) error {
		if r.URL.Query().Get("host") == "" && s.carriedTo(r, s.holder(r.PathValue("name"))) {
			return nil
		}
		return h(s, r)
	})
}

// meant is the host that ?host names, "" where that is this one.
func (s *Server) meant(r *request) (fsm.HostID, error) {
	name := r.URL.Query().Get("host")
	if name == "" || r.Header.Get(HeaderCarried) != "" {
		return "", nil
	}
	for _, h := range s.cfg.Log.State().Hosts.All {
		if string(h.ID) != name && h.Name != name {
			continue
		}
		switch {
		case h.ID == s.cfg.Host.ID():
			return "", nil
		case s.cfg.Elsewhere == nil:
			return "", fail("elsewhere", "host "+h.Name, "set REX_ADDR to that host", "this host reaches no other")
		}
		return h.ID, nil
	}
	return "", notFound("host", name)
}

// holder is a host that has what the image's name means: "" where that is
// this one, or nobody that is alive.
func (s *Server) holder(name string) fsm.HostID {
	st := s.cfg.Log.State()
	img, ok := st.Images.Get(name)
	if !ok {
		return ""
	}
	b, ok := st.Builds.Get(img.Key)
	if !ok || slices.Contains(b.Hosts, s.cfg.Host.ID()) {
		return ""
	}
	for _, id := range b.Hosts {
		if h, ok := st.Hosts.Get(string(id)); ok && h.State == fsm.HostAlive {
			return id
		}
	}
	return ""
}

// carriedTo hands a request to another host, and reports whether it did: not
// to "", and not one that was carried already.
func (s *Server) carriedTo(r *request, to fsm.HostID) bool {
	if to == "" || s.cfg.Elsewhere == nil || r.Header.Get(HeaderCarried) != "" {
		return false
	}
	// A build's progress is written while its context is still read. A
	// connection on which that was so is not used again, see buildImage.
	if err := r.rc.EnableFullDuplex(); err == nil && r.Method != http.MethodGet {
		r.w.Header().Set("Connection", "close")
	}
	r.Header.Set(HeaderCarried, string(s.cfg.Host.ID()))
	s.cfg.Elsewhere(to, r.by, r.role).ServeHTTP(r.w, r.Request)
	return true
}

// askHost has another host answer a small request for whoever asks r.
func (s *Server) askHost(r *request, to fsm.HostID, method, path string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("ask host %s: %w", to, err)
	}
	req, err := http.NewRequestWithContext(r.Context(), method, path, bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("ask host %s: %w", to, err)
	}
	req.Header.Set(HeaderCarried, string(s.cfg.Host.ID()))
	req.Header.Set("Content-Type", "application/json")
	w := &answer{header: http.Header{}, code: http.StatusOK}
	s.cfg.Elsewhere(to, r.by, r.role).ServeHTTP(w, req)
	res := &http.Response{StatusCode: w.code, Status: http.StatusText(w.code), Body: nopCloser{&w.body}}
	if w.code >= http.StatusMultipleChoices {
		return readError(res)
	}
	if err := json.NewDecoder(&w.body).Decode(out); err != nil {
		return fmt.Errorf("ask host %s: %w", to, err)
	}
	return nil
}

// answer is a http.ResponseWriter in memory.
type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(code int) { a.code = code }

func (a *answer) Write(b []byte) (int, error) {
	if a.body.Len()+len(b) > maxWish {
		return 0, fmt.Errorf("the answer is larger than %d bytes", maxWish)
	}
	return a.body.Write(b)
}

type nopCloser struct{ *bytes.Buffer }

func (nopCloser) Close() error { return nil }

// lookRequest asks a host what a base means there.
type lookRequest struct {
	Ref            string    `json:"ref"`
	Known          *fsm.Base `json:"known,omitempty"` // what it meant before
	AllowDowngrade bool      `json:"allow_downgrade,omitempty"`
}

// lookBase answers another host, which pins what it hears. Only a server may
// pin for a user, and the host that looks need not be one.
func (s *Server) lookBase(r *request) error {
	var in lookRequest
	if err := r.decode(&in); err != nil {
		return err
	}
	b, err := s.cfg.Host.LookBase(r.Context(), in.Ref, in.Known, in.AllowDowngrade)
	if err != nil {
		return failedAs(err)
	}
	return r.reply(s.cfg.Log.State().Index, b)
}

// lookAt is Host.LookBase of the host that ?host names.
func (s *Server) lookAt(r *request, in PinRequest, known *fsm.Base) (b fsm.Base, err error) {
	to, err := s.meant(r)
	if err != nil {
		return b, err
	}
	if to == "" {
		return s.cfg.Host.LookBase(r.Context(), in.Ref, known, in.AllowDowngrade)
	}
	return b, s.askHost(r, to, http.MethodPost, "/v1/bases/look", lookRequest{in.Ref, known, in.AllowDowngrade}, &b)
}
