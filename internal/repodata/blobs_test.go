package repodata

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/rpm"
)

// memory is a Blobs for tests. It counts what it stores and checks what it returns.
type memory struct {
	mu  sync.Mutex
	m   map[albs.Digest][]byte
	put int
}

func newMemory() *memory { return &memory{m: map[albs.Digest][]byte{}} }

func (m *memory) Put(_ context.Context, want albs.Digest, r io.Reader) (int64, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return 0, err
	}
	if albs.DigestOf(b) != want {
		return 0, albs.Errorf(albs.Invalid, "bytes do not hash to %s", want)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.m[want]; !ok {
		m.put++
	}
	m.m[want] = b
	return int64(len(b)), nil
}

func (m *memory) Write(ctx context.Context, r io.Reader, limit int64) (albs.Digest, int64, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return "", 0, err
	}
	if int64(len(b)) > limit {
		return "", 0, albs.Errorf(albs.TooLarge, "more than %d bytes", limit)
	}
	d := albs.DigestOf(b)
	n, err := m.Put(ctx, d, bytes.NewReader(b))
	return d, n, err
}

func (m *memory) Open(_ context.Context, d albs.Digest) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.m[d]
	if !ok {
		return nil, albs.Errorf(albs.NotFound, "no blob %s", d)
	}
	return io.NopCloser(&checked{r: bytes.NewReader(b), ok: albs.DigestOf(b) == d}), nil
}

// checked fails at its end unless ok.
type checked struct {
	r  io.Reader
	ok bool
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if errors.Is(err, io.EOF) && !c.ok {
		return n, errors.New("stored bytes do not hash to their name")
	}
	return n, err
}

func (m *memory) bytes(t testing.TB, d albs.Digest) []byte {
	t.Helper()
	b, ok := m.m[d]
	if !ok {
		t.Fatalf("there is no blob %s", d)
	}
	return b
}

// synthetic returns package i of a made-up distribution, with files, dependencies and
// changelog as a real one has.
func synthetic(i int) Package {
	n := rpm.NEVRA{Name: fmt.Sprintf("pkg%05d", i), Version: fmt.Sprintf("1.%d", i%50), Release: "1.el9", Arch: "x86_64"}
	r := &rpm.Package{
		NEVRA: n, SourceRPM: n.Name + "-" + n.Version + "-1.el9.src.rpm",
		Summary: "A generated package", License: "MIT", Vendor: "ACME", URL: "https://example.org", Group: "Unspecified", BuildHost: "b1",
		BuildTime: time.Unix(1700000000, 0), InstalledSize: 30000, ArchiveSize: 32000, HeaderStart: 4504, HeaderEnd: 9000 + int64(i),
	}
	for k := range 10 {
		r.Description += fmt.Sprintf("Package %d does a thing for %d & others. ", i, k)
		r.Requires = append(r.Requires, rpm.Dependency{Name: fmt.Sprintf("lib%d.so.%d()(64bit)", (i*7+k*131)%4000, k)})
	}
	for k := range 5 {
		r.Provides = append(r.Provides, rpm.Dependency{Name: fmt.Sprintf("cap%d-%d", i, k), Flags: rpm.Equal, EVR: rpm.EVR{Version: fmt.Sprintf("1.%d", k)}})
	}
	r.Provides = append(r.Provides, rpm.Dependency{Name: n.Name, Flags: rpm.Equal, EVR: n.EVR()})
	for k := range 30 {
		p := fmt.Sprintf("/usr/share/%s/dir%d/file-%d.dat", n.Name, k%4, k)
		if k < 2 {
			p = fmt.Sprintf("/usr/bin/%s-%d", n.Name, k)
		}
		r.Files = append(r.Files, rpm.FileInfo{Path: p, Mode: 0o100644})
	}
	for k := range 8 {
		r.Changelog = append(r.Changelog, rpm.Change{
			Author: "Dev <dev@example.org> - 1.0", Time: time.Unix(int64(1700000000-k*86400), 0), Text: fmt.Sprintf("- change %d of %d with a bit of text", k, i),
		})
	}
	return Package{RPM: r, Digest: albs.DigestOf([]byte(n.String())), Size: 34000, Path: "Packages/" + n.Filename(), Time: 1700000000}
}

func synthetics(from, to int) []Package {
	var out []Package
	for i := from; i < to; i++ {
		out = append(out, synthetic(i))
	}
	return out
}

func paths(pkgs []Package) []string {
	var out []string
	for _, p := range pkgs {
		out = append(out, p.Path)
	}
	return out
}
