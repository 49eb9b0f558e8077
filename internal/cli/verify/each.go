package verify

import "golang.org/x/sync/errgroup"

// each calls f for 0 to n-1, so many jobs at a time.
func each(jobs, n int, f func(i int)) {
	var g errgroup.Group
	g.SetLimit(jobs)
	for i := range n {
		g.Go(func() error { f(i); return nil })
	}
	_ = g.Wait() // none has an error
}
