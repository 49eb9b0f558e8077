// Package further brings places in buckets and on other hosts to what the releaser's
// directory shows. Its one rule, Bring, is that of the directory, too.
package further

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/bucket"
	"albs/internal/worker/releaser/laid"
)

// Place is what an operator may set of a further place, in which readers find what
// the releaser's directory shows.
type Place struct {
	// Name is what logs call it.
	Name string `yaml:"name"`
	// URL is where readers find the place, as Config.URL is of the directory.
	URL string `yaml:"url"`
	// Products are those that the place shows; none is all.
	Products []string `yaml:"products"`
	// S3 and Rsync are where it is: one of the two.
	S3    bucket.Config `yaml:"s3"`
	Rsync Rsync         `yaml:"rsync"`
}

// String says, for people, which place it is.
func (p Place) String() string {
	if p.Rsync != (Rsync{}) {
		return fmt.Sprintf("%s, %s:%s by rsync", p.Name, p.Rsync.Host, p.Rsync.Path)
	}
	return fmt.Sprintf("%s, %s, bucket %s", p.Name, p.S3.Endpoint, path.Join(p.S3.Bucket, p.S3.Prefix))
}

// Check returns what is wrong with the place as it is written, as Invalid; at is where
// that is.
func (p Place) Check(at string) error {
	if p.Name == "" || len(p.Name) > 40 || strings.ContainsFunc(p.Name, func(c rune) bool {
		return c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	}) {
		return albs.Errorf(albs.Invalid, "%s.name is %.60q: give it a name of at most 40 letters, digits, -, _ and .", at, p.Name)
	}
	at = "place " + p.Name
	if err := laid.CheckURL(at+": url", p.URL); err != nil {
		return err
	}
	inS3, byRsync := p.S3 != (bucket.Config{}), p.Rsync != (Rsync{})
	switch {
	case inS3 == byRsync:
		return albs.Errorf(albs.Invalid, "%s: give either s3 or rsync", at)
	case inS3 && p.URL == "":
		return albs.Errorf(albs.Invalid, "%s: url is missing: readers of a bucket find repositories by its mirrorlists, which hold addresses", at)
	}
	if err := p.S3.Check(); err != nil {
		return fmt.Errorf("%s: s3: %w", at, err)
	}
	if err := p.Rsync.check(); byRsync && err != nil {
		return fmt.Errorf("%s: rsync: %w", at, err)
	}
	return nil
}

// Opener is how a product's part of a place is opened, by what the directory shows of it.
// What is done there is told in log.
type Opener func(from *laid.Product, log io.Writer) Remote

// Opener returns that of the place; spool is a folder for what is on its way there. It
// fails if a bucket's keys can't be read.
func (p Place) Opener(spool string) (Opener, error) {
	if p.Rsync != (Rsync{}) {
		return func(from *laid.Product, log io.Writer) Remote { return newOnHost(p, spool, from, log) }, nil
	}
	b, err := bucket.New(p.S3, bucket.Usual)
	if err != nil {
		return nil, fmt.Errorf("place %s: %w", p.Name, err)
	}
	return func(from *laid.Product, log io.Writer) Remote { return newInBucket(b, p, from, log) }, nil
}

// Has reports whether the place shows a product.
func (p Place) Has(product string) bool {
	return len(p.Products) == 0 || slices.Contains(p.Products, product)
}

// Target is one product's place as one tree is brought to it.
type Target interface {
	// Shown returns the serial and the tree that readers are led to, 0 if none.
	Shown(ctx context.Context) (int64, albs.Digest, error)
	// Lay makes the tree complete beside the one of serial shown, which readers go on to
	// see whole. What an earlier attempt completed stays.
	Lay(ctx context.Context, shown int64) error
	// Show leads readers to the tree that was laid. It is Invalid if they have been led
	// to the same serial or a later one meanwhile, as far as the kind of place can tell.
	Show(ctx context.Context) error
	// Settle makes up for what an attempt left undone that died after it had led readers
	// to this very tree.
	Settle(ctx context.Context) error
}

// Bring brings a place to the tree of that serial and digest. It may be repeated after
// any crash: what is there already stays, and a tree that is shown already is success.
// Another tree of the serial that is shown, and any lower serial, is Invalid. check is
// asked right before readers are led to the tree.
func Bring(ctx context.Context, t Target, serial int64, tree albs.Digest, check func(context.Context) error, log io.Writer) error {
	shown, digest, err := t.Shown(ctx)
	if err != nil {
		return err
	}
	if shown == serial && digest == tree {
		fmt.Fprintf(log, "serial %d is shown already\n", shown)
		return t.Settle(ctx)
	}
	if shown >= serial {
		return StepBack(shown, serial)
	}
	if err := t.Lay(ctx, shown); err != nil {
		return err
	}
	// The one effect that the master can't fence: last of all, and only while the
	// lease is certainly ours.
	if err := check(ctx); err != nil {
		return err
	}
	if err := t.Show(ctx); err != nil {
		return err
	}
	fmt.Fprintf(log, "serial %d is shown in place of %d\n", serial, shown)
	return nil
}

// StepBack is the error of a serial that is no higher than the one that is shown.
func StepBack(shown, serial int64) error {
	return albs.Errorf(albs.Invalid, "serial %d is shown already; serial %d would be a step back", shown, serial)
}

// Remote is a target that keeps to what the directory has.
type Remote interface {
	Target
	// Prove brings what the directory has beside packages to those that the place shows.
	// It is called only while the place shows what the directory does, and may be
	// repeated.
	Prove(ctx context.Context) error
	// Prune removes what the directory has no more. It is called only while the place shows
	// what the directory does, and long after that was switched to.
	Prune(ctx context.Context) error
}
