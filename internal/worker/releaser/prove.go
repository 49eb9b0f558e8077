package releaser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/worker"
	"albs/internal/worker/releaser/laid"
)

// prove lays what a task names beside packages, and returns for people what is wrong with
// some of them, and which further places don't have it yet. It fails if all are wrong.
func prove(ctx context.Context, c Config, me *own, others followers, s *worker.Session) (r albs.ProveResult, said string, err error) {
	spec := s.Lease.Spec.Prove
	if spec == nil {
		return r, "", albs.Errorf(albs.Invalid, "the task names no packages")
	}
	log := s.Log("prove")
	v, err := c.verifier(ctx, me.states, spec.Product)
	if err != nil {
		return r, "", err
	}
	if v == nil {
		fmt.Fprintln(log, "packages get no verification summaries: "+noTrust)
	}
	r, summaries, err := proveIn(ctx, c, *spec, v, session{s}, log)
	if err != nil && (len(r.Wrong) == 0 || len(r.Wrong) == len(spec.Packages)) {
		return r, "", err
	}
	var wrong string
	if err != nil {
		wrong = fmt.Sprintf("%d packages couldn't be proven: %s", len(r.Wrong), albs.UserMessage(err))
	}
	if len(summaries) > 0 {
		if r.Summaries, err = me.upload(ctx, s, "summaries.jsonl", func(w io.Writer) error { _, err := w.Write(summaries); return err }); err != nil {
			return r, "", err
		}
	}
	return r, strings.Join(drop([]string{wrong, others.follow(ctx, spec.Product, log)}), "; "), nil
}

func proveIn(ctx context.Context, c Config, spec albs.ProveSpec, v *verifier, src source, log io.Writer) (r albs.ProveResult, summaries []byte, err error) {
	p, err := openPlace(c.Public, spec.Product)
	if err != nil {
		return r, nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	return p.prove(ctx, spec, v, src, log)
}

// maxWrong is how many wrong packages are told of in words: more of them say no more.
const maxWrong = 3

// prove lays the files of each package beside its names in the pool. It may be repeated
// after any crash: a file is there whole or not at all, one that is there already stays,
// and trees don't name them, so none is touched. A package that retention has removed is
// passed over. One of which a name is another package's, or a file is none that the master
// gives, or which v doesn't verify by them, is wrong and holds up no other: with an error of
// that kind the result is whole. A package that v verifies gets a summary, which is returned
// too, a line each; without v none gets any.
func (p *place) prove(ctx context.Context, spec albs.ProveSpec, v *verifier, src source, log io.Writer) (r albs.ProveResult, summaries []byte, err error) {
	if err := p.settle(); err != nil {
		return r, nil, err
	}
	var wrong []error
	verified := 0
	for _, k := range spec.Packages {
		summary, err := p.proveOne(ctx, k, v, src, &r)
		switch kind := albs.KindOf(err); {
		case err == nil && summary == nil:
		case err == nil:
			summaries = append(summaries, summary...)
			verified++
		case ctx.Err() != nil, kind != albs.Invalid && kind != albs.NotFound: // it would go no better with others
			return albs.ProveResult{}, nil, err
		default:
			fmt.Fprintf(log, "%s: %v\n", k.Package.Short(), err)
			r.Wrong = append(r.Wrong, k.Package)
			if len(wrong) < maxWrong {
				wrong = append(wrong, err)
			}
		}
	}
	if err := p.sync(); err != nil {
		return albs.ProveResult{}, nil, err
	}
	fmt.Fprintf(log, "%d packages have their statements and proofs beside them, %d are verified, %d are gone, %d are wrong\n", r.Packages, verified, r.Gone, len(r.Wrong))
	return r, summaries, errors.Join(wrong...)
}

// told is a file that is to lie beside a package.
type told struct {
	ending string
	digest albs.Digest
	b      []byte // once it was fetched
}

func (t *told) fetch(ctx context.Context, src source) ([]byte, error) {
	if t.b == nil {
		var b bytes.Buffer
		if err := src.Fetch(ctx, t.digest, attest.MaxBundle, &b); err != nil {
			return nil, err
		}
		t.b = b.Bytes()
	}
	return t.b, nil
}

// proveOne lays the files of a package beside each of its names, and counts these. If v
// verifies it by them, its summary is laid last, and returned.
func (p *place) proveOne(ctx context.Context, k albs.ProvePackage, v *verifier, src source, r *albs.ProveResult) (summary []byte, err error) {
	files := []*told{{ending: laid.Endings[0], digest: k.Statements}, {ending: laid.Endings[1], digest: k.LedgerProof}, {ending: laid.Endings[2], digest: k.LogProof}}
	var names []string // that are there
	for _, at := range k.Paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		name := path.Join("pool", at)
		if !fs.ValidPath(at) || !strings.HasSuffix(at, ".rpm") || strings.HasPrefix(name, laid.Contents+"/") {
			return nil, albs.Errorf(albs.Invalid, "%.200q is no name of a package", at)
		}
		there, err := p.holds(name, k.Package)
		if err != nil {
			return nil, err
		}
		if !there {
			r.Gone++
			continue
		}
		if err := p.unsummarize(name, k); err != nil {
			return nil, err
		}
		for _, f := range files {
			if err := p.beside(ctx, name, f, src); err != nil {
				return nil, err
			}
		}
		names = append(names, name)
		r.Packages++
	}
	if v == nil || len(names) == 0 {
		return nil, nil
	}
	return p.summarize(ctx, names, k, files, v, src)
}

// holds reports whether a name in the pool is the package d, false if there is nothing of
// that name. Being one inode with the file by digest is being it, as in pool.
func (p *place) holds(name string, d albs.Digest) (bool, error) {
	there, err := p.root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look into the pool: %w", err)
	}
	if have, err := p.root.Stat(path.Join(laid.Contents, string(d[:2]), string(d))); err == nil && os.SameFile(have, there) {
		return true, nil
	}
	got, err := p.digest(name)
	if err != nil {
		return false, err
	}
	if got != d {
		return false, albs.Errorf(albs.Invalid, "%s in the public place is not the package %s that was released under this name: a released package never changes", name, d.Short())
	}
	return true, nil
}

// beside lays one file. Another one of its name is replaced whole: it is told anew where
// what a master knew was lost and the package released again.
func (p *place) beside(ctx context.Context, of string, f *told, src source) error {
	name := of + f.ending
	_, err := p.root.Stat(name)
	if err == nil {
		got, err := p.digest(name)
		if err != nil {
			return err
		}
		if got == f.digest {
			p.dirty[path.Dir(name)] = struct{}{} // its name may be younger than the last sync
			return nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look into the pool: %w", err)
	}
	b, err := f.fetch(ctx, src)
	if err != nil {
		return err
	}
	return p.bytes(name, b)
}

// bytes is write of what is at hand.
func (p *place) bytes(name string, b []byte) error {
	return p.write(name, func(w io.Writer) error { _, err := w.Write(b); return err })
}
