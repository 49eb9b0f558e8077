package plan

import (
	"cmp"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/repodata"
)

// Diff returns what turns the packages of one snapshot into those of another, by
// file name.
func Diff(before, after []repodata.Entry) []Change {
	held := func(es []repodata.Entry) map[string]repodata.Entry {
		m := make(map[string]repodata.Entry, len(es))
		for _, e := range es {
			m[e.Path] = e
		}
		return m
	}
	was, is := held(before), held(after)
	var out []Change
	for _, side := range []struct {
		action     Action
		of, beside map[string]repodata.Entry
	}{{Remove, was, is}, {Add, is, was}} {
		for path, e := range side.of {
			if side.beside[path].Digest != e.Digest {
				out = append(out, Change{Action: side.action, NEVRA: e.NEVRA.String(), File: path[strings.LastIndexByte(path, '/')+1:], Digest: e.Digest, Size: e.Size})
			}
		}
	}
	slices.SortFunc(out, func(a, b Change) int {
		return cmp.Or(strings.Compare(a.File, b.File), strings.Compare(string(a.Action), string(b.Action)))
	})
	return out
}

// Made is one publication of a product, as far as Included needs it.
type Made struct {
	ID     albs.ReleaseID
	Serial int64 // under which it was shown
	From   int64 // the serial before
	BackTo int64 // of a rollback: the serial whose content it brought back; else 0
}

// Included returns the releases whose packages the tree of a serial holds.
func Included(all []Made, serial int64) map[albs.ReleaseID]bool {
	bySerial := make(map[int64]Made, len(all))
	for _, m := range all {
		bySerial[m.Serial] = m
	}
	in := map[albs.ReleaseID]bool{}
	for serial > 0 {
		m, ok := bySerial[serial]
		switch {
		case !ok || m.From >= serial || m.BackTo >= serial: // no such history can be
			return in
		case m.BackTo > 0:
			serial = m.BackTo
		default:
			in[m.ID] = true
			serial = m.From
		}
	}
	return in
}
