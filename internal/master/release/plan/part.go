package plan

import (
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/repodata"
)

// Wanted is something that a release is asked to make public beside packages.
type Wanted struct {
	// Part is the module that knows it, by its name: "errata".
	Part string `json:"part"`
	// Name is how that module names it.
	Name string `json:"name"`
	// Force is the reason to release it though something of it is missing; "" is not to.
	Force string `json:"force,omitempty"`
	// Optional is to leave it out where something speaks against it, and not to refuse the
	// plan for that.
	Optional bool `json:"optional,omitempty"`
}

// Skipped is something optional that was left out.
type Skipped struct {
	Part   string `json:"part"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Item is what a part makes of something wanted: exactly what becomes public.
type Item struct {
	Part    string      `json:"part"`
	Name    string      `json:"name"`
	Title   string      `json:"title,omitempty"` // for people
	Version int         `json:"version"`
	Digest  albs.Digest `json:"digest"` // of the whole item in its part's own form
	// Content is what the part had of it when it made the item, as the part counts: with
	// other contents the publication doesn't begin.
	Content int64 `json:"content,omitempty"`
	// Withdraws says that it is made public as taken back.
	Withdraws bool `json:"withdraws,omitempty"`
	// Force is why it is released without Missing, which it should have.
	Force   string   `json:"force,omitempty"`
	Missing []string `json:"missing,omitempty"`
}

// File is a file that a tree is to show beside its repositories.
type File struct {
	repodata.TreeFile
	// Sign says that its detached signature, by the plan's key, lies beside it: under the
	// same path with .asc at the end.
	Sign bool `json:"sign,omitempty"`
}

// FileChange is one file of the tree that is added, also in place of another, or removed.
type FileChange struct {
	Action Action `json:"action"`
	File
	// Before is what is shown under the path now.
	Before albs.Digest `json:"before,omitempty"`
}

// signature is what the path of a signature has more than that of what is signed.
const signature = ".asc"

// Share is what one part has in a release: all that it shows once the release is public,
// and not only what changes.
type Share struct {
	Part  string
	Items []Item // of what is wanted
	// Folders are those below which the tree has the part's files and nobody else's; "" is
	// the tree itself.
	Folders []string
	Files   []File
	// Types are the records that repositories have of the part and of nobody else, and
	// Records what they are to have, by path.
	Types    []string
	Records  map[string][]repodata.Record
	Refusals []Refusal
	Skipped  []Skipped
	Notes    []string
}

// owns reports whether a file of the tree is the share's part's.
func (s Share) owns(path string) bool {
	return slices.ContainsFunc(s.Folders, func(dir string) bool { return dir == "" || strings.HasPrefix(path, dir+"/") })
}

// DiffFiles returns what turns the files that a tree shows into those of a share, by path.
// Of what isn't the part's nothing is said, nor of signatures: they follow their files.
func (s Share) DiffFiles(shown []repodata.TreeFile) []FileChange {
	is := make(map[string]repodata.TreeFile, len(shown))
	for _, f := range shown {
		is[f.Path] = f
	}
	var out []FileChange
	wanted := make(map[string]bool, len(s.Files))
	for _, f := range s.Files {
		wanted[f.Path] = true
		was, there := is[f.Path]
		if f.Sign {
			wanted[f.Path+signature] = true
			_, signed := is[f.Path+signature]
			there = there && signed
		}
		if !there || was.Digest != f.Digest {
			out = append(out, FileChange{Action: Add, File: f, Before: was.Digest})
		}
	}
	for _, f := range shown {
		if s.owns(f.Path) && !wanted[f.Path] {
			out = append(out, FileChange{Action: Remove, File: File{TreeFile: f}, Before: f.Digest})
		}
	}
	slices.SortFunc(out, func(a, b FileChange) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// DiffTrees returns what turns the files of one tree into those of another, by path.
func DiffTrees(before, after []repodata.TreeFile) []FileChange {
	all := Share{Folders: []string{""}}
	for _, f := range after {
		all.Files = append(all.Files, File{TreeFile: f})
	}
	return all.DiffFiles(before)
}

// ApplyFiles returns the files that a tree shows after the changes, by path, but for the
// signatures that are yet to be made.
func ApplyFiles(shown []repodata.TreeFile, changes []FileChange) []repodata.TreeFile {
	goes := make(map[string]bool, len(changes))
	for _, c := range changes {
		goes[c.Path] = true
		if c.Sign {
			goes[c.Path+signature] = true
		}
	}
	out := slices.DeleteFunc(slices.Clone(shown), func(f repodata.TreeFile) bool { return goes[f.Path] })
	for _, c := range changes {
		if c.Action == Add {
			out = append(out, c.TreeFile)
		}
	}
	slices.SortFunc(out, func(a, b repodata.TreeFile) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// Signature returns where the signature of a file of the tree lies.
func (f File) Signature() string { return f.Path + signature }

// records returns those that a repository is to have: what people gave, and the parts'.
func (m *maker) records(path string) []repodata.Record {
	out := slices.Clone(m.facts.Records[path])
	for _, s := range m.facts.Shares {
		out = slices.DeleteFunc(out, func(r repodata.Record) bool { return slices.Contains(s.Types, r.Type) })
		out = append(out, s.Records[path]...)
	}
	return out
}

// parts takes over what the parts have in the plan.
func (m *maker) parts() (changes int) {
	for _, s := range m.facts.Shares {
		m.plan.Items = append(m.plan.Items, s.Items...)
		m.plan.Files = append(m.plan.Files, s.DiffFiles(m.facts.Tree.Files)...)
		for _, r := range s.Refusals {
			m.refuse(r)
		}
		m.plan.Skipped = append(m.plan.Skipped, s.Skipped...)
		m.plan.Notes = append(m.plan.Notes, s.Notes...)
	}
	slices.SortFunc(m.plan.Items, func(a, b Item) int {
		return strings.Compare(a.Part+" "+a.Name, b.Part+" "+b.Name)
	})
	slices.SortFunc(m.plan.Files, func(a, b FileChange) int { return strings.Compare(a.Path, b.Path) })
	return len(m.plan.Items) + len(m.plan.Files)
}

// Of returns the plan's items of a part.
func (p Plan) Of(part string) []Item {
	return slices.DeleteFunc(slices.Clone(p.Items), func(i Item) bool { return i.Part != part })
}
