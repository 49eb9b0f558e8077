package rpm

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	t.Parallel()
	evr := EVR{2, "1.0~rc1", "3.el9"}
	want := &Package{
		NEVRA:     NEVRA{"albs-rich", 2, "1.0~rc1", "3.el9", "noarch"},
		SourceRPM: "albs-rich-1.0~rc1-3.el9.src.rpm",
		Summary:   "A package with one of everything & <more>", Description: "Zażółć gęślą jaźń.\nSecond line.",
		License: "MIT", Vendor: "Example Vendor", URL: "https://example.org/rich", Group: "Unspecified",
		Packager: "Example Packager <packager@example.org>", BuildHost: "builder.example.org",
		BuildTime: time.Date(2024, 3, 5, 12, 0, 0, 0, time.UTC),
		Provides: []Dependency{
			{"albs-rich", Equal, evr}, {"config(albs-rich)", 1<<28 | Equal, evr},
			{"rich-atmost", Less | Equal, EVR{0, "3", "1"}}, {"rich-less", Less, EVR{0, "3", ""}},
			{Name: "rich-plain"}, {"rich-virtual", Equal, EVR{1, "2.0", "4"}},
		},
		Conflicts:   []Dependency{{"rich-bad", Greater, EVR{0, "5", ""}}},
		Obsoletes:   []Dependency{{"rich-old", Less, EVR{1, "0.9", "2"}}},
		Recommends:  []Dependency{{"rich-docs", Equal, evr}},
		Suggests:    []Dependency{{Name: "rich-extra"}},
		Supplements: []Dependency{{Name: "(bash and coreutils)"}},
		Enhances:    []Dependency{{Name: "vim-common"}},
		Files: []FileInfo{
			{Path: "/etc/rich", Mode: 0o40755, User: "root", Group: "root"},
			{Path: "/etc/rich/rich.conf", Mode: 0o100644, Flags: 1<<4 | 1<<0, Size: 4, Digest: albs.DigestOf([]byte("a=1\n")), User: "root", Group: "root"},
			{Path: "/usr/bin/rich", Mode: 0o100755, Size: 20, Digest: albs.DigestOf([]byte("#!/bin/sh\necho rich\n")), User: "root", Group: "root"},
			{Path: "/usr/bin/rich-link", Mode: 0o120777, Size: 13, Link: "../share/rich", User: "root", Group: "root"},
			{Path: "/usr/share/rich", Mode: 0o40755, User: "root", Group: "root"},
			{Path: "/usr/share/rich/sub", Mode: 0o40755, User: "root", Group: "root"},
			{Path: "/usr/share/rich/sub/with space", Mode: 0o100644, Size: 5, Digest: albs.DigestOf([]byte("data\n")), User: "root", Group: "root"},
			{Path: "/var/log/rich.log", Mode: 0o100644, Flags: flagGhost, User: "root", Group: "root", Unverified: VerifyDigest | VerifySize | VerifyLink | 1<<5},
		},
		Changelog: []Change{
			{"Second Person <second@example.org> - 2:1.0~rc1-3", time.Date(2024, 3, 5, 12, 0, 0, 0, time.UTC), `- Second change with "quotes" & <brackets>`},
			{"First Person <first@example.org> - 2:1.0~rc1-2", time.Date(2024, 1, 1, 12, 0, 0, 0, time.UTC), "- First change"},
		},
		Scripts: map[string]albs.Digest{"%post": "380683a14d855ffcb5796968cace7683d2b4ef75bb503d9e54b46ce768b82fe8"},
	}
	b := fixture(t, richRPM)
	got, err := ReadFile(richRPM)
	if err != nil {
		t.Fatal(err)
	}
	var requires []string
	for _, d := range got.Requires {
		s := d.String()
		if d.Pre() {
			s += " pre"
		}
		requires = append(requires, s)
	}
	if diff := cmp.Diff([]string{
		"/bin/sh pre", "/bin/sh pre", "bash >= 4.0", "config(albs-rich) = 2:1.0~rc1-3.el9", "coreutils pre", "filesystem", "grep",
		"rpmlib(CompressedFileNames) <= 3.0.4-1", "rpmlib(FileDigests) <= 4.6.0-1", "rpmlib(PayloadFilesHavePrefix) <= 4.0-1",
		"rpmlib(RichDependencies) <= 4.12.0-1", "rpmlib(TildeInVersions) <= 4.10.0-1", "sed",
	}, requires); diff != "" {
		t.Errorf("Requires:\n%s", diff)
	}
	want.Requires = got.Requires
	want.Size, want.InstalledSize, want.ArchiveSize = int64(len(b)), 42, 1092
	want.HeaderStart, want.HeaderEnd = 4504, 7961
	want.HeaderSHA256 = albs.DigestOf(b[4504:7961])
	want.PayloadSHA256 = albs.DigestOf(b[7961:])
	unpacked, err := gzip.NewReader(bytes.NewReader(b[7961:]))
	if err != nil {
		t.Fatal(err)
	}
	if want.ContentSHA256, _, err = albs.DigestReader(unpacked); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ReadFile (-want +got):\n%s", diff)
	}
	if streamed, err := Read(bytes.NewReader(b)); err != nil || cmp.Diff(got, streamed) != "" {
		t.Errorf("Read = %v, another than ReadFile\n%s", err, cmp.Diff(got, streamed))
	}
	// As it is stored with an artifact.
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var back Package
	if err := json.Unmarshal(text, &back); err != nil || cmp.Diff(*got, back) != "" {
		t.Errorf("JSON and back: %v\n%s", err, cmp.Diff(*got, back))
	}
	if f := got.Files; !f[0].Dir() || f[1].Dir() || !f[7].Ghost() || f[1].Ghost() || !f[1].Config() || f[2].Config() || f[1].MissingOK() {
		t.Error("a file is taken for another kind")
	}
	if f := got.Files; f[7].Verifies(VerifyDigest) || !f[7].Verifies(VerifyMode) || !f[1].Verifies(VerifyDigest) {
		t.Error("other things of a file are verified than rpm would")
	}
}

func TestReadSource(t *testing.T) {
	t.Parallel()
	p, err := ReadFile(richSRPM)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Source || p.Arch != string(albs.Src) || p.Filename() != filepath.Base(richSRPM) || p.SourceRPM != "" {
		t.Errorf("%s, source %v, of %q", p.Filename(), p.Source, p.SourceRPM)
	}
	if diff := cmp.Diff([]string{"s390x"}, p.ExcludeArch); diff != "" || p.ExclusiveArch != nil {
		t.Errorf("ExcludeArch:\n%s", diff)
	}
	if got := p.Requires[0].String(); got != "coreutils >= 1.0" {
		t.Errorf("Requires[0] = %q", got)
	}
	if len(p.Files) != 1 || p.Files[0].Path != "rich.spec" {
		t.Errorf("Files = %+v", p.Files)
	}
}

func TestReadFileAbsent(t *testing.T) {
	t.Parallel()
	if _, err := ReadFile(filepath.Join(t.TempDir(), "a.rpm")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ReadFile: %v, want it to say that the file doesn't exist", err)
	}
}

func TestSameContent(t *testing.T) {
	t.Parallel()
	a := &Package{HeaderSHA256: albs.DigestOf([]byte("h")), PayloadSHA256: albs.DigestOf([]byte("p"))}
	b, c, d := *a, *a, *a
	b.Signatures, b.Size = []Signature{{Tag: tagSigRSA}}, 7
	c.PayloadSHA256 = albs.DigestOf([]byte("q"))
	d.HeaderSHA256 = albs.DigestOf([]byte("i"))
	none := &Package{HeaderSHA256: a.HeaderSHA256}
	if !SameContent(a, &b) || SameContent(a, &c) || SameContent(a, &d) || SameContent(none, none) || SameContent(&Package{}, &Package{}) {
		t.Error("SameContent is wrong")
	}
}

// createrepo_c says the same of the packages as Read does.
func TestReadAgainstCreaterepo(t *testing.T) {
	t.Parallel()
	program, dir := tool(t, "createrepo_c"), t.TempDir()
	for _, name := range []string{richRPM, richSRPM} {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), fixture(t, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), program, "-q", "--no-database", dir).CombinedOutput(); err != nil {
		t.Fatalf("createrepo_c: %v\n%s", err, out)
	}
	parse := func(kind string, into any) {
		t.Helper()
		files, _ := filepath.Glob(dir + "/repodata/*-" + kind + ".xml.gz")
		if len(files) != 1 {
			t.Fatalf("createrepo_c left %v", files)
		}
		z, err := gzip.NewReader(bytes.NewReader(fixture(t, files[0])))
		if err != nil {
			t.Fatal(err)
		}
		if err := xml.NewDecoder(z).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	type relation struct {
		Name  string `xml:"name,attr"`
		Flags string `xml:"flags,attr"`
		Epoch int    `xml:"epoch,attr"`
		Ver   string `xml:"ver,attr"`
		Rel   string `xml:"rel,attr"`
		Pre   string `xml:"pre,attr"`
	}
	var primary struct {
		Packages []struct {
			Arch    string `xml:"arch"`
			Version struct {
				Epoch int    `xml:"epoch,attr"`
				Ver   string `xml:"ver,attr"`
				Rel   string `xml:"rel,attr"`
			} `xml:"version"`
			Summary     string `xml:"summary"`
			Description string `xml:"description"`
			Packager    string `xml:"packager"`
			URL         string `xml:"url"`
			Time        struct {
				Build int64 `xml:"build,attr"`
			} `xml:"time"`
			Size struct {
				Package   int64 `xml:"package,attr"`
				Installed int64 `xml:"installed,attr"`
				Archive   int64 `xml:"archive,attr"`
			} `xml:"size"`
			Format struct {
				License   string `xml:"license"`
				Vendor    string `xml:"vendor"`
				Group     string `xml:"group"`
				BuildHost string `xml:"buildhost"`
				SourceRPM string `xml:"sourcerpm"`
				Range     struct {
					Start int64 `xml:"start,attr"`
					End   int64 `xml:"end,attr"`
				} `xml:"header-range"`
				Provides    []relation `xml:"provides>entry"`
				Requires    []relation `xml:"requires>entry"`
				Conflicts   []relation `xml:"conflicts>entry"`
				Obsoletes   []relation `xml:"obsoletes>entry"`
				Recommends  []relation `xml:"recommends>entry"`
				Suggests    []relation `xml:"suggests>entry"`
				Supplements []relation `xml:"supplements>entry"`
				Enhances    []relation `xml:"enhances>entry"`
			} `xml:"format"`
		} `xml:"package"`
	}
	var filelists struct {
		Packages []struct {
			Arch  string `xml:"arch,attr"`
			Files []struct {
				Type string `xml:"type,attr"`
				Path string `xml:",chardata"`
			} `xml:"file"`
		} `xml:"package"`
	}
	parse("primary", &primary)
	parse("filelists", &filelists)
	// What createrepo_c leaves out: its own doubles, rpmlib() and what the
	// package itself provides.
	relations := func(p *Package, list []Dependency) []relation {
		var out []relation
		for _, d := range list {
			r := relation{Name: d.Name, Flags: d.Comparison(), Epoch: d.Epoch, Ver: d.Version, Rel: d.Release}
			if d.Pre() {
				r.Pre = "1"
			}
			if strings.HasPrefix(d.Name, "rpmlib(") || d.Name == "config(albs-rich)" || len(out) > 0 && out[len(out)-1] == r {
				continue
			}
			out = append(out, r)
		}
		return out
	}
	for _, name := range []string{richRPM, richSRPM} {
		p, err := ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range primary.Packages {
			if x.Arch != p.Arch {
				continue
			}
			f := x.Format
			provided := relations(p, p.Provides)
			for i, r := range f.Provides {
				if r.Name == "config(albs-rich)" {
					f.Provides = append(f.Provides[:i:i], f.Provides[i+1:]...)
				}
			}
			got := []any{p.EVR(), p.Summary, p.Description, p.Packager, p.URL, p.BuildTime.Unix(), p.Size, p.InstalledSize, p.ArchiveSize,
				p.License, p.Vendor, p.Group, p.BuildHost, p.SourceRPM, p.HeaderStart, p.HeaderEnd, provided,
				relations(p, p.Requires), relations(p, p.Conflicts), relations(p, p.Obsoletes), relations(p, p.Recommends),
				relations(p, p.Suggests), relations(p, p.Supplements), relations(p, p.Enhances)}
			want := []any{EVR{x.Version.Epoch, x.Version.Ver, x.Version.Rel}, x.Summary, x.Description, x.Packager, x.URL, x.Time.Build,
				x.Size.Package, x.Size.Installed, x.Size.Archive, f.License, f.Vendor, f.Group, f.BuildHost, f.SourceRPM, f.Range.Start, f.Range.End,
				f.Provides, f.Requires, f.Conflicts, f.Obsoletes, f.Recommends, f.Suggests, f.Supplements, f.Enhances}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: createrepo_c (-) and Read (+) differ:\n%s", name, diff)
			}
		}
		for _, x := range filelists.Packages {
			if x.Arch != p.Arch {
				continue
			}
			var got, want []string
			for _, f := range p.Files {
				kind := ""
				switch {
				case f.Dir():
					kind = "dir"
				case f.Ghost():
					kind = "ghost"
				}
				got = append(got, kind+" "+f.Path)
			}
			for _, f := range x.Files {
				want = append(want, f.Type+" "+f.Path)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: files of createrepo_c (-) and Read (+) differ:\n%s", name, diff)
			}
		}
	}
}
