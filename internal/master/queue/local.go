package queue

import (
	"context"
	"io"
	"path/filepath"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/queue/life"
	"albs/internal/worker"
)

// Handlers speak in the contract's words; these two names spare the modules that
// implement them an import across the wall.
type (
	// Lease is one attempt at one task.
	Lease = worker.Lease
	// Offer is what a worker can do.
	Offer = worker.Offer
)

// LocalJob does one task of a kind that the master does itself. Errors of kind
// Invalid, NotFound, Forbidden and TooLarge fail the task with their text; any
// other is the master's own trouble, and the task is tried again.
type LocalJob func(ctx context.Context, t Task, log io.Writer) (albs.Result, error)

// RunLocal does the tasks of a kind inside this process until ctx is done, at
// most parallel at once: by the same contract as any worker, with leases, a live
// log named after the kind, and an end that is applied once. me is the worker
// identity under which it claims.
func (q *Queue) RunLocal(ctx context.Context, me auth.Actor, kind albs.TaskKind, parallel int, job LocalJob) error {
	offer := Offer{Version: "master", Labels: []string{"kind:" + string(kind)}}
	l := worker.Loop{
		Master: q, Offer: func() Offer { return offer }, Parallel: parallel, Spool: filepath.Join(q.config.LocalDir, string(kind)), Log: q.log,
		Job: func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
			t, err := q.Task(ctx, s.Lease.Token.Task)
			if err != nil {
				return "", albs.Result{}, err
			}
			t.Spec = s.Lease.Spec
			r, err := job(ctx, t, s.Log(string(kind)))
			switch albs.KindOf(err) {
			case "":
				return albs.OutcomeOK, r, nil
			case albs.Invalid, albs.NotFound, albs.Forbidden, albs.TooLarge:
				return albs.OutcomeFailed, albs.Result{Reason: life.OneLine(err.Error())}, nil
			}
			return "", r, err
		},
	}
	return l.Run(auth.With(ctx, me))
}
