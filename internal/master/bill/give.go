package bill

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/rpm"
	"albs/internal/sbom"
)

// Document is a bill in one format.
type Document struct {
	Name   string      // of its file
	Digest albs.Digest // of the bytes
	Size   int64
	Format sbom.Format
	Made   time.Time // when the bill was put on record
	// Attested tells that the master has stated these bytes.
	Attested bool
	open     func(offset, length int64) (io.ReadCloser, error)
}

// Open opens length bytes from off; length < 0 means to the end.
func (d Document) Open(off, length int64) (io.ReadCloser, error) { return d.open(off, length) }

// OfBuild returns the bill of a build in a format. NotFound if there is no such build, or
// no bill of it yet: its work goes on, or it made no packages. Anyone may ask.
func (b *Bills) OfBuild(ctx context.Context, id albs.BuildID, f sbom.Format) (Document, error) {
	if err := b.Builds.There(ctx, b.DB, id); err != nil {
		return Document{}, err
	}
	return b.document(ctx, sbom.Build, id.String(), f, "it is made when all tasks of the build have ended")
}

// OfRelease likewise returns that of a release, which is there once the release is public,
// and as long as the product keeps its serial.
func (b *Bills) OfRelease(ctx context.Context, id albs.ReleaseID, f sbom.Format) (Document, error) {
	if _, err := b.Releases.Get(ctx, id); err != nil {
		return Document{}, err
	}
	return b.document(ctx, sbom.Release, id.String(), f, "it is made when the release is public")
}

// maxNamed bounds the packages that have one NEVRA.
const maxNamed = 50

// OfPackage likewise returns that of a package, by its sha256 or NEVRA (its file name will
// do). Of several packages of the name, as a signed copy and the one that was signed, the
// newest with a bill counts, a signed one before others.
func (b *Bills) OfPackage(ctx context.Context, what string, f sbom.Format) (Document, error) {
	const when = "those of a build's packages are made when its tasks have ended, and those of signed ones when they are released"
	if d, err := albs.ParseDigest(what); err == nil {
		return b.document(ctx, sbom.Package, string(d), f, when)
	}
	n, err := rpm.ParseNEVRA(strings.TrimSuffix(what, ".rpm"))
	if err != nil {
		return Document{}, albs.Errorf(albs.Invalid, "%.100q is neither the sha256 of a package nor its NEVRA", what)
	}
	found, err := b.Artifacts.Named(ctx, n, maxNamed)
	if err != nil {
		return Document{}, err
	}
	if len(found) == 0 {
		return Document{}, albs.Errorf(albs.NotFound, "there is no package %s", n)
	}
	var ds []albs.Digest
	for _, a := range found {
		ds = append(ds, a.Digest)
	}
	have, err := b.store.of(ctx, ds)
	if err != nil {
		return Document{}, err
	}
	var best *artifact.Artifact
	for i, a := range found {
		if have[a.Digest].ID != 0 && (best == nil || best.Unsigned == "" || a.Unsigned != "") {
			best = &found[i]
		}
	}
	if best == nil {
		return Document{}, albs.Errorf(albs.NotFound, "there is no bill of materials of %s yet: %s", n, when)
	}
	return b.document(ctx, sbom.Package, string(best.Digest), f, when)
}

func (b *Bills) document(ctx context.Context, k sbom.Kind, subject string, f sbom.Format, when string) (Document, error) {
	if _, err := sbom.ParseFormat(string(f)); err != nil {
		return Document{}, err
	}
	r, err := b.store.get(ctx, b.DB, k, subject)
	if albs.KindOf(err) == albs.NotFound {
		return Document{}, albs.Errorf(albs.NotFound, "there is no bill of materials of %s %.80s: %s", k, subject, when)
	}
	if err != nil {
		return Document{}, err
	}
	out := Document{Name: r.Name + f.Ending(), Format: f, Made: r.CreatedAt.Time}
	if out.Digest, err = b.store.document(ctx, r.ID, f); err != nil {
		return Document{}, fmt.Errorf("documents of bill %d: %w", r.ID, err)
	}
	if out.Digest != "" {
		a, err := b.Artifacts.Find(ctx, out.Digest)
		if err != nil {
			return Document{}, err
		}
		out.Size, out.Attested = a.Size, true
		out.open = func(off, length int64) (io.ReadCloser, error) { return b.Artifacts.Open(ctx, a.Digest, off, length) }
		return out, nil
	}
	text, err := b.render(ctx, r.Model, f)
	if err != nil {
		return Document{}, fmt.Errorf("write %s of bill %d: %w", f, r.ID, err)
	}
	out.Digest, out.Size = albs.DigestOf(text), int64(len(text))
	out.open = func(off, length int64) (io.ReadCloser, error) {
		rest := text[min(off, out.Size):]
		if length >= 0 && length < int64(len(rest)) {
			rest = rest[:length]
		}
		return io.NopCloser(bytes.NewReader(rest)), nil
	}
	return out, nil
}

// render writes a format that isn't kept, of the bill that is.
func (b *Bills) render(ctx context.Context, model albs.Digest, f sbom.Format) ([]byte, error) {
	if err := b.slots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer b.slots.Release(1)
	r, err := b.Artifacts.Blobs().Open(ctx, model)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	text, err := io.ReadAll(io.LimitReader(r, maxDocument))
	if err != nil {
		return nil, err
	}
	bill, err := sbom.ParseBill(text)
	if err != nil {
		return nil, err
	}
	return bill.Write(f)
}
