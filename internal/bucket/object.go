package bucket

import (
	"context"
	"crypto/sha256"
	"io"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"albs/internal/albs"
	"albs/internal/disk"
)

// Exists fails with Invalid unless the bucket is there.
func (b *Bucket) Exists(ctx context.Context) error {
	return b.again(ctx, "bucket "+b.name+" in S3", func(ctx context.Context, _ func(int64)) error {
		ok, err := b.core.BucketExists(ctx, b.name)
		if err == nil && !ok {
			return albs.Errorf(albs.Invalid, "there is no bucket %s in S3 that these credentials may see: make it first", b.name)
		}
		return err
	})
}

// Sweep ends uploads in parts below the prefix that were begun before limit.
func (b *Bucket) Sweep(ctx context.Context, prefix string, limit time.Time) error {
	return b.again(ctx, "unfinished uploads in S3", func(ctx context.Context, _ func(int64)) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends the listing too
		for u := range b.core.ListIncompleteUploads(ctx, b.name, prefix, true) {
			if u.Err != nil {
				return u.Err
			}
			if u.Initiated.Before(limit) {
				if err := b.abort(ctx, u.Key, u.UploadID); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (b *Bucket) abort(ctx context.Context, key, id string) error {
	err := b.core.AbortMultipartUpload(ctx, b.name, key, id)
	if answerOf(err).Code == minio.NoSuchUpload {
		return nil
	}
	return err
}

// Head returns what the server says of an object.
func (b *Bucket) Head(ctx context.Context, key, what string) (o Object, err error) {
	err = b.again(ctx, what, func(ctx context.Context, _ func(int64)) error {
		info, err := b.core.StatObject(ctx, b.name, key, minio.StatObjectOptions{})
		o = objectOf(info)
		o.Key = key
		return err
	})
	return o, err
}

// Get has read read an object to its end, from the start in each attempt.
func (b *Bucket) Get(ctx context.Context, key, what string, read func(io.Reader) error) (o Object, err error) {
	err = b.again(ctx, what, func(ctx context.Context, allow func(int64)) error {
		body, info, _, err := b.core.GetObject(ctx, b.name, key, minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		defer body.Close()
		allow(info.Size)
		o = objectOf(info)
		o.Key = key
		return read(body)
	})
	return o, err
}

// Remove removes an object; one that isn't there is no error.
func (b *Bucket) Remove(ctx context.Context, key string) error {
	return b.again(ctx, "remove "+key+" in S3", func(ctx context.Context, _ func(int64)) error {
		return b.core.RemoveObject(ctx, b.name, key, minio.RemoveObjectOptions{})
	})
}

// PageSize is the most objects that List returns.
const PageSize = 1000

// List returns some objects under the prefix whose names come after a name, in order;
// none is the end.
func (b *Bucket) List(ctx context.Context, prefix, after string) (page []Object, err error) {
	err = b.again(ctx, "list "+prefix+" in S3", func(ctx context.Context, _ func(int64)) error {
		page = nil
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends the listing too
		for o := range b.core.Client.ListObjects(ctx, b.name, minio.ListObjectsOptions{
			Prefix: prefix, Recursive: true, StartAfter: after, MaxKeys: PageSize,
		}) {
			if o.Err != nil {
				return o.Err
			}
			if page = append(page, objectOf(o)); len(page) == PageSize {
				return nil
			}
		}
		return nil
	})
	return page, err
}

// Condition is on what an object has to be for a put to replace it. The zero value is
// none.
type Condition struct {
	Absent bool   // there is none
	ETag   string // it is this one
}

// Put is what is put as an object, and how.
type Put struct {
	Key  string
	What string // what errors call it
	Body io.ReaderAt
	Size int64       // of the body, in bytes
	Hash albs.Digest // of the body
	If   Condition
	// Type and Cache are what readers are told of the body's type and of how long they
	// may keep it; "" tells nothing.
	Type, Cache string
	// Meta is told by Head and Get; the names are in lower case.
	Meta map[string]string
}

func (p Put) options() minio.PutObjectOptions {
	o := minio.PutObjectOptions{ContentType: p.Type, CacheControl: p.Cache, UserMetadata: p.Meta}
	if p.If.Absent {
		o.SetMatchETagExcept("*")
	}
	if p.If.ETag != "" {
		o.SetMatchETag(p.If.ETag)
	}
	return o
}

// Put puts an object; of an error see Taken too. On return of nil it is durable, as far
// as the server is.
func (b *Bucket) Put(ctx context.Context, p Put) (o Object, err error) {
	if p.Size > b.patience.Part {
		return b.putParts(ctx, p)
	}
	err = b.again(ctx, p.What, func(ctx context.Context, allow func(bytes int64)) error {
		allow(p.Size)
		// The server compares the digest itself.
		info, err := b.core.PutObject(ctx, b.name, p.Key, io.NewSectionReader(p.Body, 0, p.Size), p.Size, "", string(p.Hash), p.options())
		o = Object{Key: p.Key, ETag: info.ETag, Size: p.Size}
		return err
	})
	return o, err
}

// putParts is Put for what is sent part by part, each made again by itself.
func (b *Bucket) putParts(ctx context.Context, p Put) (o Object, err error) {
	var id string
	err = b.again(ctx, p.What, func(ctx context.Context, _ func(int64)) (err error) {
		id, err = b.core.NewMultipartUpload(ctx, b.name, p.Key, minio.PutObjectOptions{ContentType: p.Type, CacheControl: p.Cache, UserMetadata: p.Meta})
		return err
	})
	if err != nil {
		return o, err
	}
	defer func() {
		if err != nil {
			// What can't be forgotten now is swept at a later start.
			c, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.patience.Attempt)
			defer cancel()
			_ = b.abort(c, p.Key, id)
		}
	}()
	var parts []minio.CompletePart
	for off := int64(0); off < p.Size; off += b.patience.Part {
		if err := ctx.Err(); err != nil {
			return o, err
		}
		n := min(b.patience.Part, p.Size-off)
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(p.Body, off, n)); err != nil {
			return o, disk.Trouble(err, "read %s", p.What)
		}
		sum := string(albs.DigestFrom(h))
		err = b.again(ctx, p.What, func(ctx context.Context, allow func(int64)) error {
			allow(n)
			done, err := b.core.PutObjectPart(ctx, b.name, p.Key, id, len(parts)+1, io.NewSectionReader(p.Body, off, n), n, minio.PutObjectPartOptions{Sha256Hex: sum})
			if err == nil {
				parts = append(parts, minio.CompletePart{PartNumber: done.PartNumber, ETag: done.ETag})
			}
			return err
		})
		if err != nil {
			return o, err
		}
	}
	err = b.again(ctx, p.What, func(ctx context.Context, allow func(int64)) error {
		allow(p.Size) // the server puts it together
		info, err := b.core.CompleteMultipartUpload(ctx, b.name, p.Key, id, parts, p.options())
		o = Object{Key: p.Key, ETag: info.ETag, Size: p.Size}
		return err
	})
	return o, err
}

// Copy makes an object of another one, whose etag has to be as from has it, with what was
// put beside the bytes and without them coming by here. Objects of more than 5 GiB can't
// be copied.
func (b *Bucket) Copy(ctx context.Context, from Object, key, what string) (o Object, err error) {
	err = b.again(ctx, what, func(ctx context.Context, allow func(int64)) error {
		allow(from.Size)
		info, err := b.core.CopyObject(ctx, b.name, from.Key, b.name, key,
			map[string]string{"X-Amz-Copy-Source-If-Match": `"` + from.ETag + `"`}, minio.CopySrcOptions{}, minio.PutObjectOptions{})
		o = Object{Key: key, ETag: info.ETag, Size: from.Size}
		return err
	})
	return o, err
}

func objectOf(o minio.ObjectInfo) Object {
	meta := make(map[string]string, len(o.UserMetadata))
	for k, v := range o.UserMetadata {
		meta[strings.ToLower(k)] = v
	}
	return Object{Key: o.Key, ETag: o.ETag, Size: o.Size, Modified: o.LastModified, Meta: meta}
}
