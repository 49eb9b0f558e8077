package release

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/product"
	"albs/internal/master/release/gather"
	"albs/internal/master/release/plan"
	"albs/internal/repodata"
	"albs/internal/rpm"
)

// Part is a module whose things are released together with packages, as errata's
// advisories are: what it shows stands in the plan, is approved with it and becomes public
// by the same switch. Whatever it shows lies in the product's tree, so that a rollback
// brings it back as it brings packages back.
//
// A part decides by itself what it shows, and says so in full each time; the plan tells
// what changes. It is asked when a release is planned and again before it is published:
// equal facts must give an equal share, or approvals would be void.
type Part interface {
	// Name is the part's name in plans, one word.
	Name() string
	// May returns nil if the actor of ctx may have these things released into the product,
	// else Forbidden; Invalid for a name that names nothing.
	May(ctx context.Context, p product.Product, wanted []plan.Wanted) error
	// Share returns what the part has in a release. The bytes of all that isn't shown yet
	// have been put among the blobs on return. What speaks against the release is a refusal
	// of the share and no error. The zero Share is of a part that has nothing in the product.
	Share(ctx context.Context, a Ask) (plan.Share, error)
	// Start notes that a release with items of the part is being published.
	Start(ctx context.Context, tx db.Tx, t Turn) error
	// Fail notes that such a publication has ended without success, and why.
	Fail(ctx context.Context, tx db.Tx, t Turn, reason string) error
	// Released notes that the product shows a release, with items of the part or not. It
	// does its I/O at once, and what it returns only writes.
	Released(ctx context.Context, t Turn) (func(context.Context, db.Tx) error, error)
	// Reverted is Released of a rollback: the tree of before is shown again.
	Reverted(ctx context.Context, t Turn) (func(context.Context, db.Tx) error, error)
}

// Ask is what a part is asked about.
type Ask struct {
	Product product.Product
	// Wanted are the things of the part that are to be released.
	Wanted []plan.Wanted
	// At is when the release was planned. It is the same when the part is asked again.
	At time.Time
	// Key is the fingerprint of the key that signs; "" if there is none, which is refused.
	Key string
	// Serial and Tree are what the product shows now.
	Serial int64
	Tree   repodata.Tree
	// Given are the records that people gave, by repository.
	Given map[string][]repodata.Record
	// Plan is what the release comes to without the part.
	Plan plan.Plan
	// Holds returns the packages that a repository of the product will hold after it.
	Holds func(ctx context.Context, path string) ([]Package, error)
}

// Package is one package of a repository, as it is signed.
type Package struct {
	rpm.NEVRA
	Digest albs.Digest
}

// Turn is what a part is told of a product that comes to show another tree.
type Turn struct {
	Release albs.ReleaseID
	Product string
	Serial  int64       // of To
	Items   []plan.Item // the part's, of the release's plan
	// From and To are the tree that was shown and the one that is; both are empty before
	// the releaser has shown anything.
	From, To repodata.Tree
}

// Join registers a part. It is called before anything is planned.
func (r *Releases) Join(p Part) { r.parts = append(r.parts, p) }

// Bounds of what is wanted beside packages.
const (
	MaxWanted = 1000
	maxForce  = 500 // bytes of a reason
)

// wanted checks what is wanted of the parts, and returns it in order.
func (r *Releases) wanted(ctx context.Context, p product.Product, all []plan.Wanted) ([]plan.Wanted, error) {
	if len(all) > MaxWanted {
		return nil, albs.Errorf(albs.TooLarge, "%d advisories, at most %d are released at once", len(all), MaxWanted)
	}
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b plan.Wanted) int { return strings.Compare(a.Part+" "+a.Name, b.Part+" "+b.Name) })
	for i, w := range all {
		switch {
		case !slices.ContainsFunc(r.parts, func(p Part) bool { return p.Name() == w.Part }):
			return nil, albs.Errorf(albs.Invalid, "nothing of the kind %.40q can be released", w.Part)
		case i > 0 && all[i-1].Part == w.Part && all[i-1].Name == w.Name:
			return nil, albs.Errorf(albs.Invalid, "name each advisory once: %.100q is there twice", w.Name)
		case len(w.Force) > maxForce || !utf8.ValidString(w.Force) || strings.ContainsFunc(w.Force, func(c rune) bool { return c < ' ' || c == 0x7f }):
			return nil, albs.Errorf(albs.Invalid, "the reason to release %.100q with less than it should have is one line of at most %d bytes", w.Name, maxForce)
		}
	}
	for _, part := range r.parts {
		if of := wantedOf(part, all); len(of) > 0 {
			if err := part.May(ctx, p, of); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

func wantedOf(p Part, all []plan.Wanted) []plan.Wanted {
	return slices.DeleteFunc(slices.Clone(all), func(w plan.Wanted) bool { return w.Part != p.Name() })
}

// shares asks the parts what they have in a release, of which p is the plan without them.
func (r *Releases) shares(ctx context.Context, w gather.Wish, f plan.Facts, p plan.Plan) ([]plan.Share, error) {
	var out []plan.Share
	for _, part := range r.parts {
		s, err := part.Share(ctx, Ask{
			Product: w.Product, Wanted: wantedOf(part, w.Wanted), At: w.Expires.Add(-planLife), Key: f.Key, Serial: f.Serial, Tree: f.Tree,
			Given: f.Records, Plan: p,
			Holds: func(ctx context.Context, path string) ([]Package, error) { return r.holds(ctx, f, p, path) },
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part.Name(), err)
		}
		s.Part = part.Name()
		out = append(out, s)
	}
	return out, nil
}

// holds returns what a repository holds after a plan that was made of f.
func (r *Releases) holds(ctx context.Context, f plan.Facts, p plan.Plan, path string) ([]Package, error) {
	var out []Package
	if shown := f.Shown[path]; shown.Snapshot != "" {
		s, err := r.repos.Open(ctx, shown.Snapshot)
		if err != nil {
			return nil, fmt.Errorf("repository %s: %w", path, err)
		}
		entries, err := r.gather.Entries(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("repository %s: %w", path, err)
		}
		for _, e := range entries {
			out = append(out, Package{e.NEVRA, e.Digest})
		}
	}
	for _, in := range p.Repositories {
		if in.Path != path {
			continue
		}
		for _, c := range in.Packages {
			if c.Action != plan.Add {
				continue
			}
			n, err := rpm.ParseNEVRA(c.NEVRA)
			if err != nil {
				return nil, err
			}
			out = append(out, Package{n, c.Digest})
		}
	}
	return out, nil
}

// shareOf makes what a plan shows for its parts the artifacts that they are to become: the
// files of the tree and the records of repositories; and those files that are to be signed,
// by path.
func shareOf(p plan.Plan) (all []artifact.Artifact, signed map[string]artifact.Artifact) {
	seen := map[albs.Digest]bool{}
	signed = map[string]artifact.Artifact{}
	add := func(d albs.Digest, size int64, name string) artifact.Artifact {
		a := artifact.Artifact{Digest: d, Size: size, Kind: artifact.Document, Name: name}
		if !seen[d] {
			all = append(all, a)
		}
		seen[d] = true
		return a
	}
	for _, c := range p.Files {
		if c.Action != plan.Add {
			continue
		}
		a := add(c.Digest, c.Size, path.Base(c.Path))
		if c.Sign {
			signed[c.Path] = a
		}
	}
	for _, r := range p.Repositories {
		for _, c := range r.Records {
			if c.Action == plan.Add {
				add(c.Digest, c.Size, c.Name)
			}
		}
	}
	return all, signed
}

// turn is what the part of that name is told of a release.
func (row releaseRow) turn(p plan.Plan, part string) Turn {
	return Turn{Release: row.ID, Product: row.Product, Serial: row.Serial, Items: p.Of(part)}
}

// started tells the parts whose items a release has that it is being published; failed,
// that this has ended in vain.
func (r *Releases) started(ctx context.Context, tx db.Tx, row releaseRow) error {
	return r.tellParts(row, func(p Part, t Turn) error { return p.Start(ctx, tx, t) })
}

func (r *Releases) failed(ctx context.Context, tx db.Tx, row releaseRow) error {
	return r.tellParts(row, func(p Part, t Turn) error { return p.Fail(ctx, tx, t, row.Reason) })
}

func (r *Releases) tellParts(row releaseRow, tell func(Part, Turn) error) error {
	if len(r.parts) == 0 || row.Kind != Publication {
		return nil
	}
	what, err := row.plan()
	if err != nil {
		return err
	}
	for _, p := range r.parts {
		if t := row.turn(what, p.Name()); len(t.Items) > 0 {
			if err := tell(p, t); err != nil {
				return fmt.Errorf("%s: %w", p.Name(), err)
			}
		}
	}
	return nil
}

// turned tells the parts that the tree of a release is shown, and returns what they write
// of that.
func (r *Releases) turned(ctx context.Context, row releaseRow, what plan.Plan, to repodata.Tree) (func(context.Context, db.Tx) error, error) {
	var all []func(context.Context, db.Tx) error
	if len(r.parts) > 0 {
		_, from, err := r.gather.Current(ctx, row.Product)
		if err != nil {
			return nil, err
		}
		for _, p := range r.parts {
			t := row.turn(what, p.Name())
			t.From, t.To = from, to
			note := p.Released
			if row.Kind == Rollback {
				note = p.Reverted
			}
			write, err := note(ctx, t)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.Name(), err)
			}
			all = append(all, write)
		}
	}
	return func(ctx context.Context, tx db.Tx) error {
		for i, write := range all {
			if err := write(ctx, tx); err != nil {
				return fmt.Errorf("%s: %w", r.parts[i].Name(), err)
			}
		}
		return nil
	}, nil
}

// signatures returns the signatures of the files that a release has had signed, as files of
// its tree and as what is to be kept.
func (h handler) signatures(ctx context.Context, p plan.Plan) ([]repodata.TreeFile, []artifact.Artifact, error) {
	var files []repodata.TreeFile
	var kept []artifact.Artifact
	for _, c := range p.Files {
		if c.Action != plan.Add || !c.Sign {
			continue
		}
		asc, err := h.signs.DocumentSignature(ctx, c.Digest, p.Key)
		if err != nil {
			return nil, nil, fmt.Errorf("signature of %s: %w", c.Path, err)
		}
		a, err := h.artifacts.Save(ctx, strings.NewReader(string(asc)), maxKeyFile, path.Base(c.Signature()), artifact.Document)
		if err != nil {
			return nil, nil, fmt.Errorf("signature of %s: %w", c.Path, err)
		}
		kept = append(kept, a)
		files = append(files, repodata.TreeFile{Path: c.Signature(), Digest: a.Digest, Size: a.Size})
	}
	return files, kept, nil
}
