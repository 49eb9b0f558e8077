package notice

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
)

type subscriptionRow struct {
	ID        int64   `db:"id"`
	Team      string  `db:"team"`
	Channel   Channel `db:"channel"`
	Target    string  `db:"target"`
	Note      string  `db:"note"`
	Filter    string  `db:"filter"`
	Builds    bool    `db:"builds"`
	Salt      string  `db:"salt"`
	Revision  int64   `db:"revision"`
	Actor     string  `db:"actor"`
	CreatedAt db.Time `db:"created_at"`
	ChangedAt db.Time `db:"changed_at"`
	Stopped   string  `db:"stopped"`
	Failures  int     `db:"failures"`
	Paused    db.Time `db:"paused_until"`
	Claim     int64   `db:"claim"`
}

const subscriptionColumns = `id, team, channel, target, note, filter, builds, salt, revision, actor, created_at, changed_at, stopped, failures, paused_until, claim`

// set puts a filter into the row.
func (r *subscriptionRow) set(f Filter) error {
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode filter: %w", err)
	}
	r.Filter, r.Builds = string(b), wantsBuilds(f.Kinds)
	return nil
}

func (r subscriptionRow) filter() (f Filter, err error) {
	if err := json.Unmarshal([]byte(r.Filter), &f); err != nil {
		return f, fmt.Errorf("filter of subscription %d: %w", r.ID, err)
	}
	return f, nil
}

func insertSubscription(ctx context.Context, tx db.Tx, r *subscriptionRow) error {
	return tx.GetContext(ctx, &r.ID, `INSERT INTO notice_subscription (team, channel, target, note, filter, builds, salt, revision, actor, created_at, changed_at,
			stopped, failures, paused_until, claim, claimed_until)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, '', 0, $10, 0, $10) RETURNING id`,
		r.Team, r.Channel, r.Target, r.Note, r.Filter, r.Builds, r.Salt, r.Revision, r.Actor, r.CreatedAt)
}

// updateSubscription writes what a person may change; Conflict if another changed it since.
func updateSubscription(ctx context.Context, tx db.Tx, r subscriptionRow) error {
	res, err := tx.ExecContext(ctx, `UPDATE notice_subscription SET target = $3, note = $4, filter = $5, builds = $6, stopped = $7, failures = $8, paused_until = $9,
			changed_at = $10, revision = revision + 1 WHERE id = $1 AND revision = $2`,
		r.ID, r.Revision, r.Target, r.Note, r.Filter, r.Builds, r.Stopped, r.Failures, r.Paused, r.ChangedAt)
	return db.One(res, err, "subscription %d was changed meanwhile: look at it again", r.ID)
}

func deleteSubscription(ctx context.Context, tx db.Tx, id int64) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM notice_delivery WHERE subscription_id = $1`, id); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM notice_subscription WHERE id = $1`, id)
	return err
}

func getSubscription(ctx context.Context, q db.Q, id int64) (r subscriptionRow, err error) {
	err = q.GetContext(ctx, &r, `SELECT `+subscriptionColumns+` FROM notice_subscription WHERE id = $1`, id)
	return r, db.Found(err, "subscription %d", id)
}

// selectSubscriptions returns those of a scope, by id.
func selectSubscriptions(ctx context.Context, q db.Q, s auth.Scope) (rows []subscriptionRow, err error) {
	query, args := `SELECT `+subscriptionColumns+` FROM notice_subscription ORDER BY id`, []any(nil)
	if !s.All {
		if len(s.Teams) == 0 {
			return nil, nil
		}
		if query, args, err = db.In(`SELECT `+subscriptionColumns+` FROM notice_subscription WHERE team IN (?) ORDER BY id`, s.Teams); err != nil {
			return nil, err
		}
	}
	err = q.SelectContext(ctx, &rows, query, args...)
	return rows, err
}

// active returns the subscriptions to which something is sent, by id.
func active(ctx context.Context, q db.Q) (rows []subscriptionRow, err error) {
	err = q.SelectContext(ctx, &rows, `SELECT `+subscriptionColumns+` FROM notice_subscription WHERE stopped = '' ORDER BY id`)
	return rows, err
}

func countSubscriptions(ctx context.Context, q db.Q) (n int, err error) {
	err = q.GetContext(ctx, &n, `SELECT count(*) FROM notice_subscription`)
	return n, err
}

// someWantBuilds reports whether one of them asks for builds.
func someWantBuilds(ctx context.Context, q db.Q) (bool, error) {
	var n int
	err := q.GetContext(ctx, &n, `SELECT count(*) FROM notice_subscription WHERE builds AND stopped = ''`)
	return n > 0, err
}

type deliveryRow struct {
	ID           int64   `db:"id"`
	Subscription int64   `db:"subscription_id"`
	Cause        string  `db:"cause"`
	Message      string  `db:"message"`
	Kind         Kind    `db:"kind"`
	Title        string  `db:"title"`
	Document     string  `db:"document"`
	State        State   `db:"state"`
	Attempts     int     `db:"attempts"`
	Reason       string  `db:"reason"`
	CreatedAt    db.Time `db:"created_at"`
	NextAt       db.Time `db:"next_at"`
	GiveUpAt     db.Time `db:"give_up_at"`
	EndedAt      db.Time `db:"ended_at"`
}

const deliveryColumns = `id, subscription_id, cause, message, kind, title, document, state, attempts, reason, created_at, next_at, give_up_at, ended_at`

// insertDelivery adds one that waits; of a cause that there is already, nothing changes.
func insertDelivery(ctx context.Context, tx db.Tx, r deliveryRow) (id int64, err error) {
	err = tx.GetContext(ctx, &id, `INSERT INTO notice_delivery (subscription_id, cause, message, kind, title, document, state, attempts, reason, created_at, next_at, give_up_at)
		VALUES ($1, $2, $3, $4, $5, $6, 'waiting', 0, '', $7, $7, $8) ON CONFLICT (subscription_id, cause) DO NOTHING RETURNING id`,
		r.Subscription, r.Cause, r.Message, r.Kind, r.Title, r.Document, r.CreatedAt, r.GiveUpAt)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

func getDelivery(ctx context.Context, q db.Q, id int64) (r deliveryRow, err error) {
	err = q.GetContext(ctx, &r, `SELECT `+deliveryColumns+` FROM notice_delivery WHERE id = $1`, id)
	return r, db.Found(err, "delivery %d", id)
}

// selectDeliveries returns the newest of a subscription before one (0 is none), without
// what they say.
func selectDeliveries(ctx context.Context, q db.Q, subscription, before int64, limit int) (rows []deliveryRow, err error) {
	var w db.Where
	w.If(true, "subscription_id = $%d", subscription)
	w.If(before != 0, "id < $%d", before)
	where, args := w.SQL()
	err = q.SelectContext(ctx, &rows, fmt.Sprintf(`SELECT id, subscription_id, cause, message, kind, title, '' AS document, state, attempts, reason, created_at, next_at, give_up_at, ended_at
		FROM notice_delivery WHERE %s ORDER BY id DESC LIMIT %d`, where, limit), args...)
	return rows, err
}

// counts returns how many of a subscription's deliveries, or of each one's if id is 0, are
// in each state.
func counts(ctx context.Context, q db.Q, id int64) (map[int64]map[State]int, error) {
	var rows []struct {
		ID    int64 `db:"subscription_id"`
		State State `db:"state"`
		N     int   `db:"n"`
	}
	var w db.Where
	w.If(id != 0, "subscription_id = $%d", id)
	where, args := w.SQL()
	if err := q.SelectContext(ctx, &rows, `SELECT subscription_id, state, count(*) AS n FROM notice_delivery WHERE `+where+` GROUP BY subscription_id, state`, args...); err != nil {
		return nil, err
	}
	out := map[int64]map[State]int{}
	for _, r := range rows {
		if out[r.ID] == nil {
			out[r.ID] = map[State]int{}
		}
		out[r.ID][r.State] = r.N
	}
	return out, nil
}

// again has a dead delivery wait anew; Conflict if it isn't dead.
func again(ctx context.Context, tx db.Tx, id int64, now, until db.Time) error {
	res, err := tx.ExecContext(ctx, `UPDATE notice_delivery SET state = 'waiting', next_at = $2, give_up_at = $3, ended_at = NULL WHERE id = $1 AND state = 'dead'`, id, now, until)
	return db.One(res, err, "delivery %d isn't dead: only one that is can be sent again", id)
}

// wake ends a lane's pause.
func wakeLane(ctx context.Context, tx db.Tx, id int64, now db.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE notice_subscription SET paused_until = $2 WHERE id = $1`, id, now)
	return err
}

// Lanes. A lane is had by whoever claimed it last, until a time.

// dueLanes returns lanes in which something is to be sent and that nobody has, those had
// longest ago first.
func dueLanes(ctx context.Context, q db.Q, now db.Time, limit int) (ids []int64, err error) {
	err = q.SelectContext(ctx, &ids, `SELECT s.id FROM notice_subscription s WHERE s.stopped = '' AND s.paused_until <= $1 AND s.claimed_until <= $1
			AND EXISTS (SELECT 1 FROM notice_delivery d WHERE d.subscription_id = s.id AND d.state = 'waiting' AND d.next_at <= $1)
		ORDER BY s.claimed_until, s.id LIMIT $2`, now, limit)
	return ids, err
}

// claimLane takes a lane; NotFound if another was faster.
func claimLane(ctx context.Context, tx db.Tx, id int64, now, until db.Time) (r subscriptionRow, err error) {
	err = tx.GetContext(ctx, &r, `UPDATE notice_subscription SET claim = claim + 1, claimed_until = $3 WHERE id = $1 AND claimed_until <= $2 AND paused_until <= $2 AND stopped = ''
		RETURNING `+subscriptionColumns, id, now, until)
	return r, db.Found(err, "lane %d to be had", id)
}

// freeLanes takes all lanes from who has them.
func freeLanes(ctx context.Context, q db.Q, now db.Time) error {
	_, err := q.ExecContext(ctx, `UPDATE notice_subscription SET claim = claim + 1, claimed_until = $1 WHERE claimed_until > $1`, now)
	return err
}

// holdLane writes how a lane stands and until when it is had; Conflict if another has it,
// or it isn't there any more.
func holdLane(ctx context.Context, tx db.Tx, lane subscriptionRow, until db.Time) error {
	res, err := tx.ExecContext(ctx, `UPDATE notice_subscription SET failures = $3, paused_until = $4, claimed_until = $5 WHERE id = $1 AND claim = $2`,
		lane.ID, lane.Claim, lane.Failures, lane.Paused, until)
	return db.One(res, err, "another has lane %d", lane.ID)
}

// nextDelivery returns what is to be sent next in a lane; NotFound if nothing is.
func nextDelivery(ctx context.Context, q db.Q, lane int64, now db.Time) (r deliveryRow, err error) {
	err = q.GetContext(ctx, &r, `SELECT `+deliveryColumns+` FROM notice_delivery WHERE subscription_id = $1 AND state = 'waiting' AND next_at <= $2
		ORDER BY next_at, id LIMIT 1`, lane, now)
	return r, db.Found(err, "delivery that is due in lane %d", lane)
}

// markDelivery writes what became of an attempt, unless a person did something with the
// delivery meanwhile.
func markDelivery(ctx context.Context, tx db.Tx, r deliveryRow) error {
	_, err := tx.ExecContext(ctx, `UPDATE notice_delivery SET state = $2, attempts = $3, reason = $4, next_at = $5, ended_at = $6 WHERE id = $1 AND state = 'waiting'`,
		r.ID, r.State, r.Attempts, r.Reason, r.NextAt, r.EndedAt)
	return err
}

// stopLane has nothing sent to a subscription any more, for the reason, with which what
// waits is dead.
func stopLane(ctx context.Context, tx db.Tx, id int64, reason string, now db.Time) error {
	if _, err := tx.ExecContext(ctx, `UPDATE notice_subscription SET stopped = $2, changed_at = $3, revision = revision + 1 WHERE id = $1 AND stopped = ''`, id, reason, now); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE notice_delivery SET state = 'dead', reason = $2, ended_at = $3 WHERE subscription_id = $1 AND state = 'waiting'`, id, reason, now)
	return err
}

// prune removes deliveries that ended before a time.
func prune(ctx context.Context, tx db.Tx, before db.Time) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM notice_delivery WHERE ended_at IS NOT NULL AND ended_at < $1`, before)
	return err
}

type buildRow struct {
	Build albs.BuildID `db:"build_id"`
	Event int64        `db:"event_id"`
}

// lookAt notes that somebody has to look whether a build has ended.
func lookAt(ctx context.Context, q db.Q, r buildRow) error {
	_, err := q.ExecContext(ctx, `INSERT INTO notice_build (build_id, event_id) VALUES ($1, $2) ON CONFLICT (build_id) DO UPDATE SET event_id = excluded.event_id`, r.Build, r.Event)
	return err
}

func toLookAt(ctx context.Context, q db.Q, after albs.BuildID, limit int) (rows []buildRow, err error) {
	err = q.SelectContext(ctx, &rows, `SELECT build_id, event_id FROM notice_build WHERE build_id > $1 ORDER BY build_id LIMIT $2`, after, limit)
	return rows, err
}

// lookedAt forgets a build, unless something happened since.
func lookedAt(ctx context.Context, tx db.Tx, r buildRow) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM notice_build WHERE build_id = $1 AND event_id = $2`, r.Build, r.Event)
	return err
}

func at(t time.Time) db.Time { return db.At(t) }
