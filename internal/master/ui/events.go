package ui

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/errata"
	"albs/internal/master/errata/monitor"
	"albs/internal/master/event"
	"albs/internal/master/queue"
	"albs/internal/master/release"
	"albs/internal/master/ui/advisories"
	"albs/internal/master/ui/builds"
	"albs/internal/master/ui/farm"
	"albs/internal/master/ui/keys"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/products"
	"albs/internal/master/ui/releases"
	"albs/internal/master/ui/tests"
	"albs/internal/master/ui/words"
)

// contactEvery is how old a page may be as to when workers were heard of, which is no
// event.
const contactEvery = 15 * time.Second

// feed is what a stream watches. A message carries the event's id and kind and nothing
// of what happened, so that a stream tells nobody more than the page does.
//
//	build:7   what happens to a build, and to releases that have it
//	task:12   the same for one task of it, and its logs as they appear
//	builds    what happens to any build
//	queue     what happens to any task or worker
//	nodes     the same, and now and then when workers were heard of
//	products  what products show
//	product:x what happens to a product, and to any release
//	releases  what happens to any release
//	release:3 what happens to a release and its tasks, and what its releaser tells
//	keys      what happens to any key and any task
//	advisories        what happens to any advisory
//	errata:ID/PLATFORM what happens to an advisory
//	advisory-checks   what the checks of what the public sees find
type feed struct {
	topic string // of events; "" for all
	keep  func(e event.Event) bool
	task  albs.TaskID // whose logs are watched too; 0 for none
	rest  time.Duration
	// mark returns what else a page shows that has no event of its own there; nil
	// for nothing.
	mark func(ctx context.Context) (string, error)
}

func (u *UI) feedOf(ctx context.Context, name string) (feed, error) {
	kind, id, _ := strings.Cut(name, ":")
	n, err := strconv.ParseInt(id, 10, 64)
	switch {
	case name == builds.FollowAll:
		return feed{rest: time.Second, keep: func(e event.Event) bool { return strings.HasPrefix(e.Topic, "build:") }}, nil
	case name == farm.FollowQueue:
		// Why thousands wait takes a while to say, and in a farm something always happens.
		return feed{rest: 3 * time.Second, keep: ofFarm}, nil
	case name == farm.FollowNodes:
		return feed{rest: time.Second, keep: ofFarm, mark: func(context.Context) (string, error) {
			return strconv.FormatInt(time.Now().UnixNano()/int64(contactEvery), 10), nil
		}}, nil
	case name == products.FollowAll:
		return feed{rest: time.Second, keep: func(e event.Event) bool { return strings.HasPrefix(e.Topic, "product:") }}, nil
	case kind == "product" && id != "":
		return feed{rest: time.Second, keep: func(e event.Event) bool { return e.Topic == name || strings.HasPrefix(e.Kind, "release.") }}, nil
	case name == releases.FollowAll:
		return feed{rest: time.Second, keep: func(e event.Event) bool { return strings.HasPrefix(e.Topic, "release:") }}, nil
	case name == tests.FollowWaivers:
		return feed{rest: time.Second, keep: func(e event.Event) bool { return strings.HasPrefix(e.Kind, "testrun.waiver.") }}, nil
	case name == tests.FollowSkips:
		return feed{rest: time.Second, keep: func(e event.Event) bool { return strings.HasPrefix(e.Kind, "testrun.skip.") }}, nil
	case name == keys.Follow:
		return feed{rest: 3 * time.Second, keep: func(e event.Event) bool { return strings.HasPrefix(e.Topic, "key:") || ofFarm(e) }}, nil
	case name == advisories.FollowAll:
		return feed{rest: time.Second, keep: func(e event.Event) bool { return strings.HasPrefix(e.Topic, "errata:") }}, nil
	case name == advisories.FollowChecks:
		return feed{rest: time.Second, keep: func(e event.Event) bool { return e.Kind == monitor.Found || e.Kind == monitor.Cleared }}, nil
	case kind == "errata" && id != "":
		k := errata.Key{}
		k.ID, k.Platform, _ = strings.Cut(id, "/")
		if _, err := u.modules.Errata.Get(ctx, k); err != nil {
			return feed{}, err
		}
		return feed{topic: errata.Topic(k), rest: page.RestTime}, nil
	case kind == "release" && err == nil && n > 0:
		r, err := u.modules.Releases.Get(ctx, albs.ReleaseID(n))
		if err != nil {
			return feed{}, err
		}
		return feed{topic: name, task: r.Task, rest: page.RestTime, mark: func(ctx context.Context) (string, error) {
			return u.logMark(ctx, r.Task)
		}}, nil
	case kind == "build" && err == nil && n > 0:
		return feed{topic: name, rest: page.RestTime, mark: func(ctx context.Context) (string, error) {
			return u.releaseMark(ctx, albs.BuildID(n))
		}}, nil
	case kind == "task" && err == nil && n > 0:
		t, err := u.modules.Queue.Task(ctx, albs.TaskID(n))
		if err != nil {
			return feed{}, err
		}
		return feed{topic: t.Topic, task: t.ID, rest: page.RestTime, mark: func(ctx context.Context) (string, error) {
			return u.taskMark(ctx, t.ID)
		}}, nil
	}
	return feed{}, albs.Errorf(albs.Invalid, "%s is nothing that can be followed", words.Inert(words.Cut(name, 40)))
}

// ofFarm reports whether an event is of a task or of a worker.
func ofFarm(e event.Event) bool {
	return strings.HasPrefix(e.Kind, "task.") || strings.HasPrefix(e.Kind, "worker.")
}

const (
	eventBatch = 500
	maxBatches = 4

	maxMarked = 20 // releases of a build that are watched
)

// events answers GET /events?topic=…&after=…: a message "change" whenever something
// happened, for the page to ask again for what it shows. Many events make one
// message, whose id is the last one's; Last-Event-ID goes on behind it.
func (u *UI) events(w http.ResponseWriter, r *http.Request) error {
	f, err := u.feedOf(r.Context(), r.URL.Query().Get("topic"))
	if err != nil {
		return err
	}
	wake, stop := u.Events.Wake(f.topic) // before the first look, or what comes between is missed
	defer stop()
	var grown <-chan struct{}
	if f.task != 0 {
		var stop func()
		grown, stop = u.Events.Wake(queue.LogTopic(f.task))
		defer stop()
	}
	after, err := u.resumeAt(r)
	if err != nil {
		return err
	}
	s, err := u.OpenStream(w, r)
	if s == nil {
		return err
	}
	defer s.Close()
	seen := "" // the first look may tell of what the page has, which does no harm
	for {
		what, last, err := u.news(r.Context(), f, after)
		if err != nil {
			return nil // the browser connects again, behind what it has
		}
		if f.mark != nil {
			mark, err := f.mark(r.Context())
			if err != nil {
				return nil
			}
			if mark != seen {
				what, seen = cmp.Or(what, "more"), mark
			}
		}
		after = last
		if what != "" && s.Send(after, "change", []byte(what)) != nil {
			return nil
		}
		if !s.Wait(f.rest, wake, grown) {
			return nil
		}
	}
}

// news looks for events behind after and returns the kind of the last that
// matters, "" for none, and the id to go on behind. Of a reader who was away for
// long it doesn't look through everything: the page is to be made anew anyway.
func (u *UI) news(ctx context.Context, f feed, after int64) (kind string, last int64, err error) {
	for range maxBatches {
		es, err := u.Events.Since(ctx, after, f.topic, eventBatch)
		if err != nil {
			return "", after, err
		}
		for _, e := range slices.Backward(es) {
			if f.keep == nil || f.keep(e) {
				kind = e.Kind
				break
			}
		}
		if len(es) > 0 {
			after = es[len(es)-1].ID
		}
		if len(es) < eventBatch {
			return kind, after, nil
		}
	}
	last, err = u.Events.Last(ctx)
	return "much", last, err
}

// releaseMark changes whenever a release of a build does: its events are the
// release's, not the build's.
func (u *UI) releaseMark(ctx context.Context, id albs.BuildID) (string, error) {
	rs, _, err := u.modules.Releases.List(ctx, release.Filter{Build: id, Limit: maxMarked})
	var b strings.Builder
	for _, r := range rs {
		fmt.Fprintf(&b, "%d %d;", r.ID, r.Status)
	}
	return b.String(), err
}

// logMark changes whenever a task's logs grow; 0 is no task.
func (u *UI) logMark(ctx context.Context, id albs.TaskID) (string, error) {
	if id == 0 {
		return "", nil
	}
	infos, err := u.modules.Queue.Logs(ctx, id)
	var size int64
	for _, l := range infos {
		size += l.Size
	}
	return fmt.Sprint(len(infos), size), err
}

// taskMark changes whenever a task has another log, and when what it waits for changes,
// which happens to others' tasks and to workers.
func (u *UI) taskMark(ctx context.Context, id albs.TaskID) (string, error) {
	infos, err := u.modules.Queue.Logs(ctx, id)
	if err != nil {
		return "", err
	}
	whys, err := u.modules.Queue.Whys(ctx, []albs.TaskID{id})
	w := whys[id]
	return fmt.Sprint(len(infos), w.Position, w.Of, w.Binding), err
}

// resumeAt returns the event behind which a stream begins: what the browser saw
// last, what the page was made after, or else now.
func (u *UI) resumeAt(r *http.Request) (int64, error) {
	v := cmp.Or(r.Header.Get("Last-Event-ID"), r.URL.Query().Get("after"))
	if v == "" {
		return u.Events.Last(r.Context())
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, albs.Errorf(albs.Invalid, "%s is no event's id", words.Inert(words.Cut(v, 40)))
	}
	return n, nil
}
