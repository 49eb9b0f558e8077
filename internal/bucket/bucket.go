// Package bucket is a bucket of an S3 server: each request is bounded in time, and made
// again, a bounded number of times and after pauses of random length, while its failure
// may pass. What the objects mean is their owners' matter.
//
// Invariants: an object that was put under a condition is never another one's; of a
// digest that is given the server compares the bytes; no error tells a secret.
package bucket

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"albs/internal/albs"
	"albs/internal/disk"
)

// Attempts is how often a request is made.
const Attempts = 6

const maxCA = 1 << 20 // bytes

// Patience is how a Bucket bears with its server.
type Patience struct {
	// Attempt is the time of one attempt, beside that of its bytes.
	Attempt time.Duration
	// Slowest is in bytes/s; an attempt is given up below.
	Slowest int64
	// Pause is the longest one before the second attempt; then twice as long each time.
	Pause time.Duration
	// Part is the size in bytes of an upload's parts, which larger objects are sent in.
	Part int64
}

// Usual is the patience with a server that others use too.
var Usual = Patience{Attempt: 30 * time.Second, Slowest: 64 << 10, Pause: 200 * time.Millisecond, Part: 64 << 20}

// Bucket is a bucket. Its methods may be called concurrently. Each has a what, which is
// how its errors call the object. Errors beside what each says: NotFound; NoSpace if the
// server's storage is full; Unavailable if it doesn't answer, refuses the credentials, or
// is too slow, after several attempts; an ended context's own.
type Bucket struct {
	core     *minio.Core
	name     string
	patience Patience
}

// Object is what the server says of an object; other bytes have another etag.
type Object struct {
	Key  string
	ETag string
	Size int64 // bytes
	// Modified is by the server's clock; of Head and List only.
	Modified time.Time
	// Meta is what was put with it, by names in lower case; of Head and Get only.
	Meta map[string]string
}

// New returns the bucket that c names; it asks the server nothing. Invalid if c is wrong.
func New(c Config, patience Patience) (*Bucket, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "endpoint: %w", err)
	}
	// No proxy of the environment: the address is the operator's own.
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: patience.Attempt}).DialContext,
		TLSHandshakeTimeout: patience.Attempt,
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
	return &Bucket{core: core, name: c.Bucket, patience: patience}, nil
}

// again calls f until it succeeds, its failure won't pass, or it was called often
// enough. f says by allow how many bytes it moves, once it knows.
func (b *Bucket) again(ctx context.Context, what string, f func(ctx context.Context, allow func(bytes int64)) error) error {
	for i := 0; ; i++ {
		try, cancel := context.WithCancelCause(ctx)
		timer := time.AfterFunc(b.patience.Attempt, func() { cancel(errSlow) })
		err := f(try, func(bytes int64) {
			timer.Reset(b.patience.Attempt + time.Duration(float64(bytes)/float64(b.patience.Slowest)*float64(time.Second)))
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
		case i+1 >= Attempts:
			return albs.Errorf(albs.Unavailable, "%s: given up after %d attempts: %w", what, Attempts, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(b.patience.Pause << i)):
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

// Taken reports whether a put failed for its condition, or may have: an upload in parts
// is unknown once it has been completed, also by an earlier attempt whose answer was lost.
func Taken(err error) bool {
	answer := answerOf(err)
	return answer.StatusCode == http.StatusPreconditionFailed || answer.Code == minio.NoSuchUpload
}
