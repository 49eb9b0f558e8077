// Package blob keeps bytes under the name of their sha256: Store is the contract,
// Dir the store in a directory, S3 the store in a bucket, Staging the uploads that
// are still on their way.
//
// Invariants: what a Put or Write acknowledged survives a crash; a blob is never
// changed in place; nothing that doesn't hash to its name is read to its end
// without an error. Who may remove what, and when, is not decided here.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"

	"albs/internal/albs"
)

// ErrCorrupt is in the chain of the Internal error that a read ends with when the
// stored bytes don't hash to their name. A Put of the right bytes repairs the blob.
var ErrCorrupt = errors.New("stored bytes do not hash to their name")

// Store holds blobs by digest. The conformance suite, which asks for each claim
// made here, is blobtest.Run.
//
// Concurrency: every method may be called concurrently, also by several processes
// on the same storage. Puts of one digest don't hinder each other, and all of them
// succeed.
//
// Durability: once Put or Write has returned nil the blob survives a crash and a
// loss of power, and any store on the same storage reads it. Of one that didn't
// return, or failed, no method shows anything, unless the blob is whole; what it
// left is removed by a later opening.
//
// Errors: a digest that isn't Valid is Invalid everywhere. Full storage is NoSpace,
// and nothing acknowledged is lost by it. Stored bytes that don't hash to their name
// are Internal with ErrCorrupt in the chain. An ended context is its own error.
type Store interface {
	// Put stores r under want and returns its size; on return of nil the blob is
	// durable. It fails with Invalid, and stores nothing, if r doesn't hash to
	// want. If the store holds want intact already, Put succeeds without reading r.
	Put(ctx context.Context, want albs.Digest, r io.Reader) (int64, error)

	// Write stores r under the name that its bytes give it, and is TooLarge, with
	// nothing stored, when r has more than limit bytes. Durable as Put.
	Write(ctx context.Context, r io.Reader, limit int64) (albs.Digest, int64, error)

	// Open opens a blob for reading, or fails with NotFound; a store that reads all of
	// it first fails already here with ErrCorrupt. The caller closes it.
	Open(ctx context.Context, d albs.Digest) (Reader, error)

	// OpenRange opens length bytes from off; length < 0, or beyond the end, means
	// to the end. The whole blob has been verified before the first byte is
	// returned. An off outside the blob is Invalid.
	//
	// Open and OpenRange may return the right bytes of a copy that this store keeps
	// elsewhere, whatever has become of the stored ones or of the whole blob.
	OpenRange(ctx context.Context, d albs.Digest, off, length int64) (io.ReadCloser, error)

	// Stat returns the size of a blob as it is stored, unverified, or NotFound.
	Stat(ctx context.Context, d albs.Digest) (int64, error)

	// Verify reads all stored bytes of a blob, whatever is known or kept of them
	// elsewhere, and fails with ErrCorrupt if they don't hash to its name, or with
	// NotFound. What is found corrupt isn't taken for intact any more.
	Verify(ctx context.Context, d albs.Digest) error

	// Remove forgets a blob, durably. Removing what isn't there is no error. Readers
	// that have it open go on. A Put of the same digest that runs meanwhile may
	// succeed before it and be undone by it: who removes keeps others from putting.
	Remove(ctx context.Context, d albs.Digest) error

	// Walk calls yield for every blob, in the order of their names, and ends with
	// the first error that yield returns. Blobs that come or go meanwhile may or
	// may not be seen.
	Walk(ctx context.Context, yield func(d albs.Digest, size int64) error) error
}

// Reader reads one blob. Read from the start to the end fails in place of io.EOF,
// with ErrCorrupt, if the bytes don't hash to the blob's name; ReadAt verifies the
// whole blob before it returns the first byte. Read and ReadAt don't disturb each
// other; Read itself is for one goroutine.
type Reader interface {
	io.ReadCloser
	io.ReaderAt
	Size() int64
}

func checkDigest(d albs.Digest) error {
	if !d.Valid() {
		return albs.Errorf(albs.Invalid, "%.80q is not a sha256 in 64 lower-case hex digits", string(d))
	}
	return nil
}

func corrupt(d albs.Digest) error {
	return &albs.Error{Kind: albs.Internal, Msg: fmt.Sprintf("blob %s: %v", d, ErrCorrupt), Err: ErrCorrupt}
}

// ctxReader ends a copy when its context ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
