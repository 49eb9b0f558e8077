// Package releaser is the role that shows products to the public: it lays a
// sealed tree beside the one that is shown, and then moves one link. Further places, in
// buckets and on other hosts, are then brought to what the directory shows; those of package
// further say how those are made.
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
//	PRODUCT/trees/SERIAL/REPO/mirrorlist   the address of that repository in that laid.Tree
//	PRODUCT/trees/SERIAL/REPO/PRODUCT.repo what a client's /etc/yum.repos.d takes
//	PRODUCT/trees/old/…                    a tree while it is removed
//	PRODUCT/past.json                      since when trees are known not to be shown any more
//	PRODUCT/pool/REPO/Packages/…           each package once, add-only until retention, and what is told of it beside it
//	PRODUCT/pool/.digest/ab/SHA256         the same files by content
//
// Invariants: a tree has its name only once it is complete and on disk, and the
// link points to it only then; the link moves only under the product's lock and
// only to a higher serial; nothing that a published tree refers to is changed, or removed
// (prune.go) before the tree is. The
// releaser decides nothing: what it publishes was approved, signed and sealed before. What
// a release added it states itself, after it has looked at how that lies there, by the key
// of its own in Config.Dir (state.go); and likewise that a package verifies with what lies
// beside it (summary.go).
package releaser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/repodata"
	"albs/internal/worker"
	"albs/internal/worker/releaser/further"
	"albs/internal/worker/releaser/laid"
)

// Config holds what an operator may set.
type Config struct {
	// Public is the directory in which products are published.
	Public string `yaml:"public"`
	// URL is where readers find Public, as "https://repo.example.org/albs": file, http or
	// https. Without it no mirrorlist and no .repo file is published. Another one counts
	// from the next serial.
	URL string `yaml:"url"`
	// Dir is the releaser's own directory, which nobody else may read: its file
	// statement.key signs what the releaser states. Back it up.
	Dir string `yaml:"dir"`
	// Places are further places: each is brought to what Public shows.
	Places []further.Place `yaml:"places"`
	// TrustFile says by what the releaser verifies what it released, as strangers do:
	// what albs trust export writes. It is read for each task. Without it packages get no
	// verification summary.
	TrustFile string `yaml:"trust_file"`
	// Spool keeps what could not be reported yet.
	Spool string `yaml:"spool"`

	// Trust is what the master in the same process trusts of a product; TrustFile comes
	// before it.
	Trust func(ctx context.Context, product string) (attest.Trust, error) `yaml:"-"`
}

// Run publishes what m has to publish until ctx is done, and brings further places to
// what the directory shows.
func Run(ctx context.Context, c Config, version string, m worker.Master, log zerolog.Logger) error {
	if c.Public == "" || c.Spool == "" || c.Dir == "" {
		return albs.Errorf(albs.Invalid, "the releaser needs the directories releaser.public, releaser.dir and releaser.spool")
	}
	if err := c.Check(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Public, 0o755); err != nil {
		return fmt.Errorf("make public directory: %w", err)
	}
	me := &own{dir: c.Dir}
	var err error
	if me.states, err = openStates(c.Dir); err != nil {
		return err
	}
	if c.TrustFile == "" && c.Trust == nil {
		log.Warn().Msg(noTrust + ": packages get no verification summaries")
	}
	others, err := newFollowers(c, log)
	if err != nil {
		return err
	}
	offer := worker.Offer{Version: version, Labels: []string{"kind:" + string(albs.KindPublish), "kind:" + string(albs.KindPrune), "kind:" + string(albs.KindProve)}, Key: attest.PublicKey(me.states.Public())}
	l := worker.Loop{
		Master: m, Offer: func() worker.Offer { return offer }, Parallel: 1, Spool: c.Spool, StopEarly: true, Log: log,
		Job: func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
			switch s.Lease.Kind {
			case albs.KindPrune:
				r, err := prune(ctx, c, s)
				if err != nil {
					return "", albs.Result{}, err
				}
				return albs.OutcomeOK, albs.Result{Prune: &r}, nil
			case albs.KindProve:
				r, said, err := prove(ctx, c, me, others, s)
				if err != nil {
					return "", albs.Result{}, err
				}
				return albs.OutcomeOK, albs.Result{Prove: &r, Reason: said}, nil
			}
			r, behind, err := publish(ctx, c, me, others, s)
			if err != nil {
				return "", albs.Result{}, err
			}
			return albs.OutcomeOK, albs.Result{Publish: &r, Reason: behind}, nil
		},
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, f := range others {
		g.Go(func() error { return f.run(ctx) })
	}
	g.Go(func() error { return l.Run(ctx) })
	return g.Wait()
}

// publish shows the tree of a task, states what it added, and returns for people which
// further places don't show it yet.
func publish(ctx context.Context, c Config, me *own, others followers, s *worker.Session) (r albs.PublishResult, behind string, err error) {
	spec := s.Lease.Spec.Publish
	if spec == nil {
		return r, "", albs.Errorf(albs.Invalid, "the task names nothing to publish")
	}
	src := session{s}
	t, err := fetchTree(ctx, *spec, src)
	if err != nil {
		return r, "", err
	}
	added, err := additions(ctx, *spec, src) // before anything is shown: they may not be there
	if err != nil {
		return r, "", err
	}
	log := s.Log("publish")
	if r, err = show(ctx, c, t, added, src, s.Check, log); err != nil {
		return r, "", err
	}
	if r.Statements, err = me.state(ctx, s, *spec, added); err != nil {
		return r, "", err
	}
	// The release is public. A place that is away holds up neither it nor the others.
	return r, others.follow(ctx, t.Product, log), nil
}

// show brings the directory to the tree, and looks at how what was added lies there.
func show(ctx context.Context, c Config, t laid.Tree, added []laidPackage, src source, check func(context.Context) error, log io.Writer) (r albs.PublishResult, err error) {
	p, err := openPlace(c.Public, t.Product)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	p.url = c.URL
	if r, err = p.publish(ctx, t, src, check, log); err != nil {
		return r, err
	}
	return r, p.witness(ctx, t, added, src)
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

// fetchTree returns the tree of a task. It is Invalid if the document is not the tree
// that the task is about.
func fetchTree(ctx context.Context, spec albs.PublishSpec, src source) (laid.Tree, error) {
	var doc bytes.Buffer
	if err := src.Fetch(ctx, spec.Tree, repodata.MaxTreeBytes, &doc); err != nil {
		return laid.Tree{}, fmt.Errorf("fetch tree: %w", err)
	}
	t := laid.Tree{Doc: doc.Bytes()}
	if d := t.Digest(); d != spec.Tree {
		return laid.Tree{}, fmt.Errorf("fetch tree: the bytes hash to %s, not to %s", d, spec.Tree)
	}
	var err error
	if t.Tree, err = repodata.ParseTree(t.Doc); err != nil {
		return laid.Tree{}, err
	}
	if t.Product != spec.Product || t.Serial != spec.Serial {
		return laid.Tree{}, albs.Errorf(albs.Invalid, "the tree is serial %d of %s, the task is to publish serial %d of %s",
			t.Serial, t.Product, spec.Serial, spec.Product)
	}
	return t, nil
}

// publish brings the directory to the tree; see bring.
func (p *place) publish(ctx context.Context, t laid.Tree, src source, check func(context.Context) error, log io.Writer) (albs.PublishResult, error) {
	result := albs.PublishResult{Serial: t.Serial, Tree: t.Digest(), Location: location(t.Product)}
	return result, further.Bring(ctx, directory{p, t, src, log}, t.Serial, result.Tree, check, log)
}
