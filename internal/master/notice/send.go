package notice

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/failpoint"
)

// Of sending.
const (
	together = 8               // lanes at once
	lookAny  = 5 * time.Second // looks without being woken: for retries, and lost wake-ups
	lease    = 2 * time.Minute // of a lane, from one attempt to the next; longer than any
)

func jitter() float64 { return rand.Float64() }

// outcome is what became of an attempt.
type outcome struct {
	ok     bool
	final  bool   // another attempt can't do better
	gone   bool   // the receiver wants nothing any more
	reason string // for people; without what may be a secret
}

// send sends what waits until ctx is done, whose error it returns.
func (n *Notices) send(ctx context.Context) error {
	wake, stop := n.Events.Wake(Topic)
	defer stop()
	if !n.DB.Postgres() { // who had a lane was this master, before it died
		if err := freeLanes(ctx, n.DB, at(n.now())); err != nil {
			return fmt.Errorf("free lanes of notices: %w", err)
		}
	}
	t := time.NewTicker(lookAny)
	defer t.Stop()
	var lanes sync.WaitGroup
	defer lanes.Wait()
	slots, done := make(chan struct{}, together), make(chan struct{}, 1)
	for {
		if err := n.start(ctx, &lanes, slots, done); err != nil && ctx.Err() == nil {
			n.Log.Error().Err(err).Msg("notices can't be sent; it is tried again")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		case <-done:
		case <-t.C:
		}
	}
}

// start has the lanes served that are due, as far as there are slots.
func (n *Notices) start(ctx context.Context, lanes *sync.WaitGroup, slots, done chan struct{}) error {
	free := cap(slots) - len(slots)
	if free == 0 {
		return nil
	}
	ids, err := dueLanes(ctx, n.DB, at(n.now()), free)
	if err != nil {
		return fmt.Errorf("look for notices to send: %w", err)
	}
	for _, id := range ids {
		lane, err := n.claim(ctx, id)
		if errors.Is(err, albs.NotFound) {
			continue // another master has it
		}
		if err != nil {
			return err
		}
		slots <- struct{}{}
		lanes.Go(func() {
			if err := n.serve(ctx, lane); err != nil && ctx.Err() == nil && !errors.Is(err, albs.Conflict) {
				n.Log.Error().Err(err).Int64("subscription", id).Msg("a lane of notices ended early; it is tried again")
			}
			<-slots
			select {
			case done <- struct{}{}:
			default:
			}
		})
	}
	return nil
}

func (n *Notices) claim(ctx context.Context, id int64) (lane subscriptionRow, err error) {
	err = n.DB.InTx(ctx, func(tx db.Tx) error {
		now := n.now()
		lane, err = claimLane(ctx, tx, id, at(now), at(now.Add(lease)))
		return err
	})
	return lane, err
}

// serve sends what is due in a lane, one after another, until nothing is, an attempt
// fails, or ctx is done; then others may have it. Conflict if another has it already.
func (n *Notices) serve(ctx context.Context, lane subscriptionRow) error {
	for {
		now := n.now()
		d, err := nextDelivery(ctx, n.DB, lane.ID, at(now))
		if errors.Is(err, albs.NotFound) {
			return n.release(ctx, lane)
		}
		if err != nil {
			return errors.Join(err, n.release(ctx, lane))
		}
		var o outcome
		if d.GiveUpAt.After(now) {
			if o = n.transmit(ctx, lane, d); ctx.Err() != nil && !o.ok {
				return n.release(ctx, lane) // it is ended, not refused
			}
			if o.ok {
				failpoint.Here(failpoint.Told)
			}
			d.Attempts++
		} else {
			// It waited behind others that failed, or for this master to be back.
			o = outcome{final: true, reason: d.Reason}
			if o.reason == "" {
				o.reason = "it couldn't be sent in time"
			}
		}
		goOn, err := n.mark(ctx, &lane, d, o)
		if err != nil || !goOn {
			return err
		}
		if ctx.Err() != nil {
			return n.release(ctx, lane)
		}
	}
}

// mark writes what became of an attempt, and reports whether the lane goes on. What was
// sent is written down also when ctx is done, so that it isn't sent again.
func (n *Notices) mark(ctx context.Context, lane *subscriptionRow, d deliveryRow, o outcome) (goOn bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	now := n.now()
	until := at(now.Add(lease))
	d.Reason, goOn = o.reason, true
	switch {
	case o.ok:
		d.State, d.EndedAt, d.Reason = Sent, at(now), ""
		lane.Failures, lane.Paused = 0, at(now)
	case o.final:
		d.State, d.EndedAt = Dead, at(now)
	default:
		lane.Failures++
		lane.Paused = at(now.Add(pause(lane.Failures, n.jitter())))
		d.NextAt = at(now.Add(pause(d.Attempts, n.jitter())))
		if !d.NextAt.Before(d.GiveUpAt.Time) {
			d.State, d.EndedAt = Dead, at(now)
		}
		until, goOn = at(now), false
	}
	if o.gone {
		until, goOn = at(now), false
	}
	err = n.DB.InTx(ctx, func(tx db.Tx) error {
		if err := holdLane(ctx, tx, *lane, until); err != nil {
			return err
		}
		if err := markDelivery(ctx, tx, d); err != nil {
			return err
		}
		if !o.gone {
			return nil
		}
		if err := stopLane(ctx, tx, lane.ID, o.reason, at(now)); err != nil {
			return err
		}
		return n.tell(ctx, tx, eventStopped, *lane, d.ID, o.reason)
	})
	if err != nil {
		return false, err
	}
	log := n.Log.Info()
	if !o.ok {
		log = n.Log.Warn().Str("reason", o.reason).Time("next", d.NextAt.Time)
	}
	log.Int64("subscription", lane.ID).Int64("delivery", d.ID).Str("message", d.Message).Str("kind", string(d.Kind)).Str("state", string(d.State)).Int("attempts", d.Attempts).Msg("notice")
	return goOn, nil
}

// release lets others have a lane.
func (n *Notices) release(ctx context.Context, lane subscriptionRow) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return n.DB.InTx(ctx, func(tx db.Tx) error { return holdLane(ctx, tx, lane, at(n.now())) })
}

// transmit makes one attempt.
func (n *Notices) transmit(ctx context.Context, to subscriptionRow, d deliveryRow) outcome {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	if to.Channel == ByMail {
		return n.mailTo(ctx, to, d)
	}
	return n.post(ctx, to, d)
}

// attemptTime is how long one attempt takes at most, the answer included.
const attemptTime = 20 * time.Second
