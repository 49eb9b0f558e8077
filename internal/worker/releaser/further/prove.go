package further

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	"albs/internal/attest"
	"albs/internal/bucket"
	"albs/internal/repodata"
	"albs/internal/worker/releaser/laid"
)

func (h *OnHost) Prove(ctx context.Context) error {
	var names strings.Builder
	for _, r := range h.from.Tree.Repositories {
		err := h.from.Proofs(r, func(name string) error {
			names.WriteString(path.Join("pool", r.Path, name) + "\x00")
			return nil
		})
		if err != nil {
			return err
		}
	}
	if names.Len() == 0 {
		return nil
	}
	sent, err := h.Run(ctx, h.from.Dir, names.String(), "-tp", modes, "--from0", "--files-from=-", "--out-format=%n", "./", h.home())
	if err != nil {
		return fmt.Errorf("send proofs: %w", err)
	}
	var fresh strings.Builder
	n := 0
	for line := range strings.Lines(sent) {
		if name := strings.TrimSuffix(line, "\n"); !strings.HasSuffix(name, "/") {
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
// whole. One that is there with the same size is taken for the same: what is told of a
// package changes only with what was lost.
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
		if err := b.proveIn(ctx, r, path.Join(laid.TreeName(at), r.Path)); err != nil {
			return fmt.Errorf("repository %s: %w", r.Path, err)
		}
	}
	return nil
}

func (b *InBucket) proveIn(ctx context.Context, r repodata.TreeRepo, base string) error {
	var names []string
	if err := b.from.Proofs(r, func(name string) error { names = append(names, name); return nil }); err != nil || len(names) == 0 {
		return err
	}
	there := map[string]int64{}
	err := b.list(ctx, path.Join(base, "Packages"), func(name string, o bucket.Object) error { there[name] = o.Size; return nil })
	if err != nil {
		return err
	}
	n := 0
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(inParallel)
	for _, name := range names {
		body, err := b.from.Root.ReadFile(path.Join("pool", r.Path, name))
		if err != nil {
			return errors.Join(fmt.Errorf("read proof: %w", err), g.Wait())
		}
		to := path.Join(base, name)
		if size, ok := there[to]; ok && size == int64(len(body)) {
			continue
		}
		n++
		g.Go(func() error {
			return b.write(gctx, bucket.Put{Key: b.key(to), Cache: cacheNot, Type: contentType(name)}, body)
		})
	}
	if err := errors.Join(g.Wait(), ctx.Err()); err != nil {
		return err
	}
	if n > 0 {
		fmt.Fprintf(b.log, "%s: %d files beside packages are new\n", r.Path, n)
	}
	return nil
}

// contentType is what a web server says of a file beside a package.
func contentType(name string) string {
	if strings.HasSuffix(name, attest.LogProofSuffix) {
		return "text/plain; charset=utf-8"
	}
	return "application/jsonl"
}
