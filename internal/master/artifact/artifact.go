// Package artifact has a row for each file that the master holds by digest: what
// kind it is, its name and size, and for an RPM the facts of its header. It is
// the one door by which uploads become blobs (Admit) and by which files made on
// the master do (Save).
//
// Bytes come first, the row second: Admit and Save do I/O and write no row, Add
// writes rows in the transaction that accepts the work. A row thus means bytes
// that were hashed and, for an RPM, a header that was read within bounds and a
// file name that is the header's. Blobs without a row (snapshots, refused
// uploads) are not artifacts; nothing but their owner opens them. The full
// header is not kept in the database: Package reads it again from the blob.
package artifact

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/master/db"
	"albs/internal/rpm"
)

// Kind says what sort of file an artifact is.
type Kind string

// The kinds of artifact.
const (
	RPM      Kind = "rpm"      // a binary package
	SRPM     Kind = "srpm"     // a source package
	Log      Kind = "log"      // a log of an attempt, complete
	Record   Kind = "record"   // a buildroot record, JSON
	Tree     Kind = "tree"     // an exported commit, tar
	Source   Kind = "source"   // a file that is no work of the farm's: look-aside, given to be signed, or left by a rebuild to be looked at
	Document Kind = "document" // repomd.xml, keys, trees of a product, signatures
)

// Artifact is one file by its content. The fields from NEVRA on are of RPMs and
// SRPMs only.
type Artifact struct {
	ID     int64 // order of arrival; 0 before Add
	Digest albs.Digest
	Size   int64
	Kind   Kind
	Name   string // base name of the file
	At     db.Time

	NEVRA         rpm.NEVRA // Arch is "src" for an SRPM
	SourceRPM     string    // the SRPM's file name, as the header says; empty for an SRPM
	HeaderSHA256  albs.Digest
	PayloadSHA256 albs.Digest

	Unsigned albs.Digest // of a signed copy: the digest of the unsigned package
	SignedBy string      // and the key's fingerprint; both are set by the caller of Save
}

// File returns the artifact as specs and results name it.
func (a Artifact) File() albs.File { return albs.File{Name: a.Name, Digest: a.Digest, Size: a.Size} }

// Artifacts keeps the rows and leads to the bytes. It may be used concurrently.
type Artifacts struct {
	d       *db.DB
	blobs   *keeper
	staging *blob.Staging
	roots   []namedRoots
	follow  map[Form]func() Follower
}

// New returns Artifacts over the rows of d, the blobs and the uploads in staging.
// It does no I/O.
func New(d *db.DB, blobs blob.Store, staging *blob.Staging) *Artifacts {
	return &Artifacts{d: d, blobs: &keeper{Store: blobs, gate: d.Gate("blobs")}, staging: staging, follow: make(map[Form]func() Follower)}
}

// Admit takes the upload f of a lease into the blob store and returns what it is;
// no row is written. It fails with NotFound if the lease uploaded nothing of that
// digest, and with Invalid if the bytes don't hash to it or have another size, if
// the name isn't a plain base name, or if an RPM's header is bad, isn't of the
// kind, names another file, or names another payload. The blob is durable on
// return of nil.
func (s *Artifacts) Admit(ctx context.Context, lease string, f albs.File, k Kind) (Artifact, error) {
	if err := CheckName(f.Name); err != nil {
		return Artifact{}, err
	}
	if !f.Digest.Valid() {
		return Artifact{}, albs.Errorf(albs.Invalid, "%s has no sha256", f.Name)
	}
	size, err := s.staging.Commit(ctx, lease, f.Digest, s.blobs)
	if err != nil {
		return Artifact{}, fmt.Errorf("admit %s: %w", f.Name, err)
	}
	if size != f.Size {
		return Artifact{}, albs.Errorf(albs.Invalid, "%s has %d bytes, not %d as was told", f.Name, size, f.Size)
	}
	return s.inspect(ctx, Artifact{Digest: f.Digest, Size: size, Kind: k, Name: f.Name})
}

// maxLogs bounds the logs of one attempt.
const maxLogs = 16

// AdmitLogs is Admit for all logs of a lease's attempt; TooLarge if there are more
// than 16.
func (s *Artifacts) AdmitLogs(ctx context.Context, lease string, files []albs.File) ([]Artifact, error) {
	if len(files) > maxLogs {
		return nil, albs.Errorf(albs.TooLarge, "the attempt has %d logs, at most %d are kept", len(files), maxLogs)
	}
	var logs []Artifact
	for _, f := range files {
		a, err := s.Admit(ctx, lease, f, Log)
		if err != nil {
			return nil, fmt.Errorf("log %s: %w", f.Name, err)
		}
		logs = append(logs, a)
	}
	return logs, nil
}

// Save stores what r holds, at most limit bytes (else TooLarge), and returns what
// it is; no row is written. Invalid as for Admit; durable on return of nil.
func (s *Artifacts) Save(ctx context.Context, r io.Reader, limit int64, name string, k Kind) (Artifact, error) {
	if err := CheckName(name); err != nil {
		return Artifact{}, err
	}
	d, size, err := s.blobs.Write(ctx, r, limit)
	if err != nil {
		return Artifact{}, fmt.Errorf("save %s: %w", name, err)
	}
	return s.inspect(ctx, Artifact{Digest: d, Size: size, Kind: k, Name: name})
}

// inspect fills in what the bytes say of themselves.
func (s *Artifacts) inspect(ctx context.Context, a Artifact) (Artifact, error) {
	switch a.Kind {
	case Log, Record, Tree, Source, Document:
		return a, nil
	case RPM, SRPM:
	default:
		return Artifact{}, albs.Errorf(albs.Invalid, "%q is no kind of artifact", a.Kind)
	}
	r, err := s.blobs.Open(ctx, a.Digest)
	if err != nil {
		return Artifact{}, fmt.Errorf("inspect %s: %w", a.Name, err)
	}
	defer r.Close()
	p, err := rpm.Read(io.NewSectionReader(r, 0, r.Size()))
	if err != nil {
		return Artifact{}, fmt.Errorf("inspect %s: %w", a.Name, err)
	}
	if p.Source != (a.Kind == SRPM) {
		return Artifact{}, albs.Errorf(albs.Invalid, "%s is not of the kind %s: its header says otherwise", a.Name, a.Kind)
	}
	if want := p.NEVRA.Filename(); a.Name != want {
		return Artifact{}, albs.Errorf(albs.Invalid, "%s calls itself %s in its header", a.Name, want)
	}
	if err := checkPayload(a.Name, p, r); err != nil {
		return Artifact{}, err
	}
	a.NEVRA, a.SourceRPM, a.HeaderSHA256, a.PayloadSHA256 = p.NEVRA, p.SourceRPM, p.HeaderSHA256, p.PayloadSHA256
	return a, nil
}

// checkPayload holds the payload to the digest that the header names (rpm tag
// 5092 PAYLOADDIGEST, over the compressed bytes), so that what is said of the
// header holds for the whole package.
func checkPayload(name string, p *rpm.Package, r blob.Reader) error {
	if p.PayloadSHA256 == "" {
		return albs.Errorf(albs.Invalid, "%s has no sha256 of its payload: build it with rpm 4.14 or later", name)
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(r, p.HeaderEnd, r.Size()-p.HeaderEnd)); err != nil {
		return fmt.Errorf("read payload of %s: %w", name, err)
	}
	if got := albs.DigestFrom(h); got != p.PayloadSHA256 {
		return albs.Errorf(albs.Invalid, "the payload of %s hashes to %s, its header says %s", name, got.Short(), p.PayloadSHA256.Short())
	}
	return nil
}

// CheckName returns an Invalid error unless s is a plain base name: 1 to 255
// bytes of printable UTF-8, no separator, no leading dash, neither "." nor "..".
func CheckName(s string) error {
	ok := s != "" && len(s) <= 255 && utf8.ValidString(s) && s != "." && s != ".." && s[0] != '-'
	for _, c := range s {
		ok = ok && c != '/' && c != '\\' && unicode.IsPrint(c)
	}
	if !ok {
		return albs.Errorf(albs.Invalid, "file name %.80q: use a plain name of at most 255 bytes, without directories", s)
	}
	return nil
}

// Add writes the rows of artifacts that Admit or Save returned. A digest that has
// a row already keeps it as it is, whatever its kind and name, but for one: an RPM
// or SRPM whose bytes came as another kind before takes the row over, for what
// names a package needs its facts. ID and At stay.
func (s *Artifacts) Add(ctx context.Context, tx db.Tx, as ...Artifact) error {
	now := db.Now()
	for _, a := range as {
		if !a.Digest.Valid() || a.Unsigned == "" != (a.SignedBy == "") {
			return albs.Errorf(albs.Internal, "artifact %s: incomplete", a.Name)
		}
		a.At = now
		if err := insert(ctx, tx, a); err != nil {
			return fmt.Errorf("add artifact %s: %w", a.Name, err)
		}
	}
	return nil
}

// Get returns the artifact of that digest; NotFound if there is none.
func (s *Artifacts) Get(ctx context.Context, q db.Q, d albs.Digest) (Artifact, error) {
	return get(ctx, q, d)
}

// Renew is Get for who is about to name an artifact that it was told of, and that
// nothing else may name any more: from then on the artifact stays for the time of
// grace, as if its bytes had just been stored. Not to be called within a transaction.
func (s *Artifacts) Renew(ctx context.Context, d albs.Digest) (Artifact, error) {
	if err := s.blobs.revive(ctx, d); err != nil {
		return Artifact{}, err
	}
	return get(ctx, s.d, d)
}

// Find is Get outside of any transaction, for faces, which have no database.
func (s *Artifacts) Find(ctx context.Context, d albs.Digest) (Artifact, error) {
	return get(ctx, s.d, d)
}

// After returns at most limit artifacts of some kinds that came after the one with
// that id, in the order of their arrival.
func (s *Artifacts) After(ctx context.Context, id int64, limit int, kinds ...Kind) ([]Artifact, error) {
	return after(ctx, s.d, id, limit, kinds)
}

// Copies returns the signed copies of unsigned packages: of each, in the order of their
// arrival.
func (s *Artifacts) Copies(ctx context.Context, unsigned ...albs.Digest) ([]Artifact, error) {
	return copies(ctx, s.d, unsigned)
}

// Named returns at most limit packages of a NEVRA, source packages ("src") and signed
// copies too, in the order of their arrival; an epoch of 0 stands for any.
func (s *Artifacts) Named(ctx context.Context, n rpm.NEVRA, limit int) ([]Artifact, error) {
	return named(ctx, s.d, n, limit)
}

// Open opens length bytes of an artifact from off; length < 0 means to the end.
// A digest without a row is NotFound, whatever the store holds. Bytes that no
// longer hash to d are an error, before the first byte of a range or at the end
// of a whole read.
func (s *Artifacts) Open(ctx context.Context, d albs.Digest, off, length int64) (io.ReadCloser, error) {
	if _, err := get(ctx, s.d, d); err != nil {
		return nil, err
	}
	if off == 0 && length < 0 {
		return s.blobs.Open(ctx, d)
	}
	return s.blobs.OpenRange(ctx, d, off, length)
}

// Package reads the header of an RPM or SRPM again, in full.
func (s *Artifacts) Package(ctx context.Context, d albs.Digest) (*rpm.Package, error) {
	a, err := get(ctx, s.d, d)
	if err != nil {
		return nil, err
	}
	if a.Kind != RPM && a.Kind != SRPM {
		return nil, albs.Errorf(albs.Invalid, "%s is no RPM", a.Name)
	}
	r, err := s.blobs.OpenRange(ctx, d, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", a.Name, err)
	}
	defer r.Close()
	return rpm.Read(r)
}

// Blobs returns the store, for modules whose blobs are not artifacts, such as
// snapshots.
func (s *Artifacts) Blobs() blob.Store { return s.blobs }

// Stage appends r to an upload of a lease at offset off, up to max bytes in all,
// and returns the bytes held; see blob.Staging.Append.
func (s *Artifacts) Stage(ctx context.Context, lease string, d albs.Digest, off int64, r io.Reader, max int64) (int64, error) {
	return s.staging.Append(ctx, lease, d, off, r, max)
}

// Staged returns how many bytes of an upload are held, 0 for an unknown one.
func (s *Artifacts) Staged(ctx context.Context, lease string, d albs.Digest) (int64, error) {
	return s.staging.Held(ctx, lease, d)
}

// OpenStaged opens length bytes of an upload from off, unverified: for its
// uploader alone.
func (s *Artifacts) OpenStaged(ctx context.Context, lease string, d albs.Digest, off, length int64) (io.ReadCloser, error) {
	return s.staging.Open(ctx, lease, d, off, length)
}

// DropStaged forgets all uploads of a lease.
func (s *Artifacts) DropStaged(ctx context.Context, lease string) error {
	return s.staging.Drop(ctx, lease)
}

// StagedLeases lists the leases that have uploads.
func (s *Artifacts) StagedLeases(ctx context.Context) ([]string, error) {
	return s.staging.Leases(ctx)
}
