package sign

import (
	"cmp"
	"context"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
)

// Document is a file to be signed as a whole, such as a repomd.xml.
type Document struct {
	albs.File
	Product string
	Key     string // name or fingerprint
	Topic   string // of the task's events; "" is the product's
	// Effects are those that people approved, whose digest the approval's statement has as
	// its plan; a signer that counts only people's own signatures reads them.
	Effects albs.File
}

// MaxDocument bounds a document that may be signed, in bytes.
const MaxDocument = 1 << 20

// SignDocument asks in tx for a detached signature, and returns the task that makes
// it. While such a task is under way, and
// once it has succeeded, it is returned again. The signer will ask for an approval:
// a statement release-approved of the product about the document. Errors: Invalid for
// what is no document, NotFound for an unknown key, Conflict for one that isn't active
// or was made for other products, TooLarge beyond MaxDocument.
func (s *Signing) SignDocument(ctx context.Context, tx db.Tx, d Document) (albs.TaskID, error) {
	if err := artifact.CheckName(d.Name); err != nil {
		return 0, err
	}
	if !d.Digest.Valid() || d.Product == "" || d.Size <= 0 {
		return 0, albs.Errorf(albs.Invalid, "a document to sign has a sha256, a size and a product")
	}
	if d.Size > MaxDocument {
		return 0, albs.Errorf(albs.TooLarge, "%s has %d bytes, documents of at most %d are signed", d.Name, d.Size, MaxDocument)
	}
	k, err := s.usable(ctx, tx, d.Key, d.Product)
	if err != nil {
		return 0, err
	}
	row := documentRow{Digest: d.Digest, Name: d.Name, Size: d.Size, Key: k.Fingerprint, Product: d.Product, Effects: d.Effects.Digest}
	if id, err := s.store.documentTask(ctx, tx, row); err != nil || id != 0 {
		return id, err
	}
	return s.addDocument(ctx, tx, row, cmp.Or(d.Topic, "product:"+d.Product))
}

// DocumentSignature returns the armored detached signature of a document by a key,
// given by name or fingerprint, or NotFound.
func (s *Signing) DocumentSignature(ctx context.Context, d albs.Digest, key string) ([]byte, error) {
	k, err := s.Key(ctx, key)
	if err != nil {
		return nil, err
	}
	return s.store.documentSignature(ctx, s.store.d, d, k.Fingerprint, false)
}
