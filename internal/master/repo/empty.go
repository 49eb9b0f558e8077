package repo

import (
	"context"
	"io"
	"sync"

	"albs/internal/albs"
	"albs/internal/repodata"
)

// emptyRevision belongs to the snapshot that every repository begins with, so
// that there is one such snapshot and not one for each.
const emptyRevision = 1

// emptyDigest is that snapshot's name. It is computed without any store, for
// Advance compares with it inside a transaction.
var emptyDigest = sync.OnceValue(func() albs.Digest {
	s, err := repodata.Empty(context.Background(), nowhere{}, emptyRevision)
	if err != nil {
		return "" // no snapshot has this name, so Current says what is wrong
	}
	return s.Digest()
})

// nowhere is a store that names what it is given and keeps nothing.
type nowhere struct{}

func (nowhere) Put(_ context.Context, want albs.Digest, r io.Reader) (int64, error) {
	d, n, err := albs.DigestReader(r)
	if err == nil && d != want {
		err = albs.Errorf(albs.Invalid, "the bytes hash to %s, not to %s", d, want)
	}
	return n, err
}

func (nowhere) Write(_ context.Context, r io.Reader, _ int64) (albs.Digest, int64, error) {
	return albs.DigestReader(r)
}

func (nowhere) Open(_ context.Context, d albs.Digest) (io.ReadCloser, error) {
	return nil, albs.Errorf(albs.NotFound, "there is no blob %s", d)
}
