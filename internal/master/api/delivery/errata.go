package delivery

import (
	"context"

	"albs/internal/master/api/rest"
	"albs/internal/master/errata"
	"albs/internal/master/errata/monitor"
	"albs/internal/master/errata/publish"
	"albs/internal/master/release"
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

// waiting returns all advisories of a platform of which a release would publish something and
// which none has in progress, each to be left out where something speaks against it.
func (s *Resources) waiting(ctx context.Context, platform string) ([]plan.Wanted, error) {
	if _, err := s.Platforms.Get(ctx, platform); err != nil {
		return nil, err
	}
	var out []plan.Wanted
	var last errata.Key
	for len(out) < release.MaxWanted {
		page, err := s.Errata.Unreleased(ctx, platform, last, errata.MaxPage)
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			last = r.Key
			if r.State == errata.InProgress {
				continue // the release that has it would keep this one from being published
			}
			out = append(out, plan.Wanted{Part: publish.Name, Name: r.Key.String(), Optional: true})
		}
		if len(page) < errata.MaxPage {
			break
		}
	}
	return out[:min(len(out), release.MaxWanted)], nil
}
