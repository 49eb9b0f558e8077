package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/auth"
	"albs/internal/master/face/roster"
)

func (s *Server) routeWorkers() {
	const one = "/api/v1/workers/{worker_id}/"
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/workers/", "List workers: who they are, how they stand, what they run"), s.listWorkers)
	rest.Handle(s.Server, rest.Created(rest.Operation(post, "/api/v1/workers/", "Enroll a worker; its token is shown this once")), s.addWorker)
	rest.Handle(s.Server, rest.Operation(get, one, "Show a worker"), s.getWorker)
	rest.Handle(s.Server, rest.Operation(patch, one+"disable", "Close a worker's identity for good"), s.disableWorker)
	rest.Handle(s.Server, rest.Operation(patch, one+"drain", "Give a worker nothing more; what it runs it finishes"), s.drainWorker)
	rest.Handle(s.Server, rest.Operation(patch, one+"undrain", "Let a drained worker have work again"), s.undrainWorker)
	rest.Handle(s.Server, rest.Operation(patch, one+"lift", "End a worker's quarantine"), s.liftWorker)
	rest.Handle(s.Server, rest.Operation(patch, one+"rekey", "Forget the key of a signer's or releaser's statements, and keep the next that it tells"), s.rekeyWorker)
	rest.Handle(s.Server, rest.Operation(put, one+"exclude", "Keep packages from a worker, in place of those before"), s.excludeFromWorker)
}

type workerView struct {
	ID         albs.WorkerID `json:"id"`
	Name       string        `json:"name"`
	Role       albs.Role     `json:"role"`
	Labels     []string      `json:"labels" doc:"All that it may offer to do"`
	Prefix     string        `json:"prefix,omitempty" doc:"How its token begins; empty for one in the master's process"`
	CreatedAt  time.Time     `json:"created_at"`
	UsedAt     *time.Time    `json:"used_at" doc:"When its token was used, to the hour"`
	DisabledAt *time.Time    `json:"disabled_at"`
	Token      string        `json:"token,omitempty" doc:"In the answer that enrolls it and never again"`

	State       roster.State `json:"state" enum:"busy,idle,draining,drained,quarantined,away,unseen,disabled" doc:"How it stands: away was not heard of for some time, unseen never asked for work"`
	Version     string       `json:"version" doc:"Of its albs"`
	Offers      []string     `json:"offers" doc:"What it offered to do when it asked last"`
	LastContact *time.Time   `json:"last_contact" doc:"To some seconds; null if it never asked for work"`
	Capacity    roomView     `json:"capacity" doc:"Of its machine, as offered; of the disk what was free"`
	Taken       roomView     `json:"taken" doc:"What the tasks that it runs need of that"`
	Runs        []runsView   `json:"runs"`
	Exclude     []string     `json:"exclude" doc:"Patterns of packages and keys that it doesn't get"`
	Pause       string       `json:"pause,omitempty" doc:"Why it takes nothing now, or less than it could, by its own word"`
	Key         string       `json:"statement_key,omitempty" doc:"The public key, Ed25519 in base64, of what a signer or releaser states by itself"`
	Drained     *barredView  `json:"drained" doc:"It gets nothing by a person's word"`
	Quarantined *barredView  `json:"quarantined" doc:"It gets nothing for what it lost"`
}

// roomView is a size of a machine, or a part of it.
type roomView struct {
	Cores  int   `json:"cores" doc:"0 if it isn't known"`
	Memory int64 `json:"memory" doc:"In bytes; 0 if it isn't known"`
	Disk   int64 `json:"disk" doc:"In bytes; 0 if it isn't known"`
}

// runsView is a task that a worker holds.
type runsView struct {
	ID      albs.TaskID    `json:"id"`
	Kind    albs.TaskKind  `json:"kind"`
	Key     string         `json:"key,omitempty" doc:"What past runs of the like are known by, as package/platform/arch"`
	State   albs.TaskState `json:"state"`
	Since   *time.Time     `json:"since"`
	BuildID albs.BuildID   `json:"build_id,omitempty"`
}

// barredView is why a worker gets nothing.
type barredView struct {
	Since  *time.Time `json:"since"`
	Reason string     `json:"reason"`
	By     string     `json:"by,omitempty"`
}

// viewWorker shows a worker; keys are those of statements, by identity.
func viewWorker(w roster.Worker, keys map[albs.WorkerID]string) workerView {
	out := workerView{
		ID: w.ID, Name: w.Name, Role: w.Role, Labels: append([]string{}, w.Labels...), Prefix: w.Prefix, CreatedAt: w.CreatedAt.Time,
		UsedAt: rest.TimeOf(w.UsedAt.Time), DisabledAt: rest.TimeOf(w.DisabledAt.Time),
		State: w.State(), Offers: []string{}, Runs: []runsView{}, Exclude: []string{}, Key: keys[w.ID],
	}
	k := w.Known
	if k == nil {
		return out
	}
	out.Version, out.Offers, out.LastContact = k.Version, append(out.Offers, k.Labels...), rest.TimeOf(k.Seen.Time)
	out.Capacity, out.Taken, out.Exclude = roomView(k.Room), roomView(k.Taken), append(out.Exclude, k.Exclude...)
	out.Pause = k.Pause
	for _, t := range k.Runs {
		out.Runs = append(out.Runs, runsView{ID: t.ID, Kind: t.Kind, Key: t.Key, State: t.State, Since: rest.TimeOf(t.Changed.Time), BuildID: buildOf(t)})
	}
	if !k.Drained.IsZero() {
		out.Drained = &barredView{rest.TimeOf(k.Drained.Time), k.DrainReason, k.DrainedBy}
	}
	if !k.Quarantined.IsZero() {
		out.Quarantined = &barredView{rest.TimeOf(k.Quarantined.Time), k.QuarantineReason, ""}
	}
	return out
}

type listWorkersInput struct {
	State roster.State `query:"state" enum:"busy,idle,draining,drained,quarantined,away,unseen,disabled" doc:"Only those that stand so"`
	Name  string       `query:"name" maxLength:"100" doc:"Only the one of that name"`
	After string       `query:"after" maxLength:"100" doc:"Only those behind that name: the last one's of the page before"`
	Limit int          `query:"limit" minimum:"1" maximum:"500" default:"500" doc:"At most so many; as many may have more behind them"`
}

func (s *Server) listWorkers(ctx context.Context, in *listWorkersInput) (*rest.Body[[]workerView], error) {
	p, err := roster.List(ctx, s.Auth, s.Queue, roster.Filter{State: in.State, Name: in.Name, After: in.After, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	keys, err := s.Provenance.WorkerKeys(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]workerView, len(p.Workers))
	for i, w := range p.Workers {
		out[i] = viewWorker(w, keys)
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
	out := viewWorker(roster.Worker{Worker: w}, nil)
	out.Token = token
	return rest.Answer(out), nil
}

type workerInput struct {
	Worker albs.WorkerID `path:"worker_id" minimum:"1"`
}

func (s *Server) getWorker(ctx context.Context, in *workerInput) (*rest.Body[workerView], error) {
	w, err := roster.Get(ctx, s.Auth, s.Queue, in.Worker)
	if err != nil {
		return nil, err
	}
	keys, err := s.Provenance.WorkerKeys(ctx)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewWorker(w, keys)), nil
}

func (s *Server) disableWorker(ctx context.Context, in *workerInput) (*rest.Body[workerView], error) {
	if err := s.Auth.DisableWorker(ctx, in.Worker); err != nil {
		return nil, err
	}
	return s.getWorker(ctx, in)
}

// decide does something to the worker with an id and shows it.
func (s *Server) decide(ctx context.Context, id albs.WorkerID, do func(ctx context.Context, name string) error) (*rest.Body[workerView], error) {
	w, err := roster.Get(ctx, s.Auth, s.Queue, id)
	if err != nil {
		return nil, err
	}
	if err := do(ctx, w.Name); err != nil {
		return nil, err
	}
	return s.getWorker(ctx, &workerInput{id})
}

type drainInput struct {
	Worker albs.WorkerID `path:"worker_id" minimum:"1"`
	Body   struct {
		Reason string `json:"reason,omitempty" doc:"One line for people, of at most 500 bytes"`
	}
}

func (s *Server) drainWorker(ctx context.Context, in *drainInput) (*rest.Body[workerView], error) {
	return s.decide(ctx, in.Worker, func(ctx context.Context, name string) error {
		return s.Queue.Fleet().Drain(ctx, name, in.Body.Reason)
	})
}

func (s *Server) undrainWorker(ctx context.Context, in *workerInput) (*rest.Body[workerView], error) {
	return s.decide(ctx, in.Worker, s.Queue.Fleet().Undrain)
}

func (s *Server) liftWorker(ctx context.Context, in *workerInput) (*rest.Body[workerView], error) {
	return s.decide(ctx, in.Worker, s.Queue.Fleet().Lift)
}

func (s *Server) rekeyWorker(ctx context.Context, in *workerInput) (*rest.Body[workerView], error) {
	w, err := roster.Get(ctx, s.Auth, s.Queue, in.Worker)
	if err != nil {
		return nil, err
	}
	if err := s.Provenance.ForgetKey(ctx, w.Worker); err != nil {
		return nil, err
	}
	return s.getWorker(ctx, in)
}

type excludeInput struct {
	Worker albs.WorkerID `path:"worker_id" minimum:"1"`
	Body   struct {
		Patterns []string `json:"patterns" doc:"Of a package or a key, as kernel* or */*/s390x; none lets it have all. At most 100"`
	}
}

func (s *Server) excludeFromWorker(ctx context.Context, in *excludeInput) (*rest.Body[workerView], error) {
	return s.decide(ctx, in.Worker, func(ctx context.Context, name string) error {
		return s.Queue.Fleet().Exclude(ctx, name, in.Body.Patterns)
	})
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
