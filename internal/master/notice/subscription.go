package notice

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
)

// New returns the notices of a master. It does no I/O. Invalid as of Config.Check, or if
// a part is missing.
func New(p Parts, c Config) (*Notices, error) {
	if p.DB == nil || p.Events == nil || p.Auth == nil || p.Facts == nil || p.Outside == nil || p.Key == (Key{}) {
		return nil, albs.Errorf(albs.Invalid, "notices need all of their parts")
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	return &Notices{Parts: p, mail: c.Mail, client: strict(p.Outside.Client()), now: time.Now, jitter: jitter}, nil
}

// NewSubscription is what a person asks for.
type NewSubscription struct {
	Team    string // whose it is; "" for the installation's
	Channel Channel
	Target  string // a URL or a mail address
	Note    string
	Filter  Filter
}

// Subscription is one webhook or one mail address, and what it is told of.
type Subscription struct {
	ID       int64
	Team     string
	Channel  Channel
	Target   string // of a webhook it may be a secret
	Note     string
	Filter   Filter
	Revision int64
	Actor    string // who made it
	Created  time.Time
	Changed  time.Time
	Stopped  string    // why nothing is sent; "" if it is
	Failures int       // in a row
	Paused   time.Time // nothing is sent before; zero if nothing is against it
	// Waiting, Sent and Dead count its deliveries of the last month.
	Waiting, Sent, Dead int
}

// Object is what auth asks about a subscription.
func (s Subscription) Object() auth.Object { return auth.Object{Team: s.Team} }

// maxSubscriptions bounds what every event is held against.
const maxSubscriptions = 1000

// The kinds of events about subscriptions and deliveries.
const (
	eventAdded   = "notice.added"
	eventChanged = "notice.changed"
	eventRemoved = "notice.removed"
	eventStopped = "notice.stopped"
	eventRetried = "notice.retried"
)

// changeEvent is the data of such events. It has no target, which may be a secret.
type changeEvent struct {
	Subscription int64   `json:"subscription"`
	Team         string  `json:"team"`
	Channel      Channel `json:"channel"`
	Delivery     int64   `json:"delivery,omitempty"`
	Reason       string  `json:"reason,omitempty"`
}

func (n *Notices) tell(ctx context.Context, tx db.Tx, kind string, r subscriptionRow, delivery int64, reason string) error {
	return n.Events.Add(ctx, tx, kind, Topic, auth.From(ctx).String(), changeEvent{r.ID, r.Team, r.Channel, delivery, reason})
}

// Subscribe makes a subscription and, for a webhook, returns the key by which its receiver
// knows what comes from here; it is returned this once. What happened before is not sent.
// Errors: Invalid; Forbidden without notice.manage on the team, and for a URL that egress
// doesn't allow; NotFound for a team that isn't there; TooLarge beyond the bounds;
// Conflict for mail where none goes out.
func (n *Notices) Subscribe(ctx context.Context, s NewSubscription) (Subscription, string, error) {
	if err := auth.Can(ctx, auth.NoticeManage, auth.Object{Team: s.Team}); err != nil {
		return Subscription{}, "", err
	}
	if err := n.team(ctx, s.Team); err != nil {
		return Subscription{}, "", err
	}
	f, err := s.Filter.check()
	if err != nil {
		return Subscription{}, "", err
	}
	if s.Target, err = n.checkTarget(s.Channel, s.Target); err != nil {
		return Subscription{}, "", err
	}
	if err := checkNote(s.Note); err != nil {
		return Subscription{}, "", err
	}
	r := subscriptionRow{
		Team: s.Team, Channel: s.Channel, Target: s.Target, Note: s.Note, Revision: 1, Actor: auth.From(ctx).String(), CreatedAt: at(n.now()),
	}
	key := ""
	if r.Channel == Webhook {
		r.Salt = rand.Text()
		key = spelt(n.Key.of(r.Salt))
	}
	if err := r.set(f); err != nil {
		return Subscription{}, "", err
	}
	err = n.DB.InTx(ctx, func(tx db.Tx) error {
		have, err := countSubscriptions(ctx, tx)
		if err != nil {
			return err
		}
		if have >= maxSubscriptions {
			return albs.Errorf(albs.TooLarge, "there are %d subscriptions, and no more go: remove one", have)
		}
		if err := insertSubscription(ctx, tx, &r); err != nil {
			return err
		}
		return n.tell(ctx, tx, eventAdded, r, 0, "")
	})
	if err != nil {
		return Subscription{}, "", fmt.Errorf("subscribe: %w", err)
	}
	out, err := n.Get(ctx, r.ID)
	return out, key, err
}

func (n *Notices) team(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	teams, err := n.Auth.Teams(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(teams, func(t auth.Team) bool { return t.Name == name }) {
		return albs.Errorf(albs.NotFound, "there is no team %.80q", name)
	}
	return nil
}

func (n *Notices) checkTarget(c Channel, target string) (string, error) {
	if len(target) > maxTarget {
		return "", albs.Errorf(albs.TooLarge, "an address of %d bytes is too long, %d go", len(target), maxTarget)
	}
	switch c {
	case Webhook:
		return target, n.checkURL(target)
	case ByMail:
		if n.mail.Server == "" {
			return "", albs.Errorf(albs.Conflict, "this master sends no mail: its configuration names no server (master.notices.mail)")
		}
		return checkAddress(target)
	}
	return "", albs.Errorf(albs.Invalid, "%.40q is no channel: webhook or mail", c)
}

func checkNote(s string) error {
	if len(s) > maxNote || misleads(s) {
		return albs.Errorf(albs.Invalid, "the note is one line of at most %d bytes", maxNote)
	}
	return nil
}

// Change is what a person changes of a subscription; nil is left as it is.
type Change struct {
	Revision int64 // that was looked at; 0 is any
	Target   *string
	Note     *string
	Filter   *Filter
	Active   *bool // whether something is sent: true also ends a pause
}

// Edit changes a subscription. What waits in one that is stopped is dead. Errors as of
// Subscribe, and NotFound, and Conflict if it has another revision.
func (n *Notices) Edit(ctx context.Context, id int64, c Change) (Subscription, error) {
	err := n.DB.InTx(ctx, func(tx db.Tx) error {
		r, err := n.owned(ctx, tx, id)
		if err != nil {
			return err
		}
		if c.Revision != 0 && c.Revision != r.Revision {
			return albs.Errorf(albs.Conflict, "subscription %d is at revision %d, not %d: look at it again", id, r.Revision, c.Revision)
		}
		if c.Target != nil {
			if r.Target, err = n.checkTarget(r.Channel, *c.Target); err != nil {
				return err
			}
		}
		if c.Note != nil {
			if err := checkNote(*c.Note); err != nil {
				return err
			}
			r.Note = *c.Note
		}
		if c.Filter != nil {
			f, err := c.Filter.check()
			if err != nil {
				return err
			}
			if err := r.set(f); err != nil {
				return err
			}
		}
		r.ChangedAt = at(n.now())
		if c.Active != nil && *c.Active {
			r.Stopped, r.Failures, r.Paused = "", 0, r.ChangedAt
		}
		if err := updateSubscription(ctx, tx, r); err != nil {
			return err
		}
		if c.Active != nil && !*c.Active {
			if err := stopLane(ctx, tx, id, "stopped by "+auth.From(ctx).String(), r.ChangedAt); err != nil {
				return err
			}
		}
		tx.AfterCommit(func() { n.Events.Nudge(Topic) })
		return n.tell(ctx, tx, eventChanged, r, 0, "")
	})
	if err != nil {
		return Subscription{}, err
	}
	return n.Get(ctx, id)
}

// Remove removes a subscription with its deliveries. Errors: NotFound, Forbidden.
func (n *Notices) Remove(ctx context.Context, id int64) error {
	return n.DB.InTx(ctx, func(tx db.Tx) error {
		r, err := n.owned(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := deleteSubscription(ctx, tx, id); err != nil {
			return fmt.Errorf("remove subscription %d: %w", id, err)
		}
		return n.tell(ctx, tx, eventRemoved, r, 0, "")
	})
}

// owned returns a subscription that the actor of ctx may manage. One that belongs to
// others is not there, for its address is nobody else's business.
func (n *Notices) owned(ctx context.Context, q db.Q, id int64) (subscriptionRow, error) {
	if s := auth.ScopeOf(ctx, auth.NoticeManage); !s.All && len(s.Teams) == 0 {
		return subscriptionRow{}, auth.Can(ctx, auth.NoticeManage, auth.Object{})
	}
	r, err := getSubscription(ctx, q, id)
	if err != nil {
		return r, err
	}
	if auth.Can(ctx, auth.NoticeManage, auth.Object{Team: r.Team}) != nil {
		return subscriptionRow{}, albs.Errorf(albs.NotFound, "there is no subscription %d", id)
	}
	return r, nil
}

// Get returns a subscription. Errors: NotFound, also for one of a team on which the actor
// of ctx hasn't notice.manage; Forbidden for one who has it nowhere.
func (n *Notices) Get(ctx context.Context, id int64) (Subscription, error) {
	r, err := n.owned(ctx, n.DB, id)
	if err != nil {
		return Subscription{}, err
	}
	all, err := counts(ctx, n.DB, id)
	if err != nil {
		return Subscription{}, fmt.Errorf("read subscription %d: %w", id, err)
	}
	return n.view(r, all[id])
}

// List returns the subscriptions that the actor of ctx may manage, by id; Forbidden for
// one who may manage none.
func (n *Notices) List(ctx context.Context) ([]Subscription, error) {
	s := auth.ScopeOf(ctx, auth.NoticeManage)
	if !s.All && len(s.Teams) == 0 {
		return nil, auth.Can(ctx, auth.NoticeManage, auth.Object{})
	}
	rows, err := selectSubscriptions(ctx, n.DB, s)
	if err != nil {
		return nil, fmt.Errorf("list subscriptions: %w", err)
	}
	all, err := counts(ctx, n.DB, 0)
	if err != nil {
		return nil, fmt.Errorf("list subscriptions: %w", err)
	}
	out := make([]Subscription, len(rows))
	for i, r := range rows {
		if out[i], err = n.view(r, all[r.ID]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (n *Notices) view(r subscriptionRow, count map[State]int) (Subscription, error) {
	f, err := r.filter()
	s := Subscription{
		ID: r.ID, Team: r.Team, Channel: r.Channel, Target: r.Target, Note: r.Note, Filter: f, Revision: r.Revision, Actor: r.Actor,
		Created: r.CreatedAt.Time, Changed: r.ChangedAt.Time, Stopped: r.Stopped, Failures: r.Failures,
		Waiting: count[Waiting], Sent: count[Sent], Dead: count[Dead],
	}
	if r.Paused.After(n.now()) {
		s.Paused = r.Paused.Time
	}
	return s, err
}

// State is where a delivery stands.
type State string

// The states of a delivery.
const (
	Waiting State = "waiting" // it is sent, once more perhaps, when its time has come
	Sent    State = "sent"    // the receiver has taken it
	Dead    State = "dead"    // it is not sent any more, unless a person has it
)

// Delivery is one message to one subscription.
type Delivery struct {
	ID           int64
	Subscription int64
	Message      string // its id for the receiver
	Kind         Kind
	Title        string
	State        State
	Attempts     int
	Reason       string // of the last failure
	Created      time.Time
	Next         time.Time // of the next attempt, at the earliest; zero unless it waits
	Ended        time.Time // zero while it waits
}

func deliveryOf(r deliveryRow) Delivery {
	d := Delivery{
		ID: r.ID, Subscription: r.Subscription, Message: r.Message, Kind: r.Kind, Title: r.Title, State: r.State, Attempts: r.Attempts, Reason: r.Reason,
		Created: r.CreatedAt.Time, Ended: r.EndedAt.Time,
	}
	if r.State == Waiting {
		d.Next = r.NextAt.Time
	}
	return d
}

// MaxPage is how many deliveries a list has.
const MaxPage = 50

// Deliveries returns the newest deliveries of a subscription, at most MaxPage of those
// before one (0 is none); errors as of Get.
func (n *Notices) Deliveries(ctx context.Context, id, before int64) ([]Delivery, error) {
	if _, err := n.owned(ctx, n.DB, id); err != nil {
		return nil, err
	}
	rows, err := selectDeliveries(ctx, n.DB, id, before, MaxPage)
	if err != nil {
		return nil, fmt.Errorf("list deliveries of subscription %d: %w", id, err)
	}
	out := make([]Delivery, len(rows))
	for i, r := range rows {
		out[i] = deliveryOf(r)
	}
	return out, nil
}

// Retry has a dead delivery sent again, under the id that it had, for another day. Errors:
// NotFound, Forbidden; Conflict if it isn't dead, or nothing is sent to its subscription.
func (n *Notices) Retry(ctx context.Context, id int64) (Delivery, error) {
	var out deliveryRow
	err := n.DB.InTx(ctx, func(tx db.Tx) error {
		if s := auth.ScopeOf(ctx, auth.NoticeManage); !s.All && len(s.Teams) == 0 {
			return auth.Can(ctx, auth.NoticeManage, auth.Object{})
		}
		d, err := getDelivery(ctx, tx, id)
		if err != nil {
			return err
		}
		r, err := n.owned(ctx, tx, d.Subscription)
		if err != nil {
			return err
		}
		if r.Stopped != "" {
			return albs.Errorf(albs.Conflict, "nothing is sent to subscription %d: %s; start it first", r.ID, r.Stopped)
		}
		now := at(n.now())
		if err := again(ctx, tx, id, now, at(now.Add(giveUp))); err != nil {
			return err
		}
		if err := wakeLane(ctx, tx, r.ID, now); err != nil {
			return err
		}
		tx.AfterCommit(func() { n.Events.Nudge(Topic) })
		if err := n.tell(ctx, tx, eventRetried, r, id, ""); err != nil {
			return err
		}
		out, err = getDelivery(ctx, tx, id)
		return err
	})
	return deliveryOf(out), err
}

// Test has something sent to a subscription that says it is a test. Errors: NotFound,
// Forbidden; Conflict if nothing is sent to it.
func (n *Notices) Test(ctx context.Context, id int64) (Delivery, error) {
	now := n.now().UTC()
	what := Notice{Kind: test, At: now, Data: Data{Title: "A test, asked for by " + auth.From(ctx).String(), URL: n.page("notice/%d", id)}}
	var out deliveryRow
	err := n.DB.InTx(ctx, func(tx db.Tx) error {
		r, err := n.owned(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.Stopped != "" {
			return albs.Errorf(albs.Conflict, "nothing is sent to subscription %d: %s; start it first", r.ID, r.Stopped)
		}
		d, err := n.delivery(r, "test:"+rand.Text(), digest{Notices: []Notice{what}})
		if err != nil {
			return err
		}
		if d.ID, err = insertDelivery(ctx, tx, d); err != nil {
			return err
		}
		if err := wakeLane(ctx, tx, r.ID, at(now)); err != nil {
			return err
		}
		tx.AfterCommit(func() { n.Events.Nudge(Topic) })
		out, err = getDelivery(ctx, tx, d.ID)
		return err
	})
	return deliveryOf(out), err
}

// digest is what one message tells.
type digest struct {
	Notices []Notice `json:"notices"`
	More    int      `json:"more,omitempty"` // advisories that aren't among them
}

// delivery returns the row of a message that waits, for a cause.
func (n *Notices) delivery(r subscriptionRow, cause string, what digest) (deliveryRow, error) {
	var body any = what
	if r.Channel == Webhook {
		body = what.Notices[0]
	}
	b, err := json.Marshal(body)
	if err != nil {
		return deliveryRow{}, fmt.Errorf("encode notice: %w", err)
	}
	now := at(n.now())
	return deliveryRow{
		Subscription: r.ID, Cause: cause, Message: "msg_" + rand.Text(), Kind: what.Notices[0].Kind, Title: line(subject(what), maxTitle), Document: string(b),
		CreatedAt: now, GiveUpAt: at(now.Add(giveUp)),
	}, nil
}

const maxTitle = 200

// page returns the URL of a page of the master.
func (n *Notices) page(format string, args ...any) string {
	return n.URL + "/" + fmt.Sprintf(format, args...)
}
