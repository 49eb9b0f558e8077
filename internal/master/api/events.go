package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"albs/internal/master/api/rest"
	"albs/internal/master/auth"
	"albs/internal/master/event"
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
	op := rest.Operation(get, "/api/v1/events", "Follow what happens, as server-sent events")
	op.Description = "Each message has the event's id; Last-Event-ID or ?after= resumes behind one, and without either only what comes is sent. " +
		"A message's data is the event as JSON."
	op.Parameters = []*huma.Param{
		rest.QueryParam("topic", huma.TypeString, "Only events of this topic, as build:7"),
		rest.QueryParam("after", huma.TypeInteger, "Events after the one of this id; 0 is all there are"),
	}
	op.Responses = rest.Answers(http.StatusOK, "The stream", "text/event-stream")
	s.Raw(op, s.follow)
}

func (s *Server) follow(w http.ResponseWriter, r *http.Request) {
	topic := r.URL.Query().Get("topic")
	if topic != "" {
		if err := canFollow(r, topic); err != nil {
			s.Fail(w, r, err)
			return
		}
	}
	after, given, err := rest.ResumeAt(r, "after")
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	wake, stop := s.Events.Wake(topic) // before the first look, or what comes between is missed
	defer stop()
	if !given {
		if after, err = s.Events.Last(r.Context()); err != nil {
			s.Fail(w, r, err)
			return
		}
	}
	out := s.OpenStream(w, r)
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

func viewEvent(e event.Event) eventView {
	return eventView{ID: e.ID, At: e.At.Time, Kind: e.Kind, Topic: e.Topic, Actor: e.Actor, Data: e.Data}
}
