package repodata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"albs/internal/albs"
	"albs/internal/repodata/intake"
)

// raw returns the raw blob of a bucket, in buf if it is large enough. Being only a copy
// of what the compressed pieces hold, the blob may have been dropped; then it is made again.
func (e *extension) raw(ctx context.Context, ref bucketRef, buf []byte) ([]byte, error) {
	size := int(ref.RawBytes[primary] + ref.RawBytes[filelists] + ref.RawBytes[other])
	raw := slices.Grow(buf[:0], size)[:size]
	f, err := e.blobs.Open(ctx, ref.Raw)
	if errors.Is(err, albs.NotFound) {
		return e.remake(ctx, ref, raw)
	}
	if err != nil {
		return nil, fmt.Errorf("open the XML of bucket %d: %w", ref.Number, err)
	}
	defer f.Close()
	if err := readExactly(f, raw); err != nil {
		return nil, fmt.Errorf("read the XML of bucket %d: %w", ref.Number, err)
	}
	return raw, nil
}

// remake fills raw from the pieces of the snapshot before, and stores it again.
func (e *extension) remake(ctx context.Context, ref bucketRef, raw []byte) ([]byte, error) {
	rest := raw
	for k := range kinds {
		part := rest[:ref.RawBytes[k]]
		rest = rest[ref.RawBytes[k]:]
		if err := e.inflate(ctx, k, ref, part); err != nil {
			return nil, fmt.Errorf("make the XML of bucket %d again out of %s: %w", ref.Number, kindNames[k], err)
		}
	}
	if albs.DigestOf(raw) != ref.Raw {
		return nil, albs.Errorf(albs.Invalid, "the compressed pieces of bucket %d do not hold the XML that the snapshot names", ref.Number)
	}
	return raw, putBlob(ctx, e.blobs, ref.Raw, raw)
}

// inflate fills part with the content of a bucket's piece in the file of kind k.
func (e *extension) inflate(ctx context.Context, k int, ref bucketRef, part []byte) error {
	off := e.from.root.Ends[k].Head
	for _, b := range e.from.root.Buckets {
		if b.Number == ref.Number {
			break
		}
		off += b.GzBytes[k]
	}
	f, err := e.blobs.Open(ctx, e.from.root.Files[k].Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(io.Discard, f, off); err != nil {
		return intake.Short(err)
	}
	return e.from.root.Packed.unpack(io.LimitReader(f, ref.GzBytes[k]), part)
}

// readExactly fills b and wants r to end there, which makes r check itself.
func readExactly(r io.Reader, b []byte) error {
	if _, err := io.ReadFull(r, b); err != nil {
		return intake.Short(err)
	}
	n, err := io.ReadFull(r, make([]byte, 1))
	if n > 0 {
		return albs.Errorf(albs.Invalid, "there is more than the %d bytes that were to be", len(b))
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
