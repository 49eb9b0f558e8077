package master

import (
	"context"
	"errors"
	"slices"

	"albs/internal/advisory"
	"albs/internal/advisory/page"
	"albs/internal/albs"
	"albs/internal/master/build"
	"albs/internal/master/build/status"
	"albs/internal/master/errata"
	"albs/internal/master/notice"
	"albs/internal/master/platform"
)

// facts tell notices what events don't, in the words of notices, which know none of these
// modules.
type facts struct {
	errata    *errata.Errata
	platforms *platform.Platforms
	builds    *build.Builds
}

// Advisories implements notice.Facts.
func (f facts) Advisories(ctx context.Context, release albs.ReleaseID, yield func(notice.Advisory) error) error {
	shown := map[string]advisory.Distribution{}
	return f.errata.PublishedBy(ctx, release, func(a advisory.Advisory) error {
		d, ok := shown[a.Platform]
		if !ok {
			p, err := f.platforms.Get(ctx, a.Platform)
			if err == nil {
				d, err = errata.Distribution(p)
			}
			if err != nil && !errors.Is(err, albs.NotFound) && !errors.Is(err, albs.Invalid) {
				return err
			}
			shown[a.Platform] = d // empty if the platform has no advisories any more
		}
		out := notice.Advisory{
			ID: a.ID, Platform: a.Platform, Version: a.Version, Type: string(a.Type), Severity: string(a.Severity), Title: a.Title,
			CVEs: []string{}, Issued: a.Issued, Updated: a.Updated, Withdrawn: a.Withdrawn != nil,
		}
		if a.Severity == advisory.None {
			out.Severity = "none"
		}
		for _, c := range a.CVEs {
			out.CVEs = append(out.CVEs, c.ID)
		}
		// Its platform may have its pages elsewhere, and then the advisory says where.
		if i := slices.IndexFunc(a.References, func(r advisory.Reference) bool { return r.Kind == advisory.ToSelf }); i >= 0 {
			out.URL = a.References[i].URL
		} else if d.URL != "" {
			out.URL = page.URL(a, d)
		}
		return yield(out)
	})
}

// Build implements notice.Facts.
func (f facts) Build(ctx context.Context, id albs.BuildID) (notice.Build, error) {
	b, err := f.builds.Brief(ctx, id)
	if err != nil {
		return notice.Build{}, err
	}
	out := notice.Build{Product: b.Product, Platforms: b.Platforms, Packages: b.Packages, State: string(b.Status.State), Reason: b.Status.Reason}
	switch b.Status.State {
	case status.Succeeded, status.Failed, status.Cancelled:
		out.Finished = b.Status.Finished
	}
	return out, nil
}
