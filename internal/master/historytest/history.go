// Package historytest reads what a master left (database, ledger, blobs, public
// place) and names every invariant that it breaks. Fault tests run it after every
// fault; it is itself tested on planted violations.
//
// It trusts nothing that the modules say of themselves: it reads the rows by
// statements of its own, hashes every blob, verifies every signature, and asks the
// ledger for a proof of every statement. The master must not run meanwhile, for the
// ledger has one owner.
//
//	I1   one accepted completion per attempt, fences that only grow            task.go
//	I2   tasks move along declared edges; what isn't final can go on           task.go
//	I3   an acknowledged blob is there and hashes to its name                  blob.go
//	I4   what is referred to is there                                          blob.go
//	I5   nothing is signed but by ledger, request, tests and key, and nothing
//	     shown unsigned                                                        sign.go
//	I6   one signed file of one unsigned file and key                          sign.go
//	I7   what readers see is one complete tree; serials only grow              public.go
//	I8   a name once released never stands for other bytes                     public.go
//	I9   what was stated is in the ledger, once, as it was, after its cause    record.go
//	I10  secrets stay in their role                                            secret.go
//	I11  what people must do was done by people, by two where that is asked    actor.go
//
// I12, that limits of memory, disk and time hold, leaves no trace to read.
package historytest

import (
	"context"
	"fmt"
	"syscall"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/ledger"
	"albs/internal/master/db"
	"albs/internal/repodata"
)

// Place says where what a master left lies.
type Place struct {
	DB     *db.DB
	Blobs  blob.Store
	Ledger ledger.Ledger
	Public string   // the releaser's public place; "" if none is looked at
	Logs   []string // files and folders that are searched for secrets besides
	Hidden []string // strings that must be nowhere, beside what looks like a token or a private key
}

// Violation is one broken invariant.
type Violation struct {
	Invariant string // I1 to I11
	What      string
}

// String returns the invariant and what breaks it.
func (v Violation) String() string { return v.Invariant + ": " + v.What }

// checker collects violations.
type checker struct {
	Place
	trees []shownTree
	found []Violation

	// What never changes is read once, also by a Watch: each blob that was read whole,
	// with what it came to; signed packages that were found good; snapshots, entry lists and
	// signatures by what was looked at in them; the packages that they named, by product,
	// path and NEVRA; what the snapshots that readers see list; and files of the public
	// place, for as long as they are the ones that were read.
	hashed map[albs.Digest]hashed
	good   map[albs.Digest]bool
	looked map[string]bool
	names  map[string]albs.Digest
	listed map[albs.Digest][]repodata.Entry
	read   map[file]albs.Digest

	// needed is what the snapshots reach that were looked at, each by one of them. It was
	// there then, and has to be there again and again.
	needed  map[albs.Digest]albs.Digest
	retired int // trees by then: what only those need may go
}

// file is what tells a file from another one, and from itself before its bytes, its name
// or anything else of it was changed.
type file struct {
	device, inode    uint64
	size             int64
	modified, change syscall.Timespec
}

// hashed is the size of a blob whose bytes hash to its name, or what is wrong with it.
type hashed struct {
	size int64
	err  error
}

// shownTree is a tree that a product has shown.
type shownTree struct {
	repodata.Tree
	digest albs.Digest
}

func (c *checker) broken(invariant, format string, args ...any) {
	c.found = append(c.found, Violation{invariant, fmt.Sprintf(format, args...)})
}

// Check returns every violation that it finds. An error means that something could
// not be read at all.
func Check(ctx context.Context, p Place) ([]Violation, error) {
	c := newChecker(p)
	return c.run(ctx,
		c.attempts, c.tasks, c.moves,
		c.blobs, c.history, c.references, c.named,
		c.signed, c.documents,
		c.public, c.released,
		c.records,
		c.secrets,
		c.actors, c.approvals,
	)
}

// Watch checks I4 to I8 of a history again and again while it grows. While it checks, no
// work may be under way; the master may run, if the place has its own ledger and database.
type Watch struct{ c *checker }

// NewWatch returns a Watch that has seen nothing yet.
func NewWatch(p Place) *Watch { return &Watch{newChecker(p)} }

// Check is the function Check, for I4 to I8. What is never changed and was found good
// before isn't read again, but it has to be there; nor is a file that readers see, as long
// as its inode, size and times say that it is the one that was read.
func (w *Watch) Check(ctx context.Context) ([]Violation, error) {
	c := w.c
	c.trees, c.found = nil, nil
	return c.run(ctx, c.history, c.references, c.named, c.signed, c.documents, c.public, c.released)
}

func newChecker(p Place) *checker {
	return &checker{
		Place: p, hashed: map[albs.Digest]hashed{}, good: map[albs.Digest]bool{}, looked: map[string]bool{}, names: map[string]albs.Digest{},
		listed: map[albs.Digest][]repodata.Entry{}, read: map[file]albs.Digest{}, needed: map[albs.Digest]albs.Digest{},
	}
}

func (c *checker) run(ctx context.Context, checks ...func(context.Context) error) ([]Violation, error) {
	for _, check := range checks {
		if err := check(ctx); err != nil {
			return c.found, err
		}
	}
	return c.found, nil
}
