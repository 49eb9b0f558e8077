package plan

import (
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/repodata"
)

// RecordChange is one record of a plan in one repository: a file of metadata that is not
// told package by package.
type RecordChange struct {
	Action Action `json:"action"` // Add, also in place of another of its type, or Remove
	repodata.Record
	// Before is what is shown of the type now.
	Before albs.Digest `json:"before,omitempty"`
}

// DiffRecords returns what turns the records of one snapshot into those of another, by
// type.
func DiffRecords(before, after []repodata.Record) []RecordChange {
	var out []RecordChange
	for _, d := range repodata.DiffRecords(before, after) {
		c := RecordChange{Action: Add, Record: d.To, Before: d.From.Digest}
		if c.Type == "" {
			c.Action, c.Record = Remove, d.From
		}
		out = append(out, c)
	}
	return out
}

// ApplyRecords returns the records that a snapshot has after the changes, by type. It is
// never nil.
func ApplyRecords(before []repodata.Record, changes []RecordChange) []repodata.Record {
	out := slices.DeleteFunc(append([]repodata.Record{}, before...), func(r repodata.Record) bool {
		return slices.ContainsFunc(changes, func(c RecordChange) bool { return c.Type == r.Type })
	})
	for _, c := range changes {
		if c.Action == Add {
			out = append(out, c.Record)
		}
	}
	slices.SortFunc(out, func(a, b repodata.Record) int { return strings.Compare(a.Type, b.Type) })
	return out
}

// ChangesMetadata reports whether the plan changes what is not told package by package:
// of a repository that is shown its records, or how its metadata is compressed; or files of
// the tree.
func (p Plan) ChangesMetadata() bool {
	return len(p.Items) > 0 || len(p.Files) > 0 || slices.ContainsFunc(p.Repositories, func(r Repository) bool {
		return len(r.Records) > 0 || r.Metadata != "" && !r.New
	})
}
