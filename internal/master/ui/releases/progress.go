package releases

import (
	"context"
	"errors"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/queue"
	"albs/internal/master/release"
	"albs/internal/master/ui/logs"
)

const (
	maxTasks   = 1000
	lastLines  = 12
	publishLog = "publish" // the stream in which a releaser tells what it does
)

// progress is how far the publication of a release has come.
type progress struct {
	Signing stage // of the metadata of its repositories
	Publish queue.Task
	Wait    string // why the publication waits; "" if it doesn't
	Attempt queue.Attempt
	Lines   []logs.Line // the last words of the releaser
	Done    int         // repositories that are laid out, as far as the releaser has told
	All     int
}

// stage is tasks of one kind together.
type stage struct {
	Done, All int
	Wait      string     // why the first that waits does
	Failed    queue.Task // the first that failed; ID is 0 if none did
}

// progress tells of the newest publication of a release.
func (u *Pages) progress(ctx context.Context, r release.Release) (*progress, error) {
	p := &progress{All: len(r.Plan.Repositories)}
	var err error
	if p.Publish, err = u.Queue.Task(ctx, r.Task); err != nil {
		return nil, err
	}
	tasks, err := u.Queue.List(ctx, queue.Filter{Topic: release.Topic(r.ID), Limit: maxTasks})
	if err != nil {
		return nil, err
	}
	waiting := []albs.TaskID{r.Task}
	for _, t := range slices.Backward(tasks) {
		if t.Kind != albs.KindSign {
			continue
		}
		p.Signing.All++
		switch {
		case t.State == albs.TaskSucceeded:
			p.Signing.Done++
		case t.State == albs.TaskFailed && p.Signing.Failed.ID == 0:
			p.Signing.Failed = t
		case t.State == albs.TaskQueued && len(waiting) == 1:
			waiting = append(waiting, t.ID)
		}
	}
	whys, err := u.Queue.Whys(ctx, waiting)
	if err != nil {
		return nil, err
	}
	if p.Publish.State == albs.TaskQueued {
		p.Wait = whys[r.Task].Sentence
	}
	if len(waiting) > 1 {
		p.Signing.Wait = whys[waiting[1]].Sentence
	}
	return p, u.told(ctx, p)
}

// told reads what the releaser that was last at it says.
func (u *Pages) told(ctx context.Context, p *progress) error {
	as, err := u.Queue.Attempts(ctx, p.Publish.ID)
	if err != nil || len(as) == 0 {
		return err
	}
	p.Attempt = as[len(as)-1]
	ref := logs.Ref{Task: p.Publish.ID, Attempt: p.Attempt.Number, Stream: publishLog}
	e, err := u.logs.Extent(ctx, ref)
	if errors.Is(err, albs.NotFound) {
		return nil // it has said nothing yet
	}
	if err != nil {
		return err
	}
	// One line tells of one repository, and the last of the switch.
	p.Done = min(e.Lines, p.All)
	p.Lines, _, err = u.logs.Lines(ctx, ref, max(e.Lines-lastLines+1, 1), lastLines)
	return err
}
