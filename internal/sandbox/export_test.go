package sandbox

import (
	"context"
	"errors"
	"os"
	"time"

	"albs/internal/albs"
)

// WithoutRange makes e work as where the user has been lent no ids.
func (e *Engine) WithoutRange() { e.ids.Count = 0 }

// Sweep does what a new engine on e's folder begins with.
func (e *Engine) Sweep(ctx context.Context) error { return e.sweep(ctx) }

// Hold makes the folder of a root, as Overlay does. undo removes it again, or says that
// it has gone already.
func (e *Engine) Hold(ctx context.Context) (dir string, undo func() error, err error) {
	dir, unlock, err := e.newRoot(ctx, "")
	if err != nil {
		return "", nil, err
	}
	return dir, func() error {
		defer unlock()
		_, err := os.Stat(dir)
		return errors.Join(err, os.RemoveAll(dir))
	}, nil
}

// Gate takes the lock of the roots of e's folder: unix.LOCK_SH as who makes one,
// unix.LOCK_EX as who sweeps.
func (e *Engine) Gate(how int) (func(), error) { return lockFile(e.path("root.gate"), how) }

// Discard removes the base d as evicting does that found it last used at the time.
func (e *Engine) Discard(ctx context.Context, d albs.Digest, at time.Time) error {
	return e.discard(ctx, used{d: d, at: at})
}
