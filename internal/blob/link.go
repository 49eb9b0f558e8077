package blob

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"albs/internal/albs"
	"albs/internal/disk"
)

// How a link bears with a server.
const (
	attempts = 6                      // of one request
	patience = 30 * time.Second       // for one attempt, beside the time of its bytes
	slowest  = 64 << 10               // bytes/s below which an attempt is given up
	pause    = 200 * time.Millisecond // at most, before the second attempt; then twice as long each time
	partSize = 64 << 20               // of an upload in parts, which larger blobs are
	maxCA    = 1 << 20                // bytes
)

// link is a bucket as S3 asks for it: each request bounded in time, and made again, a
// bounded number of times and after pauses of random length, while its failure may pass.
type link struct {
	core   *minio.Core
	bucket string

	attempts int
	patience time.Duration
	slowest  int64
	pause    time.Duration
	partSize int64
}

func newLink(c S3Config) (*link, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "endpoint: %w", err)
	}
	// No proxy of the environment: the address is the operator's own.
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: patience}).DialContext,
		TLSHandshakeTimeout: patience,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
	}
	if c.CAFile != "" {
		pem, err := disk.ReadFile(c.CAFile, maxCA)
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "ca_file: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("read the system's authorities: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, albs.Errorf(albs.Invalid, "ca_file %s has no certificate in PEM", c.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	region := c.Region
	if region == "" {
		region = "us-east-1"
	}
	core, err := minio.NewCore(u.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""),
		Secure: u.Scheme == "https", Region: region, Transport: transport,
		MaxRetries: 1, // again does it
	})
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "S3: %w", err)
	}
	return &link{
		core: core, bucket: c.Bucket,
		attempts: attempts, patience: patience, slowest: slowest, pause: pause, partSize: partSize,
	}, nil
}

// again calls f until it succeeds, its failure won't pass, or it was called often
// enough. f says by allow how many bytes it moves, once it knows.
func (l *link) again(ctx context.Context, what string, f func(ctx context.Context, allow func(bytes int64)) error) error {
	for i := 0; ; i++ {
		try, cancel := context.WithCancelCause(ctx)
		timer := time.AfterFunc(l.patience, func() { cancel(errSlow) })
		err := f(try, func(bytes int64) {
			timer.Reset(l.patience + time.Duration(float64(bytes)/float64(l.slowest)*float64(time.Second)))
		})
		timer.Stop()
		if slow := context.Cause(try); err != nil && errors.Is(slow, errSlow) {
			err = slow
		}
		cancel(nil)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !passing(err):
			return explain(err, what)
		case i+1 >= l.attempts:
			return albs.Errorf(albs.Unavailable, "%s: given up after %d attempts: %w", what, l.attempts, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(l.pause << i)):
		}
	}
}

var errSlow = errors.New("the server is too slow")

// answerOf returns the error that the server told, or the zero one if it told none.
func answerOf(err error) (answer minio.ErrorResponse) {
	errors.As(err, &answer)
	return answer
}

// passing reports whether another attempt may go better: the server is busy or the
// connection broke, and neither the request nor this host is at fault.
func passing(err error) bool {
	var own *albs.Error
	var file *fs.PathError
	var answer minio.ErrorResponse
	switch {
	case errors.As(err, &own), errors.As(err, &file):
		return false
	case errors.As(err, &answer):
		switch answer.StatusCode {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusConflict:
			return true
		case http.StatusInsufficientStorage, http.StatusNotImplemented:
			return false
		}
		// 0 is an error told in the body of a success, or no answer at all.
		return answer.StatusCode >= 500 || answer.StatusCode == 0 || answer.StatusCode == http.StatusOK
	}
	return true
}

// explain gives what the server refused its kind.
func explain(err error, what string) error {
	answer := answerOf(err)
	switch {
	case answer.Code == minio.NoSuchBucket:
		return albs.Errorf(albs.Unavailable, "%s: there is no bucket %s: %w", what, answer.BucketName, err)
	case answer.StatusCode == http.StatusNotFound && answer.Code != minio.NoSuchUpload:
		return albs.Errorf(albs.NotFound, "%s isn't stored", what)
	case answer.StatusCode == http.StatusInsufficientStorage:
		return albs.Errorf(albs.NoSpace, "%s: the server's storage is full: %w", what, err)
	case answer.StatusCode == http.StatusForbidden:
		return albs.Errorf(albs.Unavailable, "%s: the server refuses these credentials: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// taken reports whether an upload failed because there is an object of that name, or
// may be: an upload in parts is unknown once it has been completed.
func taken(err error) bool {
	answer := answerOf(err)
	return answer.StatusCode == http.StatusPreconditionFailed || answer.Code == minio.NoSuchUpload
}

// exists fails with Invalid unless the bucket is there.
func (l *link) exists(ctx context.Context) error {
	return l.again(ctx, "bucket "+l.bucket+" in S3", func(ctx context.Context, _ func(int64)) error {
		ok, err := l.core.BucketExists(ctx, l.bucket)
		if err == nil && !ok {
			return albs.Errorf(albs.Invalid, "there is no bucket %s in S3 that these credentials may see: make it first", l.bucket)
		}
		return err
	})
}

// sweep ends uploads in parts that were begun before limit.
func (l *link) sweep(ctx context.Context, prefix string, limit time.Time) error {
	return l.again(ctx, "unfinished uploads in S3", func(ctx context.Context, _ func(int64)) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends the listing too
		for u := range l.core.ListIncompleteUploads(ctx, l.bucket, prefix, true) {
			if u.Err != nil {
				return u.Err
			}
			if u.Initiated.Before(limit) {
				if err := l.abort(ctx, u.Key, u.UploadID); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (l *link) abort(ctx context.Context, key, id string) error {
	err := l.core.AbortMultipartUpload(ctx, l.bucket, key, id)
	if answerOf(err).Code == minio.NoSuchUpload {
		return nil
	}
	return err
}

func (l *link) head(ctx context.Context, key string, name albs.Digest) (o object, err error) {
	err = l.again(ctx, describe(name), func(ctx context.Context, _ func(int64)) error {
		info, err := l.core.StatObject(ctx, l.bucket, key, minio.StatObjectOptions{})
		o = objectOf(info)
		return err
	})
	return o, err
}

// get has read read an object to its end, from the start in each attempt.
func (l *link) get(ctx context.Context, key string, name albs.Digest, read func(io.Reader) error) (o object, err error) {
	err = l.again(ctx, describe(name), func(ctx context.Context, allow func(int64)) error {
		body, info, _, err := l.core.GetObject(ctx, l.bucket, key, minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		defer body.Close()
		allow(info.Size)
		o = objectOf(info)
		return read(body)
	})
	return o, err
}

func (l *link) remove(ctx context.Context, key string) error {
	return l.again(ctx, "remove "+key+" in S3", func(ctx context.Context, _ func(int64)) error {
		return l.core.RemoveObject(ctx, l.bucket, key, minio.RemoveObjectOptions{})
	})
}

// pageSize is how many objects a server tells of at once.
const pageSize = 1000

// list returns some objects under the prefix whose names come after a name, in order;
// none is the end.
func (l *link) list(ctx context.Context, prefix, after string) (page []minio.ObjectInfo, err error) {
	err = l.again(ctx, "list blobs in S3", func(ctx context.Context, _ func(int64)) error {
		page = nil
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends the listing too
		for o := range l.core.Client.ListObjects(ctx, l.bucket, minio.ListObjectsOptions{
			Prefix: prefix, Recursive: true, StartAfter: after, MaxKeys: pageSize,
		}) {
			if o.Err != nil {
				return o.Err
			}
			if page = append(page, o); len(page) == pageSize {
				return nil
			}
		}
		return nil
	})
	return page, err
}

// put stores the bytes of f, which hash to name, as an object that isn't there yet,
// unless replace; see taken.
func (l *link) put(ctx context.Context, key string, name albs.Digest, f *os.File, size int64, replace bool) (o object, err error) {
	var opts minio.PutObjectOptions
	if !replace {
		opts.SetMatchETagExcept("*")
	}
	if size > l.partSize {
		return l.putParts(ctx, key, name, f, size, opts)
	}
	err = l.again(ctx, describe(name), func(ctx context.Context, allow func(int64)) error {
		allow(size)
		// The server compares the digest itself.
		info, err := l.core.PutObject(ctx, l.bucket, key, io.NewSectionReader(f, 0, size), size, "", string(name), opts)
		o = object{info.ETag, size}
		return err
	})
	return o, err
}

// putParts is put for what is sent part by part, each made again by itself.
func (l *link) putParts(ctx context.Context, key string, name albs.Digest, f *os.File, size int64, opts minio.PutObjectOptions) (o object, err error) {
	var id string
	err = l.again(ctx, describe(name), func(ctx context.Context, _ func(int64)) (err error) {
		id, err = l.core.NewMultipartUpload(ctx, l.bucket, key, minio.PutObjectOptions{})
		return err
	})
	if err != nil {
		return o, err
	}
	defer func() {
		if err != nil {
			// What can't be forgotten now is swept at a later start.
			c, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.patience)
			defer cancel()
			_ = l.abort(c, key, id)
		}
	}()
	var parts []minio.CompletePart
	for off := int64(0); off < size; off += l.partSize {
		n := min(l.partSize, size-off)
		part := io.NewSectionReader(f, off, n)
		h := sha256.New()
		if _, err := io.Copy(h, ctxReader{ctx, part}); err != nil {
			return o, disk.Trouble(err, "read blob %s", name.Short())
		}
		sum := string(albs.DigestFrom(h))
		err = l.again(ctx, describe(name), func(ctx context.Context, allow func(int64)) error {
			allow(n)
			done, err := l.core.PutObjectPart(ctx, l.bucket, key, id, len(parts)+1, io.NewSectionReader(f, off, n), n, minio.PutObjectPartOptions{Sha256Hex: sum})
			if err == nil {
				parts = append(parts, minio.CompletePart{PartNumber: done.PartNumber, ETag: done.ETag})
			}
			return err
		})
		if err != nil {
			return o, err
		}
	}
	err = l.again(ctx, describe(name), func(ctx context.Context, allow func(int64)) error {
		allow(size) // the server puts it together
		info, err := l.core.CompleteMultipartUpload(ctx, l.bucket, key, id, parts, opts)
		o = object{info.ETag, size}
		return err
	})
	return o, err
}
