package page

import (
	"context"
	"net/http"

	"albs/internal/albs"
	"albs/internal/master/face"
)

// OpenStream begins an answer that is a stream of events; it is nil if there is
// nobody to write to.
func (s *Server) OpenStream(w http.ResponseWriter, r *http.Request) (*face.Stream, error) {
	stream, ok := s.streams.Open(w, r)
	if !ok {
		return nil, albs.Errorf(albs.Unavailable, "too many pages are followed at once; they are shown, but not kept up to date")
	}
	return stream, nil
}

// Follow makes a page of p that follows a topic from this moment on. It has to be
// called before anything of what the page shows is read.
func (s *Server) Follow(ctx context.Context, p Page, topic string) (Page, error) {
	after, err := s.Events.Last(ctx)
	if err != nil {
		return p, err
	}
	p.Topic, p.After = topic, after
	return p, nil
}
