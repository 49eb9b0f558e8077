package testrun

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
)

// Skip is a stage that isn't carried out for the packages of one name on a platform.
type Skip struct {
	ID       int64          `db:"id"`
	Platform string         `db:"platform"`
	Package  string         `db:"package"` // exactly so, no pattern and no beginning of one
	Stage    albs.TestStage `db:"stage"`
	Reason   string         `db:"reason"`
	Actor    string         `db:"actor"`
	At       db.Time        `db:"created_at"`
}

// Bounds of the skip list.
const (
	maxSkips      = 10_000 // of a platform
	maxSkipReason = 500    // bytes
)

var packageForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,199}$`)

// Check returns an Invalid error that says what in s is wrong, whatever its platform.
func (s Skip) Check() error {
	switch {
	case !packageForm.MatchString(s.Package):
		return albs.Errorf(albs.Invalid, "package %.80q: name one package exactly, without its version; there are no patterns", s.Package)
	case !s.Stage.Known() || s.Stage.Setup():
		return albs.Errorf(albs.Invalid, "stage %.40q is none that can be skipped", s.Stage)
	case !oneLine(s.Reason, maxSkipReason):
		return albs.Errorf(albs.Invalid, "say why it is skipped, in one line of at most %d bytes", maxSkipReason)
	}
	return nil
}

// skipsOf returns the stages among stages that are skipped for a package.
func skipsOf(skips []Skip, name string, stages []albs.TestStage) []albs.TestSkip {
	var out []albs.TestSkip
	for _, s := range skips {
		if s.Package == name && slices.Contains(stages, s.Stage) {
			out = append(out, albs.TestSkip{Stage: s.Stage, Reason: s.Reason})
		}
	}
	return out
}

// Skips returns the skip list of a platform, or of all with "", by platform, package and stage.
func (t *Tests) Skips(ctx context.Context, platform string) ([]Skip, error) {
	out, err := t.store.skips(ctx, t.store.d, platform)
	if err != nil {
		return nil, fmt.Errorf("read the skip list: %w", err)
	}
	return out, nil
}

// AddSkip puts s on the skip list, with the actor, and returns it as it is kept; it holds
// for runs that are claimed from then on. It is Forbidden without platform.apply, Invalid if
// s has a fault, NotFound for an unknown platform, Conflict if the stage is on the list
// for the package, and TooLarge if the list is full. It is durable on return.
func (t *Tests) AddSkip(ctx context.Context, s Skip) (Skip, error) {
	if err := auth.Can(ctx, auth.PlatformApply, auth.Object{}); err != nil {
		return Skip{}, err
	}
	if err := s.Check(); err != nil {
		return Skip{}, err
	}
	if _, err := t.platforms.Get(ctx, s.Platform); err != nil {
		return Skip{}, err
	}
	s.Actor, s.At = auth.From(ctx).String(), db.Now()
	err := t.store.d.InTx(ctx, func(tx db.Tx) error {
		have, err := t.store.skips(ctx, tx, s.Platform)
		if err != nil {
			return fmt.Errorf("read the skip list: %w", err)
		}
		if len(have) >= maxSkips {
			return albs.Errorf(albs.TooLarge, "the skip list of platform %s has %d entries and takes no more", s.Platform, maxSkips)
		}
		if s.ID, err = t.store.addSkip(ctx, tx, s); err != nil {
			return err
		}
		return t.events.Add(ctx, tx, "testrun.skip.added", "platform:"+s.Platform, s.Actor, map[string]any{"package": s.Package, "stage": s.Stage, "reason": s.Reason})
	})
	if db.IsUnique(err) {
		return Skip{}, albs.Errorf(albs.Conflict, "the stage %s of %s is on the skip list of platform %s", s.Stage, s.Package, s.Platform)
	}
	return s, err
}

// RemoveSkip takes an entry off the skip list. It is Forbidden without platform.apply and
// NotFound if there is none of that id.
func (t *Tests) RemoveSkip(ctx context.Context, id int64) error {
	if err := auth.Can(ctx, auth.PlatformApply, auth.Object{}); err != nil {
		return err
	}
	return t.store.d.InTx(ctx, func(tx db.Tx) error {
		s, err := t.store.removeSkip(ctx, tx, id)
		if err != nil {
			return err
		}
		return t.events.Add(ctx, tx, "testrun.skip.removed", "platform:"+s.Platform, auth.From(ctx).String(), map[string]any{"package": s.Package, "stage": s.Stage, "reason": s.Reason})
	})
}
