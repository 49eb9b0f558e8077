package sign

import (
	"cmp"
	"context"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
)

// Documents are files to be signed as wholes, such as the repomd.xml of a release.
type Documents struct {
	Files   []albs.File // each digest once
	Product string
	Key     string // name or fingerprint
	Topic   string // of the tasks' events; "" is the product's
	// Effects are those that people approved, whose digest the approval's statement has as
	// its plan; a signer that counts only people's own signatures reads them.
	Effects albs.File
}

// MaxDocument bounds a document that may be signed, in bytes.
const MaxDocument = 8 << 20

// SignDocuments asks in tx for detached signatures, and returns the tasks that make them,
// each once: as few as there can be, for every one costs the same waits whatever it signs.
// Where such a task is under way for a document, and once it has succeeded, it is returned
// again. The signer will ask for an approval of each: a statement release-approved of the
// product about the document. Errors: Invalid for what is no document, NotFound for an
// unknown key, Conflict for one that isn't active or was made for other products, TooLarge
// for a document beyond MaxDocument.
func (s *Signing) SignDocuments(ctx context.Context, tx db.Tx, d Documents) ([]albs.TaskID, error) {
	for _, f := range d.Files {
		if err := artifact.CheckName(f.Name); err != nil {
			return nil, err
		}
		if !f.Digest.Valid() || d.Product == "" || f.Size <= 0 {
			return nil, albs.Errorf(albs.Invalid, "a document to sign has a sha256, a size and a product")
		}
		if f.Size > MaxDocument {
			return nil, albs.Errorf(albs.TooLarge, "%s has %d bytes, documents of at most %d are signed", f.Name, f.Size, MaxDocument)
		}
	}
	k, err := s.usable(ctx, tx, d.Key, d.Product)
	if err != nil {
		return nil, err
	}
	var tasks []albs.TaskID
	var left []documentRow
	for _, f := range d.Files {
		row := documentRow{Digest: f.Digest, Name: f.Name, Size: f.Size, Key: k.Fingerprint, Product: d.Product, Effects: d.Effects.Digest}
		id, err := s.store.documentTask(ctx, tx, row)
		switch {
		case err != nil:
			return nil, err
		case id == 0:
			left = append(left, row)
		case !slices.Contains(tasks, id):
			tasks = append(tasks, id)
		}
	}
	for rows := range slices.Chunk(left, maxPackages) {
		id, err := s.addDocuments(ctx, tx, rows, cmp.Or(d.Topic, "product:"+d.Product))
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, id)
	}
	return tasks, nil
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
