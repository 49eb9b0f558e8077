// Package notary testifies to git commits: that the master saw them in a repository, in
// the history of a ref, who made them by their own word, and what they change.
//
// It owns the rows that list what was notarized and what refs named. Whether a commit is
// notarized, and what a ref named before, is asked of provenance, which proves it, never of
// the rows. They do say where the work goes on: which commits need no statement any more.
// Who writes in the database can so have a commit left out; what was stated stays. What
// commits a repository and its refs have is what the master saw in the task, which it does
// itself.
//
// Invariants: of each commit of a repository there is a statement before there is one of
// a ref that has it; a commit is stated when its row is written, in one transaction; a ref
// whose history was rewritten says so for good.
package notary

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/git"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
)

// Events is where what happens is put on record; event.Log is one.
type Events interface {
	Add(ctx context.Context, tx db.Tx, kind, topic, actor string, data any) error
}

// Parts are the modules that the notary rests on.
type Parts struct {
	DB         *db.DB
	Events     Events
	Queue      *queue.Queue
	Provenance *provenance.Provenance
	Git        *git.Mirrors
	Log        zerolog.Logger
}

// Notary states what commits there are. It may be used concurrently.
type Notary struct {
	Parts
	store store
	rules rules
}

// New returns the notary of a master and registers the handler of the kind notarize.
// Invalid if a rule of the configuration can't be read.
func New(p Parts, c Config) (*Notary, error) {
	rs, err := c.rules()
	if err != nil {
		return nil, fmt.Errorf("notarize: %w", err)
	}
	n := &Notary{Parts: p, store: store{p.DB}, rules: rs}
	p.Queue.Register(albs.KindNotarize, handler{n})
	return n, nil
}

// parallel is how many requests are worked at at once.
const parallel = 2

// Run does the tasks as the worker me until ctx is done.
func (n *Notary) Run(ctx context.Context, me auth.Actor) error {
	return n.Queue.RunLocal(ctx, me, albs.KindNotarize, parallel, n.notarize)
}

// Topic is that of the notary's events and tasks.
const Topic = "sources"

// Wish says what is to be notarized.
type Wish struct {
	URL string
	// Refs are branches and tags, by their full names or as people call them, or patterns
	// of such, as path.Match has them.
	Refs []string
	// All stands for every branch and tag.
	All bool
	// WithoutUpstream goes on where the commit that another one changes isn't notarized, and
	// has that stated.
	WithoutUpstream bool
}

// Bounds of one wish.
const (
	maxAsked = 200
	maxRefs  = 4000
)

// Job is a wish that was taken, and how far it is.
type Job struct {
	Task     queue.Task
	Progress string // the last line of its log
	albs.NotarizeSpec
}

// Notarize has the commits of refs notarized, all that led to each of them, and returns
// the task that does it. Which refs there are is looked up now, what they name again when
// it is done: that is what is stated. Errors: Forbidden without source.notarize, Invalid,
// NotFound for an unknown repository or ref, or a pattern that fits none, TooLarge for more
// refs than one task takes, Unavailable.
func (n *Notary) Notarize(ctx context.Context, w Wish) (albs.TaskID, error) {
	if err := auth.Can(ctx, auth.SourceNotarize, auth.Object{}); err != nil {
		return 0, err
	}
	if err := git.ValidURL(w.URL); err != nil {
		return 0, err
	}
	refs, err := n.resolve(ctx, w)
	if err != nil {
		return 0, err
	}
	spec := albs.NotarizeSpec{URL: w.URL, Refs: n.ordered(refs), WithoutUpstream: w.WithoutUpstream, Requester: auth.From(ctx).Name}
	var task albs.TaskID
	err = n.DB.InTx(ctx, func(tx db.Tx) (err error) {
		if task, err = n.Queue.Enqueue(ctx, tx, queue.NewTask{
			Kind: albs.KindNotarize, Lane: "sources", Topic: Topic, Spec: albs.Spec{Notarize: &spec},
		}); err != nil {
			return err
		}
		// What it keeps is its log, which goes some time after its end: the statements stay.
		if err := n.Queue.Forget(ctx, tx, Topic); err != nil {
			return err
		}
		return n.Events.Add(ctx, tx, "source.requested", Topic, auth.From(ctx).String(), map[string]any{
			"task": task, "repository": w.URL, "refs": len(refs), "without_upstream": w.WithoutUpstream,
		})
	})
	if err != nil {
		return 0, fmt.Errorf("notarize %s: %w", w.URL, err)
	}
	return task, nil
}

// resolve finds the refs that are meant, each once.
func (n *Notary) resolve(ctx context.Context, w Wish) ([]albs.NamedRef, error) {
	switch {
	case len(w.Refs) > maxAsked:
		return nil, albs.Errorf(albs.TooLarge, "%d refs are named, at most %d are taken: use patterns", len(w.Refs), maxAsked)
	case w.All && len(w.Refs) > 0:
		return nil, albs.Errorf(albs.Invalid, "refs are named, and all are asked for: say one or the other")
	case !w.All && len(w.Refs) == 0:
		return nil, albs.Errorf(albs.Invalid, "name branches or tags, or ask for all")
	}
	var out []albs.NamedRef
	add := func(r albs.NamedRef) {
		if !slices.ContainsFunc(out, func(o albs.NamedRef) bool { return o.Name == r.Name }) {
			out = append(out, r)
		}
	}
	var listed []git.Ref
	if w.All || slices.ContainsFunc(w.Refs, isPattern) {
		var err error
		if listed, err = n.listed(ctx, w.URL); err != nil {
			return nil, err
		}
	}
	if w.All {
		if len(listed) > maxRefs {
			return nil, tooMany(len(listed))
		}
		for _, r := range listed {
			out = append(out, albs.NamedRef{Name: r.Name, Commit: r.Commit})
		}
		return out, nil
	}
	for _, asked := range w.Refs {
		if isPattern(asked) {
			if err := checkPattern(asked); err != nil {
				return nil, err
			}
			before := len(out)
			for _, r := range listed {
				if fits(asked, r.Name) {
					add(albs.NamedRef{Name: r.Name, Commit: r.Commit})
				}
				if len(out) > maxRefs {
					return nil, tooMany(len(out))
				}
			}
			if len(out) == before && !slices.ContainsFunc(listed, func(r git.Ref) bool { return fits(asked, r.Name) }) {
				return nil, albs.Errorf(albs.NotFound, "no branch or tag of %s is like %.200q", w.URL, asked)
			}
			continue
		}
		commit, typ, err := n.Git.Resolve(ctx, w.URL, asked)
		if err != nil {
			return nil, fmt.Errorf("resolve %s#%s: %w", w.URL, asked, err)
		}
		name := asked
		switch {
		case typ == git.RefCommit || asked == "HEAD":
			return nil, albs.Errorf(albs.Invalid, "%s is no branch or tag: name one whose history has the commit", asked)
		case strings.HasPrefix(asked, "refs/"):
		case typ == git.RefTag:
			name = tags + asked
		default:
			name = heads + asked
		}
		add(albs.NamedRef{Name: name, Commit: commit})
	}
	return out, nil
}

// listed returns the branches and tags that a repository has now.
func (n *Notary) listed(ctx context.Context, url string) ([]git.Ref, error) {
	all, err := n.Git.Refs(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("list the refs of %s: %w", url, err)
	}
	return slices.DeleteFunc(all, func(r git.Ref) bool { return git.ValidRef(r.Name) != nil }), nil
}

func tooMany(n int) error {
	return albs.Errorf(albs.TooLarge, "that is %d refs, and one request takes %d: ask for parts of them by patterns, as imports/c9/a*", n, maxRefs)
}

// ordered puts changed tags behind all others, so that what they change comes first.
func (n *Notary) ordered(refs []albs.NamedRef) []albs.NamedRef {
	var others, changed []albs.NamedRef
	for _, r := range refs {
		if n.rules.of(r.Name) != "" {
			changed = append(changed, r)
		} else {
			others = append(others, r)
		}
	}
	return append(others, changed...)
}

// Job returns what became of a wish, by its task, or NotFound. Anyone may ask.
func (n *Notary) Job(ctx context.Context, task albs.TaskID) (Job, error) {
	t, err := n.Queue.Task(ctx, task)
	if err != nil {
		return Job{}, err
	}
	if t.Kind != albs.KindNotarize || t.Spec.Notarize == nil {
		return Job{}, albs.Errorf(albs.NotFound, "task %d notarizes nothing", task)
	}
	progress, err := n.progress(ctx, task)
	return Job{t, progress, *t.Spec.Notarize}, err
}

// Repository is one of which commits are notarized.
type Repository struct {
	URL     string    `json:"url"`
	Commits int       `json:"commits"`
	Last    time.Time `json:"last_notarized_at"`
}

// Commit is one that was notarized.
type Commit struct {
	ID          int64       `json:"id"` // in lists
	Repository  string      `json:"repository"`
	Commit      string      `json:"commit"`
	SHA256      albs.Digest `json:"sha256"` // of its object, which the statements are about
	Ref         string      `json:"ref"`    // in whose history it was found first
	Author      string      `json:"author"`
	Title       string      `json:"title"`
	CommittedAt time.Time   `json:"committed_at,omitzero"`
	NotarizedAt time.Time   `json:"notarized_at"`
}

// RefState is what a ref named when it was notarized.
type RefState struct {
	ID         int64     `json:"id"` // in lists
	Repository string    `json:"repository"`
	Ref        string    `json:"ref"`
	Commit     string    `json:"commit"`
	Previous   string    `json:"previous,omitempty"`
	Rewritten  bool      `json:"rewritten" doc:"The previous commit is no part of the ref's history any more"`
	Actor      string    `json:"actor"`
	At         time.Time `json:"at"`
}

// MaxPage bounds the entries of one page.
const MaxPage = 200

func limit(n int) int {
	if n <= 0 || n > MaxPage {
		return MaxPage
	}
	return n
}

// Repositories lists repositories by URL, behind one of them. Anyone may ask.
func (n *Notary) Repositories(ctx context.Context, after string, most int) ([]Repository, error) {
	rows, err := n.store.repositories(ctx, after, limit(most))
	out := make([]Repository, len(rows))
	for i, r := range rows {
		out[i] = Repository{r.URL, r.Commits, r.Last.Time}
	}
	return out, err
}

// Commits lists the notarized commits of a repository, the newest statement first, below
// an entry of the list; 0 is the beginning. Anyone may ask.
func (n *Notary) Commits(ctx context.Context, url string, before int64, most int) ([]Commit, error) {
	rows, err := n.store.commits(ctx, url, before, limit(most))
	out := make([]Commit, len(rows))
	for i, r := range rows {
		out[i] = r.view()
	}
	return out, err
}

// Commit returns what is listed of a commit of a repository, or NotFound. Anyone may ask.
func (n *Notary) Commit(ctx context.Context, url, commit string) (Commit, error) {
	row, err := n.store.commit(ctx, url, commit)
	return row.view(), err
}

func (r commitRow) view() Commit {
	return Commit{
		ID: r.ID, Repository: r.Repository, Commit: r.Commit, SHA256: r.Subject, Ref: r.Ref, Author: r.Author, Title: r.Title,
		CommittedAt: r.CommittedAt.Time, NotarizedAt: r.NotarizedAt.Time,
	}
}

// Refs lists what refs of a repository named, the newest first, below an entry of the
// list; 0 is the beginning. ref "" is all of them. Anyone may ask.
func (n *Notary) Refs(ctx context.Context, url, ref string, before int64, most int) ([]RefState, error) {
	rows, err := n.store.refs(ctx, url, ref, before, limit(most))
	out := make([]RefState, len(rows))
	for i, r := range rows {
		out[i] = RefState{r.ID, r.Repository, r.Ref, r.Commit, r.Previous, r.Rewritten, r.Actor, r.At.Time}
	}
	return out, err
}

// handler has the notary's own work end. What is stated is so before: commit by commit,
// in transactions that an attempt begun anew finds done.
type handler struct{ *Notary }

func (handler) Offer(_ context.Context, t queue.Task, _ queue.Offer) (albs.Spec, json.RawMessage, error) {
	return t.Spec, nil, nil
}

func (h handler) Admit(_ context.Context, l queue.Lease, outcome albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	switch {
	case outcome == albs.OutcomeExcluded:
		return nil, albs.Errorf(albs.Invalid, "the notary excludes nothing")
	case outcome != albs.OutcomeOK:
		return nil, nil
	case r.Notarize == nil:
		return nil, albs.Errorf(albs.Invalid, "the attempt reports success and doesn't say what was notarized")
	}
	return func(ctx context.Context, tx db.Tx) error {
		return h.Events.Add(ctx, tx, "source.done", Topic, auth.From(ctx).String(), map[string]any{
			"task": l.Token.Task, "commits": r.Notarize.Commits, "refs": r.Notarize.Refs, "rewritten": r.Notarize.Rewritten,
		})
	}, nil
}

func (handler) Ended(context.Context, db.Tx, queue.Task) error { return nil }

func (handler) InVain(context.Context, db.Tx, queue.Task) error { return nil }

func (handler) Reads(context.Context, queue.Lease, albs.Digest) (bool, error) { return false, nil }
