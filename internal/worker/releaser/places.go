package releaser

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/bucket"
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

// Check returns what is wrong with the configuration as it is written, as Invalid.
func (c Config) Check() error {
	if err := checkURL("releaser.url", c.URL); err != nil {
		return err
	}
	names := map[string]bool{}
	for i, p := range c.Places {
		at := fmt.Sprintf("releaser.places[%d]", i)
		if p.Name == "" || len(p.Name) > 40 || strings.ContainsFunc(p.Name, func(c rune) bool {
			return c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
		}) {
			return albs.Errorf(albs.Invalid, "%s.name is %.60q: give it a name of at most 40 letters, digits, -, _ and .", at, p.Name)
		}
		if names[p.Name] {
			return albs.Errorf(albs.Invalid, "%s: there is another place %s", at, p.Name)
		}
		names[p.Name] = true
		at = "place " + p.Name
		if err := checkURL(at+": url", p.URL); err != nil {
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
	}
	return nil
}

// has reports whether the place shows a product.
func (p Place) has(product string) bool {
	return len(p.Products) == 0 || slices.Contains(p.Products, product)
}

// target is one product's place as one tree is brought to it.
type target interface {
	// shown returns the serial and the tree that readers are led to, 0 if none.
	shown(ctx context.Context) (int64, albs.Digest, error)
	// lay makes the tree complete beside the one of serial shown, which readers go on to
	// see whole. What an earlier attempt completed stays.
	lay(ctx context.Context, shown int64) error
	// show leads readers to the tree that was laid. It is Invalid if they have been led
	// to the same serial or a later one meanwhile, as far as the kind of place can tell.
	show(ctx context.Context) error
	// settle makes up for what an attempt left undone that died after it had led readers
	// to this very tree.
	settle(ctx context.Context) error
}

// bring brings a place to the tree of that serial and digest. It may be repeated after
// any crash: what is there already stays, and a tree that is shown already is success.
// Another tree of the serial that is shown, and any lower serial, is Invalid. check is
// asked right before readers are led to the tree.
func bring(ctx context.Context, t target, serial int64, tree albs.Digest, check func(context.Context) error, log io.Writer) error {
	shown, digest, err := t.shown(ctx)
	if err != nil {
		return err
	}
	if shown == serial && digest == tree {
		fmt.Fprintf(log, "serial %d is shown already\n", shown)
		return t.settle(ctx)
	}
	if shown >= serial {
		return stepBack(shown, serial)
	}
	if err := t.lay(ctx, shown); err != nil {
		return err
	}
	// The one effect that the master can't fence: last of all, and only while the
	// lease is certainly ours.
	if err := check(ctx); err != nil {
		return err
	}
	if err := t.show(ctx); err != nil {
		return err
	}
	fmt.Fprintf(log, "serial %d is shown in place of %d\n", serial, shown)
	return nil
}

func stepBack(shown, serial int64) error {
	return albs.Errorf(albs.Invalid, "serial %d is shown already; serial %d would be a step back", shown, serial)
}

// directory is the place in this host's directory as a target: what it lays comes from
// the master.
type directory struct {
	*place
	t   tree
	src source
	log io.Writer
}

func (d directory) shown(context.Context) (int64, albs.Digest, error) { return d.place.shown() }

func (d directory) lay(ctx context.Context, shown int64) error {
	return d.place.lay(ctx, d.t.Tree, d.t.doc, shown, d.src, d.log)
}

func (d directory) show(context.Context) error { return d.place.show(d.t.Serial) }

// settle syncs the link, which may be younger than the last sync.
func (d directory) settle(context.Context) error {
	d.dirty["."] = struct{}{}
	return d.sync()
}

// location is where a product is reached in the directory.
func location(product string) string { return path.Join(product, "current") }
