package reference

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/platform"
	"albs/internal/repodata"
)

// What a repository provides is kept as a blob: compressed by zstd, one capability a line,
// its name, flags, epoch, version and release, separated by tabs. It is read as a whole for
// each question and asked seldom; in the database it would be a million rows.

// providesWriter writes such a blob.
type providesWriter struct {
	zip *zstd.Encoder
	out *bufio.Writer
}

func newProvidesWriter(w io.Writer) (*providesWriter, error) {
	zip, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return &providesWriter{zip, bufio.NewWriter(zip)}, nil
}

// add writes what a package provides, its paths among it. What holds a tab or a line break
// no package of ours can require.
func (w *providesWriter) add(l repodata.Listed) error {
	for _, c := range l.Provides {
		if err := w.line(c.Name, c.Flags, c.Epoch, c.Version, c.Release); err != nil {
			return err
		}
	}
	for _, f := range l.Files {
		if err := w.line(f, "", "", "", ""); err != nil {
			return err
		}
	}
	return nil
}

func (w *providesWriter) line(fields ...string) error {
	line := strings.Join(fields, "\t")
	if strings.Count(line, "\t") != len(fields)-1 || strings.ContainsAny(line, "\n\r") {
		return nil
	}
	_, err := w.out.WriteString(line + "\n")
	return err
}

func (w *providesWriter) close() error {
	if err := w.out.Flush(); err != nil {
		return err
	}
	return w.zip.Close()
}

const maxProvides = 1 << 30 // bytes of one repository's, uncompressed

// readProvides calls yield for each capability of one of the names.
func readProvides(r io.Reader, names map[string]bool, yield func(repodata.Capability)) error {
	zip, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return fmt.Errorf("decompress: %w", err)
	}
	defer zip.Close()
	in := bufio.NewScanner(io.LimitReader(zip, maxProvides))
	in.Buffer(nil, 4<<20) // a name has a MiB at most
	for in.Scan() {
		name, rest, ok := strings.Cut(in.Text(), "\t")
		if !ok || !names[name] {
			continue
		}
		f := strings.Split(rest, "\t")
		if len(f) != 4 {
			return albs.Errorf(albs.Internal, "the line of %.80q is broken", name)
		}
		yield(repodata.Capability{Name: name, Flags: f[0], Epoch: f[1], Version: f[2], Release: f[3]})
	}
	return in.Err()
}

// Provided calls yield for each capability of one of the names that the repositories
// beneath packages of an arch provide: those that the platform's roots are filled from,
// and its references. It returns those of them that were never read, with the reason; what
// they have is missing then.
func (x *Index) Provided(ctx context.Context, pl platform.Platform, arch albs.Arch, names map[string]bool, yield func(repodata.Capability)) (unread []State, err error) {
	beneath := pl.Beneath(arch)
	known, err := x.store.repositories(ctx, beneath)
	if err != nil {
		return nil, err
	}
	for _, r := range beneath {
		row := known[r.URL]
		if row.Provides == "" {
			unread = append(unread, state(r, row))
			continue
		}
		if err := x.provided(ctx, row.Provides, names, yield); err != nil {
			return nil, fmt.Errorf("what %s provides: %w", r.URL, err)
		}
	}
	return unread, nil
}

func (x *Index) provided(ctx context.Context, d albs.Digest, names map[string]bool, yield func(repodata.Capability)) error {
	body, err := x.artifacts.Open(ctx, d, 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	return readProvides(body, names, yield)
}

// roots are what the repositories provide, as blobs.
func (x *Index) roots(ctx context.Context, _ db.Time, yield func(artifact.Ref) error) error {
	ds, err := x.store.provides(ctx)
	if err != nil {
		return fmt.Errorf("read what references provide: %w", err)
	}
	for _, d := range ds {
		if err := yield(artifact.Ref{Digest: d}); err != nil {
			return err
		}
	}
	return nil
}
