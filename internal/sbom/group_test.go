package sbom

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/rpm"
	"albs/internal/rpm/depend"
)

// part reads "NEVRA [modular] [src SOURCE] provides … requires … files …", with commas in
// the lists. A package provides itself.
func part(t *testing.T, s string) Part {
	t.Helper()
	words := strings.Fields(s)
	n, err := rpm.ParseNEVRA(words[0])
	if err != nil {
		t.Fatal(err)
	}
	p := Part{Ref: n.String(), NEVRA: n, Provides: []depend.Capability{{Name: n.Name, Op: rpm.Equal, EVR: n.EVR()}}}
	for i := 1; i < len(words); i++ {
		if words[i] == "modular" {
			p.Modular = true
			continue
		}
		list := strings.Split(words[i+1], ",")
		switch words[i] {
		case "src":
			p.SourceRPM = words[i+1]
		case "provides":
			for _, c := range list {
				p.Provides = append(p.Provides, depend.Capability{Name: c})
			}
		case "requires":
			for _, c := range list {
				p.Requires = append(p.Requires, depend.Capability{Name: strings.ReplaceAll(c, "_", " ")})
			}
		case "files":
			p.Files = list
		}
		i++
	}
	return p
}

// TestResolve: the first of the parts needs this.
func TestResolve(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		parts   []string
		beneath string
		want    string // "!" before it tells that something isn't met
	}{
		"nothing":                     {parts: []string{"a-1-1.x86_64"}},
		"another":                     {parts: []string{"a-1-1.x86_64 requires x,y", "b-1-1.x86_64 provides x", "c-1-1.x86_64 provides y"}, want: "b-1-1.x86_64 c-1-1.x86_64"},
		"a file":                      {parts: []string{"a-1-1.x86_64 requires /usr/bin/b", "b-1-1.x86_64 files /usr/bin/b"}, want: "b-1-1.x86_64"},
		"itself":                      {parts: []string{"a-1-1.x86_64 provides x requires x,/f files /f", "b-1-1.x86_64 provides x"}},
		"the distribution":            {parts: []string{"a-1-1.x86_64 requires libc,libm"}, beneath: "libc,libm", want: "system"},
		"the set before the system":   {parts: []string{"a-1-1.x86_64 requires x", "b-1-1.x86_64 provides x"}, beneath: "x", want: "b-1-1.x86_64"},
		"nobody":                      {parts: []string{"a-1-1.x86_64 requires x,y", "b-1-1.x86_64 provides x"}, want: "! b-1-1.x86_64"},
		"one of the same source":      {parts: []string{"a-1-1.x86_64 src s requires x", "aa-1-1.x86_64 provides x", "long-1-1.x86_64 src s provides x"}, want: "long-1-1.x86_64"},
		"one of the same arch":        {parts: []string{"a-1-1.x86_64 requires x", "b-1-1.i686 provides x", "longer-1-1.x86_64 provides x"}, want: "longer-1-1.x86_64"},
		"the shortest name":           {parts: []string{"a-1-1.x86_64 requires x", "bbb-1-1.x86_64 provides x", "cc-1-1.x86_64 provides x"}, want: "cc-1-1.x86_64"},
		"the first name":              {parts: []string{"a-1-1.x86_64 requires x", "cc-1-1.x86_64 provides x", "bb-1-1.x86_64 provides x"}, want: "bb-1-1.x86_64"},
		"the newest":                  {parts: []string{"a-1-1.x86_64 requires b", "b-2-1.x86_64", "b-10-1.x86_64", "b-9-1.x86_64"}, want: "b-10-1.x86_64"},
		"what only an older one has":  {parts: []string{"a-1-1.x86_64 requires x", "b-1-1.x86_64 provides x", "b-2-1.x86_64"}, want: "!"},
		"of modules any":              {parts: []string{"a-1-1.x86_64 requires x", "b-1-1.x86_64 modular provides x", "b-2-1.x86_64 modular"}, want: "b-1-1.x86_64"},
		"both of an and":              {parts: []string{"a-1-1.x86_64 requires (b_and_c)", "b-1-1.x86_64", "c-1-1.x86_64"}, want: "b-1-1.x86_64 c-1-1.x86_64"},
		"the first of an or":          {parts: []string{"a-1-1.x86_64 requires (c_or_b)", "b-1-1.x86_64", "c-1-1.x86_64"}, want: "c-1-1.x86_64"},
		"nothing without a condition": {parts: []string{"a-1-1.x86_64 requires (b_if_c)", "b-1-1.x86_64"}},
		"an older copy needs nothing of the newer": {parts: []string{"a-1-1.x86_64 provides x requires x", "a-2-1.x86_64 provides x"}},
		"no source package":                        {parts: []string{"a-1-1.x86_64 requires x", "b-1-1.src provides x"}, want: "!"},
	} {
		var parts []Part
		for _, s := range tt.parts {
			parts = append(parts, part(t, s))
		}
		var beneath []depend.Capability
		for c := range strings.SplitSeq(tt.beneath, ",") {
			beneath = append(beneath, depend.Capability{Name: c})
		}
		first := parts[0].Ref
		for range 2 {
			n := Resolve(parts, beneath, "system")[first]
			got := strings.Join(n.Refs, " ")
			if !n.All {
				got = strings.TrimSpace("! " + got)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			slices.Reverse(parts) // the order makes no difference
		}
	}
	if _, ok := Resolve([]Part{part(t, "a-1-1.src requires make")}, nil, "system")["a-1-1.src"]; ok {
		t.Error("what is needed to build a source package is no need of it")
	}
	if n := Resolve([]Part{part(t, "a-1-1.noarch requires x")}, []depend.Capability{{Name: "x"}}, ""); !n["a-1-1.noarch"].All || n["a-1-1.noarch"].Refs != nil {
		t.Errorf("beneath is a system without a name, and it needs %+v", n)
	}
}

// TestWorlds: a package of two worlds needs what it needs in either, and is resolved if it
// is in both.
func TestWorlds(t *testing.T) {
	t.Parallel()
	other := Distribution{ID: "other", Version: "1"}
	g := NewGroup()
	p := &rpm.Package{NEVRA: rpm.NEVRA{Name: "a", Version: "1", Release: "1", Arch: "noarch"}, SourceRPM: "a-1-1.src.rpm", Requires: []rpm.Dependency{dep("x", "")}}
	g.Add(p, File{SHA256: digest("a")}, alma)
	if g.Add(p, File{SHA256: digest("a")}, other); len(g.members) != 1 || !g.Has(digest("a")) || g.Has(digest("b")) {
		t.Errorf("the group has %d packages", len(g.members))
	}
	member := []albs.Digest{digest("a"), digest("unknown")}
	x := Part{Ref: RefOf(digest("x")), NEVRA: rpm.NEVRA{Name: "x", Version: "1", Release: "1", Arch: "x86_64"}, Provides: []depend.Capability{{Name: "x"}}}
	g.Resolve([]World{
		{Distribution: alma, Members: member, Others: []Part{x}},
		{Distribution: other, Members: member, Beneath: []depend.Capability{{Name: "x"}}},
	})
	b, err := g.Of(digest("a"), Bill{Supplier: us})
	if err != nil {
		t.Fatal(err)
	}
	want := sorted([]string{RefOf(digest("x")), other.Ref(), alma.Ref()})
	if diff := cmp.Diff(want, b.Root.Needs); diff != "" || !b.Root.Resolved {
		t.Errorf("the package needs, all of it: %v (-want +got):\n%s", b.Root.Resolved, diff)
	}
	if b.Root.From != "source-a-1-1.src.rpm" || len(b.Others) != 4 {
		t.Errorf("it is from %s, with %d others", b.Root.From, len(b.Others))
	}
	for _, c := range b.Others {
		if c.Ref == x.Ref && (c.SHA256 != string(digest("x")) || c.Name != "x" || !strings.HasSuffix(c.PURL, "distro=almalinux-9")) {
			t.Errorf("what it needs is %+v", c)
		}
	}
	if _, err := b.Write(CycloneDXJSON); err != nil {
		t.Error(err)
	}
	if _, err := g.Of(digest("unknown"), Bill{}); err == nil {
		t.Error("there is a bill of a package that isn't in the group")
	}

	// A world that lacks it leaves the package unresolved.
	g = NewGroup()
	g.Add(p, File{SHA256: digest("a")}, Distribution{})
	g.Resolve([]World{{Members: member}, {Members: member, Beneath: []depend.Capability{{Name: "x"}}}})
	if b, err := g.Of(digest("a"), Bill{}); err != nil || b.Root.Resolved || len(b.Root.Needs) != 0 {
		t.Errorf("it needs %+v, %v", b.Root.Needs, err)
	}
}

// TestOneSource: a source package that several name is told of in the same way each time,
// though only their own names tell what it is called.
func TestOneSource(t *testing.T) {
	t.Parallel()
	of := func() string {
		g := NewGroup()
		for _, name := range []string{"a", "b", "c"} {
			g.Add(&rpm.Package{NEVRA: rpm.NEVRA{Name: name, Version: "1", Release: "1", Arch: "noarch"}, SourceRPM: "nameless.src.rpm"}, File{SHA256: digest(name)}, alma)
		}
		g.Resolve(nil)
		b, err := g.Whole(Bill{Root: Component{Ref: "root"}})
		if err != nil {
			t.Fatal(err)
		}
		text, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	want := of()
	for range 50 {
		if diff := cmp.Diff(want, of()); diff != "" {
			t.Fatalf("the same packages have another bill (-want +got):\n%s", diff)
		}
	}
}

// TestEncode: a bill comes back as it was.
func TestEncode(t *testing.T) {
	t.Parallel()
	for name, b := range bills() {
		text, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseBill(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range Formats() {
			if diff := cmp.Diff(string(write(t, b, f)), string(write(t, back, f))); diff != "" {
				t.Errorf("%s as %s after its way through JSON:\n%s", name, f, diff)
			}
		}
	}
	for _, bad := range []string{"", "{", `{"kind":"package"}`, `{"kind":"package","root":{"ref":"a"},"colour":1}`} {
		if _, err := ParseBill([]byte(bad)); albs.KindOf(err) != albs.Invalid {
			t.Errorf("ParseBill(%q) = %v", bad, err)
		}
	}
}
