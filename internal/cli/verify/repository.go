package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/disk"
	"albs/internal/egress"
	"albs/internal/repodata"
)

const (
	maxSignature = 64 << 10
	maxPackage   = 32 << 30 // that a repository may list
)

// repository checks the packages that the repository at base lists: those of the arches
// and like the names, all where none is given.
func (a *app) repository(ctx context.Context, base string, arches, names []string) error {
	for _, n := range names {
		if _, err := path.Match(n, ""); err != nil {
			return albs.Errorf(albs.Invalid, "--name %q is no pattern: %w", n, err)
		}
	}
	r, err := openRepository(base)
	if err != nil {
		return err
	}
	listed, err := r.list(ctx, a.trust)
	if err != nil {
		return a.refused(base, err)
	}
	listed = slices.DeleteFunc(listed, func(p entry) bool {
		like := func(n string) bool { ok, _ := path.Match(n, p.name); return ok }
		return len(arches) > 0 && !slices.Contains(arches, p.arch) || len(names) > 0 && !slices.ContainsFunc(names, like)
	})
	if len(listed) == 0 {
		return albs.Errorf(albs.NotFound, "%s lists no such package", base)
	}
	tmp, err := os.MkdirTemp("", "albs-verify-*")
	if err != nil {
		return albs.Errorf(albs.NoSpace, "make a directory for what is downloaded: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // temporary, and empty by then
	all := make([]verdict, len(listed))
	meter := a.NewMeter()
	var mu sync.Mutex // the meter, and what it counts
	done, failed := 0, 0
	each(a.jobs, len(listed), func(i int) {
		if ctx.Err() != nil {
			return
		}
		report, err := a.listed(ctx, r, listed[i], tmp)
		all[i] = a.judged(listed[i].path, report, err)
		mu.Lock()
		defer mu.Unlock()
		if done++; err != nil {
			failed++
		}
		meter.Now(fmt.Sprintf("%d of %d packages are checked, %d failed", done, len(listed), failed))
	})
	meter.End()
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, v := range all {
		if v.Verified || a.json {
			continue
		}
		if err := a.line(v); err != nil {
			return err
		}
	}
	return a.tell(all, "packages of "+base)
}

// refused is the error of a repository whose metadata isn't to be believed.
func (a *app) refused(base string, err error) error {
	named := fmt.Errorf("%s is NOT verified: %w", base, err)
	return exitWith(code([]verdict{a.judged(base, attest.Report{}, err)}), named)
}

// entry is a package as the repository lists it.
type entry struct {
	name, arch, path string
	digest           albs.Digest
	size             int64
}

// place is a repository somewhere.
type place struct {
	base   *url.URL // without a slash at its end
	egress *egress.Egress
}

// openRepository returns the repository at base, a URL or a directory. Whoever named it
// may reach it, and what the server sends them on to must be public.
func openRepository(base string) (*place, error) {
	if !strings.Contains(base, "://") {
		abs, err := filepath.Abs(base)
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "%w", err)
		}
		base = (&url.URL{Scheme: "file", Path: abs}).String()
	}
	u, err := url.Parse(strings.TrimRight(base, "/"))
	if err != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, albs.Errorf(albs.Invalid, "%.200q is no URL of a repository", base)
	}
	allow := u.String()
	if u.Scheme == "file" {
		allow = "file:///" // a repository's packages may be links to where they are kept
	}
	e, err := egress.New(egress.Policy{Allow: []string{allow}, MaxBytes: maxPackage})
	if err != nil {
		return nil, err
	}
	return &place{u, e}, nil
}

// get opens a file of the repository, of at most limit bytes.
func (p *place) get(ctx context.Context, name string, limit int64) (io.ReadCloser, error) {
	body, _, err := p.egress.Get(ctx, p.base.String()+(&url.URL{Path: "/" + name}).EscapedPath(), limit)
	return body, err
}

func (p *place) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	body, err := p.get(ctx, name, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	return disk.ReadAll(body, name, limit)
}

// list reads the repository's metadata, which a key of trust has to have signed.
func (p *place) list(ctx context.Context, trust attest.Trust) ([]entry, error) {
	keys, err := trust.Keyring()
	if err != nil {
		return nil, err
	}
	const repomd = "repodata/repomd.xml"
	b, err := p.read(ctx, repomd, repodata.MaxRepomdBytes)
	if err != nil {
		return nil, err
	}
	asc, err := p.read(ctx, repomd+".asc", maxSignature)
	if errors.Is(err, albs.NotFound) {
		return nil, link(attest.LinkSignature, "its metadata is not signed: there is no %s.asc", repomd)
	}
	if err != nil {
		return nil, err
	}
	if _, _, err := keys.VerifyArmored(bytes.NewReader(b), asc); err != nil {
		return nil, link(attest.LinkSignature, "its metadata is not what a trusted key signed: %w", err)
	}
	md, err := repodata.ParseRepomd(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	primary, ok := md.Find("primary")
	if !ok || !primary.Digest.Valid() {
		return nil, link(attest.LinkDigest, "its repomd.xml names no primary by sha256")
	}
	// What is listed is not believed before all of it is known to be what was signed.
	packed, err := p.read(ctx, primary.Path, maxPrimary)
	if err != nil {
		return nil, err
	}
	if d := albs.DigestOf(packed); d != primary.Digest {
		return nil, link(attest.LinkDigest, "%s has sha256 %s, and the signed repomd.xml says %s", primary.Path, d.Short(), primary.Digest.Short())
	}
	var out []entry
	err = repodata.ReadPrimary(bytes.NewReader(packed), func(l repodata.Listed) error {
		out = append(out, entry{l.NEVRA.Name, l.NEVRA.Arch, l.Path, l.Digest, l.Size})
		return nil
	})
	return out, err
}

// maxPrimary bounds a primary as it is transferred; that of a large distribution has some
// 30 MiB.
const maxPrimary = 256 << 20

// listed checks one package of the repository.
func (a *app) listed(ctx context.Context, p *place, e entry, tmp string) (attest.Report, error) {
	file, size, err := p.fetch(ctx, e, tmp)
	if err != nil {
		return attest.Report{}, err
	}
	defer func() { _ = file.Close() }()
	r, err := a.verify(ctx, file, size, func(suffix string, limit int64) ([]byte, error) {
		return p.read(ctx, e.path+suffix, limit)
	})
	if err != nil {
		return attest.Report{}, err
	}
	if r.File != e.digest {
		return attest.Report{}, link(attest.LinkDigest, "the file has sha256 %s, and the repository lists it with %.80q", r.File, string(e.digest))
	}
	return r, nil
}

// fetch opens the package: where it lies if that is a directory, else a copy in tmp, whose
// name is gone already.
func (p *place) fetch(ctx context.Context, e entry, tmp string) (*os.File, int64, error) {
	limit := e.size
	if limit <= 0 || limit > maxPackage {
		return nil, 0, link(attest.LinkDigest, "the repository lists it with %d bytes", e.size)
	}
	absent := func(err error) error {
		if errors.Is(err, albs.NotFound) {
			return link(attest.LinkInput, "the repository lists it and doesn't have it: %w", err)
		}
		return err
	}
	if p.base.Scheme == "file" {
		f, size, err := openFile(filepath.Join(p.base.Path, e.path))
		return f, size, absent(err)
	}
	body, err := p.get(ctx, e.path, limit)
	switch {
	case errors.Is(err, albs.TooLarge):
		return nil, 0, link(attest.LinkDigest, "it is not what the repository lists: %w", err)
	case err != nil:
		return nil, 0, absent(err)
	}
	defer func() { _ = body.Close() }()
	f, err := os.CreateTemp(tmp, "*.rpm")
	if err != nil {
		return nil, 0, albs.Errorf(albs.NoSpace, "keep what is downloaded: %w", err)
	}
	_ = os.Remove(f.Name()) // it goes with its descriptor; else with tmp
	n, err := io.Copy(f, body)
	switch {
	case err == nil:
		return f, n, nil
	case errors.Is(err, albs.TooLarge):
		err = link(attest.LinkDigest, "it is not what the repository lists: %w", err)
	}
	return nil, 0, errors.Join(err, f.Close())
}
