package publish

import (
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/advisory/csaf"
	"albs/internal/advisory/erratajson"
	"albs/internal/advisory/osv"
	"albs/internal/advisory/oval"
	"albs/internal/advisory/page"
)

// earlier is a version of an advisory that was published before.
type earlier struct{ updated time.Time }

// form is one of those in which readers have advisories: what each advisory is in it, files
// of its own and a piece of those over all, and the files that pieces make; pack returns a
// file that has these parts as gzipped does. A piece without an id is none.
type form struct {
	name string
	make func(a advisory.Advisory, d advisory.Distribution, before []earlier) ([]advisory.File, advisory.Piece, error)
	join func(d advisory.Distribution, pieces []advisory.Piece, updated time.Time, pack func([][]byte) []byte) ([]advisory.File, error) // nil if there is none over all
}

// forms are all of them but updateinfo, which each repository has of its own. Their paths
// are below the folder of the platform.
var forms = []form{{
	// The advisory itself, whose sha256 the ledger has.
	name: advisories,
	make: func(a advisory.Advisory, _ advisory.Distribution, _ []earlier) ([]advisory.File, advisory.Piece, error) {
		return []advisory.File{{Path: advisories + "/" + fileName(a.ID), Bytes: a.Encode()}}, advisory.Piece{}, nil
	},
}, {
	name: "osv",
	make: func(a advisory.Advisory, d advisory.Distribution, _ []earlier) ([]advisory.File, advisory.Piece, error) {
		return osv.Files(a, d), advisory.Piece{}, nil
	},
}, {
	name: "csaf",
	make: func(a advisory.Advisory, d advisory.Distribution, before []earlier) ([]advisory.File, advisory.Piece, error) {
		var rs []csaf.Revision
		for _, b := range before {
			rs = append(rs, csaf.Revision{At: b.updated})
		}
		return csaf.Write(a, d, rs)
	},
	join: func(d advisory.Distribution, pieces []advisory.Piece, updated time.Time, _ func([][]byte) []byte) ([]advisory.File, error) {
		return csaf.Lists(d, pieces, updated, true)
	},
}, {
	name: "oval",
	make: func(a advisory.Advisory, d advisory.Distribution, _ []earlier) ([]advisory.File, advisory.Piece, error) {
		p, err := oval.Piece(a, d)
		return nil, p, err
	},
	join: func(d advisory.Distribution, pieces []advisory.Piece, updated time.Time, pack func([][]byte) []byte) ([]advisory.File, error) {
		parts, err := oval.Join(d, pieces, updated)
		if err != nil || parts == nil {
			return nil, err
		}
		return []advisory.File{{Path: "oval/" + oval.FileName(d) + ".gz", Bytes: pack(parts)}}, nil
	},
}, {
	name: erratajson.Name,
	make: func(a advisory.Advisory, _ advisory.Distribution, _ []earlier) ([]advisory.File, advisory.Piece, error) {
		return nil, erratajson.Piece(a), nil
	},
	join: func(_ advisory.Distribution, pieces []advisory.Piece, _ time.Time, _ func([][]byte) []byte) ([]advisory.File, error) {
		return []advisory.File{erratajson.Join(pieces)}, nil
	},
}, {
	name: erratajson.FullName,
	make: func(a advisory.Advisory, _ advisory.Distribution, _ []earlier) ([]advisory.File, advisory.Piece, error) {
		return nil, erratajson.FullPiece(a), nil
	},
	join: func(_ advisory.Distribution, pieces []advisory.Piece, _ time.Time, _ func([][]byte) []byte) ([]advisory.File, error) {
		return []advisory.File{erratajson.JoinFull(pieces)}, nil
	},
}, {
	name: "page",
	make: func(a advisory.Advisory, d advisory.Distribution, _ []earlier) ([]advisory.File, advisory.Piece, error) {
		return page.Files(a, d), page.Row(a, d), nil
	},
	join: func(d advisory.Distribution, pieces []advisory.Piece, _ time.Time, _ func([][]byte) []byte) ([]advisory.File, error) {
		return page.Index(pieces, d), nil
	},
}, {
	name: "feed",
	make: func(a advisory.Advisory, d advisory.Distribution, _ []earlier) ([]advisory.File, advisory.Piece, error) {
		return nil, page.Item(a, d), nil
	},
	join: func(d advisory.Distribution, pieces []advisory.Piece, _ time.Time, _ func([][]byte) []byte) ([]advisory.File, error) {
		return []advisory.File{page.Feed(pieces, d)}, nil
	},
}}

// made is raised with every change of what the forms make of the same advisories, so that
// what was kept of the form before isn't taken for that of the new one. TestMade tells when.
const made = 3

// signed reports whether a file of a form has its signature beside it: documents of CSAF
// have (CSAF 2.0 §7.1.20).
func signed(path string) bool {
	rest, ok := strings.CutPrefix(path, csaf.Folder)
	return ok && strings.Count(rest, "/") == 1 && strings.HasSuffix(rest, ".json")
}
