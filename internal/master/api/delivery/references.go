package delivery

import (
	"context"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/platform/reference"
)

func (s *Resources) routeReferences() {
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/platforms/{name}/references/", "List a platform's references, and what is known of each"), s.references(s.References.States))
	op := rest.Operation(rest.Post, "/api/v1/platforms/{name}/references/refresh", "Read a platform's references anew, those that have changed")
	rest.Handle(s.Server, rest.Slow(op), s.references(s.References.Refresh))
}

// ReferenceView is a repository by which packages find their place.
type ReferenceView struct {
	Place    string      `json:"place"`
	Arch     albs.Arch   `json:"arch"`
	URL      string      `json:"url"`
	Priority int         `json:"priority"`
	Repomd   albs.Digest `json:"repomd,omitempty" doc:"Names what is listed, by the repository's repomd.xml"`
	Packages int         `json:"packages" doc:"How many are listed"`
	Listed   *time.Time  `json:"listed_at" doc:"When they were"`
	Looked   *time.Time  `json:"looked_at" doc:"When the repository was last asked"`
	Failure  string      `json:"failure" doc:"Why that came to nothing; empty if it didn't"`
}

func viewReference(s reference.State) ReferenceView {
	return ReferenceView{
		Place: s.Place, Arch: s.Arch, URL: s.URL, Priority: s.Priority, Repomd: s.Repomd, Packages: s.Packages,
		Listed: rest.TimeOf(s.Listed), Looked: rest.TimeOf(s.Looked), Failure: s.Failure,
	}
}

func (s *Resources) references(of func(context.Context, string) ([]reference.State, error)) func(context.Context, *nameInput) (*rest.Body[[]ReferenceView], error) {
	return func(ctx context.Context, in *nameInput) (*rest.Body[[]ReferenceView], error) {
		p, err := named(ctx, s.Platforms, in.Name)
		if err != nil {
			return nil, err
		}
		states, err := of(ctx, p.Name)
		if err != nil {
			return nil, err
		}
		return rest.Answer(viewed(states, viewReference)), nil
	}
}
