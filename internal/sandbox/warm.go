package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Warm has dnf read the metadata of repos now, once for all roots that are made on b from
// then on and use the same ones: of what is built and of what a product shows the base knows
// nothing, and each root would read them anew. No program of a package has a part in it.
// dnf's words go to log. What was read is kept until b and those roots are closed.
//
// Errors are Install's; the roots are as they would have been then.
func (b *Base) Warm(ctx context.Context, repos []Repo, log io.Writer) error {
	r, err := b.Overlay(ctx)
	if err != nil {
		return err
	}
	if err := b.e.dnf(ctx, r.place, repos, []string{"makecache"}, log); err != nil {
		return errors.Join(fmt.Errorf("read the metadata ahead: %w", err), r.Close())
	}
	b.warm.Swap(&layer{root: r, users: 1}).release()
	return nil
}

// layer is a root of which others see dnf's cache, below their own. The last who holds it
// closes it. Nil is none.
type layer struct {
	root  *Root
	mu    sync.Mutex
	users int
}

// hold reports whether l is there to be held, and holds it then.
func (l *layer) hold() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == 0 { // it was let go just now
		return false
	}
	l.users++
	return true
}

// release lets it go. What can't be removed the next New removes.
func (l *layer) release() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users--; l.users == 0 {
		_ = l.root.Close()
	}
}
