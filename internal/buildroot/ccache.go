package buildroot

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"albs/internal/sandbox"
	"albs/internal/sandbox/ccache"
)

// CCache is a compiler cache in the record.
type CCache struct {
	Owner string `json:"owner"` // only whose builds share it
	Size  int64  `json:"size"`  // bytes that it keeps
	// Hits and Misses are how many compilations it spared and how many it didn't, those of
	// builds that used it at the same time among them; none of either is known where
	// ccache doesn't tell.
	Hits   int64 `json:"hits"`
	Misses int64 `json:"misses"`
}

// useCache opens the compiler cache for all that is run from here on, where the root has
// one, and returns its counts.
func (w *work) useCache(ctx context.Context, owner string) (before CCache, err error) {
	if !w.spec.CCache {
		return CCache{}, nil
	}
	err = w.step("ccache", func() error {
		w.cache, err = w.sandbox.CCache(ctx, owner, w.spec)
		return err
	})
	if err != nil {
		return CCache{}, err
	}
	w.record.CCache = &CCache{Owner: w.cache.Owner, Size: w.cache.Size}
	w.record.Environment = w.cache.Environment(w.record.Environment)
	return w.cacheCounts(ctx), nil
}

// countCache records what the cache was good for since before, unless the work was ended.
func (w *work) countCache(ctx context.Context, before CCache) {
	if w.cache == nil || ctx.Err() != nil {
		return
	}
	now := w.cacheCounts(ctx)
	w.record.CCache.Hits, w.record.CCache.Misses = max(now.Hits-before.Hits, 0), max(now.Misses-before.Misses, 0)
	fmt.Fprintf(w.logs.State, "ccache of %s: %d hits, %d misses\n", w.record.CCache.Owner, w.record.CCache.Hits, w.record.CCache.Misses)
}

// cacheCounts asks ccache for its counts. That they can't be had is no fault of the
// package's, and told in a log.
func (w *work) cacheCounts(ctx context.Context) CCache {
	var said bytes.Buffer
	exit, err := w.exec(ctx, sandbox.Cmd{
		Argv: []string{"ccache", "--print-stats"}, Stdout: &said, Stderr: w.logs.Root, Cache: w.cache,
		Limits: sandbox.Limits{Time: time.Minute, Output: 1 << 20},
	})
	if err == nil && exit != 0 {
		err = fmt.Errorf("it ended with code %d", exit)
	}
	if err != nil {
		fmt.Fprintf(w.logs.Root, "ccache doesn't tell its counts: %v\n", err)
		return CCache{}
	}
	return parseCacheCounts(said.String())
}

// parseCacheCounts reads what ccache --print-stats prints, "NAME\tNUMBER" a line.
func parseCacheCounts(text string) (c CCache) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "\t")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			continue
		}
		switch name {
		case "direct_cache_hit", "preprocessed_cache_hit":
			c.Hits += n
		case "cache_miss":
			c.Misses += n
		}
	}
	return c
}

// closeCache lets go of a cache, if there is one. What can't be done is done by who uses
// it next.
func closeCache(c *ccache.Cache, logs Logs) {
	if c == nil {
		return
	}
	if err := c.Close(context.Background()); err != nil {
		fmt.Fprintf(logs.State, "%v\n", err)
	}
}
