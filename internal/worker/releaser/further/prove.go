package further

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/bucket"
	"albs/internal/repodata"
	"albs/internal/worker/releaser/laid"
)

// beside are the files that the directory has beside the packages of a repository, by
// their names in it, and the summaries that it hasn't beside those that it has
// statements of.
func beside(from *laid.Product, r repodata.TreeRepo) (there, not []string, err error) {
	has := map[string]bool{}
	err = from.Proofs(r, func(name string) error {
		has[name] = true
		there = append(there, name)
		return nil
	})
	for _, name := range there {
		if of, ok := strings.CutSuffix(name, attest.EnvelopesSuffix); ok && !has[of+attest.SummarySuffix] {
			not = append(not, of+attest.SummarySuffix)
		}
	}
	return there, not, err
}

// Prove sends what the directory has beside packages, and removes a summary that it hasn't
// any more: that would be about other files.
func (h *OnHost) Prove(ctx context.Context) error {
	has := map[string]bool{}
	var names strings.Builder
	for _, r := range h.from.Tree.Repositories {
		there, not, err := beside(h.from, r)
		if err != nil {
			return err
		}
		for _, name := range there {
			has[path.Join("pool", r.Path, name)] = true
		}
		for _, name := range slices.Concat(there, not) {
			names.WriteString(path.Join("pool", r.Path, name) + "\x00")
		}
	}
	if names.Len() == 0 {
		return nil
	}
	sent, err := h.Run(ctx, h.from.Dir, names.String(), "-tp", modes, "--from0", "--files-from=-", "--delete-missing-args", "--out-format=%n", "./", h.home())
	if err != nil {
		return fmt.Errorf("send proofs: %w", err)
	}
	var fresh strings.Builder
	n := 0
	for line := range strings.Lines(sent) {
		if name := strings.TrimSuffix(line, "\n"); has[name] {
			fresh.WriteString(name + "\x00")
			n++
		}
	}
	if n == 0 {
		return nil
	}
	fmt.Fprintf(h.log, "%d files beside packages are new on %s\n", n, h.c.Host)
	return h.same(ctx, fresh.String(), "--from0", "--files-from=-", "./", h.home())
}

// Prove puts the files beside the packages of the tree in which each repository is
// whole. What is told of a package changes only with what was lost, but then it has to.
func (b *InBucket) Prove(ctx context.Context) error {
	if b.lies == nil {
		if err := b.find(ctx); err != nil {
			return err
		}
	}
	for _, r := range b.from.Tree.Repositories {
		at, ok := b.lies[r.Path]
		if !ok {
			return fmt.Errorf("repository %s isn't in the bucket, though serial %d is shown", r.Path, b.from.Tree.Serial)
		}
		base := path.Join(laid.TreeName(at), r.Path)
		there := map[string]bucket.Object{}
		err := b.list(ctx, path.Join(base, "Packages"), func(name string, o bucket.Object) error { there[name] = o; return nil })
		if err == nil {
			err = b.proveIn(ctx, r, base, there, math.MaxInt)
		}
		if err != nil {
			return fmt.Errorf("repository %s: %w", r.Path, err)
		}
	}
	return nil
}

// maxBefore is how many files beside packages a release waits for: they are small, and each
// is put and read back. More of them follow after it.
const maxBefore = 2000

// proveIn puts the files beside the packages of a repository that is below base, at most so
// many, but for those that are there, as there says of all objects, and removes summaries that
// the directory hasn't.
func (b *InBucket) proveIn(ctx context.Context, r repodata.TreeRepo, base string, there map[string]bucket.Object, most int) error {
	names, not, err := beside(b.from, r)
	if err != nil || len(names) > most {
		return err
	}
	for _, name := range not {
		if _, ok := there[path.Join(base, name)]; ok {
			if err := b.Objects.Remove(ctx, b.key(base, name)); err != nil {
				return err
			}
		}
	}
	var n atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(inParallel)
	for _, name := range names {
		if gctx.Err() != nil {
			break
		}
		body, err := b.from.Root.ReadFile(path.Join("pool", r.Path, name))
		if err != nil {
			return errors.Join(fmt.Errorf("read proof: %w", err), g.Wait())
		}
		to := path.Join(base, name)
		g.Go(func() error {
			o, ok := there[to]
			if same, err := b.same(gctx, o, body); err != nil || ok && same {
				return err
			}
			n.Add(1)
			return b.write(gctx, bucket.Put{
				Key: b.key(to), Cache: cacheNot, Type: contentType(name), Meta: map[string]string{metaDigest: string(albs.DigestOf(body))},
			}, body)
		})
	}
	if err := errors.Join(g.Wait(), ctx.Err()); err != nil {
		return err
	}
	if n := n.Load(); n > 0 {
		fmt.Fprintf(b.log, "%s: %d files beside packages are new\n", r.Path, n)
	}
	return nil
}

// metaDigest is by what name the sha256 of a file beside a package is put with it.
const metaDigest = "sha256"

// same reports whether an object has a content. An etag is the MD5 of the content with
// most servers, so that a listing is enough; else what was put with it says.
func (b *InBucket) same(ctx context.Context, o bucket.Object, body []byte) (bool, error) {
	if o.Size != int64(len(body)) {
		return false, nil
	}
	sum := md5.Sum(body)
	if strings.Trim(o.ETag, `"`) == hex.EncodeToString(sum[:]) {
		return true, nil
	}
	o, err := b.Objects.Head(ctx, o.Key, o.Key+" in S3")
	if errors.Is(err, albs.NotFound) {
		return false, nil
	}
	return o.Meta[metaDigest] == string(albs.DigestOf(body)), err
}

// contentType is what a web server says of a file beside a package.
func contentType(name string) string {
	switch {
	case strings.HasSuffix(name, attest.LogProofSuffix):
		return "text/plain; charset=utf-8"
	case strings.HasSuffix(name, attest.SummarySuffix):
		return "application/json"
	}
	return "application/jsonl"
}
