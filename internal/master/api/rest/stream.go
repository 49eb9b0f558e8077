package rest

import (
	"net/http"
	"strconv"

	"albs/internal/albs"
	"albs/internal/master/face"
)

// ResumeAt returns the number in Last-Event-ID, or else in the query's parameter;
// ok is false without either.
func ResumeAt(r *http.Request, name string) (n int64, ok bool, err error) {
	v := r.Header.Get("Last-Event-ID")
	if v == "" {
		v = r.URL.Query().Get(name)
	}
	if v == "" {
		return 0, false, nil
	}
	n, err = strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, false, albs.Errorf(albs.Invalid, "%.40q is no place to go on from: give the number of an event's id", v)
	}
	return n, true, nil
}

// OpenStream begins an answer that is a stream of events, or gives the whole answer
// and returns nil.
func (s *Server) OpenStream(w http.ResponseWriter, r *http.Request) *face.Stream {
	out, ok := s.streams.Open(w, r)
	if !ok {
		p := s.problem(r.Context(), albs.Errorf(albs.Unavailable, "too many event streams are open; close some, or try later"))
		p.Status, p.Title = http.StatusTooManyRequests, http.StatusText(http.StatusTooManyRequests)
		p.write(w)
	}
	return out
}
