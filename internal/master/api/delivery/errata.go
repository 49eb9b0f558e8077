package delivery

import (
	"context"

	"albs/internal/master/api/rest"
	"albs/internal/master/errata"
	"albs/internal/master/errata/matching"
	"albs/internal/master/errata/monitor"
	"albs/internal/master/errata/publish"
	"albs/internal/master/release/plan"
)

func (s *Resources) routeErrataCheck() {
	const path = "/api/v1/products/{name}/errata-check/"
	rest.Handle(s.Server, rest.Operation(rest.Get, path, "Tell what the public sees otherwise than a product's advisories say, as found last"), s.checked)
	op := rest.Operation(rest.Post, path, "Read back now what the public sees of a product's advisories")
	rest.Handle(s.Server, rest.Slow(op), s.check)
}

func (s *Resources) checked(ctx context.Context, in *nameInput) (*rest.Body[monitor.Result], error) {
	r, err := s.Monitor.Last(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	return rest.Answer(r), nil
}

func (s *Resources) check(ctx context.Context, in *nameInput) (*rest.Body[monitor.Result], error) {
	r, err := s.Monitor.Check(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	return rest.Answer(r), nil
}

// waiting returns the advisories of a platform of which a release would publish something and
// which none has in progress, n at most, each to be left out where something speaks against it.
// Those that are ready come first: others may have to wait for long, and there may be more of
// them than that.
func (s *Resources) waiting(ctx context.Context, platform string, n int) ([]plan.Wanted, error) {
	if _, err := s.Platforms.Get(ctx, platform); err != nil {
		return nil, err
	}
	var out []plan.Wanted
	seen := map[errata.Key]bool{}
	add := func(r errata.Record) {
		// The release that has one in progress would keep this one from being published.
		if !seen[r.Key] && len(out) < n && r.State != errata.InProgress {
			out = append(out, plan.Wanted{Part: publish.Name, Name: r.Key.String(), Optional: true})
		}
		seen[r.Key] = true
	}
	ready := matching.Filter{Platform: platform, Stage: matching.Ready}
	for more := true; more && len(out) < n; {
		var page []matching.Standing
		var err error
		if page, more, err = s.Matching.Queue(ctx, ready); err != nil {
			return nil, err
		}
		for _, st := range page {
			ready.After = st.Key
			r, err := s.Errata.Get(ctx, st.Key)
			if err != nil {
				return nil, err
			}
			add(r)
		}
	}
	for last, more := (errata.Key{}), true; more && len(out) < n; {
		page, err := s.Errata.Unreleased(ctx, platform, last, errata.MaxPage)
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			last = r.Key
			add(r)
		}
		more = len(page) == errata.MaxPage
	}
	return out, nil
}
