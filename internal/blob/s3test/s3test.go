// Package s3test leads tests to the S3 server that testdata/s3.sh runs, and behind the
// back of the stores that keep their blobs there.
package s3test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/bucket"
)

// Config returns the configuration of a store in a place of the server's bucket that
// is the test's own, with the files of its credentials. Without a server the test is
// skipped.
func Config(t *testing.T) blob.S3Config {
	t.Helper()
	at := os.Getenv("ALBS_TEST_S3")
	if at == "" {
		t.Skip("ALBS_TEST_S3 is not set: run testdata/s3.sh go test …")
	}
	u, err := url.Parse(at)
	if err != nil || u.User == nil {
		t.Fatal("ALBS_TEST_S3 is no http://ACCESS-KEY:SECRET-KEY@ADDRESS:PORT/BUCKET")
	}
	secret, _ := u.User.Password()
	c := blob.S3Config{Config: bucket.Config{
		Endpoint: u.Scheme + "://" + u.Host, Bucket: strings.Trim(u.Path, "/"),
		Prefix:    fmt.Sprintf("%s/%x", strings.ToLower(strings.Map(plain, t.Name())), rand.Uint64()),
		AccessKey: u.User.Username(), SecretKey: secret,
	}}
	dir := t.TempDir()
	c.AccessKeyFile, c.SecretKeyFile = filepath.Join(dir, "access"), filepath.Join(dir, "secret")
	for file, key := range map[string]string{c.AccessKeyFile: c.AccessKey, c.SecretKeyFile: c.SecretKey} {
		if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// plain makes of a test's name that of an object.
func plain(c rune) rune {
	if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
		return c
	}
	return '-'
}

// Client returns a client of the server that goes by c, behind any store's back.
func Client(t *testing.T, c blob.S3Config) *minio.Core {
	t.Helper()
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	core, err := minio.NewCore(u.Host, &minio.Options{Creds: credentials.NewStaticV4(c.AccessKey, c.SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	return core
}

// Key is the name of a blob's object, as package blob promises it.
func Key(c blob.S3Config, d albs.Digest) string {
	return c.Prefix + "/sha256/" + string(d[:2]) + "/" + string(d[2:])
}

// Overwrite makes b the stored bytes of blob d.
func Overwrite(t *testing.T, c blob.S3Config, d albs.Digest, b []byte) {
	t.Helper()
	_, err := Client(t, c).PutObject(t.Context(), c.Bucket, Key(c, d), bytes.NewReader(b), int64(len(b)), "", "", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// Change replaces the stored bytes of blob d by change of them.
func Change(t *testing.T, c blob.S3Config, d albs.Digest, change func([]byte) []byte) {
	t.Helper()
	body, _, _, err := Client(t, c).GetObject(t.Context(), c.Bucket, Key(c, d), minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	Overwrite(t, c, d, change(b))
}
