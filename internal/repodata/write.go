package repodata

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"albs/internal/albs"
)

// chunkPackages is how many packages share a gzip member in a plain repository:
// enough to compress well, few enough to keep all cores busy.
const chunkPackages = 512

// Write writes the metadata of a plain repository, dir/repodata, for packages that
// lie or will lie below dir at their paths. What was in dir/repodata before is replaced
// as a whole, other files such as updateinfo included; a crash leaves the old, the
// new or, for a moment between two renames, none. The revision and all time stamps are
// the newest Time of the packages, so that equal packages give equal files. It gives
// Conflict if two packages have one path and Invalid if one cannot be told in rpm-md.
func Write(ctx context.Context, dir string, pkgs []Package) error {
	pkgs = slices.Clone(pkgs)
	slices.SortFunc(pkgs, func(a, b Package) int { return strings.Compare(a.Path, b.Path) })
	revision := int64(1)
	for i, p := range pkgs {
		if err := p.check(); err != nil {
			return err
		}
		if i > 0 && pkgs[i-1].Path == p.Path {
			return albs.Errorf(albs.Conflict, "two packages are to lie at %q", p.Path)
		}
		revision = max(revision, p.Time)
	}
	tmp, err := os.MkdirTemp(dir, ".repodata-")
	if err != nil {
		return fmt.Errorf("write metadata in %s: %w", dir, err)
	}
	defer os.RemoveAll(tmp)
	if err := writeRepository(ctx, tmp, pkgs, revision); err != nil {
		return fmt.Errorf("write metadata in %s: %w", dir, err)
	}
	if err := replaceDir(filepath.Join(dir, "repodata"), tmp); err != nil {
		return fmt.Errorf("write metadata in %s: %w", dir, err)
	}
	return nil
}

// chunk is some packages' XML of each kind, plain and as a gzip member.
type chunk struct{ raw, gz [kinds][]byte }

// writeRepository writes the files of a repository into dir.
func writeRepository(ctx context.Context, dir string, pkgs []Package, revision int64) error {
	var files [kinds]*metaFile
	gzip := &compressor{}
	for k := range kinds {
		f, err := newMetaFile(dir, k)
		if err != nil {
			return err
		}
		defer f.file.Close()
		head := metaHead(k, len(pkgs))
		gz, err := gzip.member(head)
		if err != nil {
			return err
		}
		if err := f.add(head, gz); err != nil {
			return err
		}
		files[k] = f
	}
	chunks := slices.Collect(slices.Chunk(pkgs, chunkPackages))
	err := ordered(ctx, len(chunks), func(_ context.Context, i int) (chunk, error) {
		return renderChunk(gzip, chunks[i])
	}, func(_ int, c chunk) error {
		for k, f := range files {
			if err := f.add(c.raw[k], c.gz[k]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var data []RepomdData
	for k, f := range files {
		tail := metaTail(k)
		gz, err := gzip.member(tail)
		if err != nil {
			return err
		}
		if err := f.add(tail, gz); err != nil {
			return err
		}
		d, err := f.close(dir, revision)
		if err != nil {
			return err
		}
		data = append(data, d)
	}
	var md bytes.Buffer
	appendRepomd(&md, revision, data)
	if err := os.WriteFile(filepath.Join(dir, "repomd.xml"), md.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}

// renderChunk returns the XML of pkgs.
func renderChunk(gzip *compressor, pkgs []Package) (c chunk, err error) {
	for _, p := range pkgs {
		it, err := p.render()
		if err != nil {
			return chunk{}, err
		}
		for k := range kinds {
			c.raw[k] = append(c.raw[k], it.parts[k]...)
		}
	}
	for k := range kinds {
		if c.gz[k], err = gzip.member(c.raw[k]); err != nil {
			return chunk{}, err
		}
	}
	return c, nil
}

// metaFile is a metadata file while it is written, with its two checksums.
type metaFile struct {
	kind     int
	file     *os.File
	raw, sum counter
}

func newMetaFile(dir string, kind int) (*metaFile, error) {
	f, err := os.Create(filepath.Join(dir, kindNames[kind]))
	if err != nil {
		return nil, err
	}
	return &metaFile{kind: kind, file: f, raw: counter{Hash: sha256.New()}, sum: counter{Hash: sha256.New()}}, nil
}

// add appends gz, the gzip member that holds raw.
func (f *metaFile) add(raw, gz []byte) error {
	f.raw.Write(raw)
	f.sum.Write(gz)
	_, err := f.file.Write(gz)
	return err
}

// close gives the file its name and tells repomd.xml's words about it.
func (f *metaFile) close(dir string, timestamp int64) (RepomdData, error) {
	d := RepomdData{
		Type: kindNames[f.kind], Digest: albs.DigestFrom(f.sum.Hash), Size: f.sum.n,
		OpenDigest: albs.DigestFrom(f.raw.Hash), OpenSize: f.raw.n, Timestamp: timestamp,
	}
	d.Path = metaPath(f.kind, d.Digest)
	if err := f.file.Sync(); err != nil {
		return RepomdData{}, err
	}
	if err := f.file.Close(); err != nil {
		return RepomdData{}, err
	}
	return d, os.Rename(f.file.Name(), filepath.Join(dir, filepath.Base(d.Path)))
}

// replaceDir renames tmp to dir, which may exist, and then removes what dir was.
func replaceDir(dir, tmp string) error {
	old := tmp + ".old"
	err := os.Rename(dir, old)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return os.RemoveAll(old)
}
