package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/event"
	"albs/internal/master/face"
)

// publicTopics begin the topics that anyone may follow. What is about people,
// teams and workers isn't among them.
var publicTopics = []string{"build:", "platform:", "product:", "artifact:", "release:", "key:", "ledger"}

// canFollow asks whether the actor of the request may read events of a topic.
func canFollow(r *http.Request, topic string) error {
	for _, p := range publicTopics {
		if strings.HasPrefix(topic, p) {
			return nil
		}
	}
	actor := auth.From(r.Context())
	if actor.Kind == auth.KindPerson && topic == "user:"+actor.Name {
		return nil
	}
	return auth.Can(r.Context(), auth.ReadPrivate, auth.Object{})
}

const eventBatch = 100

type eventView struct {
	ID    int64           `json:"id"`
	At    time.Time       `json:"at"`
	Kind  string          `json:"kind"`
	Topic string          `json:"topic"`
	Actor string          `json:"actor"`
	Data  json.RawMessage `json:"data"`
}

func (s *Server) routeEvents() {
	op := operation(get, "/api/v1/events", "Follow what happens, as server-sent events")
	op.Description = "Each message has the event's id; Last-Event-ID or ?after= resumes behind one, and without either only what comes is sent. " +
		"A message's data is the event as JSON."
	op.Parameters = []*huma.Param{
		queryParam("topic", huma.TypeString, "Only events of this topic, as build:7"),
		queryParam("after", huma.TypeInteger, "Events after the one of this id; 0 is all there are"),
	}
	op.Responses = answers(http.StatusOK, "The stream", "text/event-stream")
	s.raw(op, s.follow)
}

// resumeAt returns the number in Last-Event-ID, or else in the query's parameter;
// ok is false without either.
func resumeAt(r *http.Request, name string) (n int64, ok bool, err error) {
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

func (s *Server) follow(w http.ResponseWriter, r *http.Request) {
	topic := r.URL.Query().Get("topic")
	if topic != "" {
		if err := canFollow(r, topic); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	after, given, err := resumeAt(r, "after")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	wake, stop := s.Events.Wake(topic) // before the first look, or what comes between is missed
	defer stop()
	if !given {
		if after, err = s.Events.Last(r.Context()); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	out := s.openStream(w, r)
	if out == nil {
		return
	}
	defer out.Close()
	for {
		es, err := s.Events.Since(r.Context(), after, topic, eventBatch)
		if err != nil {
			return // the client connects again, behind what it has
		}
		for _, e := range es {
			after = e.ID
			if canFollow(r, e.Topic) != nil {
				continue
			}
			b, err := json.Marshal(viewEvent(e))
			if err != nil || out.Send(e.ID, "", b) != nil {
				return
			}
		}
		if len(es) < eventBatch && !out.Wait(0, wake, nil) {
			return
		}
	}
}

// openStream begins an answer that is a stream of events, or gives the whole answer
// and returns nil.
func (s *Server) openStream(w http.ResponseWriter, r *http.Request) *face.Stream {
	out, ok := s.streams.Open(w, r)
	if !ok {
		p := s.problem(r.Context(), albs.Errorf(albs.Unavailable, "too many event streams are open; close some, or try later"))
		p.Status, p.Title = http.StatusTooManyRequests, http.StatusText(http.StatusTooManyRequests)
		p.write(w)
	}
	return out
}

func viewEvent(e event.Event) eventView {
	return eventView{ID: e.ID, At: e.At.Time, Kind: e.Kind, Topic: e.Topic, Actor: e.Actor, Data: e.Data}
}
