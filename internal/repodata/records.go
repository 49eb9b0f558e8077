package repodata

import (
	"maps"
	"regexp"
	"slices"

	"albs/internal/albs"
)

// Record is a file of metadata that is not told package by package: comps, modules,
// advisories and whatever else has a type in repomd.xml. What is in it is its giver's
// matter; package record checks the kinds that people give.
type Record struct {
	// Type is what repomd.xml calls it: "group", "modules", "updateinfo" or another.
	Type string `json:"type"`
	// Name is the last part of its file name, as "comps.xml.gz"; the digest stands
	// before it.
	Name   string      `json:"name"`
	Digest albs.Digest `json:"digest"`
	Size   int64       `json:"size"`
	// OpenDigest and OpenSize are those of the file uncompressed, where it is compressed.
	OpenDigest albs.Digest `json:"open_digest,omitempty"`
	OpenSize   int64       `json:"open_size,omitempty"`
}

const maxRecords = 64

var (
	recordType = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`)
	recordName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,79}$`)
)

// path returns where the record lies in its repository.
func (r Record) path() string { return "repodata/" + string(r.Digest) + "-" + r.Name }

// RecordChange is what two snapshots have of one type of record, where that isn't the same;
// the zero Record where one of them has none.
type RecordChange struct{ From, To Record }

// DiffRecords returns what turns the records of one snapshot into those of another, by
// type. Of either, each type is there once.
func DiffRecords(from, to []Record) []RecordChange {
	of := make(map[string]RecordChange, len(from)+len(to))
	for _, r := range from {
		of[r.Type] = RecordChange{From: r}
	}
	for _, r := range to {
		of[r.Type] = RecordChange{From: of[r.Type].From, To: r}
	}
	var out []RecordChange
	for _, typ := range slices.Sorted(maps.Keys(of)) {
		if c := of[typ]; c.From != c.To {
			out = append(out, c)
		}
	}
	return out
}

// checkRecords gives an Invalid error unless the records are of one type each, none of
// them one of those that are written package by package, and in the order of their types.
func checkRecords(records []Record) error {
	if len(records) > maxRecords {
		return albs.Errorf(albs.Invalid, "a repository has at most %d records, and these are %d", maxRecords, len(records))
	}
	for i, r := range records {
		switch {
		case !recordType.MatchString(r.Type) || slices.Contains(kindNames[:], r.Type):
			return albs.Errorf(albs.Invalid, "%.60q can't be the type of a record", r.Type)
		case i > 0 && records[i-1].Type >= r.Type:
			return albs.Errorf(albs.Invalid, "the record %s is there twice or out of order", r.Type)
		case !recordName.MatchString(r.Name):
			return albs.Errorf(albs.Invalid, "%.100q can't be the file name of a record", r.Name)
		case !r.Digest.Valid() || r.Size <= 0 || r.Size > maxFileBytes:
			return albs.Errorf(albs.Invalid, "the record %s has no digest or size", r.Type)
		case (r.OpenDigest == "") != (r.OpenSize == 0) || r.OpenDigest != "" && !r.OpenDigest.Valid() || r.OpenSize < 0:
			return albs.Errorf(albs.Invalid, "the record %s has no digest or size of what it is uncompressed", r.Type)
		}
	}
	return nil
}
