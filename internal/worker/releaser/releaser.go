// Package releaser is the role that shows products to the public: it lays a
// sealed tree beside the one that is shown, and then moves one link.
//
// A product's public place is a directory:
//
//	PRODUCT/current                        → trees/SERIAL, the link that readers follow
//	PRODUCT/trees/new/…                    a tree while it is made
//	PRODUCT/trees/SERIAL/tree.json         the tree's document
//	PRODUCT/trees/SERIAL/pooled.json       what of it is known to be in the pool
//	PRODUCT/trees/SERIAL/left.json         since when metadata that it carries has been replaced
//	PRODUCT/trees/SERIAL/REPO/repodata/…   the metadata of one snapshot, and for a day of those before
//	PRODUCT/trees/SERIAL/REPO/Packages     → the repository's folder in the pool
//	PRODUCT/trees/SERIAL/REPO/mirrorlist   the address of that repository in that tree
//	PRODUCT/trees/SERIAL/REPO/PRODUCT.repo what a client's /etc/yum.repos.d takes
//	PRODUCT/trees/old/…                    a tree while it is removed
//	PRODUCT/past.json                      since when trees are known not to be shown any more
//	PRODUCT/pool/REPO/Packages/…           each package once, add-only until retention
//	PRODUCT/pool/.digest/ab/SHA256         the same files by content
//
// Invariants: a tree has its name only once it is complete and on disk, and the
// link points to it only then; the link moves only under the product's lock and
// only to a higher serial; nothing that a published tree refers to is changed, or removed
// (prune.go) before the tree is. The
// releaser has no key and decides nothing: what it publishes was approved, signed
// and sealed before.
package releaser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/repodata"
	"albs/internal/worker"
)

// Config holds what an operator may set.
type Config struct {
	// Public is the directory in which products are published.
	Public string `yaml:"public"`
	// URL is where readers find Public, as "https://repo.example.org/albs": file, http or
	// https. Without it no mirrorlist and no .repo file is published. Another one counts
	// from the next serial.
	URL string `yaml:"url"`
	// Spool keeps what could not be reported yet.
	Spool string `yaml:"spool"`
}

// Run publishes what m has to publish until ctx is done.
func Run(ctx context.Context, c Config, version string, m worker.Master, log zerolog.Logger) error {
	if c.Public == "" || c.Spool == "" {
		return albs.Errorf(albs.Invalid, "the releaser needs the directories releaser.public and releaser.spool")
	}
	if err := checkURL(c.URL); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Public, 0o755); err != nil {
		return fmt.Errorf("make public directory: %w", err)
	}
	offer := worker.Offer{Version: version, Labels: []string{"kind:" + string(albs.KindPublish), "kind:" + string(albs.KindPrune)}}
	l := worker.Loop{
		Master: m, Offer: func() worker.Offer { return offer }, Parallel: 1, Spool: c.Spool, StopEarly: true, Log: log,
		Job: func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
			if s.Lease.Kind == albs.KindPrune {
				r, err := prune(ctx, c, s)
				if err != nil {
					return "", albs.Result{}, err
				}
				return albs.OutcomeOK, albs.Result{Prune: &r}, nil
			}
			r, err := publish(ctx, c, s)
			if err != nil {
				return "", albs.Result{}, err
			}
			return albs.OutcomeOK, albs.Result{Publish: &r}, nil
		},
	}
	return l.Run(ctx)
}

func publish(ctx context.Context, c Config, s *worker.Session) (albs.PublishResult, error) {
	spec := s.Lease.Spec.Publish
	if spec == nil {
		return albs.PublishResult{}, albs.Errorf(albs.Invalid, "the task names nothing to publish")
	}
	src := session{s}
	tree, doc, err := fetchTree(ctx, *spec, src)
	if err != nil {
		return albs.PublishResult{}, err
	}
	p, err := openPlace(c.Public, spec.Product)
	if err != nil {
		return albs.PublishResult{}, err
	}
	defer p.Close()
	p.url = c.URL
	return p.publish(ctx, tree, doc, src, s.Check, s.Log("publish"))
}

func prune(ctx context.Context, c Config, s *worker.Session) (albs.PruneResult, error) {
	spec := s.Lease.Spec.Prune
	if spec == nil {
		return albs.PruneResult{}, albs.Errorf(albs.Invalid, "the task doesn't say what to keep")
	}
	p, err := openPlace(c.Public, spec.Product)
	if err != nil {
		return albs.PruneResult{}, err
	}
	defer p.Close()
	return p.prune(ctx, *spec, time.Now().UTC(), s.Log("prune"))
}

// source is where the bytes of a tree come from, each checked against its digest.
type source interface {
	repodata.Blobs
	// Fetch is worker.Session's.
	Fetch(ctx context.Context, d albs.Digest, most int64, w io.Writer) error
}

// session reads blobs through the attempt's lease; it writes none.
type session struct{ *worker.Session }

func (s session) Open(ctx context.Context, d albs.Digest) (io.ReadCloser, error) {
	return s.Master().Get(ctx, s.Lease.Token, d, 0, -1)
}

func (session) Put(context.Context, albs.Digest, io.Reader) (int64, error) { return 0, errReadOnly }

func (session) Write(context.Context, io.Reader, int64) (albs.Digest, int64, error) {
	return "", 0, errReadOnly
}

var errReadOnly = errors.New("a releaser stores no blobs")

// fetchTree returns the tree of a task with its document. It is Invalid if the
// document is not the tree that the task is about.
func fetchTree(ctx context.Context, spec albs.PublishSpec, src source) (repodata.Tree, []byte, error) {
	var doc bytes.Buffer
	if err := src.Fetch(ctx, spec.Tree, repodata.MaxTreeBytes, &doc); err != nil {
		return repodata.Tree{}, nil, fmt.Errorf("fetch tree: %w", err)
	}
	if d := albs.DigestOf(doc.Bytes()); d != spec.Tree {
		return repodata.Tree{}, nil, fmt.Errorf("fetch tree: the bytes hash to %s, not to %s", d, spec.Tree)
	}
	tree, err := repodata.ParseTree(doc.Bytes())
	if err != nil {
		return repodata.Tree{}, nil, err
	}
	if tree.Product != spec.Product || tree.Serial != spec.Serial {
		return repodata.Tree{}, nil, albs.Errorf(albs.Invalid, "the tree is serial %d of %s, the task is to publish serial %d of %s",
			tree.Serial, tree.Product, spec.Serial, spec.Product)
	}
	return tree, doc.Bytes(), nil
}

// publish brings the place to the tree of document doc. It may be repeated after
// any crash: what is there already stays, and a tree that is shown already is
// success. Another tree of the serial that is shown, and any lower serial, is
// Invalid. check is asked right before the link moves.
func (p *place) publish(ctx context.Context, tree repodata.Tree, doc []byte, src source, check func(context.Context) error, log io.Writer) (albs.PublishResult, error) {
	result := albs.PublishResult{Serial: tree.Serial, Tree: albs.DigestOf(doc), Location: path.Join(tree.Product, "current")}
	shown, digest, err := p.shown()
	if err != nil {
		return result, err
	}
	if shown == tree.Serial && digest == result.Tree {
		fmt.Fprintf(log, "serial %d is shown already\n", shown)
		p.dirty["."] = struct{}{} // the link may be younger than the last sync
		return result, p.sync()
	}
	if shown >= tree.Serial {
		return result, albs.Errorf(albs.Invalid, "%s shows serial %d already; serial %d would be a step back", tree.Product, shown, tree.Serial)
	}
	if err := p.lay(ctx, tree, doc, shown, src, log); err != nil {
		return result, err
	}
	// The one effect that the master can't fence: last of all, and only while the
	// lease is certainly ours.
	if err := check(ctx); err != nil {
		return result, err
	}
	if err := p.show(tree.Serial); err != nil {
		return result, err
	}
	fmt.Fprintf(log, "serial %d is shown in place of %d\n", tree.Serial, shown)
	return result, nil
}
