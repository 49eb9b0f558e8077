package monitor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/repodata"
	"albs/internal/repodata/record"
	"albs/internal/repodata/updateinfo"
	"albs/internal/rpm"
)

// Bounds of what is read of a repository, as it is transferred.
const (
	maxMetadata = 512 << 20 // a primary, or an updateinfo
	maxModules  = 64 << 20
)

// Outside reaches the public place; egress.Egress does.
type Outside interface {
	// Get opens a URL of at most limit bytes.
	Get(ctx context.Context, rawURL string, limit int64) (body io.ReadCloser, size int64, err error)
	// Size returns how many bytes a URL has, -1 if that isn't told.
	Size(ctx context.Context, rawURL string) (int64, error)
}

// place is the root of a product's public place.
type place struct {
	Outside
	root string // a URL without a slash at its end
}

// rootOf returns the root of a product's public place, by where the advisories of one of its
// platforms are public; Invalid if that isn't where a release puts them.
func rootOf(d advisory.Distribution) (string, error) {
	root, ok := strings.CutSuffix(d.URL, "/errata/"+d.Platform)
	if !ok {
		return "", albs.Errorf(albs.Invalid, "errata.url of platform %s doesn't end in /errata/%s, so it isn't known where the repositories are public", d.Platform, d.Platform)
	}
	return root, nil
}

func (p place) open(ctx context.Context, path string, limit int64) (io.ReadCloser, error) {
	body, _, err := p.Get(ctx, p.url(path), limit)
	return body, err
}

func (p place) url(path string) string { return p.root + (&url.URL{Path: "/" + path}).EscapedPath() }

// repomd returns a repository's repomd.xml.
func (p place) repomd(ctx context.Context, path string) ([]byte, error) {
	body, err := p.open(ctx, path+"/repodata/repomd.xml", repodata.MaxRepomdBytes)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(body)
	return b, errors.Join(err, body.Close())
}

// repository returns what a repository with that repomd.xml has of what the advisories name.
// What was read is believed only if it is what repomd.xml says.
func (p place) repository(ctx context.Context, path string, repomd []byte, as []advisory.Advisory) (listed, error) {
	out := listed{packages: map[rpm.NEVRA][]held{}, modules: map[string]bool{}, notices: map[string]notice{}}
	wanted := map[rpm.NEVRA]bool{}
	for _, a := range as {
		for _, q := range a.Packages {
			if q.Repository == path {
				wanted[q.NEVRA] = true
			}
		}
	}
	md, err := repodata.ParseRepomd(bytes.NewReader(repomd))
	if err != nil {
		return out, err
	}
	for _, part := range []struct {
		typ   string
		limit int64
		read  func(io.Reader) error
	}{
		{"primary", maxMetadata, func(r io.Reader) error {
			return repodata.ReadPrimary(r, func(l repodata.Listed) error {
				if wanted[l.NEVRA] {
					out.packages[l.NEVRA] = append(out.packages[l.NEVRA], held{l.Digest, path + "/" + l.Path, l.Size})
				}
				return nil
			})
		}},
		{"updateinfo", maxMetadata, func(r io.Reader) error {
			return updateinfo.Read(r, func(u updateinfo.Update) error {
				n := notice{version: u.Version, packages: map[string]string{}}
				for _, c := range u.Collections {
					for _, q := range c.Packages {
						n.packages[q.Filename] = q.Sum
					}
				}
				out.notices[u.ID] = n
				return nil
			})
		}},
		{"modules", maxModules, func(r io.Reader) error {
			streams, err := record.Streams(r)
			for _, s := range streams {
				out.modules[s.Name+":"+s.Stream+":"+s.Version+":"+s.Context] = true
			}
			return err
		}},
	} {
		d, ok := md.Find(part.typ)
		if !ok {
			continue
		}
		if err := p.part(ctx, path+"/"+d.Path, d.Digest, part.limit, part.read); err != nil {
			return out, fmt.Errorf("%s: %w", part.typ, err)
		}
	}
	return out, nil
}

// part reads one metadata file, all of it, and holds it to its digest.
func (p place) part(ctx context.Context, path string, want albs.Digest, limit int64, read func(io.Reader) error) error {
	body, err := p.open(ctx, path, limit)
	if err != nil {
		return err
	}
	defer body.Close()
	h := sha256.New()
	r := io.TeeReader(body, h)
	if err := read(r); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if got := albs.DigestFrom(h); got != want {
		return albs.Errorf(albs.Invalid, "%s has sha256 %s, and repomd.xml says %.64q", path, got, string(want))
	}
	return nil
}
