package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/repodata"
)

func treeFile(path, content string) repodata.TreeFile {
	return repodata.TreeFile{Path: path, Digest: digest(content), Size: int64(len(content))}
}

// TestDiffFiles: a part's files come and go with their signatures, and nobody else's.
func TestDiffFiles(t *testing.T) {
	t.Parallel()
	shown := []repodata.TreeFile{
		treeFile("RPM-GPG-KEY-demo", "key"), treeFile("errata-of-old/a", "a"),
		treeFile("errata/el/a.json", "a"), treeFile("errata/el/a.json.asc", "sig a"), treeFile("errata/el/b.json", "b"), treeFile("errata/el/b.json.asc", "sig b"),
		treeFile("errata/el/index", "1"), treeFile("errata/el/unsigned.json", "u"), treeFile("errata/el/gone.json", "g"), treeFile("errata/el/gone.json.asc", "sig g"),
	}
	share := Share{Folders: []string{"errata"}, Files: []File{
		{TreeFile: treeFile("errata/el/a.json", "a"), Sign: true}, {TreeFile: treeFile("errata/el/b.json", "b2"), Sign: true},
		{TreeFile: treeFile("errata/el/unsigned.json", "u"), Sign: true}, {TreeFile: treeFile("errata/el/index", "2")}, {TreeFile: treeFile("errata/el/new", "n")},
	}}
	changes := share.DiffFiles(shown)
	var got []string
	for _, c := range changes {
		line := string(c.Action) + " " + c.Path
		if c.Before != "" {
			line += " before"
		}
		if c.Sign {
			line += " signed"
		}
		got = append(got, line)
	}
	want := []string{
		"add errata/el/b.json before signed", "remove errata/el/gone.json before", "remove errata/el/gone.json.asc before", "add errata/el/index before", "add errata/el/new",
		"add errata/el/unsigned.json before signed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	got = nil
	after := ApplyFiles(shown, changes)
	for _, f := range after {
		got = append(got, f.Path)
	}
	want = []string{"RPM-GPG-KEY-demo", "errata-of-old/a", "errata/el/a.json", "errata/el/a.json.asc", "errata/el/b.json", "errata/el/index", "errata/el/new", "errata/el/unsigned.json"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files afterwards (-want +got):\n%s", diff)
	}
	if cs := DiffTrees(shown, after); len(cs) == 0 || len(ApplyFiles(shown, cs)) != len(after) {
		t.Errorf("from one tree to the other leads %v", cs)
	}
	if cs := DiffTrees(after, after); len(cs) != 0 {
		t.Errorf("from a tree to itself leads %v", cs)
	}
}

// TestParts: what parts have stands in the plan, and is bound to its digest.
func TestParts(t *testing.T) {
	t.Parallel()
	info := repodata.Record{Type: "updateinfo", Name: "updateinfo.xml.gz", Digest: digest("u"), Size: 1}
	comps := repodata.Record{Type: "group", Name: "comps.xml", Digest: digest("c"), Size: 1}
	make := func(change func(*Facts)) Plan {
		f := facts()
		f.Wanted = []Wanted{{Part: "errata", Name: "A-1/el"}}
		f.Shares = []Share{{
			Part: "errata", Items: []Item{{Part: "errata", Name: "A-1/el", Title: "a fix", Version: 1, Digest: digest("A-1"), Missing: []string{"b-1-1.noarch"}, Force: "why"}},
			Folders: []string{"errata"}, Files: []File{{TreeFile: treeFile("errata/el/a.json", "a"), Sign: true}},
			Types: []string{"updateinfo"}, Records: map[string][]repodata.Record{"os/x86_64": {info}}, Notes: []string{"look at this"},
		}}
		f.Records = map[string][]repodata.Record{"os/x86_64": {comps}}
		f.Shown["os/aarch64"] = Shown{Records: []repodata.Record{info}}
		change(&f)
		return Make(f)
	}
	base := make(func(*Facts) {})
	if len(base.Refusals) > 0 || len(base.Items) != 1 || len(base.Wanted) != 1 || len(base.Files) != 1 || len(base.Notes) != 1 || !base.ChangesMetadata() || len(base.Of("other")) != 0 {
		t.Errorf("the plan is %+v", base)
	}
	records := map[string][]string{}
	for _, r := range base.Repositories {
		for _, c := range r.Records {
			records[r.Path] = append(records[r.Path], string(c.Action)+" "+c.Type)
		}
	}
	want := map[string][]string{"os/x86_64": {"add group", "add updateinfo"}, "os/aarch64": {"remove updateinfo"}}
	if diff := cmp.Diff(want, records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	for name, tt := range map[string]struct {
		change func(*Facts)
		same   bool
	}{
		"another title":       {func(f *Facts) { f.Shares[0].Items[0].Title = "x" }, true},
		"something skipped":   {func(f *Facts) { f.Shares[0].Skipped = []Skipped{{"errata", "A-2/el", "it waits"}} }, true},
		"another note":        {func(f *Facts) { f.Shares[0].Notes = nil }, true},
		"another version":     {func(f *Facts) { f.Shares[0].Items[0].Version = 2 }, false},
		"other content":       {func(f *Facts) { f.Shares[0].Items[0].Digest = digest("x") }, false},
		"another name":        {func(f *Facts) { f.Shares[0].Items[0].Name = "A-1/other" }, false},
		"another part":        {func(f *Facts) { f.Shares[0].Items[0].Part = "other" }, false},
		"a withdrawal":        {func(f *Facts) { f.Shares[0].Items[0].Withdraws = true }, false},
		"another reason":      {func(f *Facts) { f.Shares[0].Items[0].Force = "x" }, false},
		"less is missing":     {func(f *Facts) { f.Shares[0].Items[0].Missing = nil }, false},
		"no items":            {func(f *Facts) { f.Shares[0].Items = nil }, false},
		"another file":        {func(f *Facts) { f.Shares[0].Files[0].Digest = digest("x") }, false},
		"a file elsewhere":    {func(f *Facts) { f.Shares[0].Files[0].Path += "x" }, false},
		"an unsigned file":    {func(f *Facts) { f.Shares[0].Files[0].Sign = false }, false},
		"a file of that size": {func(f *Facts) { f.Shares[0].Files[0].Size++ }, false},
		"in place of another": {func(f *Facts) { f.Tree.Files = []repodata.TreeFile{treeFile("errata/el/a.json", "x")} }, false},
		"a file that goes":    {func(f *Facts) { f.Tree.Files = []repodata.TreeFile{treeFile("errata/el/b.json", "x")} }, false},
		"another's file":      {func(f *Facts) { f.Tree.Files = []repodata.TreeFile{treeFile("b.json", "x")} }, true},
		"another record":      {func(f *Facts) { f.Shares[0].Records["os/x86_64"][0].Digest = digest("x") }, false},
	} {
		if got := make(tt.change); (got.Digest() == base.Digest()) != tt.same {
			t.Errorf("%s: equal digest = %v, want %v", name, !tt.same, tt.same)
		}
	}
	refused := make(func(f *Facts) { f.Shares[0].Refusals = []Refusal{{Package: "A-1/el", Reason: "b is missing"}} })
	if len(refused.Refusals) != 1 || !strings.Contains(refused.Refusals[0].String(), "A-1/el: b") {
		t.Errorf("refusals are %v", refused.Refusals)
	}
	nothing := make(func(f *Facts) {
		f.Shares, f.Records, f.Shown = []Share{{Part: "errata"}}, nil, map[string]Shown{"os/x86_64": {Records: nil}}
	})
	if nothing.ChangesMetadata() || len(nothing.Refusals) != 1 {
		t.Errorf("of nothing comes %+v", nothing)
	}
}
