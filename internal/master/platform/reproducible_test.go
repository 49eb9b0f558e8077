package platform

import (
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

// TestReproducible: what is asked for becomes rpm's macros in the roots of builds, and what
// isn't leaves them alone.
func TestReproducible(t *testing.T) {
	t.Parallel()
	all := map[string]string{
		"source_date_epoch_from_changelog": "1", "clamp_mtime_to_source_date_epoch": "1", "build_mtime_policy": "clamp_to_source_date_epoch",
		"use_source_date_epoch_as_buildtime": "1", "_buildhost": "builder.example.org",
	}
	for text, want := range map[string]map[string]string{
		"": {},
		"reproducible: {source_date_epoch_from_changelog: true}":   {"source_date_epoch_from_changelog": "1"},
		"reproducible: {use_source_date_epoch_as_buildtime: true}": {"use_source_date_epoch_as_buildtime": "1"},
		"reproducible: {source_date_epoch_from_changelog: true, clamp_mtime_to_source_date_epoch: true, use_source_date_epoch_as_buildtime: true, buildhost: builder.example.org}": all,
	} {
		s, err := Parse(strings.NewReader(good + text + "\n"))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		root, err := (Platform{Spec: s}).Compose(s.Arches[0], Build)
		if err != nil {
			t.Fatal(err)
		}
		want := maps.Clone(want)
		want["dist"] = s.Dist
		maps.Copy(want, s.Macros)
		if diff := cmp.Diff(want, root.Macros); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		if _, err := albs.MacroFile(root.Macros); err != nil {
			t.Errorf("%q: rpm can't read the macros: %v", text, err)
		}
		if test, err := (Platform{Spec: s}).Compose(s.Arches[0], Test); err != nil || len(test.Macros) > 0 {
			t.Errorf("%q: a root for tests has the macros %v, %v", text, test.Macros, err)
		}
	}
	for text, says := range map[string]string{
		"reproducible: {buildhost: \"a b\"}":                                        "buildhost",
		"reproducible: {buildhost: \"%(id)\"}":                                      "buildhost",
		"reproducible: {buildhost: -a}":                                             "buildhost",
		"reproducible: {buildtime: true}":                                           "buildtime",
		"reproducible: {buildhost: a.example}\nsecure_boot_macros: {_buildhost: b}": "_buildhost",
	} {
		if _, err := Parse(strings.NewReader(good + text + "\n")); albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want Invalid with %q", text, err, says)
		}
	}
	s, err := Parse(strings.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	s.Macros = map[string]string{"_buildhost": "b"}
	s.Reproducible.BuildHost = "a"
	if err := s.check(); albs.KindOf(err) != albs.Invalid {
		t.Errorf("a macro that is set twice: %v", err)
	}
}

// TestShippedReproducible: Seed Linux is built so that builds can be compared, and what
// replaces packages of Enterprise Linux is built as these are.
func TestShippedReproducible(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]int{"seed": 5, "almalinux-8": 0, "almalinux-9": 0, "almalinux-10": 0, "almalinux-kitten-10": 0} {
		b, err := os.ReadFile("../../../configs/platforms/" + file + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(strings.NewReader(string(b)))
		if err != nil || len(s.Reproducible.macros()) != want {
			t.Errorf("%s has %v, %v; want %d macros", file, s.Reproducible.macros(), err, want)
		}
	}
}
