package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/event"
)

// Run follows what happens and sends notices of it until ctx is done, whose error it
// returns. Of several masters one follows, and all send.
func (n *Notices) Run(ctx context.Context) error {
	ctx = auth.System(ctx, "tell others what happened")
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.Events.Follow(ctx, FollowName, n.follow) })
	g.Go(func() error { return n.DB.Leader(ctx, "notices/keep", n.keep) })
	g.Go(func() error { return n.send(ctx) })
	return g.Wait()
}

// follow writes what is to be told of an event. What can't be understood is left out, for
// nobody behind it should wait; what can't be looked up now is tried again.
func (n *Notices) follow(ctx context.Context, e event.Event) error {
	err := n.after(ctx, e)
	switch albs.KindOf(err) {
	case albs.NotFound, albs.Invalid, albs.TooLarge:
		n.Log.Warn().Err(err).Str("kind", e.Kind).Str("topic", e.Topic).Msg("nobody was told of this")
		return nil
	}
	return err
}

// The events that others write, as far as they matter here.
type (
	releaseEvent struct {
		Release albs.ReleaseID `json:"release"`
		Product string         `json:"product"`
		Reason  string         `json:"reason"`
		Serial  int64          `json:"serial"`
	}
	troubleEvent struct {
		Product  string   `json:"product"`
		Serial   int64    `json:"serial"`
		Count    int      `json:"count"`
		Troubles []string `json:"troubles"`
	}
	taskEvent struct {
		State albs.TaskState `json:"state"`
	}
)

func (n *Notices) after(ctx context.Context, e event.Event) error {
	kind := Kind(e.Kind)
	switch {
	case kind == Published || kind == Failed || kind == Reverted:
		return n.released(ctx, e)
	case kind == Trouble || kind == Sound:
		return n.checked(ctx, e)
	case strings.HasPrefix(e.Kind, "task.") && strings.HasPrefix(e.Topic, "build:"):
		var told taskEvent
		if err := read(e, &told); err != nil || !told.State.Final() {
			return err
		}
		id, err := strconv.ParseInt(strings.TrimPrefix(e.Topic, "build:"), 10, 64)
		if err != nil {
			return albs.Errorf(albs.Invalid, "topic %.100q has no number", e.Topic)
		}
		wanted, err := someWantBuilds(ctx, n.DB)
		if err != nil || !wanted || !due(e.At.Time, time.Time{}, n.now()) {
			return err
		}
		return lookAt(ctx, n.DB, buildRow{albs.BuildID(id), e.ID})
	}
	return nil
}

func read(e event.Event, into any) error {
	if err := json.Unmarshal(e.Data, into); err != nil {
		return albs.Errorf(albs.Invalid, "read event %d: %w", e.ID, err)
	}
	return nil
}

// batch is how many notices are put into the outbox in one transaction.
const batch = 100

// maxDigest is how many advisories a mail lists.
const maxDigest = 200

// maxListed is how many CVEs or packages a notice has; of a mail's, fewer.
const (
	maxListed       = 500
	maxListedInMail = 10
)

// released tells of a release, and of every advisory that it made public: to a webhook of
// each by itself, in one mail of all.
func (n *Notices) released(ctx context.Context, e event.Event) error {
	var told releaseEvent
	if err := read(e, &told); err != nil {
		return err
	}
	to, err := n.receivers(ctx, e.At.Time)
	if err != nil || len(to) == 0 {
		return err
	}
	cause := fmt.Sprintf("event:%d", e.ID)
	what := Notice{Kind: Kind(e.Kind), At: e.At.Time, Data: Data{
		Title: releaseTitle(Kind(e.Kind), told), Reason: line(told.Reason, maxReason), Product: told.Product, Release: told.Release, Serial: told.Serial,
		URL: n.page("release/%d", told.Release),
	}}
	mails := map[int64]*digest{}
	for _, r := range to {
		if r.Channel == ByMail {
			mails[r.ID] = &digest{}
		}
	}
	var out []deliveryRow
	add := func(notice Notice, cause string) error {
		for _, r := range to {
			if !r.wants.wants(notice) {
				continue
			}
			if m := mails[r.ID]; m != nil {
				m.add(notice)
				continue
			}
			d, err := n.delivery(r.subscriptionRow, cause, digest{Notices: []Notice{notice}})
			if err != nil {
				return err
			}
			out = append(out, d)
		}
		if len(out) < batch {
			return nil
		}
		err := n.put(ctx, out)
		out = nil
		return err
	}
	if err := add(what, cause); err != nil {
		return err
	}
	if what.Kind == Published {
		err = n.Facts.Advisories(ctx, told.Release, func(a Advisory) error {
			notice := advisoryNotice(a, what)
			return add(notice, cause+"/"+a.ID+"/"+a.Platform)
		})
		if err != nil {
			return fmt.Errorf("read advisories of release %d: %w", told.Release, err)
		}
	}
	for _, r := range to {
		if m := mails[r.ID]; m != nil && len(m.Notices) > 0 {
			d, err := n.delivery(r.subscriptionRow, cause, *m)
			if err != nil {
				return err
			}
			out = append(out, d)
		}
	}
	return n.put(ctx, out)
}

// add adds a notice to a mail, as far as there is room.
func (d *digest) add(n Notice) {
	if len(d.Notices) >= maxDigest {
		d.More++
		return
	}
	if a := n.Data.Advisory; a != nil {
		short := *a
		short.CVEs = first(short.CVEs, maxListedInMail)
		n.Data.Advisory = &short
	}
	d.Notices = append(d.Notices, n)
}

func releaseTitle(k Kind, r releaseEvent) string {
	switch k {
	case Failed:
		return line(fmt.Sprintf("Release %d of %s failed", r.Release, r.Product), maxTitle)
	case Reverted:
		return line(fmt.Sprintf("Release %d of %s was taken back", r.Release, r.Product), maxTitle)
	}
	return line(fmt.Sprintf("Release %d of %s is published", r.Release, r.Product), maxTitle)
}

// advisoryNotice is what is told of an advisory by the release that published it.
func advisoryNotice(a Advisory, release Notice) Notice {
	a.CVEs = first(a.CVEs, maxListed)
	a.Title = line(a.Title, maxTitle)
	kind, title := Released, a.ID+" of "+a.Platform+": "
	if a.Severity != "none" && a.Severity != "" {
		title += a.Severity + ": "
	}
	if a.Withdrawn {
		kind, title = Withdrawn, a.ID+" of "+a.Platform+" was withdrawn: "
	}
	return Notice{Kind: kind, At: release.At, Data: Data{
		Title: line(title+a.Title, maxTitle), URL: a.URL, Product: release.Data.Product, Platforms: []string{a.Platform}, Release: release.Data.Release, Serial: release.Data.Serial,
		Advisory: &a,
	}}
}

func first(list []string, n int) []string { return list[:min(len(list), n):min(len(list), n)] }

// checked tells what a check of what is public found.
func (n *Notices) checked(ctx context.Context, e event.Event) error {
	var told troubleEvent
	if err := read(e, &told); err != nil {
		return err
	}
	title := fmt.Sprintf("What is public of %s is as its advisories say again", told.Product)
	if Kind(e.Kind) == Trouble {
		title = fmt.Sprintf("What is public of %s differs from its advisories in %d places", told.Product, told.Count)
	}
	troubles := make([]string, 0, len(told.Troubles))
	for _, t := range told.Troubles {
		troubles = append(troubles, line(t, maxReason))
	}
	return n.one(ctx, fmt.Sprintf("event:%d", e.ID), Notice{Kind: Kind(e.Kind), At: e.At.Time, Data: Data{
		Title: line(title, maxTitle), Product: told.Product, Serial: told.Serial, URL: n.page("product/%s", told.Product), Troubles: troubles,
	}})
}

// one tells of a single notice whoever wants to know.
func (n *Notices) one(ctx context.Context, cause string, what Notice) error {
	to, err := n.receivers(ctx, what.At)
	if err != nil {
		return err
	}
	var out []deliveryRow
	for _, r := range to {
		if !r.wants.wants(what) {
			continue
		}
		d, err := n.delivery(r.subscriptionRow, cause, digest{Notices: []Notice{what}})
		if err != nil {
			return err
		}
		out = append(out, d)
	}
	return n.put(ctx, out)
}

// receiver is a subscription that may want to know of what happened.
type receiver struct {
	subscriptionRow
	wants Filter
}

// receivers are those who are to be told of what happened at a time.
func (n *Notices) receivers(ctx context.Context, happened time.Time) ([]receiver, error) {
	rows, err := active(ctx, n.DB)
	if err != nil {
		return nil, fmt.Errorf("read subscriptions: %w", err)
	}
	var out []receiver
	for _, r := range rows {
		if !due(happened, r.CreatedAt.Time, n.now()) {
			continue
		}
		f, err := r.filter()
		if err != nil {
			return nil, err
		}
		out = append(out, receiver{r, f})
	}
	return out, nil
}

// put writes deliveries into the outbox; those that are there already stay as they are.
func (n *Notices) put(ctx context.Context, all []deliveryRow) error {
	for part := range slices.Chunk(all, batch) {
		err := n.DB.InTx(ctx, func(tx db.Tx) error {
			for _, d := range part {
				if _, err := getSubscription(ctx, tx, d.Subscription); errors.Is(err, albs.NotFound) {
					continue // removed meanwhile
				} else if err != nil {
					return err
				}
				if _, err := insertDelivery(ctx, tx, d); err != nil {
					return err
				}
			}
			tx.AfterCommit(func() { n.Events.Nudge(Topic) })
			return nil
		})
		if err != nil {
			return fmt.Errorf("write notices: %w", err)
		}
	}
	return nil
}

// Of what is kept.
const (
	lookEvery  = 2 * time.Second // for builds that have ended; a build is looked at once in that time, however many tasks it has
	pruneEvery = time.Hour
	keptFor    = 30 * 24 * time.Hour // a delivery, once it is sent or dead; more than tooLate, lest it be sent twice
)

// keep looks for builds that have ended, and removes what is old.
func (n *Notices) keep(ctx context.Context) error {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	var pruned time.Time
	for {
		if err := n.lookAtBuilds(ctx); err != nil && ctx.Err() == nil {
			n.Log.Error().Err(err).Msg("nobody could be told of builds; it is tried again")
		}
		if now := n.now(); now.Sub(pruned) >= pruneEvery {
			err := n.DB.InTx(ctx, func(tx db.Tx) error { return prune(ctx, tx, at(now.Add(-keptFor))) })
			if err != nil && ctx.Err() == nil {
				n.Log.Error().Err(err).Msg("old notices can't be removed")
			}
			pruned = now
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// lookAtBuilds tells of the builds that have ended. One that goes on is looked at when
// another of its tasks has ended.
func (n *Notices) lookAtBuilds(ctx context.Context) error {
	for after := albs.BuildID(0); ; {
		rows, err := toLookAt(ctx, n.DB, after, batch)
		if err != nil {
			return fmt.Errorf("read builds to look at: %w", err)
		}
		for _, r := range rows {
			if err := n.lookAtBuild(ctx, r); err != nil {
				return fmt.Errorf("look at build %d: %w", r.Build, err)
			}
			after = r.Build
		}
		if len(rows) < batch {
			return nil
		}
	}
}

func (n *Notices) lookAtBuild(ctx context.Context, r buildRow) error {
	b, err := n.Facts.Build(ctx, r.Build)
	if err != nil && !errors.Is(err, albs.NotFound) {
		return err
	}
	if kind := Kind("build." + b.State); err == nil && !b.Finished.IsZero() && wantsBuilds([]Kind{kind}) {
		// A build that is retried ends again, at another time.
		cause := fmt.Sprintf("build:%d@%s", r.Build, b.Finished.UTC().Format(time.RFC3339Nano))
		names := slices.Sorted(slices.Values(b.Packages))
		what := Notice{Kind: kind, At: b.Finished.UTC(), Data: Data{
			Title: line(fmt.Sprintf("Build %d %s: %s", r.Build, ended(kind), strings.Join(first(names, maxListedInMail), ", ")), maxTitle),
			URL:   n.page("build/%d", r.Build), Product: b.Product, Platforms: b.Platforms, Build: r.Build, Packages: first(names, maxListed),
		}}
		if kind != BuildSucceeded {
			what.Data.Reason = line(b.Reason, maxReason)
		}
		if err := n.one(ctx, cause, what); err != nil {
			return err
		}
	}
	return n.DB.InTx(ctx, func(tx db.Tx) error { return lookedAt(ctx, tx, r) })
}

func ended(k Kind) string {
	switch k {
	case BuildSucceeded:
		return "has succeeded"
	case BuildCancelled:
		return "was cancelled"
	}
	return "has failed"
}

const maxReason = 500
