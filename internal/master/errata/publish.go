package errata

import (
	"context"
	"fmt"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/db"
	"albs/internal/master/provenance"
)

// Begin puts advisories into a release's hands in tx: nobody changes them until it
// publishes them or fails, each of which happens in a transaction that ends it. What it
// has already stays so. It asks no policy. Errors: NotFound, and Conflict for one that
// another release has or that was withdrawn before it was published.
func (e *Errata) Begin(ctx context.Context, tx db.Tx, keys []Key, release albs.ReleaseID) error {
	return e.eachOf(ctx, tx, keys, func(r *row) (string, string, error) {
		if r.State == InProgress && r.ReleasingID == release {
			return "", "", nil
		}
		if r.State == InProgress {
			return "", "", albs.Errorf(albs.Conflict, "advisory %s is in progress in release %d", r.key(), r.ReleasingID)
		}
		r.ReleasingID = release
		return Started, "", r.happens(begin)
	})
}

// Fail takes advisories that are in progress out of the hands of their release in tx,
// with the reason for people. One that isn't in progress stays as it is. It asks no
// policy.
func (e *Errata) Fail(ctx context.Context, tx db.Tx, keys []Key, reason string) error {
	return e.eachOf(ctx, tx, keys, func(r *row) (string, string, error) {
		if r.State != InProgress {
			return "", "", nil
		}
		r.ReleasingID, r.Reason = 0, reason
		return Failure, reason, r.happens(fail)
	})
}

// Held returns the advisories that a release has in progress, by id and platform.
func (e *Errata) Held(ctx context.Context, q db.Q, release albs.ReleaseID) ([]Key, error) {
	keys, err := held(ctx, q, release)
	if err != nil {
		return nil, fmt.Errorf("read advisories of release %d: %w", release, err)
	}
	return keys, nil
}

// Publish keeps advisories in tx as they are published by the release of a product that has
// them in progress: each as its next version, for good, with a statement of it for the ledger.
// They are released then, or withdrawn. It asks no policy. Errors: NotFound; Conflict for
// one that this release hasn't or whose version isn't the next one; Invalid and TooLarge
// as of advisory.Check.
func (e *Errata) Publish(ctx context.Context, tx db.Tx, as []advisory.Advisory, product string, release albs.ReleaseID) error {
	for _, a := range as {
		a = a.Normal()
		if err := a.Check(); err != nil {
			return err
		}
		r, err := read(ctx, tx, Key{a.ID, a.Platform})
		if err != nil {
			return err
		}
		if r.State == InProgress && r.ReleasingID != release || a.Version != r.Version+1 {
			return albs.Errorf(albs.Conflict, "advisory %s can't be published as version %d by release %d: it is in progress in release %d and its next version is %d",
				r.key(), a.Version, release, r.ReleasingID, r.Version+1)
		}
		doc, err := encode(a)
		if err != nil {
			return err
		}
		v := versionRow{Version: a.Version, Content: r.Content, Document: doc, Digest: albs.DigestOf([]byte(doc)), ReleaseID: release, At: db.At(e.now())}
		if err := addVersion(ctx, tx, r.RowID, v); err != nil {
			return fmt.Errorf("keep version %d of advisory %s: %w", v.Version, r.key(), err)
		}
		if err := r.show(ctx, tx, product, v.Version, v.Content); err != nil {
			return err
		}
		r.Version, r.ReleasingID, r.ReleaseID = v.Version, 0, release
		if err := r.happens(publish); err != nil {
			return err
		}
		if err := r.set(r.edited); err != nil { // its next version is another one
			return err
		}
		if err := e.Provenance.State(ctx, tx, statement(a, v)); err != nil {
			return fmt.Errorf("state advisory %s: %w", r.key(), err)
		}
		if _, err := e.write(ctx, tx, r, Published, "", nil); err != nil {
			return err
		}
	}
	return nil
}

// maxStated is how many packages the statement of an advisory lists, so that it goes into
// the ledger whatever the advisory has.
const maxStated = 500

// statement is what the ledger is told of a version.
func statement(a advisory.Advisory, v versionRow) provenance.Fact {
	body := attest.AdvisoryBody{ID: a.ID, Platform: a.Platform, Version: a.Version, Withdrawn: a.Withdrawn != nil, Release: int64(v.ReleaseID), Packages: len(a.Packages)}
	for _, p := range a.Packages[:min(len(a.Packages), maxStated)] {
		d := attest.Descriptor{Name: p.NEVRA.String()}
		if p.Digest != "" {
			d.Digest = map[string]string{attest.SHA256: string(p.Digest)}
		}
		body.Listed = append(body.Listed, d)
	}
	return provenance.Fact{
		Subjects:  []attest.Subject{{Name: advisory.FileName(a.ID) + ".json", Digest: map[string]string{attest.SHA256: string(v.Digest)}}},
		Predicate: attest.Advisory, Body: body,
	}
}

// Version names what was published of an advisory.
type Version struct {
	Key
	Version int // 0 is nothing
}

// Revert makes versions that were published those that a product shows, in tx: what an
// earlier tree of it shows that is shown again. Version 0 is an advisory that it doesn't show
// then. One that a release of another product has in progress stays so. It asks no policy.
// Errors: NotFound for an advisory or a version that isn't there.
func (e *Errata) Revert(ctx context.Context, tx db.Tx, product string, to []Version) error {
	for _, v := range to {
		r, err := read(ctx, tx, v.Key)
		if err != nil {
			return err
		}
		is, err := shownBy(ctx, tx, r, product)
		if err != nil {
			return err
		}
		if is == v.Version {
			continue
		}
		var content int64
		if v.Version != 0 {
			got, err := version(ctx, tx, r, v.Version)
			if err != nil {
				return err
			}
			content = got.Content
		}
		if err := r.show(ctx, tx, product, v.Version, content); err != nil {
			return err
		}
		if r.Shown != 0 {
			newest, err := version(ctx, tx, r, r.Shown)
			if err != nil {
				return err
			}
			r.ReleaseID = newest.ReleaseID
		}
		if err := r.happens(revert); err != nil {
			return err
		}
		if _, err := e.write(ctx, tx, r, Reverted, "", nil); err != nil {
			return err
		}
	}
	return nil
}

// eachOf reads advisories in tx and writes those that f changes, which returns what has
// happened, "" if nothing has, and the reason.
func (e *Errata) eachOf(ctx context.Context, tx db.Tx, keys []Key, f func(*row) (kind, reason string, err error)) error {
	for _, k := range keys {
		r, err := read(ctx, tx, k)
		if err != nil {
			return err
		}
		kind, reason, err := f(&r)
		if err != nil {
			return err
		}
		if kind == "" {
			continue
		}
		if _, err := e.write(ctx, tx, r, kind, reason, nil); err != nil {
			return err
		}
	}
	return nil
}

// Published calls yield for the public version of every advisory of a platform, by id, and
// ends with yield's first error. Anyone may ask.
func (e *Errata) Published(ctx context.Context, platform string, yield func(advisory.Advisory) error) error {
	if err := published(ctx, e.DB, platform, yield); err != nil {
		return fmt.Errorf("read published advisories of platform %.80q: %w", platform, err)
	}
	return nil
}

// PublishedBy calls yield for every advisory that a release published, in the version in
// which it did, by id and platform, and ends with yield's first error. Anyone may ask.
func (e *Errata) PublishedBy(ctx context.Context, release albs.ReleaseID, yield func(advisory.Advisory) error) error {
	if err := publishedBy(ctx, e.DB, release, yield); err != nil {
		return fmt.Errorf("read advisories of release %d: %w", release, err)
	}
	return nil
}

// Issue is one version of an advisory as it was published.
type Issue struct {
	Version int
	Digest  albs.Digest // of Document
	Release albs.ReleaseID
	At      time.Time
	// Document is the advisory as advisory.Encode wrote it; lists leave it out.
	Document []byte
}

// Issues returns the versions of an advisory, the newest first, without their documents;
// NotFound if there is no such advisory. Anyone may ask.
func (e *Errata) Issues(ctx context.Context, k Key) ([]Issue, error) {
	r, err := read(ctx, e.DB, k)
	if err != nil {
		return nil, err
	}
	return versions(ctx, e.DB, r)
}

// Issue returns a version of an advisory; NotFound if there is none. Anyone may ask.
func (e *Errata) Issue(ctx context.Context, k Key, n int) (Issue, error) {
	r, err := read(ctx, e.DB, k)
	if err != nil {
		return Issue{}, err
	}
	v, err := version(ctx, e.DB, r, n)
	if err != nil {
		return Issue{}, err
	}
	return v.issue(), nil
}
