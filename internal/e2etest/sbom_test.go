package e2etest

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/sbom"
)

// bills downloads the bills of materials of a build, a release and a package of both in
// every format, and looks whether they tell what a scanner and a reader ask for.
func bills(s *site, build, release, public string) {
	t := s.t
	t.Helper()
	s.until(5*time.Minute, "there is a bill of the release", func() bool {
		return s.try("", "sbom", "release", release).code == 0
	})
	file := glob(t, public+"/seed/main/x86_64/os/Packages/p/pngcheck-3*.x86_64.rpm")
	sum := string(albs.DigestOf([]byte(read(t, file))))
	for _, args := range [][]string{
		{"build", build}, {"release", release}, {"package", sum}, {"package", strings.TrimSuffix(filepath.Base(file), ".rpm")},
	} {
		for _, f := range sbom.Formats() {
			out := s.run("", append([]string{"sbom"}, append(args, "--format", string(f))...)...)
			for _, want := range []string{"pngcheck", "distro=seed-9"} {
				if !strings.Contains(out, want) {
					t.Errorf("%s of %s %s lacks %s:\n%.2000s", f, args[0], args[1], want, out)
				}
			}
			if again := s.run("", append([]string{"sbom"}, append(args, "--format", string(f))...)...); again != out {
				t.Errorf("%s of %s %s is another one when it is asked for again", f, args[0], args[1])
			}
		}
	}
	var doc struct {
		Metadata struct {
			Component struct {
				BOMRef     string                         `json:"bom-ref"`
				Properties []struct{ Name, Value string } `json:"properties"`
			} `json:"component"`
		} `json:"metadata"`
		Components []struct {
			BOMRef string `json:"bom-ref"`
			Type   string
			Name   string
			PURL   string
		} `json:"components"`
		Dependencies []struct {
			Ref       string
			DependsOn []string `json:"dependsOn"`
		} `json:"dependencies"`
	}
	if err := json.Unmarshal([]byte(s.run("", "sbom", "package", sum, "--format", string(sbom.CycloneDXJSON))), &doc); err != nil {
		t.Fatal(err)
	}
	properties := map[string]string{}
	for _, p := range doc.Metadata.Component.Properties {
		properties[p.Name] = p.Value
	}
	if c := properties[sbom.PropertyGitCommit]; len(c) != 40 || properties[sbom.PropertyRecord] != sum || properties[sbom.PropertyBuildID] != build {
		t.Errorf("the package's properties are %v", properties)
	}
	names := map[string]string{}
	for _, c := range doc.Components {
		names[c.BOMRef] = c.Type + " " + c.Name
	}
	var on []string
	for _, d := range doc.Dependencies {
		if d.Ref == doc.Metadata.Component.BOMRef {
			for _, r := range d.DependsOn {
				on = append(on, names[r])
			}
		}
	}
	for _, want := range []string{"operating-system seed", "library zlib", "library pngcheck"} {
		if !strings.Contains(strings.Join(on, "|"), want) {
			t.Errorf("pngcheck rests on %q, without %s", on, want)
		}
	}
}
