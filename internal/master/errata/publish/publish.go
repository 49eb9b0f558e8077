// Package publish shows advisories to the public: it is errata's part of releases.
//
// An advisory becomes public by a release of a product for its platform, together with the
// packages that answer it or after them: it names only what the product's repositories hold
// once the release is public, each package with the sha256 of the signed file, and a release
// that would leave something out is refused, unless a person takes that upon them.
//
// What is shown lies in the product's tree, below errata/PLATFORM: each advisory as
// advisory.Encode writes it, in advisories/ID.json, whose sha256 the ledger knows, and made
// of these the forms that readers have: updateinfo in each repository, OSV, CSAF, OVAL,
// pages and feeds. So the tree says what is shown, and a rollback brings it back. All files
// are made of the advisories alone, and what was made once is kept on a shelf, so that one
// more costs what it costs itself, and the copying of what is over all.
package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/errata"
	"albs/internal/master/platform"
	"albs/internal/master/product"
	"albs/internal/master/release"
	"albs/internal/master/release/plan"
	"albs/internal/master/sign"
	"albs/internal/repodata"
	"albs/internal/rpm"
)

// Name is what plans call advisories' part.
const Name = "errata"

// The places of advisories in a product's tree.
const (
	root       = "errata"
	wellKnown  = ".well-known/csaf"
	advisories = "advisories"
)

// folder returns where a platform's advisories lie in the tree.
func folder(platform string) string { return root + "/" + platform }

// Answer is a package that was chosen to answer one that an advisory wants.
type Answer struct {
	Wanted   rpm.NEVRA // zero for one that was added
	NEVRA    rpm.NEVRA
	Unsigned albs.Digest // as it was built; "" if that isn't known
}

// Lack is a package that an advisory wants and for which nothing was chosen.
type Lack struct {
	Wanted rpm.NEVRA
	Why    string // one sentence
}

// Answers knows what answers advisories.
type Answers interface {
	// Chosen returns what was chosen for an advisory, and what it wants beside that.
	Chosen(ctx context.Context, k errata.Key) ([]Answer, []Lack, error)
}

// Keys knows the keys that sign; sign.Signing is one.
type Keys interface {
	// Key returns the key of that name or fingerprint, or NotFound.
	Key(ctx context.Context, nameOrFingerprint string) (sign.Key, error)
}

// Parts are the modules that publication rests on.
type Parts struct {
	DB        *db.DB
	Artifacts *artifact.Artifacts
	Platforms *platform.Platforms
	Keys      Keys
	Errata    *errata.Errata
	Answers   Answers
	// Dir is a folder of this process, for what was made and can be made again.
	Dir string
	Log zerolog.Logger
}

// Publisher shows advisories. It may be used concurrently.
type Publisher struct {
	Parts
	cache cache
}

// New returns a Publisher over its parts; releases are told of it by their Join.
func New(p Parts) *Publisher { return &Publisher{Parts: p, cache: cache{p.Dir, made}} }

// Name implements release.Part.
func (*Publisher) Name() string { return Name }

// keyOf reads the name of an item.
func keyOf(name string) (errata.Key, error) {
	id, platform, ok := strings.Cut(name, "/")
	if !ok || !advisory.ValidID(id) || platform == "" {
		return errata.Key{}, albs.Errorf(albs.Invalid, "%.120q is no advisory: ID/PLATFORM", name)
	}
	return errata.Key{ID: id, Platform: platform}, nil
}

// May implements release.Part: it wants errata.release on the team of the platform, and
// errata.force for what is released without packages that it wants.
func (p *Publisher) May(ctx context.Context, pr product.Product, wanted []plan.Wanted) error {
	for _, w := range wanted {
		k, err := keyOf(w.Name)
		if err != nil {
			return err
		}
		if !slices.Contains(pr.Platforms, k.Platform) {
			return albs.Errorf(albs.Invalid, "advisory %s is of a platform that product %s hasn't", k, pr.Name)
		}
		pf, err := p.Platforms.Get(ctx, k.Platform)
		if err != nil {
			return err
		}
		on := auth.Object{Team: pf.Errata.Team}
		if err := auth.Can(ctx, auth.ErrataRelease, on); err != nil {
			return err
		}
		if w.Force != "" {
			if err := auth.Can(ctx, auth.ErrataForce, on); err != nil {
				return err
			}
		}
		if _, err := p.Errata.Get(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// Share implements release.Part.
func (p *Publisher) Share(ctx context.Context, a release.Ask) (plan.Share, error) {
	o := p.outcome(ctx, a.Tree)
	s, err := p.share(o.ctx, a, o)
	if serr := o.stored(); serr != nil {
		err = serr // of which the other is a consequence, if there is one
	}
	return s, err
}

func (p *Publisher) share(ctx context.Context, a release.Ask, o *outcome) (plan.Share, error) {
	s := plan.Share{Part: Name}
	wanted := map[string][]plan.Wanted{}
	for _, w := range a.Wanted {
		k, err := keyOf(w.Name)
		if err != nil {
			return s, err
		}
		wanted[k.Platform] = append(wanted[k.Platform], w)
	}
	var shows []*shown
	for _, name := range a.Product.Platforms {
		is, err := p.platform(ctx, o, a, name, wanted[name], &s)
		if err != nil {
			return s, fmt.Errorf("advisories of platform %s: %w", name, err)
		}
		if len(is.advisories) > 0 {
			shows = append(shows, is)
		}
	}
	if len(shows) == 0 {
		return s, nil
	}
	s.Folders, s.Types = []string{root, wellKnown}, []string{typeUpdateinfo}
	for path, given := range a.Given {
		if slices.ContainsFunc(given, func(r repodata.Record) bool { return r.Type == typeUpdateinfo }) {
			s.Refusals = append(s.Refusals, plan.Refusal{Reason: fmt.Sprintf(
				"repository %s was given an updateinfo by hand, and the product shows advisories: import that file (albs errata import) and take it away (albs repo metadata remove)", path)})
		}
	}
	slices.SortFunc(s.Refusals, func(x, y plan.Refusal) int { return strings.Compare(x.Reason, y.Reason) })
	for _, is := range shows {
		if !strings.HasPrefix(is.dist.URL, "https://") {
			s.Notes = append(s.Notes, fmt.Sprintf("errata.url of platform %s is not https: programs that read CSAF take none of its documents", is.name))
		}
		if err := p.join(ctx, o, a, is); err != nil {
			return s, fmt.Errorf("advisories of platform %s: %w", is.name, err)
		}
		is.shelf.tidy()
	}
	if err := p.provider(o, a, shows); err != nil {
		return s, err
	}
	s.Files, s.Records = o.files, o.records
	return s, nil
}

// shown is what a platform is to show of advisories.
type shown struct {
	name       string
	dist       advisory.Distribution
	shelf      *shelf
	keys       []string   // those of its fingerprints whose signatures count
	advisories []rendered // by id
	updated    time.Time  // the latest of them
}

// platform finds what the product is to show of a platform's advisories, and adds to the
// share what is of one advisory each: items and refusals.
func (p *Publisher) platform(ctx context.Context, o *outcome, a release.Ask, name string, wanted []plan.Wanted, s *plan.Share) (*shown, error) {
	is := &shown{name: name, shelf: p.cache.shelf(a.Product.Name, name)}
	prefix := folder(name) + "/" + advisories + "/"
	base := map[string]albs.Digest{} // by file name
	for _, f := range a.Tree.Files {
		if file, ok := strings.CutPrefix(f.Path, prefix); ok {
			base[file] = f.Digest
		}
	}
	if len(base)+len(wanted) == 0 {
		return is, nil
	}
	pf, err := p.Platforms.Get(ctx, name)
	if err != nil {
		return is, err
	}
	if is.dist, is.keys, err = Distribution(ctx, p.Keys, pf, a.Product.AllKeys()); err != nil {
		return is, err
	}
	fresh, err := p.fresh(ctx, a, name, wanted, base, s)
	if err != nil {
		return is, err
	}
	for _, n := range fresh {
		base[fileName(n.ID)] = n.digest()
	}
	return is, p.render(ctx, o, is, base, fresh)
}

func fileName(id string) string { return advisory.FileName(id) + ".json" }

// Distribution returns what forms say of a platform whose packages are signed by the keys of
// those names or fingerprints; of keys that aren't there they say nothing. What a key has signed
// that was revoked since is still the distribution's, and may have to be replaced: valid are
// the fingerprints of those that weren't. It is Invalid for a platform that has no advisories.
func Distribution(ctx context.Context, keys Keys, pf platform.Platform, names []string) (d advisory.Distribution, valid []string, err error) {
	if d, err = errata.Distribution(pf); err != nil {
		return d, nil, err
	}
	for _, name := range names {
		k, err := keys.Key(ctx, name)
		if errors.Is(err, albs.NotFound) {
			continue // the plan says so
		}
		if err != nil {
			return d, nil, err
		}
		d.KeyFingerprints = append(d.KeyFingerprints, strings.ToUpper(k.Fingerprint))
		if k.RevokedAt.IsZero() {
			valid = append(valid, strings.ToUpper(k.Fingerprint))
		}
	}
	slices.Sort(d.KeyFingerprints)
	d.KeyFingerprints = slices.Compact(d.KeyFingerprints)
	slices.Sort(valid)
	return d, slices.Compact(valid), nil
}

// issue is an advisory as it is to be published.
type issue struct {
	advisory.Advisory
	content int64 // of the record that it was made of
	force   string
	missing []string
}

func (i issue) digest() albs.Digest { return albs.DigestOf(i.Encode()) }

// fresh makes the advisories that are wanted what they are to be published as. Those for
// which that can't be done are refused and left out.
func (p *Publisher) fresh(ctx context.Context, a release.Ask, name string, wanted []plan.Wanted, base map[string]albs.Digest, s *plan.Share) ([]issue, error) {
	var out []issue
	if len(wanted) == 0 {
		return nil, nil
	}
	where, err := p.holdings(ctx, a, name)
	if err != nil {
		return nil, err
	}
	for _, w := range wanted {
		k, err := keyOf(w.Name)
		if err != nil {
			return nil, err
		}
		var was *advisory.Advisory
		if d, ok := base[fileName(k.ID)]; ok {
			b, err := p.read(ctx, d)
			if err != nil {
				return nil, fmt.Errorf("advisory %s as it is shown: %w", k, err)
			}
			was = &b
		}
		i, refusal, err := p.issue(ctx, a, k, w.Force, was, where)
		if err != nil {
			return nil, fmt.Errorf("advisory %s: %w", k, err)
		}
		if refusal != "" && w.Optional {
			s.Skipped = append(s.Skipped, plan.Skipped{Part: Name, Name: w.Name, Reason: "it " + refusal})
			continue
		}
		if refusal != "" {
			s.Refusals = append(s.Refusals, plan.Refusal{Reason: fmt.Sprintf("advisory %s %s", k, refusal)})
			continue
		}
		if len(i.missing) > 0 {
			s.Notes = append(s.Notes, fmt.Sprintf("advisory %s is released without %s: %s", k, listed(i.missing), i.force))
		}
		s.Items = append(s.Items, plan.Item{
			Part: Name, Name: k.String(), Title: i.Title, Version: i.Version, Digest: i.digest(), Content: i.content, Withdraws: i.Withdrawn != nil, Force: i.force, Missing: i.missing,
		})
		out = append(out, i)
	}
	return out, nil
}

// maxListed bounds what is listed in one sentence.
const maxListed = 20

func listed(of []string) string {
	if n := len(of) - maxListed; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(of[:maxListed], ", "), n)
	}
	return strings.Join(of, ", ")
}

// read returns a published advisory.
func (p *Publisher) read(ctx context.Context, d albs.Digest) (advisory.Advisory, error) {
	b, err := p.bytes(ctx, d)
	if err != nil {
		return advisory.Advisory{}, err
	}
	return advisory.Parse(b)
}

func (p *Publisher) bytes(ctx context.Context, d albs.Digest) ([]byte, error) {
	body, err := p.Artifacts.Blobs().Open(ctx, d)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(body, advisory.MaxBytes+1))
	return b, errors.Join(err, body.Close())
}
