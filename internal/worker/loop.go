package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
)

// Job does the work of one lease. ctx ends when the work is to stop: the master
// said so, the lease is lost or out of reach, the worker shuts down; context.Cause
// tells which. A Job then kills everything it started and returns soon.
//
// With a nil error the attempt ends with the outcome and result as given. An error
// of kind Invalid or TooLarge ends it as failed, any other as infra, with the
// error's text as Reason where the result has none, and the result's Logs.
type Job func(ctx context.Context, s *Session) (albs.Outcome, albs.Result, error)

// Times are a Loop's times; a zero field is the default.
type Times struct {
	Wait     time.Duration // long poll of a claim, whole seconds; 30 s, which is the most
	Retry    time.Duration // pause after the master was away, doubling up to 16-fold; 500 ms
	Flush    time.Duration // age at which log lines are sent; 1 s
	Shutdown time.Duration // for reporting once ctx has ended; 5 s
}

// Loop claims tasks for one role, keeps their leases alive and delivers their
// ends. Its fields are set before Run.
//
// A finished attempt is on disk, in Spool, before it is reported, and is reported
// until the master takes or refuses it, also by a later Run. So work is never done
// twice for the master's absence, unless the lease ran out and another worker
// claimed the task: then the result is dropped with a line in the log.
type Loop struct {
	Master   Master
	Offer    func() Offer // what the worker can do now; Wait is set by the loop
	Job      Job
	Parallel int    // leases at once, at least 1
	Spool    string // a directory of this loop's own, on disk
	// StopEarly ends a Job's context when 0.8 of its lease has passed without
	// contact, by this machine's monotonic clock: for work whose effect is out of
	// the master's reach. Without it work goes on while the master is away.
	StopEarly bool
	Times     Times
	Log       zerolog.Logger
}

var (
	errShutdown = albs.Errorf(albs.Unavailable, "the worker was shut down")
	errRestart  = albs.Errorf(albs.Unavailable, "the worker was restarted in the middle of the work")
)

// Run claims and works until ctx ends, delivering first what an earlier Run left.
// At the end of ctx the work in hand is stopped and given back, so that it is queued
// again soon and has lost no attempt by the restart; what cannot be reported within Times.Shutdown stays in
// the spool for the next Run. It fails with Invalid if a field is missing, Conflict
// if another process uses the spool, Unavailable if that cannot be written.
func (l *Loop) Run(ctx context.Context) error {
	if l.Master == nil || l.Offer == nil || l.Job == nil || l.Parallel < 1 || l.Spool == "" {
		return albs.Errorf(albs.Invalid, "a worker loop needs a master, an offer, a job, a spool and at least one slot")
	}
	r := &run{Loop: l, times: l.Times}
	for _, t := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&r.times.Wait, MaxClaimWait * time.Second}, {&r.times.Retry, 500 * time.Millisecond},
		{&r.times.Flush, time.Second}, {&r.times.Shutdown, 5 * time.Second},
	} {
		if *t.field <= 0 {
			*t.field = t.value
		}
	}
	r.times.Wait = min(r.times.Wait, MaxClaimWait*time.Second)
	var err error
	if r.spool, err = openSpool(l.Spool); err != nil {
		return err
	}
	defer r.spool.close()
	left, err := r.spool.leftovers(r.Log)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, a := range left {
		wg.Go(func() { r.redeliver(ctx, a) })
	}
	slots := make(chan struct{}, l.Parallel)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		lease := r.claim(ctx)
		if lease == nil {
			return nil
		}
		wg.Go(func() {
			defer func() { <-slots }()
			r.work(ctx, lease)
		})
	}
}

// run is one Run of a Loop.
type run struct {
	*Loop
	times Times
	spool *spool
}

// claim returns the next lease, or nil at the end of ctx.
func (r *run) claim(ctx context.Context) *Lease {
	pause := r.times.Retry
	away := false
	for ctx.Err() == nil {
		offer := r.Offer()
		offer.Wait = int(r.times.Wait / time.Second)
		began := time.Now()
		lease, err := r.Master.Claim(ctx, offer)
		switch {
		case lease != nil && err == nil:
			if lease.Term <= 0 {
				r.Log.Error().Stringer("task_id", lease.Token.Task).Msg("the master leased without a term")
				lease.Term = time.Minute
			}
			return lease
		case err == nil:
			away, pause = false, r.times.Retry
			// A master that doesn't hold the poll must not be asked in a tight loop.
			if time.Since(began) < r.times.Wait/2 {
				sleep(ctx, jitter(r.times.Retry))
			}
			continue
		case ctx.Err() != nil:
			return nil
		}
		if !away {
			away = true
			r.Log.Warn().Err(err).Msg("no work can be claimed; asking on")
		}
		sleep(ctx, jitter(pause))
		pause = min(2*pause, 16*r.times.Retry)
	}
	return nil
}

// work does one lease from its claim to the end of its delivery.
func (r *run) work(ctx context.Context, lease *Lease) {
	log := r.Log.With().Stringer("task_id", lease.Token.Task).Str("kind", string(lease.Kind)).Int("attempt", lease.Attempt).Logger()
	claimed := time.Now()
	a, err := r.spool.begin(lease)
	if err != nil {
		log.Error().Err(err).Msg("the spool cannot be written; the task goes back")
		out, cancel := r.linger(ctx)
		defer cancel()
		reason := albs.Result{Reason: "the worker cannot write to its disk"}
		if err := r.Master.Complete(out, lease.Token, albs.OutcomeStopped, reason); err != nil {
			log.Warn().Err(err).Msg("the task could not be given back; its lease will expire")
		}
		// The next task would fare no better: leave it to other workers.
		sleep(ctx, jitter(r.times.Wait))
		return
	}
	log.Info().Msg("task begun")
	jobCtx, cancel := context.WithCancelCause(ctx)
	s := &Session{
		Lease: *lease, master: r.Master, attempt: a, stopEarly: r.StopEarly, pause: r.times.Retry, flush: r.times.Flush,
		cancel: cancel, full: make(chan struct{}, 1), contact: claimed, streams: make(map[string]*logStream),
	}
	// Renewing and sending logs outlive the job's context: a stopped job still has
	// last lines and an end to report.
	side, stopSide := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	if r.StopEarly {
		s.watchdog = time.AfterFunc(early(lease.Term), func() { cancel(errOutOfContact) })
		// When in a long poll the lease began is unknown; a renewal tells. Work whose
		// effect cannot be fenced isn't begun on a guess.
		if err := r.renew(side, s); err != nil {
			cancel(errOutOfContact)
		}
	}
	wg.Go(func() { r.keepLease(side, a, s) })
	shipCtx, stopShip := context.WithCancel(side)
	var shipping sync.WaitGroup
	shipping.Go(func() { s.ship(shipCtx) })

	end, drop := r.call(jobCtx, s, log)
	if s.watchdog != nil {
		s.watchdog.Stop()
	}
	cancel(nil)
	stopShip()
	shipping.Wait()
	if drop == nil {
		if err := a.finish(end); err != nil {
			// The delivery below still has it in memory; only a crash would lose it.
			log.Error().Err(err).Msg("the result cannot be written to the spool")
		}
		r.deliver(ctx, a, end, s.open(), log)
	} else {
		log.Warn().Err(drop).Msg("the lease was lost; the work was stopped and dropped")
		r.discard(a, log)
	}
	stopSide()
	wg.Wait()
	for _, st := range s.open() {
		_ = st.close() // only read from now on, and done with
	}
}

// call runs the job and says how the attempt ended; drop is why nothing of it is
// to be reported.
func (r *run) call(ctx context.Context, s *Session, log zerolog.Logger) (end completion, drop error) {
	outcome, result, err := albs.OutcomeInfra, albs.Result{}, context.Cause(ctx)
	if err == nil {
		outcome, result, err = r.guarded(ctx, s)
	}
	cause := context.Cause(ctx)
	switch {
	case cause == nil:
	case errors.Is(cause, albs.Stopped):
		return completion{albs.OutcomeStopped, albs.Result{Reason: "stopped as the master said"}}, nil
	case lost(cause):
		return completion{}, cause
	case err == nil && outcome == albs.OutcomeOK: // it was done before it noticed
	case errors.Is(cause, errOutOfContact):
		return completion{albs.OutcomeInfra, albs.Result{Reason: errOutOfContact.Error(), Logs: result.Logs}}, nil
	default:
		return completion{albs.OutcomeStopped, albs.Result{Reason: errShutdown.Error()}}, nil
	}
	if err == nil && !outcomes[outcome] {
		err = fmt.Errorf("the job ended with the outcome %q", outcome)
	}
	if err != nil {
		outcome = albs.OutcomeInfra
		if errors.Is(err, albs.Invalid) || errors.Is(err, albs.TooLarge) {
			outcome = albs.OutcomeFailed
		}
		log.Warn().Err(err).Str("outcome", string(outcome)).Msg("task ended with an error")
		result = albs.Result{Reason: result.Reason, Logs: result.Logs}
		if result.Reason == "" {
			result.Reason = albs.UserMessage(err)
		}
	}
	return completion{outcome, result}, nil
}

// guarded runs the job so that a panic over one task's input costs that attempt
// and not the process with all its roles.
func (r *run) guarded(ctx context.Context, s *Session) (outcome albs.Outcome, result albs.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the job panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return r.Job(ctx, s)
}

// renew asks once for another term and reports whether the master answered well.
func (r *run) renew(ctx context.Context, s *Session) (err error) {
	ctx, cancel := context.WithTimeout(ctx, s.Lease.Term/3)
	defer cancel()
	began := time.Now()
	if _, err = r.Master.Renew(ctx, s.Lease.Token); err == nil {
		s.renewed(began)
		return nil
	}
	s.note(err)
	return err
}

// keepLease renews each third of the term until ctx ends or the lease has. s is
// nil for an attempt of an earlier run.
func (r *run) keepLease(ctx context.Context, a *attempt, s *Session) {
	if s == nil {
		s = &Session{Lease: Lease{Token: a.Token, Term: a.Term}, cancel: func(error) {}}
	}
	log := r.Log.With().Stringer("task_id", a.Token.Task).Logger()
	wait, away := a.Term/3, false
	for sleep(ctx, wait) {
		err := r.renew(ctx, s)
		switch {
		case err == nil:
			if away {
				log.Info().Msg("the master is back")
			}
			wait, away = a.Term/3, false
		case errors.Is(err, albs.Stopped), lost(err):
			return
		case ctx.Err() == nil:
			if !away {
				log.Warn().Err(err).Msg("the lease cannot be renewed; trying on")
			}
			wait, away = min(a.Term/3, jitter(4*r.times.Retry)), true
		}
	}
}

// redeliver brings to its end what an earlier run left in the spool.
func (r *run) redeliver(ctx context.Context, a *attempt) {
	log := r.Log.With().Stringer("task_id", a.Token.Task).Logger()
	end, err := a.end()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			log.Error().Err(err).Msg("a result in the spool cannot be read")
		}
		end = completion{albs.OutcomeLost, albs.Result{Reason: errRestart.Error()}}
	}
	names, err := a.streams()
	if err != nil {
		log.Error().Err(err).Msg("logs in the spool cannot be read")
	}
	var streams []*logStream
	for _, name := range names {
		st, err := openStream(a, name, nil)
		if err != nil {
			log.Error().Err(err).Msg("a log in the spool cannot be read")
			continue
		}
		defer st.close()
		streams = append(streams, st)
	}
	side, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { r.keepLease(side, a, nil) })
	r.deliver(ctx, a, end, streams, log)
	stop()
	wg.Wait()
}

// linger returns a context that outlives ctx by Times.Shutdown.
func (r *run) linger(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		sleep(out, r.times.Shutdown)
		cancel()
	})
	return out, func() {
		stop()
		cancel()
	}
}
