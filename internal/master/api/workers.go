package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/auth"
)

func (s *Server) routeWorkers() {
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/workers/", "List worker identities"), s.listWorkers)
	rest.Handle(s.Server, rest.Created(rest.Operation(post, "/api/v1/workers/", "Enroll a worker; its token is shown this once")), s.addWorker)
	rest.Handle(s.Server, rest.Operation(patch, "/api/v1/workers/{worker_id}/disable", "Close a worker's identity for good"), s.disableWorker)
}

type workerView struct {
	ID         albs.WorkerID `json:"id"`
	Name       string        `json:"name"`
	Role       albs.Role     `json:"role"`
	Labels     []string      `json:"labels" doc:"All that it may offer to do"`
	Prefix     string        `json:"prefix,omitempty" doc:"How its token begins; empty for one in the master's process"`
	CreatedAt  time.Time     `json:"created_at"`
	UsedAt     *time.Time    `json:"used_at" doc:"To the hour"`
	DisabledAt *time.Time    `json:"disabled_at"`
	Token      string        `json:"token,omitempty" doc:"In the answer that enrolls it and never again"`
}

func viewWorker(w auth.Worker) workerView {
	return workerView{
		ID: w.ID, Name: w.Name, Role: w.Role, Labels: append([]string{}, w.Labels...), Prefix: w.Prefix, CreatedAt: w.CreatedAt.Time,
		UsedAt: rest.TimeOf(w.UsedAt.Time), DisabledAt: rest.TimeOf(w.DisabledAt.Time),
	}
}

func (s *Server) listWorkers(ctx context.Context, _ *struct{}) (*rest.Body[[]workerView], error) {
	workers, err := s.Auth.Workers(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]workerView, len(workers))
	for i, w := range workers {
		out[i] = viewWorker(w)
	}
	return rest.Answer(out), nil
}

type addWorkerInput struct {
	Body struct {
		Name   string      `json:"name"`
		Role   albs.Role   `json:"role" enum:"node,tester,signer,releaser"`
		Arches []albs.Arch `json:"arches,omitempty" doc:"Of a node or a tester"`
		Keys   []string    `json:"keys,omitempty" doc:"Of a signer: fingerprints; any key if there are none"`
		Labels []string    `json:"labels,omitempty" doc:"What else it may offer, as big or place:eu"`
	}
}

func (s *Server) addWorker(ctx context.Context, in *addWorkerInput) (*rest.Body[workerView], error) {
	b := in.Body
	token, w, err := s.Auth.AddWorker(ctx, auth.NewWorker{Name: b.Name, Role: b.Role, Arches: b.Arches, Keys: b.Keys, Labels: b.Labels})
	if err != nil {
		return nil, err
	}
	out := viewWorker(w)
	out.Token = token
	return rest.Answer(out), nil
}

type workerInput struct {
	Worker albs.WorkerID `path:"worker_id" minimum:"1"`
}

func (s *Server) disableWorker(ctx context.Context, in *workerInput) (*rest.Body[workerView], error) {
	if err := s.Auth.DisableWorker(ctx, in.Worker); err != nil {
		return nil, err
	}
	workers, err := s.Auth.Workers(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range workers {
		if w.ID == in.Worker {
			return rest.Answer(viewWorker(w)), nil
		}
	}
	return nil, albs.Errorf(albs.NotFound, "there is no worker with id %d", in.Worker)
}

// routeWire mounts the workers' interface, route by route, so that each has a
// policy. What the bodies are is said in package worker.
func (s *Server) routeWire(h http.Handler) {
	const task = "/worker/v1/task/{task}/{fence}/"
	jsonBody := map[string]*huma.MediaType{"application/json": {}}
	bytesBody := map[string]*huma.MediaType{"application/octet-stream": {}}
	for _, route := range []struct {
		method, path, summary string
		body                  map[string]*huma.MediaType
		status                int
		answer                string
	}{
		{post, "/worker/v1/claim", "Wait for a task and lease it", jsonBody, http.StatusOK, "application/json"},
		{post, task + "renew", "Keep a lease", nil, http.StatusOK, "application/json"},
		{post, task + "complete", "End an attempt with its result", jsonBody, http.StatusNoContent, ""},
		{post, task + "log/{stream}", "Append to a log", bytesBody, http.StatusOK, "application/json"},
		{get, task + "blob/{digest}", "Read a file that the task names", nil, http.StatusOK, "application/octet-stream"},
		{get, task + "upload/{digest}", "Ask how much of an upload is held", nil, http.StatusOK, "application/json"},
		{put, task + "upload/{digest}", "Go on with an upload", bytesBody, http.StatusOK, "application/json"},
	} {
		op := rest.Operation(route.method, route.path, route.summary)
		op.Parameters = rest.PathParams(route.path)
		if route.body != nil {
			op.RequestBody = &huma.RequestBody{Required: true, Content: route.body}
		}
		op.Responses = rest.Answers(route.status, "Done", route.answer)
		s.Raw(op, h.ServeHTTP)
	}
}

// wireActor hands the actor whom guard has put there to the workers' handler.
func wireActor(r *http.Request) (context.Context, error) { return r.Context(), nil }
