package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/pgp"
	"albs/internal/repodata"
	"albs/internal/rpm"
	"albs/internal/worker"
	"albs/internal/worker/releaser"
)

// publishSample is the package of which repositories are made here: one with a file
// list, scripts, changelog and all kinds of dependencies. Both sides have the same.
const publishSample = "internal/rpm/testdata/albs-rich-1.0~rc1-3.el9.noarch.rpm"

// publishOne: from a decided change to what readers see, signature included, for one
// package more in a repository of n.
func publishOne(n int) func(context.Context, *bench) ([]row, error) {
	return func(ctx context.Context, b *bench) (_ []row, err error) {
		s, err := newShelf(ctx, filepath.Join(b.dir, "publish"))
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		return s.publishOne(ctx, n)
	}
}

func (s *shelf) publishOne(ctx context.Context, n int) ([]row, error) {
	tree := repodata.Tree{Repositories: []repodata.TreeRepo{{Path: "os"}}}
	snapshot, err := s.extend(ctx, nil, 0, n)
	if err != nil {
		return nil, err
	}
	tree.Repositories[0].Snapshot = snapshot.Digest()
	if _, err := s.publish(ctx, tree); err != nil {
		return nil, err
	}
	peer := filepath.Join(s.dir, "peer")
	if err := s.link(peer, 0, n); err != nil {
		return nil, err
	}
	if _, err := createrepo(ctx, peer); err != nil {
		return nil, err
	}
	var ours, theirs []float64
	for i := range runs + 1 {
		began := time.Now()
		snapshot, err = s.extend(ctx, snapshot, n+i, n+i+1)
		if err != nil {
			return nil, err
		}
		tree.Repositories[0].Snapshot = snapshot.Digest()
		if _, err := s.publish(ctx, tree); err != nil {
			return nil, err
		}
		took := time.Since(began)
		if err := s.link(peer, n+i, n+i+1); err != nil {
			return nil, err
		}
		peers, err := createrepo(ctx, peer, "--update", "--skip-stat")
		if err != nil {
			return nil, err
		}
		if i > 0 { // the first warms the caches
			ours, theirs = append(ours, took.Seconds()), append(theirs, peers.Seconds())
		}
	}
	r := row{
		Name: fmt.Sprintf("publish-1-of-%d", n), Unit: "s", Ours: median(ours), Peer: median(theirs), PeerName: "createrepo_c --update",
		Goal: "≥ 10×",
	}
	r.Ratio = r.Peer / r.Ours
	r.Met = r.Ratio >= 10
	return []row{r}, nil
}

// metadata: that of a whole repository of n, of packages that have been read.
func metadata(n int) func(context.Context, *bench) ([]row, error) {
	return func(ctx context.Context, b *bench) (_ []row, err error) {
		s, err := newShelf(ctx, filepath.Join(b.dir, "metadata"))
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		return s.metadata(ctx, n)
	}
}

func (s *shelf) metadata(ctx context.Context, n int) ([]row, error) {
	peer := filepath.Join(s.dir, "peer")
	if err := s.link(peer, 0, n); err != nil {
		return nil, err
	}
	var ours, theirs []float64
	for i := range runs + 1 {
		began := time.Now()
		if _, err := repodata.Extend(ctx, s.blobs, nil, s.change(0, n), int64(i+1)); err != nil { // another revision, so nothing is there yet
			return nil, err
		}
		took := time.Since(began)
		peers, err := createrepo(ctx, peer, "--workers", "2")
		if err != nil {
			return nil, err
		}
		if i > 0 {
			ours, theirs = append(ours, took.Seconds()), append(theirs, peers.Seconds())
		}
	}
	r := row{
		Name: fmt.Sprintf("metadata-%d", n), Unit: "s", Ours: median(ours), Peer: median(theirs), PeerName: "createrepo_c --workers 2",
		Goal: "≥ 2×",
	}
	r.Ratio = r.Peer / r.Ours
	r.Met = r.Ratio >= 2
	return []row{r}, nil
}

// releaseMany: 1,000 packages into twelve repositories, and back.
func releaseMany(ctx context.Context, b *bench) (_ []row, err error) {
	const packages, repositories = 1_000, 12
	s, err := newShelf(ctx, filepath.Join(b.dir, "release"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var before repodata.Tree
	shown := make([]*repodata.Snapshot, repositories)
	for i := range shown {
		if shown[i], err = s.extend(ctx, nil, 0, 1_000); err != nil {
			return nil, err
		}
		before.Repositories = append(before.Repositories, repodata.TreeRepo{Path: fmt.Sprintf("r%02d/os", i), Snapshot: shown[i].Digest()})
	}
	if _, err := s.publish(ctx, before); err != nil {
		return nil, err
	}
	var there, back []float64
	for round := range runs {
		began := time.Now()
		var after repodata.Tree
		for i, r := range before.Repositories {
			from := 1_000 + (round*repositories+i)*packages // never there before, so that each round has all to do
			next, err := s.extend(ctx, shown[i], from, from+(packages+i)/repositories)
			if err != nil {
				return nil, err
			}
			after.Repositories = append(after.Repositories, repodata.TreeRepo{Path: r.Path, Snapshot: next.Digest()})
		}
		if _, err := s.publish(ctx, after); err != nil {
			return nil, err
		}
		there = append(there, time.Since(began).Seconds())
		took, err := s.publish(ctx, before)
		if err != nil {
			return nil, err
		}
		back = append(back, took.Seconds())
	}
	return []row{
		{Name: "release-1000-of-12", Unit: "s", Ours: median(there), Goal: "1,000 packages over 12 repositories < 10 s", Met: median(there) < 10},
		{Name: "release-rollback", Unit: "s", Ours: median(back), Goal: "12 repositories < 1 s", Met: median(back) < 1},
	}, nil
}

// createrepo writes a repository's metadata as the peer does, with its fastest flags.
func createrepo(ctx context.Context, dir string, args ...string) (time.Duration, error) {
	began := time.Now()
	out, err := exec.CommandContext(ctx, "createrepo_c", append(append([]string{"--quiet", "--no-database"}, args...), dir)...).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("createrepo_c: %w: %s", err, out)
	}
	return time.Since(began), nil
}

// shelf is a blob store and a releaser at work, without the master between: what approval,
// queue and ledger take is not measured here.
type shelf struct {
	dir     string
	file    string // the sample
	sample  *rpm.Package
	digest  albs.Digest
	size    int64
	blobs   shelfBlobs
	key     *pgp.Key
	serial  int64
	tasks   chan *worker.Lease
	results chan error
	stop    context.CancelFunc
	ended   chan error
}

type shelfBlobs struct{ *blob.Dir }

func (b shelfBlobs) Open(ctx context.Context, d albs.Digest) (io.ReadCloser, error) {
	return b.Dir.Open(ctx, d)
}

func newShelf(ctx context.Context, dir string) (*shelf, error) {
	sample, err := os.ReadFile(publishSample)
	if err != nil {
		return nil, err
	}
	s := &shelf{
		dir: dir, file: filepath.Join(dir, "sample.rpm"), digest: albs.DigestOf(sample), size: int64(len(sample)),
		tasks: make(chan *worker.Lease), results: make(chan error, 1), ended: make(chan error, 1),
	}
	if s.sample, err = rpm.Read(bytes.NewReader(sample)); err != nil {
		return nil, err
	}
	if s.key, err = pgp.Generate("Bench <bench@example.org>", pgp.RSA4096, time.Now()); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	store, err := blob.NewDir(filepath.Join(dir, "blobs"))
	if err != nil {
		return nil, err
	}
	s.blobs = shelfBlobs{store}
	if _, err := s.blobs.Put(ctx, s.digest, bytes.NewReader(sample)); err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.file, sample, 0o644); err != nil {
		return nil, err
	}
	ctx, s.stop = context.WithCancel(ctx)
	c := releaser.Config{Public: filepath.Join(dir, "public"), Dir: filepath.Join(dir, "releaser"), Spool: filepath.Join(dir, "spool")}
	go func() { s.ended <- releaser.Run(ctx, c, "bench", shelfMaster{s: s}, zerolog.Nop()) }()
	return s, nil
}

func (s *shelf) close() error {
	s.stop()
	if err := <-s.ended; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return os.RemoveAll(s.dir)
}

// name is where package i lies. All of them are the sample.
func (s *shelf) name(i int) string { return fmt.Sprintf("Packages/%02d/p%06d.rpm", i%64, i) }

func (s *shelf) change(from, to int) (c repodata.Change) {
	for i := from; i < to; i++ {
		c.Add = append(c.Add, repodata.Package{RPM: s.sample, Digest: s.digest, Size: s.size, Path: s.name(i), Time: 1})
	}
	return c
}

// link puts packages where the peer finds them.
func (s *shelf) link(dir string, from, to int) error {
	for i := from; i < to; i++ {
		name := filepath.Join(dir, s.name(i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.Link(s.file, name); err != nil {
			return err
		}
	}
	return nil
}

// extend adds packages to a snapshot and signs it.
func (s *shelf) extend(ctx context.Context, from *repodata.Snapshot, first, end int) (*repodata.Snapshot, error) {
	next, err := repodata.Extend(ctx, s.blobs, from, s.change(first, end), int64(end))
	if err != nil {
		return nil, err
	}
	md, err := s.blobs.Open(ctx, next.Repomd())
	if err != nil {
		return nil, err
	}
	asc, err := s.key.SignArmored(md)
	if err := errors.Join(err, md.Close()); err != nil {
		return nil, err
	}
	return repodata.Seal(ctx, s.blobs, next, asc)
}

// publish has the releaser show a tree under the next serial, and returns how long that
// took.
func (s *shelf) publish(ctx context.Context, t repodata.Tree) (time.Duration, error) {
	began := time.Now()
	s.serial++
	t.Product, t.Serial = "bench", s.serial
	d, _, err := s.blobs.Write(ctx, bytes.NewReader(t.Encode()), repodata.MaxTreeBytes)
	if err != nil {
		return 0, err
	}
	l := &worker.Lease{
		Token: worker.Token{Task: albs.TaskID(s.serial), Fence: 1}, Kind: albs.KindPublish, Attempt: 1, Term: time.Minute,
		Spec: albs.Spec{Publish: &albs.PublishSpec{Product: t.Product, Tree: d, Serial: t.Serial}},
	}
	select {
	case s.tasks <- l:
	case err := <-s.ended:
		s.ended <- err
		return 0, fmt.Errorf("the releaser ended: %w", err)
	}
	select {
	case err := <-s.results:
		return time.Since(began), err
	case err := <-s.ended:
		s.ended <- err
		return 0, fmt.Errorf("the releaser ended: %w", err)
	}
}

// shelfMaster gives a releaser what to publish.
type shelfMaster struct {
	worker.Master
	s *shelf
}

func (m shelfMaster) Claim(ctx context.Context, _ worker.Offer) (*worker.Lease, error) {
	select {
	case l := <-m.s.tasks:
		return l, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (shelfMaster) Renew(context.Context, worker.Token) (time.Time, error) {
	return time.Now().Add(time.Minute), nil
}

func (shelfMaster) Log(_ context.Context, _ worker.Token, _ string, off int64, p []byte) (int64, error) {
	return off + int64(len(p)), nil
}

func (m shelfMaster) Get(ctx context.Context, _ worker.Token, d albs.Digest, off, length int64) (io.ReadCloser, error) {
	return m.s.blobs.OpenRange(ctx, d, off, length)
}

func (m shelfMaster) Complete(_ context.Context, _ worker.Token, o albs.Outcome, r albs.Result) error {
	if o != albs.OutcomeOK {
		m.s.results <- fmt.Errorf("the releaser reports %s: %s", o, r.Reason)
		return nil
	}
	m.s.results <- nil
	return nil
}
