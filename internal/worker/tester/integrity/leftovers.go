package integrity

import (
	"context"

	"albs/internal/rpm"
	"albs/internal/sandbox/examine"
)

// Left returns the paths of a package at which something lies in the root: after its
// removal, nothing should that wasn't there before. Errors are the View's.
func Left(ctx context.Context, p *rpm.Package, v View) ([]string, error) {
	var paths []string
	for _, f := range p.Files {
		if !leftOut(f.Path) {
			paths = append(paths, f.Path)
		}
	}
	return where(ctx, paths, v, true)
}

// Without returns those of the paths at which nothing lies in the root. Errors are the
// View's.
func Without(ctx context.Context, paths []string, v View) ([]string, error) {
	return where(ctx, paths, v, false)
}

func where(ctx context.Context, paths []string, v View, something bool) ([]string, error) {
	asks := make([]examine.Ask, len(paths))
	for i, p := range paths {
		asks[i].Path = p
	}
	entries, err := v.Examine(ctx, asks)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if (e.Kind != examine.Absent) == something {
			out = append(out, e.Path)
		}
	}
	return out, nil
}
