package blob

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/bucket"
)

// S3Config says where the bucket is and who asks. The zero value is no bucket.
type S3Config struct {
	bucket.Config `yaml:",inline"`
	// CacheSize bounds the bytes of the local cache; 0 is 20 GiB.
	CacheSize int64 `yaml:"cache_size"`
}

// Check returns what is wrong with the configuration as it is written, as Invalid.
func (c S3Config) Check() error {
	if c == (S3Config{}) {
		return nil
	}
	if c.Config == (bucket.Config{}) {
		return albs.Errorf(albs.Invalid, "cache_size is of no use without a bucket")
	}
	if c.CacheSize < 0 {
		return albs.Errorf(albs.Invalid, "cache_size is below zero")
	}
	return c.Config.Check()
}

// S3 is a Store in a bucket of an S3 server, under the names that Dir gives its files.
// Several processes may share one prefix.
//
// What is put and what is read goes through a directory of this process, the cache: a
// blob is hashed there before it is sent, and after it has come before anything of it
// is returned. The cache is bounded and may vanish; nothing is acknowledged that the
// bucket doesn't hold. A blob that another process has removed is still read here
// while the cache has it.
//
// Errors beside the contract's: Unavailable if the server doesn't answer, refuses, or
// is too slow, after several attempts.
type S3 struct {
	bucket   *bucket.Bucket
	prefix   string
	cache    *Dir
	space    space
	verified verified[object]
}

// object is what tells one content of a blob's object from another.
type object struct {
	etag string
	size int64
}

func objectOf(o bucket.Object) object { return object{o.ETag, o.Size} }

// uploadGrace is how old an upload in parts must be before NewS3 takes it for the
// leftover of a crash.
const uploadGrace = 24 * time.Hour

// defaultCache is the size of the cache where none is configured.
const defaultCache = 20 << 30

// NewS3 opens the store in the bucket that c names, with its cache in dir, and has
// the server forget uploads that a crash cut off more than a day ago. Invalid if
// there is no such bucket, or c is wrong; Unavailable if it can't be asked.
func NewS3(ctx context.Context, c S3Config, dir string) (*S3, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	b, err := bucket.New(c.Config, bucket.Usual)
	if err != nil {
		return nil, err
	}
	return open(ctx, b, c, dir)
}

func open(ctx context.Context, b *bucket.Bucket, c S3Config, dir string) (*S3, error) {
	if c.CacheSize == 0 {
		c.CacheSize = defaultCache
	}
	cache, err := NewDir(dir)
	if err != nil {
		return nil, err
	}
	s := &S3{bucket: b, prefix: path.Join(c.Prefix, "sha256") + "/", cache: cache}
	s.space = space{dir: cache, max: c.CacheSize}
	if err := s.space.count(ctx); err != nil {
		return nil, err
	}
	if err := b.Exists(ctx); err != nil {
		return nil, err
	}
	return s, b.Sweep(ctx, s.prefix, time.Now().Add(-uploadGrace))
}

func (s *S3) key(name albs.Digest) string {
	return s.prefix + string(name[:2]) + "/" + string(name[2:])
}

// Put implements Store.
func (s *S3) Put(ctx context.Context, want albs.Digest, r io.Reader) (int64, error) {
	o, err := s.intact(ctx, want)
	if err == nil {
		return o.size, nil
	}
	if !errors.Is(err, albs.NotFound) && !errors.Is(err, ErrCorrupt) {
		return 0, err
	}
	f, kerr := s.cache.keep(ctx, want, r)
	if kerr != nil {
		return 0, kerr
	}
	defer s.release(f)
	return f.Size(), s.upload(ctx, f, errors.Is(err, ErrCorrupt))
}

// Write implements Store.
func (s *S3) Write(ctx context.Context, r io.Reader, limit int64) (albs.Digest, int64, error) {
	f, err := s.cache.write(ctx, r, limit, "")
	if err != nil {
		return "", 0, err
	}
	defer s.release(f)
	switch _, err := s.intact(ctx, f.name); {
	case err == nil:
	case errors.Is(err, albs.NotFound), errors.Is(err, ErrCorrupt):
		if err := s.upload(ctx, f, errors.Is(err, ErrCorrupt)); err != nil {
			return "", 0, err
		}
	default:
		return "", 0, err
	}
	return f.name, f.Size(), nil
}

// release closes a file of the cache that came or was used, and makes room.
func (s *S3) release(f *dirReader) {
	f.Close()
	s.space.trim(f.name, f.Size())
}

// upload stores f in the bucket. If another stored the blob meanwhile, or an earlier
// attempt did whose answer was lost, that is as good once it has been verified. One that
// the put found and a reader doesn't is put again: it was removed in between, or the
// server refuses puts beside one that it hasn't finished.
func (s *S3) upload(ctx context.Context, f *dirReader, replace bool) error {
	for i := 0; ; i++ {
		o, err := s.bucket.Put(ctx, bucket.Put{
			Key: s.key(f.name), What: describe(f.name), Body: f.f, Size: f.Size(), Hash: f.name, If: bucket.Condition{Absent: !replace},
		})
		if !bucket.Taken(err) {
			if err == nil {
				s.verified.remember(f.name, objectOf(o), 0)
			}
			return err
		}
		switch verr := s.Verify(ctx, f.name); {
		case errors.Is(verr, ErrCorrupt) && !replace:
			replace = true
			continue
		case !errors.Is(verr, albs.NotFound):
			return verr
		case i+1 >= bucket.Attempts:
			return albs.Errorf(albs.Unavailable, "%s: the server won't take it as it has it, and doesn't have it: %w", describe(f.name), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(bucket.Usual.Pause << i)):
		}
	}
}

// intact returns a stored object whose bytes have been right, now or before.
func (s *S3) intact(ctx context.Context, name albs.Digest) (object, error) {
	if err := checkDigest(name); err != nil {
		return object{}, err
	}
	head, err := s.bucket.Head(ctx, s.key(name), describe(name))
	if err != nil {
		return object{}, err
	}
	o := objectOf(head)
	if s.verified.has(name, o) {
		return o, nil
	}
	return o, s.Verify(ctx, name)
}

// Verify implements Store.
func (s *S3) Verify(ctx context.Context, name albs.Digest) error {
	if err := checkDigest(name); err != nil {
		return err
	}
	o, err := s.bucket.Get(ctx, s.key(name), describe(name), func(body io.Reader) error {
		h := sha256.New()
		if _, err := io.Copy(h, body); err != nil {
			return err
		}
		if albs.DigestFrom(h) != name {
			return corrupt(name)
		}
		return nil
	})
	if err != nil {
		s.verified.forget(name)
		return err
	}
	s.verified.remember(name, objectOf(o), 0)
	return nil
}

// Open implements Store.
func (s *S3) Open(ctx context.Context, name albs.Digest) (Reader, error) {
	f, err := s.fetch(ctx, name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// OpenRange implements Store.
func (s *S3) OpenRange(ctx context.Context, name albs.Digest, off, length int64) (io.ReadCloser, error) {
	f, err := s.fetch(ctx, name)
	if err != nil {
		return nil, err
	}
	part, err := f.cut(off, length)
	if err != nil {
		f.Close()
		return nil, err
	}
	return part, nil
}

// fetch opens a blob in the cache, verified, where it is brought if need be.
func (s *S3) fetch(ctx context.Context, name albs.Digest) (*dirReader, error) {
	f, err := s.cache.held(ctx, name)
	if err == nil {
		s.space.use(name)
		return f, nil
	}
	if !errors.Is(err, albs.NotFound) && !errors.Is(err, ErrCorrupt) {
		return nil, err
	}
	o, err := s.bucket.Get(ctx, s.key(name), describe(name), func(body io.Reader) (err error) {
		f, err = s.cache.keep(ctx, name, body)
		if errors.Is(err, albs.Invalid) {
			s.verified.forget(name)
			return corrupt(name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	s.verified.remember(name, objectOf(o), 0)
	s.space.trim(name, f.Size())
	return f, nil
}

// Stat implements Store.
func (s *S3) Stat(ctx context.Context, name albs.Digest) (int64, error) {
	if err := checkDigest(name); err != nil {
		return 0, err
	}
	o, err := s.bucket.Head(ctx, s.key(name), describe(name))
	return o.Size, err
}

// Remove implements Store.
func (s *S3) Remove(ctx context.Context, name albs.Digest) error {
	if err := checkDigest(name); err != nil {
		return err
	}
	s.verified.forget(name)
	if err := s.bucket.Remove(ctx, s.key(name)); err != nil {
		return err
	}
	return s.cache.Remove(ctx, name)
}

// Walk implements Store. Objects under the prefix that are no blobs are passed by.
func (s *S3) Walk(ctx context.Context, yield func(albs.Digest, int64) error) error {
	for after := ""; ; {
		page, err := s.bucket.List(ctx, s.prefix, after)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		after = page[len(page)-1].Key
		for _, o := range page {
			name := albs.Digest(strings.ReplaceAll(strings.TrimPrefix(o.Key, s.prefix), "/", ""))
			if !name.Valid() || s.key(name) != o.Key {
				continue
			}
			if err := yield(name, o.Size); err != nil {
				return err
			}
		}
	}
}

// describe is how errors call an object's blob.
func describe(name albs.Digest) string { return fmt.Sprintf("blob %s in S3", name.Short()) }
