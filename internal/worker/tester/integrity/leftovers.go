package integrity

import (
	"context"
	"strings"

	"albs/internal/rpm"
	"albs/internal/sandbox/examine"
)

// Left returns the paths of a package at which something lies in the root: after its
// removal, nothing should that wasn't there before. Folders of configuration and of data
// don't count: what people changed and made stays there. Errors are the View's.
func Left(ctx context.Context, p *rpm.Package, v View) ([]string, error) {
	var paths []string
	for _, f := range p.Files {
		if !leftOut(f.Path) {
			paths = append(paths, f.Path)
		}
	}
	return where(ctx, paths, v, func(e examine.Entry) bool {
		return e.Kind != examine.Absent && (e.Kind != examine.Dir || !strings.HasPrefix(e.Path, "/etc/") && !strings.HasPrefix(e.Path, "/var/"))
	})
}

// Without returns those of the paths at which nothing lies in the root. Errors are the
// View's.
func Without(ctx context.Context, paths []string, v View) ([]string, error) {
	return where(ctx, paths, v, func(e examine.Entry) bool { return e.Kind == examine.Absent })
}

// where returns those of the paths of which holds what is asked.
func where(ctx context.Context, paths []string, v View, holds func(examine.Entry) bool) ([]string, error) {
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
		if holds(e) {
			out = append(out, e.Path)
		}
	}
	return out, nil
}
