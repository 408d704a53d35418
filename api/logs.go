package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// trailerError carries an error that came after the first byte of a log.
const trailerError = "Rex-Error"

func (s *Server) logs(r *request) error {
	follow, err := flagParam(r.Request, "follow")
	if err != nil {
		return err
	}
	untilEnd, err := flagParam(r.Request, "until_end")
	if err != nil {
		return err
	}
	o := LogOptions{Follow: follow, UntilEnd: untilEnd, Tail: -1}
	if text := r.URL.Query().Get("tail"); text != "" {
		if o.Tail, err = strconv.Atoi(text); err != nil {
			return fail("bad_request", "", "", "tail=%q is not a number of lines", text)
		}
	}
	if text := r.URL.Query().Get("since"); text != "" {
		if o.Since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return fail("bad_request", "", "write it as 2026-01-31T15:04:05Z", "since=%q is no time", text)
		}
	}
	if s.carried(r) {
		return nil
	}
	name, err := s.jailHere(r)
	if err != nil {
		return err
	}
	h := r.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Trailer", trailerError)
	w := &logWriter{r: r}
	if follow {
		w.flush() // the reader knows at once that it is connected
	}
	err = s.cfg.Host.Logs(r.Context(), name, o, w)
	if err != nil && w.begun {
		h.Set(trailerError, strconv.QuoteToASCII(asError(err).Error()))
	}
	return err
}

// carried hands a request about a jail to the host that it is on, if that is
// another one, and reports whether it did. A request that was carried once is
// answered where it came to.
func (s *Server) carried(r *request) bool {
	if s.cfg.Elsewhere == nil || r.Header.Get(HeaderCarried) != "" {
		return false
	}
	run, ok := s.cfg.Log.State().Runs.Get(r.PathValue("name"))
	if !ok || run.Host == s.cfg.Host.ID() {
		return false
	}
	r.Header.Set(HeaderCarried, string(s.cfg.Host.ID()))
	s.cfg.Elsewhere(run.Host, r.by, r.role).ServeHTTP(r.w, r.Request)
	return true
}

// HeaderCarried names the host that has carried a request to another.
const HeaderCarried = "Rex-Carried"

// jailHere is the route's jail, provided that its newest run is on this host.
func (s *Server) jailHere(r *request) (fsm.JailName, error) {
	st := s.cfg.Log.State()
	j, err := s.jailNamed(r, st)
	if err != nil {
		return "", err
	}
	run, ok := st.Runs.Get(j.Spec.Name)
	if !ok {
		return "", fail("not_running", "jail "+j.Spec.Name, "rexctl why jail/"+j.Spec.Name, "it has not been placed yet")
	}
	if run.Host != s.cfg.Host.ID() {
		at := string(run.Host)
		if h, ok := st.Hosts.Get(at); ok {
			at = h.Name + " (" + h.Addr + ")"
		}
		return "", fail("elsewhere", "jail "+j.Spec.Name, "set REX_ADDR to that host", "it is on host %s", at)
	}
	return fsm.JailName(j.Spec.Name), nil
}

// logWriter hands every write on at once.
type logWriter struct {
	r     *request
	begun bool
}

func (w *logWriter) Write(b []byte) (int, error) {
	w.begun = true
	_ = w.r.rc.SetWriteDeadline(time.Now().Add(streamStall)) // a test's recorder has none
	n, err := w.r.w.Write(b)
	if err != nil {
		return n, err
	}
	return n, w.r.rc.Flush()
}

func (w *logWriter) flush() {
	w.begun = true
	w.r.w.WriteHeader(http.StatusOK)
	_ = w.r.rc.Flush()
}
