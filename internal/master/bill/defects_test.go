package bill

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	spdxjson "github.com/spdx/tools-golang/json"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/build"
	"albs/internal/rpm"
	"albs/internal/sbom"
)

// told is a package's bill, and its build's, as others read them.
type told struct {
	*fixture
	hello artifact.Artifact
	cdx   cdx.BOM
	spdx  *spdx.Document
	texts map[sbom.Format][]byte
	build cdx.BOM
}

func (o told) root() *cdx.Component { return o.cdx.Metadata.Component }

func (o told) pkg(name string) *spdx.Package {
	i := slices.IndexFunc(o.spdx.Packages, func(p *spdx.Package) bool { return p.PackageName == name && p.PrimaryPackagePurpose != "SOURCE" })
	if i < 0 {
		o.t.Fatalf("SPDX has no package %s", name)
	}
	return o.spdx.Packages[i]
}

func (o told) ties(how string) (n int) {
	for _, r := range o.spdx.Relationships {
		if r.Relationship == how {
			n++
		}
	}
	return n
}

// TestDefects: each of the faults of the bills that ALBS's tool writes, and that ours lack
// it (docs/design/sbom.md).
func TestDefects(t *testing.T) {
	each(t, func(f *fixture) {
		ctx := f.t.Context()
		f.build(7)
		f.ended(7)
		o := told{fixture: f, hello: f.public["hello.x86_64"], texts: map[sbom.Format][]byte{}}
		for _, format := range sbom.Formats() {
			o.texts[format] = f.read(f.OfPackage(ctx, string(o.hello.Digest), format))
		}
		f.must(json.Unmarshal(o.texts[sbom.CycloneDXJSON], &o.cdx))
		var err error
		o.spdx, err = spdxjson.Read(bytes.NewReader(o.texts[sbom.SPDXJSON]))
		f.must(err)
		o.build = f.bom(f.OfBuild(ctx, 7, sbom.CycloneDXJSON))

		for _, d := range []struct {
			id, fault string
			lacks     func(o told) bool
		}{
			{"D1", "the commit's property holds the repository's URL", func(o told) bool {
				return properties(o.root())[sbom.PropertyGitCommit] == commit && bytes.Contains(o.texts[sbom.SPDXJSON], []byte(sbom.PropertyGitCommit+"="+commit))
			}},
			{"D2", "SPDX's namespace holds a printed tuple", func(o told) bool {
				return regexp.MustCompile(`^https://albs\.example/sbom/hello-1:1\.0-1\.el9-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(o.spdx.DocumentNamespace)
			}},
			{"D3", "tools have no type, which the schema requires", func(o told) bool {
				return !slices.ContainsFunc(*o.cdx.Metadata.Tools.Components, func(c cdx.Component) bool { return c.Type == "" })
			}},
			{"D4", "a package's bill has no components", func(o told) bool { return len(*o.cdx.Components) == 4 && len(o.spdx.Packages) == 5 }},
			{"D5", "there are no relationships", func(o told) bool {
				return len(rests(o.cdx, "hello")) == 4 && o.ties("DESCRIBES") == 1 && o.ties("DEPENDS_ON") == 2 && o.ties("CONTAINS") == 1
			}},
			{"D6", "the source package is missing", func(o told) bool {
				i := slices.IndexFunc(*o.cdx.Components, func(c cdx.Component) bool { return strings.Contains(c.PackageURL, "arch=src") })
				return o.ties("GENERATED_FROM") == 1 && i >= 0 && (*(*o.cdx.Components)[i].Hashes)[0].Value == string(f.public["hello.src"].Digest)
			}},
			{"D7", "the operating system is missing", func(o told) bool {
				return slices.ContainsFunc(*o.cdx.Components, func(c cdx.Component) bool {
					return c.Type == cdx.ComponentTypeOS && c.Name == "almalinux" && c.Version == "9"
				}) && slices.ContainsFunc(o.spdx.Packages, func(p *spdx.Package) bool { return p.PrimaryPackagePurpose == "OPERATING_SYSTEM" })
			}},
			{"D8", "AND and OR of a licence are lost, and old names stay as they are", func(o told) bool {
				return (*o.root().Licenses)[0].Expression == "GPL-2.0-or-later AND MIT" && o.pkg("hello").PackageLicenseDeclared == "GPL-2.0-or-later AND MIT"
			}},
			{"D9", "an epoch of 0 is written or not by where the data come from", func(o told) bool {
				zero := sbom.Alone(&rpm.Package{NEVRA: rpm.NEVRA{Name: "a", Version: "1", Release: "2", Arch: "noarch"}}, sbom.File{SHA256: o.hello.Digest}, sbom.Distribution{}, sbom.Party{}, "", "")
				return o.root().Version == "1:1.0-1.el9" && o.pkg("hello").PackageVersion == "1:1.0-1.el9" && zero.Root.Version == "1-2" && !strings.Contains(zero.Root.PURL, "epoch")
			}},
			{"D10", "purls are not escaped, and their qualifiers not sorted", func(o told) bool {
				const want = "pkg:rpm/almalinux/hello@1.0-1.el9?arch=x86_64&distro=almalinux-9&epoch=1&upstream=hello-1.0-1.el9.src.rpm"
				return o.root().PackageURL == want && o.pkg("hello").PackageExternalReferences[0].Locator == want &&
					sbom.PURL(rpm.NEVRA{Name: "libstdc++", Version: "1^x", Release: "1", Arch: "i686"}, sbom.Distribution{ID: "a"}, "") == "pkg:rpm/a/libstdc%2B%2B@1%5Ex-1?arch=i686&distro=a"
			}},
			{"D11", "CPEs are made up that match nothing", func(o told) bool {
				for _, text := range o.texts {
					if bytes.Contains(bytes.ToLower(text), []byte("cpe:")) || bytes.Contains(text, []byte("cpe23")) {
						return false
					}
				}
				return true
			}},
			{"D12", "times are local, and that of the build is when it was notarized", func(o told) bool {
				h, err := f.Modules.Artifacts.Package(ctx, o.hello.Digest)
				f.must(err)
				return o.cdx.Metadata.Timestamp == "2026-11-22T11:00:00Z" && o.spdx.CreationInfo.Created == "2026-11-22T11:00:00Z" &&
					o.pkg("hello").BuiltDate == h.BuildTime.UTC().Format(time.RFC3339)
			}},
			{"D13", "each time another document comes out", func(o told) bool {
				same := 0
				for _, m := range f.all(7) {
					for format, text := range o.texts {
						if again, err := m.bill.Write(format); err == nil && bytes.Equal(again, text) {
							same++
						}
					}
				}
				return same == len(o.texts)
			}},
			{"D14", "whether the ledger proves a package is never looked at", func(o told) bool {
				// A build with a package of which nobody has made a record.
				b := f.builds[7]
				stray, err := f.Modules.Artifacts.Save(ctx, bytes.NewReader(f.bytesOf(o.hello.Digest)), 1<<20, o.hello.Name, artifact.RPM)
				f.must(err)
				_, err = f.DB.ExecContext(ctx, `DELETE FROM statement WHERE subject = $1`, string(stray.Digest))
				f.must(err)
				_, err = f.DB.ExecContext(ctx, `DELETE FROM file_record WHERE digest = $1`, string(stray.Digest))
				f.must(err)
				b.ID = 8
				f.builds[8] = b
				f.delivered() // so that nothing of the package is on its way
				f.patience = time.Second
				err = f.ofBuild(ctx, 8, into(new([]made)))
				return albs.KindOf(err) == albs.Conflict && strings.Contains(err.Error(), "lacks the record of package "+stray.Digest.Short())
			}},
			{"D15", "the digests of a build's packages are taken over without a look", func(o told) bool {
				sums := map[string]bool{}
				for _, c := range *o.build.Components {
					if c.Hashes == nil {
						continue
					}
					d := albs.Digest((*c.Hashes)[0].Value)
					sums[string(d)] = albs.DigestOf(f.bytesOf(d)) == d
				}
				packages, err := f.Packages(ctx, 7)
				f.must(err)
				for _, a := range packages {
					if !sums[string(a.Digest)] {
						return false
					}
				}
				// One that isn't there makes no bill.
				b := f.builds[7]
				b.ID, b.Artifacts = 9, append(slices.Clone(b.Artifacts), build.Artifact{Item: 1, Digest: albs.DigestOf([]byte("none")), Kind: "rpm", Arch: albs.X8664})
				f.builds[9] = b
				err = f.ofBuild(ctx, 9, into(new([]made)))
				return albs.KindOf(err) == albs.NotFound
			}},
			{"D16", "nobody supplies it, is to be asked, or says when the facts were found", func(o told) bool {
				s := o.cdx.Metadata.Supplier
				return s.Name == "Example Project" && (*s.Contact)[0].Email == "sbom@example.org" && (*o.cdx.Metadata.Lifecycles)[0].Phase == cdx.LifecyclePhasePostBuild &&
					(*o.build.Metadata.Lifecycles)[0].Phase == cdx.LifecyclePhaseBuild && (*o.cdx.Metadata.Tools.Components)[0].Version == "1.2" &&
					o.root().Supplier.Name == "Example" && o.pkg("hello").PackageSupplier.Supplier == "Example" && len(o.spdx.CreationInfo.Creators) == 2
			}},
		} {
			if !d.lacks(o) {
				f.t.Errorf("%s: %s", d.id, d.fault)
			}
		}
	})
}

// bytesOf returns the bytes of an artifact.
func (f *fixture) bytesOf(d albs.Digest) []byte {
	f.t.Helper()
	r, err := f.Modules.Artifacts.Open(f.t.Context(), d, 0, -1)
	f.must(err)
	defer r.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(r)
	f.must(err)
	return b.Bytes()
}
