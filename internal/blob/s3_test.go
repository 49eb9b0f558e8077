package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/minio/minio-go/v7"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/blob/blobtest"
	"albs/internal/blob/s3test"
	"albs/internal/bucket"
)

func openS3(t *testing.T, c blob.S3Config) *blob.S3 {
	t.Helper()
	s, err := blob.NewImpatientS3(t.Context(), c, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestS3Conforms(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blobtest.Storage {
		c := s3test.Config(t)
		return blobtest.Storage{
			Open:   func(t *testing.T) blob.Store { return openS3(t, c) },
			Change: func(t *testing.T, d albs.Digest, change func([]byte) []byte) { s3test.Change(t, c, d, change) },
		}
	})
}

// random is content that no other test has.
func random(n int) ([]byte, albs.Digest) {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b, albs.DigestOf(b)
}

func wantRead(t *testing.T, s blob.Store, b []byte) {
	t.Helper()
	r, err := s.Open(t.Context(), albs.DigestOf(b))
	if err != nil {
		t.Error(err)
		return
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b) {
		t.Errorf("read %d other bytes, %v", len(got), err)
	}
}

func put(t *testing.T, s blob.Store, b []byte) {
	t.Helper()
	if n, err := s.Put(t.Context(), albs.DigestOf(b), bytes.NewReader(b)); err != nil || n != int64(len(b)) {
		t.Fatalf("Put = %d, %v, want %d", n, err, len(b))
	}
}

// TestS3Parts: a blob that is sent in parts is one that is whole or isn't there, and
// what a crash left of the parts goes.
func TestS3Parts(t *testing.T) {
	t.Parallel()
	c := s3test.Config(t)
	b, d := random(11<<20 + 5) // three parts
	s := openS3(t, c)
	put(t, s, b)
	wantRead(t, openS3(t, c), b)

	s3test.Overwrite(t, c, d, b[1:])
	if err := s.Verify(t.Context(), d); !errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("Verify = %v, want ErrCorrupt", err)
	}
	put(t, s, b)
	wantRead(t, openS3(t, c), b)

	behind := s3test.Client(t, c)
	left, err := behind.NewMultipartUpload(t.Context(), c.Bucket, s3test.Key(c, albs.DigestOf(nil)), minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	parts := func() error {
		_, err := behind.ListObjectParts(t.Context(), c.Bucket, s3test.Key(c, albs.DigestOf(nil)), left, 0, 10)
		return err
	}
	if s = openS3(t, c); parts() != nil {
		t.Errorf("an upload that may be going on was ended: %v", parts())
	}
	if err := s.Sweep(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if parts() == nil {
		t.Error("what was left of an upload is still there")
	}
}

// TestS3Cache: the cache keeps to its size, and what it lost is read from the bucket.
func TestS3Cache(t *testing.T) {
	t.Parallel()
	c := s3test.Config(t)
	c.CacheSize = 25_000
	dir := t.TempDir()
	held := func() (sum int64) {
		err := filepath.WalkDir(filepath.Join(dir, "sha256"), func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			fi, err := e.Info()
			sum += fi.Size()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	s, err := blob.NewImpatientS3(t.Context(), c, dir)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for range 5 {
		b, _ := random(10_000)
		put(t, s, b)
		all = append(all, b)
		if n := held(); n == 0 || n > c.CacheSize {
			t.Errorf("the cache holds %d bytes of %d", n, c.CacheSize)
		}
	}
	big, _ := random(30_000) // more than the cache may hold
	put(t, s, big)
	for _, b := range append(all, big, big, all[0]) {
		wantRead(t, s, b)
		if n := held(); n > c.CacheSize {
			t.Errorf("the cache holds %d bytes of %d", n, c.CacheSize)
		}
	}
	c.CacheSize = 5_000
	if _, err := blob.NewImpatientS3(t.Context(), c, dir); err != nil {
		t.Fatal(err)
	}
	if n := held(); n > c.CacheSize {
		t.Errorf("after a start with less the cache holds %d bytes of %d", n, c.CacheSize)
	}
}

func TestS3Refuses(t *testing.T) {
	t.Parallel()
	good := s3test.Config(t)
	for what, test := range map[string]struct {
		change func(*blob.S3Config)
		kind   albs.Kind
	}{
		"no bucket of the name": {func(c *blob.S3Config) { c.Bucket = "nobody-made-it" }, albs.Invalid},
		"another secret":        {func(c *blob.S3Config) { c.SecretKey = "hunter2hunter2" }, albs.Unavailable},
		"nobody there":          {func(c *blob.S3Config) { c.Endpoint = "http://127.0.0.1:1" }, albs.Unavailable},
		"no authority":          {func(c *blob.S3Config) { c.CAFile = c.SecretKeyFile }, albs.Invalid},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := good
			test.change(&c)
			_, err := blob.NewImpatientS3(t.Context(), c, t.TempDir())
			if albs.KindOf(err) != test.kind {
				t.Errorf("error %v of kind %q, want %q", err, albs.KindOf(err), test.kind)
			}
			if err != nil && strings.Contains(err.Error(), c.SecretKey) {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

// TestS3Check is the rule about what an operator may write.
func TestS3Check(t *testing.T) {
	t.Parallel()
	good := blob.S3Config{Config: bucket.Config{Endpoint: "https://s3.example.org:9000", Bucket: "b", AccessKeyFile: "/a", SecretKeyFile: "/s"}}
	for what, test := range map[string]struct {
		change func(*blob.S3Config)
		ok     bool
	}{
		"nothing at all":    {func(c *blob.S3Config) { *c = blob.S3Config{} }, true},
		"what is needed":    {func(*blob.S3Config) {}, true},
		"a slash":           {func(c *blob.S3Config) { c.Endpoint += "/" }, true},
		"a prefix":          {func(c *blob.S3Config) { c.Prefix = "albs/blobs" }, true},
		"no endpoint":       {func(c *blob.S3Config) { c.Endpoint = "" }, false},
		"no scheme":         {func(c *blob.S3Config) { c.Endpoint = "s3.example.org" }, false},
		"another scheme":    {func(c *blob.S3Config) { c.Endpoint = "ftp://s3.example.org" }, false},
		"a path":            {func(c *blob.S3Config) { c.Endpoint += "/bucket" }, false},
		"a secret in it":    {func(c *blob.S3Config) { c.Endpoint = "https://a:b@s3.example.org" }, false},
		"no bucket":         {func(c *blob.S3Config) { c.Bucket = "" }, false},
		"a slash before":    {func(c *blob.S3Config) { c.Prefix = "/albs" }, false},
		"a slash after":     {func(c *blob.S3Config) { c.Prefix = "albs/" }, false},
		"two slashes":       {func(c *blob.S3Config) { c.Prefix = "albs//blobs" }, false},
		"a way up":          {func(c *blob.S3Config) { c.Prefix = "../albs" }, false},
		"no access key":     {func(c *blob.S3Config) { c.AccessKeyFile = "" }, false},
		"no secret key":     {func(c *blob.S3Config) { c.SecretKeyFile = "" }, false},
		"a cache alone":     {func(c *blob.S3Config) { *c = blob.S3Config{CacheSize: 1} }, false},
		"less than nothing": {func(c *blob.S3Config) { c.CacheSize = -1 }, false},
	} {
		c := good
		test.change(&c)
		if err := c.Check(); (err == nil) != test.ok || err != nil && !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: %v, want that it is right: %v", what, err, test.ok)
		}
	}
}

// troubled runs a proxy before the server and returns the configuration by which a
// store goes through it. fault is asked about each request; what it returns false of
// goes on to the server.
func troubled(t *testing.T, c blob.S3Config, fault func(w http.ResponseWriter, r *http.Request, on http.Handler) bool) blob.S3Config {
	t.Helper()
	to, err := url.Parse(c.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	on := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { panic(http.ErrAbortHandler) },
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fault(w, r, on) {
			on.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	c.Endpoint = srv.URL
	return c
}

// answer has the server answer, and gives w the headers of it but not the body.
func answer(w http.ResponseWriter, r *http.Request, on http.Handler) (code int, body []byte) {
	rec := httptest.NewRecorder()
	on.ServeHTTP(rec, r)
	maps.Copy(w.Header(), rec.Header())
	return rec.Code, rec.Body.Bytes()
}

// once reports true for the first request that is of it.
func once(is func(*http.Request) bool) func(*http.Request) bool {
	var done atomic.Bool
	return func(r *http.Request) bool { return is(r) && done.CompareAndSwap(false, true) }
}

func method(m, query string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return r.Method == m && strings.Contains(r.URL.Path, "/sha256/") && r.URL.Query().Has(query) == (query != "")
	}
}

// TestS3Storm: what the server refuses for a while is asked for again, a bounded number
// of times (T17).
func TestS3Storm(t *testing.T) {
	t.Parallel()
	direct := s3test.Config(t)
	var mu sync.Mutex
	count := map[string]int{}
	var always atomic.Bool
	c := troubled(t, direct, func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		mu.Lock()
		defer mu.Unlock()
		q := r.URL.Query()
		what := fmt.Sprint(r.Method, r.URL.Path, q["partNumber"], q["start-after"], q.Has("uploads"))
		if count[what]++; !always.Load() && count[what]%3 == 0 {
			return false
		}
		w.WriteHeader([]int{http.StatusServiceUnavailable, http.StatusInternalServerError, http.StatusTooManyRequests}[rand.N(3)])
		return true
	})
	s := openS3(t, c)
	small, d := random(1000)
	large, _ := random(6 << 20)
	for _, b := range [][]byte{small, large} {
		put(t, s, b)
		wantRead(t, openS3(t, c), b)
	}
	seen := 0
	if err := s.Walk(t.Context(), func(albs.Digest, int64) error { seen++; return nil }); err != nil || seen != 2 {
		t.Errorf("Walk saw %d blobs, %v, want 2", seen, err)
	}
	if err := s.Remove(t.Context(), albs.DigestOf(large)); err != nil {
		t.Error(err)
	}

	other := openS3(t, c)
	always.Store(true)
	mu.Lock()
	clear(count)
	mu.Unlock()
	_, err := other.Open(t.Context(), d)
	if albs.KindOf(err) != albs.Unavailable {
		t.Errorf("Open = %v, want unavailable", err)
	}
	if _, err := other.Stat(t.Context(), d); albs.KindOf(err) != albs.Unavailable {
		t.Errorf("Stat = %v, want unavailable", err)
	}
	if len(count) != 2 {
		t.Errorf("asked for %v, want one thing by each call", count)
	}
	for what, n := range count {
		if n != bucket.Attempts {
			t.Errorf("%s was asked %d times, want %d", what, n, bucket.Attempts)
		}
	}
	wantRead(t, s, small) // its cache has it
}

// TestS3Full: a server without room is told apart, and isn't asked again.
func TestS3Full(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	s := openS3(t, troubled(t, s3test.Config(t), func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if !method(http.MethodPut, "")(r) {
			return false
		}
		asked.Add(1)
		w.WriteHeader(http.StatusInsufficientStorage)
		return true
	}))
	b, d := random(1000)
	if _, err := s.Put(t.Context(), d, bytes.NewReader(b)); !errors.Is(err, albs.NoSpace) || asked.Load() != 1 {
		t.Errorf("Put = %v after %d requests, want no_space after 1", err, asked.Load())
	}
	if _, err := s.Stat(t.Context(), d); !errors.Is(err, albs.NotFound) {
		t.Errorf("Stat = %v, want not_found", err)
	}
}

// TestS3Slow: a server that gives a byte a second is given up, and asked again (T17).
func TestS3Slow(t *testing.T) {
	t.Parallel()
	direct := s3test.Config(t)
	b, d := random(1000)
	put(t, openS3(t, direct), b)
	slow := once(method(http.MethodGet, ""))
	c := troubled(t, direct, func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if !slow(r) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		w.Header().Set("ETag", `"x"`)
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		for i := range b {
			if _, err := w.Write(b[i : i+1]); err != nil {
				return true
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return true
			case <-time.After(time.Second):
			}
		}
		return true
	})
	s := openS3(t, c)
	begun := time.Now()
	wantRead(t, s, b)
	if took := time.Since(begun); took < blob.Patience {
		t.Errorf("took %v: nothing was slow", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Verify(ctx, d); !errors.Is(err, context.Canceled) {
		t.Errorf("Verify = %v, want context.Canceled", err)
	}
}

// TestS3Writes: an upload that arrives twice, or whose answer is lost, is one blob and
// a success; one that others were first with counts by its bytes (T17).
func TestS3Writes(t *testing.T) {
	t.Parallel()
	twice := func(w http.ResponseWriter, r *http.Request, on http.Handler) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
		on.ServeHTTP(httptest.NewRecorder(), r.Clone(r.Context()))
		r.Body = io.NopCloser(bytes.NewReader(b))
		on.ServeHTTP(w, r)
	}
	lost := func(_ http.ResponseWriter, r *http.Request, on http.Handler) {
		on.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
	cut := func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.CopyN(io.Discard, r.Body, 500)
		panic(http.ErrAbortHandler)
	}
	for what, test := range map[string]struct {
		size  int
		at    func(*http.Request) bool
		fault func(http.ResponseWriter, *http.Request, http.Handler)
	}{
		"put twice":             {1000, method(http.MethodPut, ""), twice},
		"put, answer lost":      {1000, method(http.MethodPut, ""), lost},
		"put, cut":              {1000, method(http.MethodPut, ""), cut},
		"begin, answer lost":    {6 << 20, method(http.MethodPost, "uploads"), lost},
		"part twice":            {6 << 20, method(http.MethodPut, "partNumber"), twice},
		"part, answer lost":     {6 << 20, method(http.MethodPut, "partNumber"), lost},
		"part, cut":             {6 << 20, method(http.MethodPut, "partNumber"), cut},
		"complete twice":        {6 << 20, method(http.MethodPost, "uploadId"), twice},
		"complete, answer lost": {6 << 20, method(http.MethodPost, "uploadId"), lost},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			direct := s3test.Config(t)
			first := once(test.at)
			var met atomic.Bool
			s := openS3(t, troubled(t, direct, func(w http.ResponseWriter, r *http.Request, on http.Handler) bool {
				if !first(r) {
					return false
				}
				met.Store(true)
				test.fault(w, r, on)
				return true
			}))
			b, d := random(test.size)
			put(t, s, b)
			if !met.Load() {
				t.Error("the fault was never met")
			}
			wantRead(t, openS3(t, direct), b)
			if n, err := s.Put(t.Context(), d, iotest.ErrReader(errors.New("it was read"))); err != nil || n != int64(len(b)) {
				t.Errorf("the next Put = %d, %v", n, err)
			}
		})
	}
	// Somebody comes first, after the store has looked.
	for what, change := range map[string]func([]byte) []byte{
		"the same bytes were first": func(b []byte) []byte { return b },
		"other bytes were first":    func(b []byte) []byte { return append([]byte("x"), b[1:]...) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			direct := s3test.Config(t)
			b, d := random(1000)
			first := once(method(http.MethodPut, ""))
			s := openS3(t, troubled(t, direct, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
				if first(r) {
					s3test.Overwrite(t, direct, d, change(b))
				}
				return false
			}))
			put(t, s, b)
			wantRead(t, openS3(t, direct), b)
		})
	}
}

// TestS3Between: a put that is refused because the blob is there, while readers don't
// find it, is made again, and one that is refused for ever ends.
func TestS3Between(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		refused int64
		want    error
	}{"for a moment": {2, nil}, "for ever": {1000, albs.Unavailable}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct := s3test.Config(t)
			var puts atomic.Int64
			s := openS3(t, troubled(t, direct, func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
				if !method(http.MethodPut, "")(r) || puts.Add(1) > test.refused {
					return false
				}
				w.WriteHeader(http.StatusPreconditionFailed)
				return true
			}))
			b, d := random(1000)
			if n, err := s.Put(t.Context(), d, bytes.NewReader(b)); !errors.Is(err, test.want) || err == nil && n != int64(len(b)) {
				t.Errorf("Put = %d, %v, want %v", n, err, test.want)
			}
			if test.want == nil {
				wantRead(t, openS3(t, direct), b)
			}
			if n := puts.Load(); n != min(test.refused+1, bucket.Attempts) {
				t.Errorf("it was put %d times", n)
			}
		})
	}
}

// TestS3Rot: a byte that rots under the server's feet, so that it tells the same etag
// as ever, is found by Verify and mended by a Put; it is never read (T13).
func TestS3Rot(t *testing.T) {
	t.Parallel()
	direct := s3test.Config(t)
	var rotten atomic.Bool
	c := troubled(t, direct, func(w http.ResponseWriter, r *http.Request, on http.Handler) bool {
		if method(http.MethodPut, "")(r) {
			rotten.Store(false)
		}
		if !method(http.MethodGet, "")(r) || !rotten.Load() {
			return false
		}
		code, b := answer(w, r, on)
		b[len(b)/2] ^= 1
		w.WriteHeader(code)
		_, _ = w.Write(b)
		return true
	})
	b, d := random(1000)
	s := openS3(t, c)
	put(t, s, b)
	rotten.Store(true)
	wantRead(t, s, b) // from the cache
	if _, err := openS3(t, c).Open(t.Context(), d); !errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("Open = %v, want ErrCorrupt", err)
	}
	if _, err := openS3(t, c).OpenRange(t.Context(), d, 0, 1); !errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("OpenRange = %v, want ErrCorrupt", err)
	}
	if err := s.Verify(t.Context(), d); !errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("Verify = %v, want ErrCorrupt", err)
	}
	put(t, s, b)
	if err := s.Verify(t.Context(), d); err != nil {
		t.Errorf("Verify after the Put: %v", err)
	}
	wantRead(t, openS3(t, c), b)
}

// TestS3Cut: an answer that breaks off is asked for again.
func TestS3Cut(t *testing.T) {
	t.Parallel()
	direct := s3test.Config(t)
	b, _ := random(300_000)
	put(t, openS3(t, direct), b)
	first := once(method(http.MethodGet, ""))
	s := openS3(t, troubled(t, direct, func(w http.ResponseWriter, r *http.Request, on http.Handler) bool {
		if !first(r) {
			return false
		}
		_, b := answer(w, r, on)
		_, _ = w.Write(b[:100_000])
		panic(http.ErrAbortHandler)
	}))
	wantRead(t, s, b)
}
