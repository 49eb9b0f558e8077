package bill

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/rpm"
	"albs/internal/sbom"
)

// Document is a bill in one format.
type Document struct {
	Name string // of its file
	// Tag is another one for other bytes: their digest, or that of what they are written from.
	Tag    albs.Digest
	Format sbom.Format
	Made   time.Time // when the bill was put on record
	// Attested tells that the master has stated these bytes, as the ledger confirms.
	Attested bool
	// Kept tells that the bytes are there and needn't be written first.
	Kept  bool
	ready func(ctx context.Context) (*Bytes, error)
}

// Ready returns the bytes of the document, for the caller to close. Those of a format that
// isn't kept are written into a file first. It is Unavailable if too many are being read.
func (d Document) Ready(ctx context.Context) (*Bytes, error) { return d.ready(ctx) }

// Bytes are those of a document.
type Bytes struct {
	Size  int64
	open  func(offset, length int64) (io.ReadCloser, error)
	close func()
}

// Open opens length bytes from off; length < 0 means to the end.
func (b *Bytes) Open(off, length int64) (io.ReadCloser, error) { return b.open(off, length) }

// Close gives up what was held for the document.
func (b *Bytes) Close() {
	if b.close != nil {
		b.close()
	}
}

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
	if out.Tag, err = b.store.document(ctx, r.ID, f); err != nil {
		return Document{}, fmt.Errorf("documents of bill %d: %w", r.ID, err)
	}
	if out.Tag != "" {
		a, err := b.Artifacts.Find(ctx, out.Tag)
		if err != nil {
			return Document{}, err
		}
		out.Kept = true
		out.ready = func(ctx context.Context) (*Bytes, error) {
			return &Bytes{Size: a.Size, open: func(off, length int64) (io.ReadCloser, error) { return b.Artifacts.Open(ctx, a.Digest, off, length) }}, nil
		}
		if out.Attested, err = b.attested(ctx, r, f, a.Digest); err != nil {
			b.Log.Warn().Err(err).Str("name", out.Name).Msg("a bill of materials is not said to be attested")
		}
		return out, nil
	}
	out.Tag = albs.DigestOf([]byte(strings.Join([]string{string(r.Model), string(f), b.Version}, "\n")))
	out.ready = func(ctx context.Context) (*Bytes, error) {
		text, err := b.render(ctx, func(ctx context.Context) (sbom.Bill, error) { return b.kept(ctx, r.Model) }, f)
		if err != nil {
			return nil, fmt.Errorf("write %s of bill %d: %w", f, r.ID, err)
		}
		return text, nil
	}
	return out, nil
}

// attested reports whether the master has stated that a document is of the bill. The rows of
// bills say nothing of that.
func (b *Bills) attested(ctx context.Context, r row, f sbom.Format, d albs.Digest) (bool, error) {
	about := d
	if r.Kind == sbom.Package {
		about = albs.Digest(r.Subject)
	}
	said, err := b.Provenance.Stated(ctx, about, attest.SBOM)
	if err != nil {
		return false, err
	}
	for _, s := range said {
		var body attest.SBOMBody
		if err := s.Body(&body); err != nil {
			return false, err
		}
		if body.Kind == string(r.Kind) && slices.ContainsFunc(body.Documents, func(o attest.Descriptor) bool {
			return o.Name == string(f) && o.Digest[attest.SHA256] == string(d)
		}) {
			return true, nil
		}
	}
	return false, nil
}

const (
	maxRendering = 2  // formats that are written at once: a large release takes memory
	maxRendered  = 16 // that are there at once: each takes room on the disk
)

// render writes a format that isn't kept, of the bill that of returns, into a file that has
// no name and ends with its Bytes: those who read slowly take no memory.
func (b *Bills) render(ctx context.Context, of func(context.Context) (sbom.Bill, error), f sbom.Format) (*Bytes, error) {
	if !b.rendered.TryAcquire(1) {
		return nil, albs.Errorf(albs.Unavailable, "%d bills of materials are being read in formats that aren't kept: try again later, or take one of %v", maxRendered, Attested)
	}
	file, err := b.renderInto(ctx, of, f)
	if err != nil {
		b.rendered.Release(1)
		return nil, err
	}
	done := func() {
		_ = file.Close()
		b.rendered.Release(1)
	}
	info, err := file.Stat()
	if err != nil {
		done()
		return nil, err
	}
	size := info.Size()
	return &Bytes{Size: size, close: done, open: func(off, length int64) (io.ReadCloser, error) {
		if length < 0 {
			length = max(size-off, 0)
		}
		return io.NopCloser(io.NewSectionReader(file, off, length)), nil
	}}, nil
}

func (b *Bills) renderInto(ctx context.Context, of func(context.Context) (sbom.Bill, error), f sbom.Format) (file *os.File, err error) {
	if err := b.slots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer b.slots.Release(1)
	bill, err := of(ctx)
	if err != nil {
		return nil, err
	}
	text, err := bill.Write(f)
	if err != nil {
		return nil, err
	}
	file, err = os.CreateTemp("", "albs-bill-*")
	if err != nil {
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	err = os.Remove(file.Name())
	if err == nil {
		_, err = file.Write(text)
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("write a temporary file: %w", err)
	}
	return file, nil
}

// kept reads a bill that is kept.
func (b *Bills) kept(ctx context.Context, model albs.Digest) (sbom.Bill, error) {
	r, err := b.Artifacts.Blobs().Open(ctx, model)
	if err != nil {
		return sbom.Bill{}, err
	}
	defer func() { _ = r.Close() }()
	text, err := io.ReadAll(io.LimitReader(r, maxDocument))
	if err != nil {
		return sbom.Bill{}, err
	}
	return sbom.ParseBill(text)
}
