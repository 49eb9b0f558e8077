// Package reference owns the reference index: what the repositories that platforms name
// as references list, so that a release can be told in which place of a distribution a
// package belongs.
//
// A repository is read as a whole, through the one way out, and checked by the digest
// that its repomd.xml gives; what is listed of it then takes the place of what was
// listed before in one transaction. One that is away or broken leaves what was listed,
// and says why. The package decides nothing: which listing counts is release/place's.
package reference

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/platform"
	"albs/internal/repodata"
	"albs/internal/rpm"
)

// Index is what references list. It may be used concurrently.
type Index struct {
	store     store
	artifacts *artifact.Artifacts
	platforms *platform.Platforms
	outside   platform.Outside
	log       zerolog.Logger
}

// New returns the index over the database d, and tells artifacts what it names. It does no
// I/O.
func New(d *db.DB, artifacts *artifact.Artifacts, platforms *platform.Platforms, outside platform.Outside, log zerolog.Logger) *Index {
	x := &Index{store: store{d}, artifacts: artifacts, platforms: platforms, outside: outside, log: log}
	artifacts.Root("reference", x.roots)
	return x
}

// State is how well a reference of a platform is known.
type State struct {
	platform.Reference
	// Repomd names what is listed, by the digest of its repomd.xml; "" before the first.
	Repomd albs.Digest
	// Packages is how many are listed.
	Packages int
	// Listed is when they were listed, Looked when the repository was last asked; zero
	// for never.
	Listed, Looked time.Time
	// Failure is why the last look came to nothing; "" if it didn't.
	Failure string
}

// Listing is one package that a reference lists.
type Listing struct {
	// Reference is the one that lists it; its Arch is of the repository.
	Reference platform.Reference
	NEVRA     rpm.NEVRA
	// Source is the name of the source package; "" for a source package itself.
	Source string
}

// Bounds of one reference.
const (
	maxPrimary  = 512 << 20 // bytes, as they are compressed
	maxListings = 300_000
	maxFailure  = 500
	readTime    = 10 * time.Minute
	atOnce      = 4 // references that are read at once
)

// States returns the references of a platform, in the platform's order, or NotFound.
// Anyone may ask.
func (x *Index) States(ctx context.Context, name string) ([]State, error) {
	pl, err := x.platforms.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return x.states(ctx, pl.ReferencesByArch())
}

func (x *Index) states(ctx context.Context, references []platform.Reference) ([]State, error) {
	known, err := x.store.repositories(ctx, references)
	if err != nil {
		return nil, err
	}
	out := make([]State, len(references))
	for i, r := range references {
		out[i] = state(r, known[r.URL])
	}
	return out, nil
}

func state(r platform.Reference, row repositoryRow) State {
	return State{Reference: r, Repomd: row.Repomd, Packages: row.Packages, Listed: row.ListedAt.Time, Looked: row.LookedAt.Time, Failure: row.Failure}
}

// read returns all that is read for a platform: its references, and what its roots are
// filled from, for what that provides.
func read(pl platform.Platform) []platform.Reference {
	out := pl.ReferencesByArch()
	for _, arch := range pl.Arches {
		out = append(out, pl.Beneath(arch)...)
	}
	return out
}

// Refresh reads the references of a platform anew, and what its roots are filled from, of
// both what has changed, and returns what came of the references, which is durable. A reference that can't be read keeps what was listed
// of it and has its Failure; that is no error. Forbidden without platform.apply, NotFound
// for an unknown platform.
func (x *Index) Refresh(ctx context.Context, name string) ([]State, error) {
	if err := auth.Can(ctx, auth.PlatformApply, auth.Object{}); err != nil {
		return nil, err
	}
	pl, err := x.platforms.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := x.refresh(ctx, read(pl)); err != nil {
		return nil, fmt.Errorf("refresh the references of platform %s: %w", name, err)
	}
	return x.states(ctx, pl.ReferencesByArch())
}

// refresh reads references; an error is the database's or ctx's.
func (x *Index) refresh(ctx context.Context, references []platform.Reference) error {
	var urls []string
	for _, r := range references {
		urls = append(urls, r.URL)
	}
	slices.Sort(urls)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, url := range slices.Compact(urls) {
		g.Go(func() error {
			err := x.look(ctx, url)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err == nil:
				return nil
			}
			x.log.Warn().Err(err).Str("url", url).Msg("a reference can't be read, what was listed of it holds")
			return x.store.failed(ctx, url, shorten(err.Error()), db.Now())
		})
	}
	return g.Wait()
}

func shorten(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxFailure)], "")
}

// look lists what the repository at url shows, unless that is listed already.
func (x *Index) look(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	b, primary, err := platform.Repomd(ctx, x.outside, url)
	if err != nil {
		return err
	}
	revision := albs.DigestOf(b)
	listed, err := x.store.unchanged(ctx, url, revision, db.Now())
	if err != nil || listed {
		return err
	}
	file, err := os.CreateTemp("", "albs-provides-*")
	if err != nil {
		return fmt.Errorf("make a temporary file: %w", err)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	provides, err := newProvidesWriter(file)
	if err != nil {
		return err
	}
	packages, err := x.packages(ctx, url+"/"+primary.Path, primary.Digest, provides)
	if err := errors.Join(err, provides.close()); err != nil {
		return err
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("read the temporary file: %w", err)
	}
	kept, err := x.artifacts.Save(ctx, file, size, "provides.zst", artifact.Document)
	if err != nil {
		return fmt.Errorf("keep what %s provides: %w", url, err)
	}
	return x.store.list(ctx, url, revision, packages, db.Now(), func(tx db.Tx) (albs.Digest, error) {
		return kept.Digest, x.artifacts.Add(ctx, tx, kept)
	})
}

// packages reads the primary metadata at url, whose sha256 is known, and writes what it
// provides.
func (x *Index) packages(ctx context.Context, url string, want albs.Digest, provides *providesWriter) ([]packageRow, error) {
	body, _, err := x.outside.Get(ctx, url, maxPrimary)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	hash := sha256.New()
	bytes := io.TeeReader(body, hash)
	var out []packageRow
	err = repodata.ReadPrimary(bytes, func(l repodata.Listed) error {
		if err := provides.add(l); err != nil {
			return fmt.Errorf("write the temporary file: %w", err)
		}
		if !l.NEVRA.Valid() {
			return nil // no package of ours can have its name
		}
		if len(out) == maxListings {
			return albs.Errorf(albs.TooLarge, "%s lists more than %d packages", url, maxListings)
		}
		row := packageRow{Name: l.NEVRA.Name, Epoch: l.NEVRA.Epoch, Version: l.NEVRA.Version, Release: l.NEVRA.Release, Arch: l.NEVRA.Arch}
		if source, err := rpm.ParseNEVRA(strings.TrimSuffix(l.SourceRPM, ".rpm")); err == nil {
			row.Source = source.Name
		}
		out = append(out, row)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	if _, err := io.Copy(io.Discard, bytes); err != nil {
		return nil, fmt.Errorf("read %s: %w", url, err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != string(want) {
		return nil, albs.Errorf(albs.Unavailable, "%s has the sha256 %.12s and its repomd.xml says %s: the repository is being changed, or broken", url, got, want.Short())
	}
	return out, nil
}

// Find returns what the platform's references list of the names, which are of packages
// or of source packages, in a fixed order.
func (x *Index) Find(ctx context.Context, pl platform.Platform, names []string) ([]Listing, error) {
	references := pl.ReferencesByArch()
	known, err := x.store.repositories(ctx, references)
	if err != nil {
		return nil, err
	}
	var out []Listing
	for _, r := range references {
		row, ok := known[r.URL]
		if !ok {
			continue
		}
		rows, err := x.store.find(ctx, row.ID, names)
		if err != nil {
			return nil, err
		}
		for _, p := range rows {
			out = append(out, Listing{Reference: r, NEVRA: rpm.NEVRA{Name: p.Name, Epoch: p.Epoch, Version: p.Version, Release: p.Release, Arch: p.Arch}, Source: p.Source})
		}
	}
	return out, nil
}

const (
	lookEvery = time.Hour   // at each reference
	tick      = time.Minute // after which a platform that was applied has its references read
)

// Run reads references when they are due, every hour and when they are new, until ctx is
// done. Of several masters one does.
func (x *Index) Run(ctx context.Context) error {
	return x.store.d.Leader(ctx, "references", func(ctx context.Context) error {
		t := time.NewTicker(tick)
		defer t.Stop()
		for {
			if err := x.refreshDue(ctx, time.Now()); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if !errors.Is(err, albs.Unavailable) && !errors.Is(err, albs.Conflict) {
					return err
				}
				x.log.Warn().Err(err).Msg("references were not refreshed")
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-t.C:
			}
		}
	})
}

// refreshDue reads the references that nobody has looked at for an hour before now.
func (x *Index) refreshDue(ctx context.Context, now time.Time) error {
	all, err := x.platforms.All(ctx)
	if err != nil {
		return err
	}
	var due []platform.Reference
	for _, pl := range all {
		states, err := x.states(ctx, read(pl))
		if err != nil {
			return err
		}
		for _, s := range states {
			if now.Sub(s.Looked) >= lookEvery {
				due = append(due, s.Reference)
			}
		}
	}
	return x.refresh(ctx, due)
}
