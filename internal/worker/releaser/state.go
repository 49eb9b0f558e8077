package releaser

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/effect"
	"albs/internal/attest/keyfile"
	"albs/internal/repodata"
	"albs/internal/rpm"
	"albs/internal/worker"
	"albs/internal/worker/releaser/laid"
)

const statementKeyName = "statement.key"

// statementsName is what the upload of the statements is called.
const statementsName = "statements.jsonl"

// unsent is what the files are called in the releaser's own directory that have statements
// until they are uploaded.
const unsent = "statements-*"

// openStates makes the releaser's own directory if it isn't there, removes what one that was
// killed left in it, and returns what states by the key in it.
func openStates(dir string) (*attest.Signer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the releaser's directory: %w", err)
	}
	left, err := fs.Glob(os.DirFS(dir), unsent)
	if err != nil {
		return nil, fmt.Errorf("look into the releaser's directory: %w", err)
	}
	for _, name := range left {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("clear the releaser's directory: %w", err)
		}
	}
	key, err := keyfile.LoadOrCreate(filepath.Join(dir, statementKeyName))
	if err != nil {
		return nil, err
	}
	return attest.NewSigner(key), nil
}

// laidPackage is a package that a release added, as it lies in the public place.
type laidPackage struct {
	about        attest.Subject
	repositories []string // those of the release that show it, in its order
	waivers      []albs.Waived
}

// additions returns what a release adds, each package with its repositories, in the
// order of the effects, which are fetched and read here: it is Invalid if they are of
// another product or not what the task names.
func additions(ctx context.Context, spec albs.PublishSpec, src source) ([]laidPackage, error) {
	if spec.Effects.Digest == "" {
		return nil, nil
	}
	var b bytes.Buffer
	if err := src.Fetch(ctx, spec.Effects.Digest, effect.Max, &b); err != nil {
		return nil, fmt.Errorf("fetch the release's effects: %w", err)
	}
	if d := albs.DigestOf(b.Bytes()); d != spec.Effects.Digest {
		return nil, albs.Errorf(albs.Invalid, "the effects that came hash to %s, not to %s", d, spec.Effects.Digest)
	}
	e, err := effect.Parse(b.Bytes())
	if err != nil {
		return nil, err
	}
	if e.Product != spec.Product {
		return nil, albs.Errorf(albs.Invalid, "the effects are of %.80q, the task is to publish %s", e.Product, spec.Product)
	}
	var out []laidPackage
	at := map[albs.Digest]int{}
	for _, r := range e.Repositories {
		for _, c := range r.Changes {
			if c.Removed {
				continue
			}
			i, ok := at[c.Digest]
			if !ok {
				i = len(out)
				at[c.Digest] = i
				out = append(out, laidPackage{about: attest.Subject{Name: c.File, Digest: map[string]string{attest.SHA256: string(c.Digest)}}, waivers: c.Waivers})
			}
			if !slices.Contains(out[i].repositories, r.Path) {
				out[i].repositories = append(out[i].repositories, r.Path)
			}
		}
	}
	return out, nil
}

// witness looks at each of what a release adds as it lies in the place: the tree's
// repository lists it, and the name there is the file of that content, whose header is
// read here. It fills in what of the package a signature leaves alone.
func (p *place) witness(ctx context.Context, t laid.Tree, added []laidPackage, src source) error {
	wanted := map[string]map[albs.Digest]bool{}
	for _, a := range added {
		for _, r := range a.repositories {
			if wanted[r] == nil {
				wanted[r] = map[albs.Digest]bool{}
			}
			wanted[r][a.about.File()] = true
		}
	}
	for _, r := range t.Repositories {
		if err := p.lists(ctx, r, wanted[r.Path], src); err != nil {
			return fmt.Errorf("repository %s: %w", r.Path, err)
		}
		delete(wanted, r.Path)
	}
	for repo := range wanted {
		return albs.Errorf(albs.Invalid, "the release adds packages to %.200q, which the tree doesn't have", repo)
	}
	for i := range added {
		if err := p.look(&added[i].about); err != nil {
			return err
		}
	}
	return nil
}

// lists holds that a repository of the tree has all of wanted, each in the pool under
// its name.
func (p *place) lists(ctx context.Context, r repodata.TreeRepo, wanted map[albs.Digest]bool, src source) error {
	if len(wanted) == 0 {
		return nil
	}
	seen := p.pooled[r.Path]
	all := true
	for d := range wanted {
		all = all && seen[d] != ""
	}
	if !all { // the tree was complete already, or one before had some of them
		seen = map[albs.Digest]string{}
		s, err := repodata.Open(ctx, src, r.Snapshot)
		if err != nil {
			return err
		}
		err = s.Packages(ctx, src, func(e repodata.Entry) error {
			if wanted[e.Digest] {
				seen[e.Digest] = e.Path
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for d := range wanted {
		name, ok := seen[d]
		if !ok {
			return albs.Errorf(albs.Invalid, "the release adds %s, which the tree doesn't list", d)
		}
		there, err := p.root.Stat(path.Join("pool", r.Path, name))
		if err != nil {
			return fmt.Errorf("look into the pool: %w", err)
		}
		have, err := p.root.Stat(laid.ContentName(d))
		if err != nil {
			return fmt.Errorf("look into the pool: %w", err)
		}
		if !os.SameFile(there, have) {
			return albs.Errorf(albs.Invalid, "%s in the pool is not the package %s", name, d)
		}
	}
	return nil
}

// look reads the header of a package in the pool.
func (p *place) look(about *attest.Subject) error {
	f, err := p.root.Open(laid.ContentName(about.File()))
	if err != nil {
		return fmt.Errorf("look into the pool: %w", err)
	}
	defer f.Close()
	read, err := rpm.Read(f)
	if err != nil {
		return fmt.Errorf("read %s in the pool: %w", about.Name, err)
	}
	about.Digest[attest.HeaderSHA256], about.Digest[attest.PayloadSHA256] = string(read.HeaderSHA256), string(read.PayloadSHA256)
	return nil
}

// writeStatements writes what s states of each of added, an envelope a line.
func writeStatements(w io.Writer, s *attest.Signer, spec albs.PublishSpec, added []laidPackage) error {
	for _, a := range added {
		st, err := attest.New(a.about, attest.Release, attest.ReleaseBody{
			Product: spec.Product, Repositories: a.repositories, Release: int64(spec.Release), Serial: spec.Serial, Tree: spec.Tree,
			Plan: spec.Effects.Digest, Approvals: spec.Approvals, Waivers: a.waivers,
		})
		if err != nil {
			return err
		}
		e, err := s.Sign(st)
		if err != nil {
			return err
		}
		b, err := e.Encode()
		if err != nil {
			return err
		}
		if _, err := w.Write(append(b, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// state uploads what the releaser states of what a task added, and returns the file, the
// zero one if it added nothing. Attempts at one task state the same.
func (o *own) state(ctx context.Context, s *worker.Session, spec albs.PublishSpec, added []laidPackage) (albs.File, error) {
	if len(added) == 0 {
		return albs.File{}, nil
	}
	return o.upload(ctx, s, statementsName, func(w io.Writer) error { return writeStatements(w, o.states, spec, added) })
}

// upload uploads statements that write writes, by way of a file that is gone then.
func (o *own) upload(ctx context.Context, s *worker.Session, name string, write func(io.Writer) error) (albs.File, error) {
	f, err := os.CreateTemp(o.dir, unsent)
	if err != nil {
		return albs.File{}, fmt.Errorf("write statements: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := write(f); err != nil {
		return albs.File{}, fmt.Errorf("write statements: %w", err)
	}
	return s.Upload(ctx, f.Name(), name)
}

// own is the releaser's directory of its own.
type own struct {
	dir    string
	states *attest.Signer
}
