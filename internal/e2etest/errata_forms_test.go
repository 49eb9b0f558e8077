package e2etest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/gzip"

	"albs/internal/advisory"
	"albs/internal/advisory/csaf"
	"albs/internal/advisory/erratajson"
	"albs/internal/advisory/osv"
	"albs/internal/advisory/update"
	"albs/internal/albs"
	"albs/internal/repodata"
)

// public is what a product shows.
type public struct {
	*site
	dir string // the root of its tree
}

// told is what a form tells of an advisory, as far as it tells that.
type told struct {
	Version   int
	CVEs      []string
	Packages  []string // with module, repository and digest
	Withdrawn bool
}

// forms are what the public has of an advisory, by its name in plain words; a form that
// doesn't have it isn't there.
type forms map[string]told

func (p public) file(elem ...string) []byte {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{p.dir}, elem...)...))
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

func (p public) glob(pattern string) []string {
	p.t.Helper()
	found, err := filepath.Glob(filepath.Join(p.dir, pattern))
	if err != nil {
		p.t.Fatal(err)
	}
	return found
}

// advisories returns the advisories that a platform shows, by id: the form of which all
// others are made, and which the ledger knows.
func (p public) advisories(platform string) map[string]advisory.Advisory {
	p.t.Helper()
	out := map[string]advisory.Advisory{}
	for _, path := range p.glob("errata/" + platform + "/advisories/*.json") {
		b, err := os.ReadFile(path)
		if err != nil {
			p.t.Fatal(err)
		}
		a, err := advisory.Parse(b)
		if err != nil {
			p.t.Fatalf("%s: %v", path, err)
		}
		out[a.ID] = a
	}
	return out
}

// agree wants all forms of a platform to say the same, each as far as it has words for it,
// and returns the advisories that they tell, by id.
func (p public) agree(platform string) map[string]advisory.Advisory {
	p.t.Helper()
	all := p.advisories(platform)
	want := map[string]forms{}
	for id, a := range all {
		want[id] = expected(a)
	}
	if diff := cmp.Diff(want, p.read(platform), cmpopts.EquateEmpty()); diff != "" {
		p.t.Errorf("the forms of %s tell something else than its advisories (-want +got):\n%s", platform, diff)
	}
	return all
}

// expected is what the forms are to tell of an advisory.
func expected(a advisory.Advisory) forms {
	whole := told{Version: a.Version, CVEs: a.AllCVEs(), Withdrawn: a.Withdrawn != nil, Packages: listing(a.Packages, true, true)}
	out := forms{"osv": whole, "page": whole}
	named, unnamed := whole, whole
	named.Packages, unnamed.Packages = listing(a.Packages, false, true), nil
	out["csaf"] = named
	out["feed"] = told{Version: a.Version, Withdrawn: a.Withdrawn != nil}
	if a.Withdrawn != nil { // it names none any more
		unnamed.CVEs = nil
		out["csaf"] = unnamed
		return out
	}
	out["updateinfo"], out["errata.json"] = whole, named
	named.Version = 1 // of which it has no word
	out["errata.full.json"] = named
	named.Version, named.Packages = a.Version, listing(a.Packages, false, false)
	out["oval"] = named
	return out
}

// listing writes packages as lines: with their repositories or without, with their modules'
// builds and digests or only with their streams.
func listing(ps []advisory.Package, repository, digest bool) []string {
	var out []string
	for _, p := range ps {
		line := p.NEVRA.String()
		if m := p.Module; m != nil && digest {
			line += " of " + m.String()
		} else if m != nil {
			line += " of " + m.Name + ":" + m.Stream
		}
		if repository {
			line += " in " + p.Repository
		}
		if digest {
			line += " " + string(p.Digest)
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// read reads all forms back, by id.
func (p public) read(platform string) map[string]forms {
	t := p.t
	t.Helper()
	root := "errata/" + platform + "/"
	out := map[string]forms{}
	add := func(form, id string, is told) {
		if out[id] == nil {
			out[id] = forms{}
		}
		if was, twice := out[id][form]; twice {
			t.Errorf("%s tells of %s twice: %+v", form, id, was)
		}
		slices.Sort(is.CVEs)
		slices.Sort(is.Packages)
		out[id][form] = is
	}
	take := func(form string, repository, digest bool, as []advisory.Advisory, dropped []string, err error) {
		t.Helper()
		if err != nil || len(dropped) > 0 {
			t.Errorf("%s of %s: %q, %v", form, platform, dropped, err)
		}
		for _, a := range as {
			if a.Platform != platform {
				t.Errorf("%s of %s tells of %s of %s", form, platform, a.ID, a.Platform)
			}
			add(form, a.ID, told{a.Version, a.AllCVEs(), listing(a.Packages, repository, digest), a.Withdrawn != nil})
		}
	}
	each := func(pattern string, f func(b []byte)) {
		t.Helper()
		for _, path := range p.glob(pattern) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			f(b)
		}
	}

	var notices []advisory.Advisory
	for _, repository := range p.repositories(platform) {
		as, dropped, err := update.Read(bytes.NewReader(p.updateinfo(repository)), platform)
		if err != nil || len(dropped) > 0 {
			t.Errorf("updateinfo of %s: %q, %v", repository, dropped, err)
		}
		for _, a := range as {
			for i := range a.Packages {
				a.Packages[i].Repository = repository
			}
			notices = append(notices, a)
		}
	}
	take("updateinfo", true, true, advisory.Merge(notices), nil, nil)
	each(root+"osv/*.json", func(b []byte) {
		as, dropped, err := osv.Read(bytes.NewReader(b), platform)
		take("osv", true, true, as, dropped, err)
	})
	each(root+"csaf/2*/*.json", func(b []byte) {
		as, dropped, err := csaf.Read(bytes.NewReader(b), csaf.Platform{Name: platform, CPEs: []string{"cpe:/o:almalinux:almalinux:" + versionOf[platform]}})
		take("csaf", false, true, as, dropped, err)
	})
	for _, name := range []string{erratajson.Name, erratajson.FullName} {
		as, dropped, err := erratajson.Read(bytes.NewReader(p.file(root, name)), platform)
		take(name, false, true, as, dropped, err)
	}
	for id, is := range p.definitions(platform) {
		add("oval", id, is)
	}
	for id, is := range p.pages(platform) {
		add("page", id, is)
	}
	for id, is := range p.feed(platform) {
		add("feed", id, is)
	}
	return out
}

// repositories are those of packages that a platform has in the public place.
func (p public) repositories(platform string) []string {
	p.t.Helper()
	var out []string
	for _, path := range p.glob(platform + "/*/os/repodata/repomd.xml") {
		rel, err := filepath.Rel(p.dir, path)
		if err != nil {
			p.t.Fatal(err)
		}
		out = append(out, strings.TrimSuffix(rel, "/repodata/repomd.xml"))
	}
	if len(out) == 0 {
		p.t.Fatalf("nothing of %s is public", platform)
	}
	return out
}

// path returns where the public place has a repository's file of a type; "" if it has none.
func (p public) path(repository, typ string) string {
	p.t.Helper()
	md, err := repodata.ParseRepomd(bytes.NewReader(p.file(repository, "repodata/repomd.xml")))
	if err != nil {
		p.t.Fatal(err)
	}
	d, ok := md.Find(typ)
	if !ok {
		return ""
	}
	return filepath.Join(repository, d.Path)
}

// part returns what a repository has of a type, unpacked; nil if that is nothing.
func (p public) part(repository, typ string) []byte {
	p.t.Helper()
	path := p.path(repository, typ)
	if path == "" {
		return nil
	}
	return unpacked(p.t, p.file(path))
}

// updateinfo returns a repository's updateinfo.xml, which has no notices if there is none.
func (p public) updateinfo(repository string) []byte {
	p.t.Helper()
	if b := p.part(repository, "updateinfo"); b != nil {
		return b
	}
	return []byte("<updates/>")
}

func unpacked(t *testing.T, b []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ovalOf returns a platform's definitions of OVAL, "" if it has none.
func (p public) ovalOf(platform string) []byte {
	p.t.Helper()
	found := p.glob("errata/" + platform + "/oval/*.xml.gz")
	if len(found) == 0 {
		return nil
	}
	b, err := os.ReadFile(glob(p.t, filepath.Join(p.dir, "errata", platform, "oval/*.xml.gz")))
	if err != nil {
		p.t.Fatal(err)
	}
	return unpacked(p.t, b)
}

// criteria are those of a definition of OVAL.
type criteria struct {
	Comment string `xml:"comment,attr"`
	Tests   []struct {
		Comment string `xml:"comment,attr"`
		Ref     string `xml:"test_ref,attr"`
	} `xml:"criterion"`
	Criteria []criteria `xml:"criteria"`
}

// definitions reads OVAL as one who knows nothing but its schema: what a definition's tests
// compare with, for which arches, below which module.
func (p public) definitions(platform string) map[string]told {
	t := p.t
	t.Helper()
	out := map[string]told{}
	file := p.ovalOf(platform)
	if file == nil {
		return out
	}
	var doc struct {
		Definitions []struct {
			Version    int `xml:"version,attr"`
			References []struct {
				Source string `xml:"source,attr"`
				ID     string `xml:"ref_id,attr"`
			} `xml:"metadata>reference"`
			Criteria criteria `xml:"criteria"`
		} `xml:"definitions>definition"`
		Tests struct {
			All []struct {
				ID     string `xml:"id,attr"`
				Object struct {
					Ref string `xml:"object_ref,attr"`
				} `xml:"object"`
				State struct {
					Ref string `xml:"state_ref,attr"`
				} `xml:"state"`
			} `xml:",any"`
		} `xml:"tests"`
		Objects struct {
			All []struct {
				ID   string `xml:"id,attr"`
				Name string `xml:"name"`
			} `xml:",any"`
		} `xml:"objects"`
		States struct {
			All []struct {
				ID   string `xml:"id,attr"`
				Arch string `xml:"arch"`
				EVR  string `xml:"evr"`
			} `xml:",any"`
		} `xml:"states"`
	}
	if err := xml.Unmarshal(file, &doc); err != nil {
		t.Fatal(err)
	}
	names, compared := map[string]string{}, map[string][]string{}
	for _, o := range doc.Objects.All {
		names[o.ID] = o.Name
	}
	states := map[string][2]string{}
	for _, s := range doc.States.All {
		states[s.ID] = [2]string{s.EVR, strings.Trim(s.Arch, "^()$")}
	}
	for _, x := range doc.Tests.All {
		if s := states[x.State.Ref]; s[0] != "" {
			for _, arch := range strings.Split(s[1], "|") {
				compared[x.ID] = append(compared[x.ID], strings.Replace(names[x.Object.Ref]+"-"+s[0], "-0:", "-", 1)+"."+arch)
			}
		}
	}
	enabled := regexp.MustCompile(`^Module (\S+) is enabled$`)
	for _, d := range doc.Definitions {
		is := told{Version: d.Version}
		id := ""
		for _, r := range d.References {
			switch {
			case strings.HasPrefix(r.ID, "CVE-"):
				is.CVEs = append(is.CVEs, r.ID)
			case id == "":
				id = r.ID
			}
		}
		var walk func(c criteria, of string)
		walk = func(c criteria, of string) {
			for _, x := range c.Tests {
				if m := enabled.FindStringSubmatch(x.Comment); m != nil {
					of = " of " + m[1]
				}
			}
			for _, x := range c.Tests {
				for _, n := range compared[x.Ref] {
					is.Packages = append(is.Packages, n+of)
				}
			}
			for _, in := range c.Criteria {
				walk(in, of)
			}
		}
		walk(d.Criteria, "")
		slices.Sort(is.Packages)
		is.Packages = slices.Compact(is.Packages)
		out[id] = is
	}
	return out
}

var (
	tableForm   = regexp.MustCompile(`(?s)<caption>([^<,]*)(?:, module ([^<]*))?</caption>(.*?)</table>`)
	rowForm     = regexp.MustCompile(`<th scope="row">([^< ]+)\.rpm.*?<code>([0-9a-f]{64})</code>`)
	cveRow      = regexp.MustCompile(`<th scope="row">(CVE-[0-9-]+)</th>`)
	versionForm = regexp.MustCompile(`, version ([0-9]+)</dd>`)
)

// pages reads a platform's pages, as far as a person sees it, and wants the index to have a
// row for each.
func (p public) pages(platform string) map[string]told {
	t := p.t
	t.Helper()
	out := map[string]told{}
	index := string(p.file("errata", platform, "html/index.html"))
	for id, a := range p.advisories(platform) {
		name := advisory.FileName(id) + ".html"
		if strings.Count(index, `href="`+name+`"`) != 1 {
			t.Errorf("the index of %s leads to %s %d times", platform, name, strings.Count(index, `href="`+name+`"`))
		}
		text := string(p.file("errata", platform, "html", name))
		is := told{Withdrawn: strings.Contains(text, "<h2>Withdrawn on ")}
		if m := versionForm.FindStringSubmatch(text); m != nil {
			is.Version, _ = strconv.Atoi(m[1])
		}
		for _, m := range cveRow.FindAllStringSubmatch(text, -1) {
			is.CVEs = append(is.CVEs, m[1])
		}
		builds := map[string]string{} // of streams: a page names the stream alone
		for _, q := range a.Packages {
			if q.Module != nil {
				builds[q.Module.Name+":"+q.Module.Stream] = q.Module.String()
			}
		}
		for _, m := range tableForm.FindAllStringSubmatch(text, -1) {
			of := ""
			if m[2] != "" {
				of = " of " + builds[m[2]]
			}
			for _, r := range rowForm.FindAllStringSubmatch(m[3], -1) {
				is.Packages = append(is.Packages, r[1]+of+" in "+m[1]+" "+r[2])
			}
		}
		out[id] = is
	}
	if got := len(p.glob("errata/"+platform+"/html/*.html")) - 1; got != len(out) {
		t.Errorf("%s has %d pages, and shows %d advisories", platform, got, len(out))
	}
	return out
}

// feed reads a platform's feed: which versions it tells of.
func (p public) feed(platform string) map[string]told {
	p.t.Helper()
	var doc struct {
		Items []struct {
			Link string `xml:"link"`
			GUID string `xml:"guid"`
		} `xml:"channel>item"`
	}
	if err := xml.Unmarshal(p.file("errata", platform, "errata.rss"), &doc); err != nil {
		p.t.Fatal(err)
	}
	ids := map[string]string{}
	for id := range p.advisories(platform) {
		ids[advisory.FileName(id)] = id
	}
	out := map[string]told{}
	for _, i := range doc.Items {
		version, withdrawn := strings.CutSuffix(i.GUID[strings.LastIndexByte(i.GUID, '#')+1:], "-withdrawn")
		n, err := strconv.Atoi(version)
		name := strings.TrimSuffix(filepath.Base(i.Link), ".html")
		if err != nil || !strings.Contains(i.Link, "/errata/"+platform+"/html/") || ids[name] == "" {
			p.t.Errorf("the feed of %s has %+v, %v", platform, i, err)
		}
		out[ids[name]] = told{Version: n, Withdrawn: withdrawn}
	}
	return out
}

// files returns what the public sees of a platform's advisories and of the metadata of its
// repositories: all bytes by path.
func (p public) files(platform string) map[string]string {
	p.t.Helper()
	out := map[string]string{}
	for _, top := range []string{"errata/" + platform, platform} {
		root, err := filepath.EvalSymlinks(p.dir)
		if err != nil {
			p.t.Fatal(err)
		}
		err = filepath.WalkDir(filepath.Join(root, top), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, ".rpm") {
				return err
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			if info, err := os.Stat(path); err != nil || info.IsDir() { // Packages is a link
				return err
			}
			b, err := os.ReadFile(path)
			out[rel] = string(b)
			return err
		})
		if err != nil {
			p.t.Fatal(err)
		}
	}
	if out[platform+"/x86_64/os/repodata/repomd.xml"] == "" || len(p.advisories(platform)) > 0 && out["errata/"+platform+"/errata.rss"] == "" {
		p.t.Fatalf("of %s only %q were found", platform, slices.Sorted(maps.Keys(out)))
	}
	return out
}

// changed returns the paths of files that are not the same in both.
func changed(a, b map[string]string) []string {
	var out []string
	for path := range maps.Keys(a) {
		if v, ok := b[path]; !ok || v != a[path] {
			out = append(out, path)
		}
	}
	for path := range maps.Keys(b) {
		if _, ok := a[path]; !ok {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
}

// apart wants no file of a platform to have what is the other's alone.
func (p public) apart() {
	p.t.Helper()
	for platform, foreign := range map[string][]string{nine: {".el8", "CVE-2025-20001", "another fault", "/" + eight + "/"}, eight: {".el9", "CVE-2026-10001", "tool", "/" + nine + "/"}} {
		for path, content := range p.files(platform) {
			if strings.HasSuffix(path, ".gz") {
				content = string(unpacked(p.t, []byte(content)))
			}
			for _, text := range foreign {
				if strings.Contains(content, text) && !strings.HasSuffix(path, "/provider-metadata.json") {
					p.t.Errorf("%s has %q, which is the other platform's", path, text)
				}
			}
		}
	}
}

// names wants an advisory to name the packages of its sources, each in the repositories of all
// arches in which it is, with the sha256 of the file that is there.
func (p public) names(a advisory.Advisory, us []suite, arches []albs.Arch) {
	t := p.t
	t.Helper()
	var want, got []string
	for _, u := range us {
		for _, arch := range arches {
			for _, n := range u.on(arch) {
				want = append(want, n.String()+" of "+u.label+" in "+a.Platform+"/"+string(arch)+"/os")
			}
		}
	}
	for _, q := range a.Packages {
		of := ""
		if q.Module != nil {
			of = q.Module.String()
		}
		got = append(got, q.NEVRA.String()+" of "+of+" in "+q.Repository)
		found := p.glob(q.Repository + "/Packages/*/" + q.Filename())
		if len(found) != 1 {
			t.Errorf("%s is in %s as %q", q.Filename(), q.Repository, found)
			continue
		}
		b, err := os.ReadFile(found[0])
		if err != nil || albs.DigestOf(b) != q.Digest {
			t.Errorf("%s has another sha256 than %s, %v", found[0], q.Digest, err)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("advisory %s of %s (-want +got):\n%s", a.ID, a.Platform, diff)
	}
}

// of decodes JSON.
func of[T any](t *testing.T, b []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(fmt.Errorf("%w: %.200s", err, b))
	}
	return v
}
