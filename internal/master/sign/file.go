package sign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/failure"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/queue"
)

// MaxFile bounds a file that people may have signed, in bytes.
const MaxFile = 16 << 20

// FileWish asks for the signature of a file that is no package.
type FileWish struct {
	Name    string // a plain base name
	Content []byte
	Key     string // name or fingerprint
	Product string // "" is the only one that the key was made for
	Clear   bool   // a clear-signed copy in place of a detached signature; of text only
}

// File is a file that people have signed, or want to.
type File struct {
	albs.File
	Task      queue.Task
	Key       string // fingerprint
	Product   string
	Clear     bool
	Requester string
	CreatedAt time.Time
	Signed    bool // its signature is there
	Approvals Approvals
}

// Cause returns why it was not signed; nil if it was, or may yet be.
func (f File) Cause() *failure.Cause {
	if f.Signed || f.Task.State != albs.TaskFailed && f.Task.State != albs.TaskCancelled {
		return nil
	}
	c := failure.OfWords(f.Task.Reason)
	return &c
}

// SignFile asks for a file to be signed, and returns how far that is. While the same is under
// way, and once it is there, it is returned again. Only a document that albs made may be
// signed, or a file that is on the product's list (AllowFile), and no byte else.
// Errors: Forbidden without sign.request on the product's team, and for a file that may not
// be signed; Invalid for what is no plain name, an empty file, no product, and binary data
// to be clear-signed; TooLarge beyond MaxFile; NotFound for an unknown key or product;
// Conflict for a key that isn't active or was made for others.
func (s *Signing) SignFile(ctx context.Context, w FileWish) (File, error) {
	if err := w.check(); err != nil {
		return File{}, err
	}
	k, err := s.Key(ctx, w.Key)
	if err != nil {
		return File{}, err
	}
	if w.Product == "" {
		if len(k.Products) != 1 {
			return File{}, albs.Errorf(albs.Invalid, "name the product that the file is signed for: key %s signs for %s", k.Name, anyOf(k.Products))
		}
		w.Product = k.Products[0]
	}
	p, err := s.products.Get(ctx, w.Product)
	if err != nil {
		return File{}, err
	}
	if err := auth.Can(ctx, auth.SignRequest, p.Object()); err != nil {
		return File{}, err
	}
	if _, err := s.usable(ctx, s.store.d, k.Fingerprint, w.Product); err != nil {
		return File{}, err
	}
	digest := albs.DigestOf(w.Content)
	own, err := s.mayBeSigned(ctx, w.Product, digest, w.Name)
	if err != nil {
		return File{}, err
	}
	kept, err := s.artifacts.Save(ctx, bytes.NewReader(w.Content), MaxFile, w.Name, artifact.Source)
	if err != nil {
		return File{}, err
	}
	row := documentRow{
		Digest: digest, Name: w.Name, Size: kept.Size, Key: k.Fingerprint, Product: w.Product, File: true, Clear: w.Clear,
		Requester: auth.From(ctx).Name, CreatedAt: db.Now(),
	}
	effects, expires, err := s.saveEffects(ctx, w.Product, k.Fingerprint, w.Clear, []albs.File{kept.File()})
	if err != nil {
		return File{}, err
	}
	row.Effects, row.ExpiresAt = effects.Digest, expires
	err = s.store.d.InTx(ctx, func(tx db.Tx) error {
		if row.TaskID, err = s.store.documentTask(ctx, tx, row); err != nil || row.TaskID != 0 {
			return err
		}
		if err := s.keepEffects(ctx, tx, kept, effects); err != nil {
			return err
		}
		if own {
			if err := s.state(ctx, tx, kept.File(), attest.SignAllowed, attest.SignAllowedBody{Product: w.Product}); err != nil {
				return err
			}
		}
		row.TaskID, err = s.addDocuments(ctx, tx, []documentRow{row}, "product:"+w.Product)
		return err
	})
	if err != nil {
		return File{}, fmt.Errorf("sign %s: %w", w.Name, err)
	}
	return s.File(ctx, row.TaskID)
}

func (w FileWish) check() error {
	if err := artifact.CheckName(w.Name); err != nil {
		return err
	}
	switch {
	case len(w.Content) > MaxFile:
		return albs.Errorf(albs.TooLarge, "%s has %d bytes, files of at most %d are signed", w.Name, len(w.Content), MaxFile)
	case len(w.Content) == 0:
		return albs.Errorf(albs.Invalid, "%s is empty", w.Name)
	case w.Clear && (!utf8.Valid(w.Content) || bytes.IndexByte(w.Content, 0) >= 0):
		return albs.Errorf(albs.Invalid, "%s is no text: ask for a detached signature", w.Name)
	}
	return nil
}

func anyOf(products []string) string {
	if len(products) == 0 {
		return "any"
	}
	return strings.Join(products, ", ")
}

// mayBeSigned returns nil if a file may be signed for a product, and whether that is so for
// a document that albs made itself. Else it is Forbidden.
func (s *Signing) mayBeSigned(ctx context.Context, product string, d albs.Digest, name string) (own bool, err error) {
	listed, err := s.store.isAllowed(ctx, s.store.d, product, d)
	if err != nil || listed {
		return false, err
	}
	a, err := s.artifacts.Get(ctx, s.store.d, d)
	if err == nil && a.Kind == artifact.Document {
		return true, nil
	}
	if err != nil && !errors.Is(err, albs.NotFound) {
		return false, err
	}
	return false, albs.Errorf(albs.Forbidden, "%s (%s) is neither a document that albs made nor on product %s's list of files to sign: a maintainer of it looks at the file and says albs sign allow", name, d, product)
}

// AllowFile puts a file on a product's list of what its keys may sign, by its digest; name
// and note say what it is. Putting it there twice changes nothing. It is stated: a
// signer believes the ledger and no row. Errors: Forbidden without sign.allow on the product's
// team, NotFound for an unknown product, Invalid for no digest, no plain name or a note that
// is too long.
func (s *Signing) AllowFile(ctx context.Context, a Allowed) error {
	p, err := s.products.Get(ctx, a.Product)
	if err != nil {
		return err
	}
	if err := auth.Can(ctx, auth.SignAllow, p.Object()); err != nil {
		return err
	}
	if err := artifact.CheckName(a.Name); err != nil {
		return err
	}
	if !a.Digest.Valid() {
		return albs.Errorf(albs.Invalid, "%.80q is no sha256: 64 digits and small letters", string(a.Digest))
	}
	if len(a.Note) > maxNote {
		return albs.Errorf(albs.Invalid, "the note has %d bytes, %d are allowed", len(a.Note), maxNote)
	}
	actor := auth.From(ctx)
	a.By, a.At = actor.Name, db.Now()
	err = s.store.d.InTx(ctx, func(tx db.Tx) error {
		added, err := s.store.allow(ctx, tx, a)
		if err != nil || !added {
			return err
		}
		body := attest.SignAllowedBody{Product: a.Product, By: a.By, Note: a.Note}
		if err := s.state(ctx, tx, albs.File{Name: a.Name, Digest: a.Digest}, attest.SignAllowed, body); err != nil {
			return err
		}
		return s.events.Add(ctx, tx, "sign.allowed", "product:"+a.Product, actor.String(), map[string]any{"digest": a.Digest, "name": a.Name, "note": a.Note})
	})
	if err != nil {
		return fmt.Errorf("allow %s to be signed: %w", a.Name, err)
	}
	return nil
}

const maxNote = 2000

// Allowed is a file on a product's list of what its keys may sign.
type Allowed struct {
	Product string      `db:"product"`
	Digest  albs.Digest `db:"digest"`
	Name    string      `db:"name"`
	Note    string      `db:"note"`
	By      string      `db:"actor"`
	At      db.Time     `db:"at"`
}

// AllowedFiles returns a product's list, by name and digest, at most 1,000 of it. Anyone may ask. NotFound.
func (s *Signing) AllowedFiles(ctx context.Context, product string) ([]Allowed, error) {
	if _, err := s.products.Get(ctx, product); err != nil {
		return nil, err
	}
	return s.store.allowed(ctx, s.store.d, product)
}

// DisallowFile takes a file off a product's list: it isn't signed any more, unless a request
// for it has been made. Errors: Forbidden as for AllowFile, NotFound.
func (s *Signing) DisallowFile(ctx context.Context, product string, d albs.Digest) error {
	p, err := s.products.Get(ctx, product)
	if err != nil {
		return err
	}
	if err := auth.Can(ctx, auth.SignAllow, p.Object()); err != nil {
		return err
	}
	return s.store.d.InTx(ctx, func(tx db.Tx) error {
		if err := s.store.disallow(ctx, tx, product, d); err != nil {
			return err
		}
		return s.events.Add(ctx, tx, "sign.disallowed", "product:"+product, auth.From(ctx).String(), map[string]any{"digest": d})
	})
}

// File returns a file that people have signed, by its task, or NotFound. Anyone may ask.
func (s *Signing) File(ctx context.Context, id albs.TaskID) (File, error) {
	row, err := s.store.file(ctx, s.store.d, id)
	if err != nil {
		return File{}, err
	}
	return s.viewFile(ctx, row)
}

// FileFilter says which files Files returns. Empty fields don't filter.
type FileFilter struct {
	Product string
	Before  albs.TaskID // only those with a lower id, for the next page
	Limit   int         // 1 to 200; 0 is 20
}

// Files returns files that people have signed, the newest first, and whether there are
// more. Anyone may ask.
func (s *Signing) Files(ctx context.Context, f FileFilter) ([]File, bool, error) {
	if f.Limit <= 0 || f.Limit > 200 {
		f.Limit = 20
	}
	rows, err := s.store.files(ctx, f)
	if err != nil {
		return nil, false, fmt.Errorf("list files to sign: %w", err)
	}
	more := len(rows) > f.Limit
	if more {
		rows = rows[:f.Limit]
	}
	out := make([]File, len(rows))
	for i, row := range rows {
		if out[i], err = s.viewFile(ctx, row); err != nil {
			return nil, false, err
		}
	}
	return out, more, nil
}

func (s *Signing) viewFile(ctx context.Context, row documentRow) (File, error) {
	out := File{
		File: albs.File{Name: row.Name, Digest: row.Digest, Size: row.Size}, Key: row.Key, Product: row.Product, Clear: row.Clear,
		Requester: row.Requester, CreatedAt: row.CreatedAt.Time,
	}
	var err error
	if out.Task, err = s.queue.Task(ctx, row.TaskID); err != nil {
		return out, err
	}
	out.Signed = out.Task.State == albs.TaskSucceeded
	out.Approvals, err = s.approvals(ctx, s.store.d, row.wish())
	return out, err
}

// FileSignature returns the armored signature of a file, or its clear-signed copy.
// Errors: Forbidden without read.private on the product's team; NotFound, also while it isn't
// there.
func (s *Signing) FileSignature(ctx context.Context, id albs.TaskID) ([]byte, error) {
	row, err := s.readable(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.store.documentSignature(ctx, s.store.d, row.Digest, row.Key, row.Clear)
}

// FileContent returns the file itself, for people to look at before they approve. Errors are
// those of FileSignature.
func (s *Signing) FileContent(ctx context.Context, id albs.TaskID) ([]byte, error) {
	row, err := s.readable(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.read(ctx, row.Digest, MaxFile)
}

func (s *Signing) readable(ctx context.Context, id albs.TaskID) (documentRow, error) {
	row, err := s.store.file(ctx, s.store.d, id)
	if err != nil {
		return row, err
	}
	p, err := s.products.Get(ctx, row.Product)
	if err != nil {
		return row, err
	}
	return row, auth.Can(ctx, auth.ReadPrivate, p.Object())
}

// read returns a whole file of the store, which has at most limit bytes.
func (s *Signing) read(ctx context.Context, d albs.Digest, limit int64) ([]byte, error) {
	r, err := s.artifacts.Open(ctx, d, 0, -1)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", d.Short(), err)
	}
	if int64(len(b)) > limit {
		return nil, albs.Errorf(albs.TooLarge, "%s has more than %d bytes", d.Short(), limit)
	}
	return b, nil
}

// addDocuments queues in tx the task that signs documents of one wish, or a file, and
// states why.
func (s *Signing) addDocuments(ctx context.Context, tx db.Tx, rows []documentRow, topic string) (albs.TaskID, error) {
	first := rows[0]
	id, err := s.queue.Enqueue(ctx, tx, queue.NewTask{
		Kind: albs.KindSign, Lane: "product:" + first.Product, Topic: topic, Needs: []string{"key:" + first.Key},
	})
	if err != nil {
		return 0, err
	}
	var files []albs.File
	for _, row := range rows {
		row.TaskID = id
		if err := s.store.addDocument(ctx, tx, row); err != nil {
			return 0, err
		}
		files = append(files, row.file())
	}
	why := attest.SignIntentBody{Task: id, Fingerprint: first.Key, Product: first.Product, Requester: first.Requester}
	return id, s.intend(ctx, tx, files, why)
}
