package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/disk"
	"albs/internal/pgp"
	"albs/internal/rpm"
	"albs/internal/worker"
)

// Bounds of one task.
const (
	maxItems    = 500
	maxDocument = 8 << 20
	maxFile     = 16 << 20
)

// sign makes the signatures of one task. Forbidden says that the signer refuses:
// by its policy, by the evidence, or because a package isn't what it is called;
// errQuota, that the key's quota has no room for them now.
func (s *signer) sign(ctx context.Context, w *worker.Session, spec albs.SignSpec) (albs.SignResult, error) {
	var r albs.SignResult
	items := spec.Items()
	if n := len(items); n == 0 || n > maxItems || n != max(len(spec.Packages), len(spec.Documents), len(spec.Files)) || spec.Clear && len(spec.Files) == 0 {
		return r, albs.Errorf(albs.Invalid, "a sign task has 1 to %d packages, or as many documents or files, of which these alone may be clear-signed", maxItems)
	}
	k, err := s.keys.usable(spec.Key)
	if err != nil {
		return r, err
	}
	p, err := readPolicy(s.dir)
	if err != nil {
		return r, err
	}
	allowed := p.of(k.file)
	if err := allowed.asked(spec.Key, spec, time.Now()); err != nil {
		return r, err
	}
	stated, err := s.believe(w.Lease, spec)
	if err != nil {
		return r, err
	}
	for _, f := range items {
		if err := allowed.shown(spec.Key, f.Name, stated[f.Digest]); err != nil {
			return r, err
		}
	}
	if err := s.approved(ctx, w, p, allowed, spec, stated); err != nil {
		return r, err
	}
	if err := s.quota.take(allowed, spec.Key, len(items)); err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp(filepath.Join(s.dir, "tmp"), "task-*")
	if err != nil {
		return r, fmt.Errorf("make a folder of work: %w", err)
	}
	defer os.RemoveAll(dir)
	j := &job{signer: s, session: w, spec: spec, key: k, stated: stated, statements: make([][]byte, len(items)), dir: dir}
	switch kindOf(spec) {
	case repomdKind:
		return j.documents(ctx, "document", spec.Documents, maxDocument)
	case filesKind:
		return j.documents(ctx, "file", spec.Files, maxFile)
	}
	return j.packages(ctx)
}

// job is one sign task whose evidence holds.
type job struct {
	*signer
	session *worker.Session
	spec    albs.SignSpec
	key     key
	stated  map[albs.Digest]stated // of what is to be signed, as the master stated it
	dir     string                 // of this task alone
	dated   []time.Time            // what each signature bears

	statements [][]byte // of each signed copy of a package, as this signer states it
}

func (j *job) packages(ctx context.Context) (albs.SignResult, error) {
	n := len(j.spec.Packages)
	if err := each(ctx, n, j.fetchPackage); err != nil {
		return albs.SignResult{}, err
	}
	signatures := make([][]byte, n)
	err := j.journaled("package", j.spec.Packages, signatures, func() error {
		err := each(ctx, n, func(ctx context.Context, i int) (err error) {
			signatures[i], err = j.signPackage(ctx, i)
			return err
		})
		if err != nil {
			return err
		}
		names := make([]string, n)
		for i := range names {
			names[i] = signedName(i)
		}
		return j.engines.packages(ctx, j.dir, []byte(j.key.file.Public), names)
	})
	if err != nil {
		return albs.SignResult{}, err
	}
	say(j.session, "%d packages signed with key %s", n, j.key.file.Fingerprint)
	return j.result(j.spec.Packages, signatures), nil
}

// fetchPackage fetches a package and holds it to its name and to what was stated of
// it.
func (j *job) fetchPackage(ctx context.Context, i int) error {
	f := j.spec.Packages[i]
	path := filepath.Join(j.dir, unsignedName(i))
	if err := j.fetch(ctx, f, path, worker.MaxUpload); err != nil {
		return err
	}
	p, err := rpm.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read %.200q: %w", f.Name, err)
	}
	return checkPackage(p, f, j.stated[f.Digest])
}

// checkPackage says whether a package is the one that a task names and the master
// stated: by its own header, not by what it is called.
func checkPackage(p *rpm.Package, f albs.File, st stated) error {
	refuse := func(format string, args ...any) error {
		return albs.Errorf(albs.Forbidden, "refused: "+format, args...)
	}
	switch {
	case !p.Valid():
		return refuse("the header of %s names a package outside the grammar of names", f.Digest.Short())
	case p.Filename() != f.Name:
		return refuse("the package that is called %.200q calls itself %s in its header", f.Name, p.Filename())
	case p.Source != st.source:
		return refuse("the master stated how %s was made, but as a package of the other kind, binary or source", f.Name)
	case p.HeaderSHA256 != st.header || p.PayloadSHA256 != st.payload || !st.header.Valid() || !st.payload.Valid():
		return refuse("the master stated another header or payload of %s than it has", f.Name)
	}
	return nil
}

// signPackage signs the main header of a package, splices the signature into a copy
// and checks that copy by this program's own engine. The header is read anew: those
// of a whole task could be gigabytes.
func (j *job) signPackage(ctx context.Context, i int) ([]byte, error) {
	f := j.spec.Packages[i]
	wrap := func(err error) error { return fmt.Errorf("sign %s: %w", f.Name, err) }
	unsigned, err := os.Open(filepath.Join(j.dir, unsignedName(i)))
	if err != nil {
		return nil, wrap(err)
	}
	defer unsigned.Close()
	header, err := rpm.Header(unsigned)
	if err != nil {
		return nil, wrap(err)
	}
	if albs.DigestOf(header) != j.stated[f.Digest].header {
		return nil, wrap(albs.Errorf(albs.Internal, "the package changed on this disk"))
	}
	if err := j.session.Check(ctx); err != nil {
		return nil, err
	}
	j.operations.Add(1)
	sig, isRSA, err := j.key.private.At(j.dated[i]).Sign(header)
	if err != nil {
		return nil, wrap(err)
	}
	if _, err := unsigned.Seek(0, io.SeekStart); err != nil {
		return nil, wrap(err)
	}
	signed, err := os.OpenFile(filepath.Join(j.dir, signedName(i)), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, wrap(err)
	}
	defer signed.Close()
	if err := rpm.Splice(signed, unsigned, sig, isRSA); err != nil {
		return nil, wrap(err)
	}
	if err := os.Remove(unsigned.Name()); err != nil {
		return nil, wrap(err)
	}
	if _, err := signed.Seek(0, io.SeekStart); err != nil {
		return nil, wrap(err)
	}
	kr, err := rpm.ReadKeyring([]byte(j.key.file.Public))
	if err != nil {
		return nil, wrap(err)
	}
	v, err := rpm.Verify(signed, kr)
	if err != nil {
		return nil, wrap(err)
	}
	if v.Package.HeaderSHA256 != j.stated[f.Digest].header {
		return nil, wrap(albs.Errorf(albs.Internal, "the signed copy has another header"))
	}
	if j.statements[i], err = j.state(f, v); err != nil {
		return nil, wrap(err)
	}
	return sig, nil
}

// state returns this signer's statement about the signed copy v of a package. Attempts at
// one task make the same, for they make the same copy.
func (j *job) state(f albs.File, v *rpm.Verified) ([]byte, error) {
	st, err := attest.New(
		attest.Subject{Name: f.Name, Digest: map[string]string{
			attest.SHA256: string(v.FileDigest), attest.HeaderSHA256: string(v.Package.HeaderSHA256), attest.PayloadSHA256: string(v.Package.PayloadSHA256),
		}},
		attest.Sign, attest.SignBody{
			Unsigned: f.Digest, Fingerprint: v.Fingerprint, Task: j.session.Lease.Token.Task, Build: int64(j.spec.Build),
			Requester: j.stated[f.Digest].wanted.Requester,
		})
	if err != nil {
		return nil, err
	}
	e, err := j.states.Sign(st)
	if err != nil {
		return nil, err
	}
	return e.Encode()
}

// documents signs files as a whole: each a what of at most limit bytes. The signatures are
// checked by this program's own engine and by gpgv.
func (j *job) documents(ctx context.Context, what string, files []albs.File, limit int64) (albs.SignResult, error) {
	contents := make([][]byte, len(files))
	for i, f := range files {
		path := filepath.Join(j.dir, unsignedName(i))
		if err := j.fetch(ctx, f, path, limit); err != nil {
			return albs.SignResult{}, err
		}
		var err error
		if contents[i], err = disk.ReadFile(path, limit); err != nil {
			return albs.SignResult{}, fmt.Errorf("read %.200q: %w", f.Name, err)
		}
		if albs.DigestOf(contents[i]) != f.Digest {
			return albs.SignResult{}, albs.Errorf(albs.Internal, "%.200q changed on this disk", f.Name)
		}
	}
	signatures := make([][]byte, len(contents))
	err := j.journaled(what, files, signatures, func() error {
		kr, err := pgp.ReadKeyring([]byte(j.key.file.Public))
		if err != nil {
			return err
		}
		for i, b := range contents {
			if err := j.session.Check(ctx); err != nil {
				return err
			}
			j.operations.Add(1)
			if signatures[i], err = j.signDocument(kr, b, j.dated[i]); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(j.dir, signatureName(i)), signatures[i], 0o600); err != nil {
				return fmt.Errorf("lay out signature: %w", err)
			}
		}
		return j.engines.documents(ctx, j.dir, []byte(j.key.file.Public), len(files), j.spec.Clear)
	})
	if err != nil {
		return albs.SignResult{}, err
	}
	say(j.session, "%d %ss signed with key %s", len(contents), what, j.key.file.Fingerprint)
	return j.result(files, signatures), nil
}

// signDocument returns the signature of b that bears the date at, or its clear-signed copy,
// after the own engine has checked it.
func (j *job) signDocument(kr *pgp.Keyring, b []byte, at time.Time) ([]byte, error) {
	private, verify := j.key.private.At(at), kr.VerifyArmored
	var sig []byte
	var err error
	if j.spec.Clear {
		verify = kr.VerifyClear
		sig, err = private.SignClear(b)
	} else {
		sig, err = private.SignArmored(bytes.NewReader(b))
	}
	if err != nil {
		return nil, err
	}
	_, _, err = verify(bytes.NewReader(b), sig)
	return sig, err
}

// journaled puts the intent to sign each file on disk, has do fill in signatures,
// and notes for each what came of it. What an earlier attempt was to sign gets that
// one's date, and so the very signature: if it left the signer after all, there are
// not two.
func (j *job) journaled(what string, files []albs.File, signatures [][]byte, do func() error) error {
	task, fpr := j.session.Lease.Token.Task, j.key.file.Fingerprint
	var earlier map[albs.Digest]time.Time
	if j.session.Lease.Attempt > 1 {
		var err error
		if earlier, err = j.journal.dates(task, fpr); err != nil {
			return err
		}
	}
	now := time.Now().UTC().Truncate(time.Second)
	es := make([]entry, len(files))
	j.dated = make([]time.Time, len(files))
	for i, f := range files {
		j.dated[i] = now
		if at, ok := earlier[f.Digest]; ok {
			j.dated[i] = at
		}
		es[i] = entry{
			Event: intentEvent, What: what, Task: task, Attempt: j.session.Lease.Attempt,
			Key: fpr, Product: j.spec.Product, Of: f.Digest, Name: f.Name, Dated: j.dated[i],
		}
	}
	if err := j.journal.add(es...); err != nil {
		return err
	}
	err := do()
	for i := range es {
		es[i].Event = resultEvent
		if signatures[i] != nil {
			es[i].Signature = albs.DigestOf(signatures[i])
		}
		if err != nil {
			es[i].Error = err.Error()
		}
	}
	return errors.Join(err, j.journal.add(es...))
}

// fetch writes a blob of the lease to a file, and holds it to its digest and size.
func (j *job) fetch(ctx context.Context, f albs.File, path string, limit int64) error {
	if f.Size < 0 || f.Size > limit {
		return albs.Errorf(albs.TooLarge, "%.200q has %d bytes, at most %d are signed", f.Name, f.Size, limit)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("fetch %.200q: %w", f.Name, err)
	}
	defer file.Close()
	if err := j.session.Fetch(ctx, f.Digest, f.Size, file); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("fetch %.200q: %w", f.Name, err)
	}
	d, n, err := albs.DigestReader(file)
	if err != nil {
		return fmt.Errorf("fetch %.200q: %w", f.Name, err)
	}
	if d != f.Digest || n != f.Size {
		return albs.Errorf(albs.Forbidden, "refused: what came for %.200q is not %s", f.Name, f.Digest)
	}
	return nil
}

func unsignedName(i int) string { return fmt.Sprintf("%03d.unsigned", i) }
func signedName(i int) string   { return fmt.Sprintf("%03d.rpm", i) }

func signatureName(i int) string { return fmt.Sprintf("%03d.asc", i) }

func (j *job) result(files []albs.File, signatures [][]byte) albs.SignResult {
	var r albs.SignResult
	for i, f := range files {
		r.Signatures = append(r.Signatures, albs.Signature{Of: f.Digest, Bytes: signatures[i], Statement: j.statements[i]})
	}
	return r
}

// each calls f for 0 to n-1, as many at once as there are cores, and returns the
// first error.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		g.Go(func() error { return f(ctx, i) })
	}
	return g.Wait()
}
