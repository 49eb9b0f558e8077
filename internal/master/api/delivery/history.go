package delivery

import (
	"context"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/repo/history"
	"albs/internal/repodata"
)

func (s *Resources) routeHistory() {
	rest.Handle(s.Server, rest.Slow(rest.Operation(rest.Get, "/api/v1/repositories/show", "Show what a product's repository holds, or held at a serial or a time")), s.showRepository)
	rest.Handle(s.Server, rest.Slow(rest.Operation(rest.Get, "/api/v1/repositories/diff", "Show what changed from one repository to another, or from one moment to another of one")), s.diffRepositories)
}

// ShownView is a repository as a product showed it.
type ShownView struct {
	Product    string      `json:"product"`
	Repository string      `json:"repository" doc:"The repository's path in the product"`
	Serial     int64       `json:"serial"`
	Since      time.Time   `json:"since" doc:"When the serial was shown first"`
	Snapshot   albs.Digest `json:"snapshot"`
}

func viewShown(s history.Shown) ShownView {
	return ShownView{Product: s.Product, Repository: s.Path, Serial: s.Serial, Since: s.Since, Snapshot: s.Snapshot}
}

// HeldView is a repository with what it held.
type HeldView struct {
	ShownView
	Packages []HeldPackage     `json:"packages" doc:"By path"`
	Records  []repodata.Record `json:"records" doc:"Metadata files beside those of the packages"`
}

// HeldPackage is one package of a repository.
type HeldPackage struct {
	NEVRA  string      `json:"nevra"`
	Path   string      `json:"path"`
	SHA256 albs.Digest `json:"sha256"`
	Size   int64       `json:"size"`
}

type showInput struct {
	Repository string `query:"repository" required:"true" maxLength:"400" doc:"PRODUCT/PATH, and perhaps @SERIAL or @TIME behind it"`
}

func (s *Resources) showRepository(ctx context.Context, in *showInput) (*rest.Body[HeldView], error) {
	h, err := s.History.Show(ctx, in.Repository)
	if err != nil {
		return nil, err
	}
	out := HeldView{ShownView: viewShown(h), Records: append([]repodata.Record{}, h.Records...)}
	out.Packages = viewed(h.Packages, func(e repodata.Entry) HeldPackage {
		return HeldPackage{NEVRA: e.NEVRA.String(), Path: e.Path, SHA256: e.Digest, Size: e.Size}
	})
	return rest.Answer(out), nil
}

// DiffView is what changed between two repositories, or two moments of one.
type DiffView struct {
	From     ShownView              `json:"from"`
	To       ShownView              `json:"to"`
	Packages []history.Change       `json:"packages" doc:"By name, arch and version; of what both have, nothing"`
	Records  []history.RecordChange `json:"records"`
}

type diffInput struct {
	From string `query:"from" required:"true" maxLength:"400" doc:"PRODUCT/PATH, and perhaps @SERIAL or @TIME behind it"`
	To   string `query:"to" required:"true" maxLength:"400" doc:"The same"`
}

func (s *Resources) diffRepositories(ctx context.Context, in *diffInput) (*rest.Body[DiffView], error) {
	d, err := s.History.Diff(ctx, in.From, in.To)
	if err != nil {
		return nil, err
	}
	return rest.Answer(DiffView{
		From: viewShown(d.From), To: viewShown(d.To), Packages: append([]history.Change{}, d.Packages...), Records: append([]history.RecordChange{}, d.Records...),
	}), nil
}
