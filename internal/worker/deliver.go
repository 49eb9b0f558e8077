package worker

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rs/zerolog"

	"albs/internal/albs"
)

// maxFailures is how often in a row the master may fail on a result by itself, an
// internal error and no mere absence, before the task goes back without it: five
// minutes by the default times. Without an end such a result would keep its lease,
// and the loop's slot, for good.
const maxFailures = 40

// deliver reports an ended attempt until the master takes or refuses it, or, at the
// end of ctx, for Times.Shutdown more; what is undelivered then stays in the spool.
func (r *run) deliver(ctx context.Context, a *attempt, end completion, logs []*logStream, log zerolog.Logger) {
	out, cancel := r.linger(ctx)
	defer cancel()
	pause, away, failures := r.times.Retry, false, 0
	for {
		err := r.report(out, a, end, logs, log)
		if err != nil && albs.KindOf(err) == albs.Internal {
			failures++
		} else {
			failures = 0
		}
		switch {
		case err == nil:
			log.Info().Str("outcome", string(end.Outcome)).Msg("task ended")
			r.discard(a, log)
			return
		case errors.Is(err, albs.Stopped) && end.Outcome != albs.OutcomeStopped:
			end = completion{albs.OutcomeStopped, albs.Result{Reason: "stopped as the master said"}}
			continue
		case lost(err):
			log.Warn().Err(err).Str("outcome", string(end.Outcome)).Msg("the lease was lost; the finished result is dropped")
			r.discard(a, log)
			return
		case errors.Is(err, albs.Invalid), errors.Is(err, albs.Stopped):
			log.Warn().Err(err).Msg("the master refused the result; the attempt has ended")
			r.discard(a, log)
			return
		case errors.Is(err, albs.TooLarge):
			if end.Outcome == albs.OutcomeFailed && end.Result.Logs == nil {
				log.Error().Err(err).Msg("the master takes no result of this attempt; its lease will expire")
				r.discard(a, log)
				return
			}
			log.Warn().Err(err).Msg("the result is too large")
			end = completion{albs.OutcomeFailed, albs.Result{Reason: "the result is too large: " + albs.UserMessage(err)}}
			continue
		case failures >= maxFailures && end.Outcome != albs.OutcomeInfra:
			log.Error().Err(err).Msg("the master fails on the result time and again; the task goes back without it")
			end, failures = completion{albs.OutcomeInfra, albs.Result{Reason: "the master failed on the result each time: " + albs.UserMessage(err)}}, 0
			continue
		}
		if !away {
			away = true
			log.Warn().Err(err).Msg("the result is kept until the master takes it")
		}
		// The pause stays well below the lease's term, so that a master which is back
		// gets the result before it gives the task to another.
		if !sleep(ctx, jitter(min(pause, max(r.times.Retry, a.Term/3)))) {
			if out.Err() != nil || !sleep(out, jitter(r.times.Retry)) {
				log.Warn().Msg("the result stays in the spool for the next start")
				return
			}
		}
		pause = min(2*pause, 16*r.times.Retry)
	}
}

// report makes one try: logs, waiting files, the end.
func (r *run) report(ctx context.Context, a *attempt, end completion, logs []*logStream, log zerolog.Logger) error {
	for _, st := range logs {
		err := st.send(ctx, r.Master)
		if errors.Is(err, albs.Unavailable) || lost(err) || errors.Is(err, albs.NoSpace) {
			return err
		}
		if err != nil {
			log.Warn().Err(err).Str("stream", st.name).Msg("the rest of a log is not taken")
		}
	}
	if end.Outcome != albs.OutcomeStopped {
		if err := r.sendFiles(ctx, a); err != nil {
			return err
		}
	}
	return r.Master.Complete(ctx, a.Token, end.Outcome, end.Result)
}

// sendFiles uploads what waits in the spool.
func (r *run) sendFiles(ctx context.Context, a *attempt) error {
	waiting, err := a.files()
	if err != nil {
		return err
	}
	for _, name := range waiting {
		if err := r.sendFile(ctx, a, albs.Digest(name)); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) sendFile(ctx context.Context, a *attempt, d albs.Digest) error {
	f, err := os.Open(a.filePath(d))
	if err != nil {
		return fmt.Errorf("open a kept upload: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open a kept upload: %w", err)
	}
	return putFile(ctx, r.Master, a.Token, d, f, info.Size(), r.times.Retry)
}

func (r *run) discard(a *attempt, log zerolog.Logger) {
	if err := a.remove(); err != nil {
		log.Error().Err(err).Msg("the spool cannot be cleared")
	}
}
