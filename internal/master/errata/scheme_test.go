package errata

import (
	"testing"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/platform"
)

func TestScheme(t *testing.T) {
	t.Parallel()
	s := scheme{platform.Errata{Own: "A", URL: "https://e.example/9", IDs: map[string]string{
		"security": "ALSA-{year}:{serial}", "bugfix": "AL-BA-{year}-{serial}",
	}}}
	for id, want := range map[string]struct {
		typ advisory.Type
		own bool
	}{
		"ALSA-2024:6964":            {advisory.Security, false},
		"ALSA-2024:A001":            {advisory.Security, true},
		"ALSA-2024:A01":             {advisory.Security, false}, // too short for a number of the series
		"ALSA-2024:AB01":            {advisory.Security, false},
		"AL-BA-2024-A1234":          {advisory.Bugfix, true},
		"ALSA-24:1":                 {},
		"ALSA-2024:":                {},
		"XALSA-2024:1":              {},
		"ALSA-2024:1\n":             {},
		"ALSA-2024:1/..":            {},
		"ALEA-2024:1":               {},
		"AL-BA-2024:1":              {},
		"AL.BA-2024-1":              {},
		"{year}":                    {},
		"ALSA-2024:000000000000001": {advisory.Security, false},
	} {
		typ, own, err := s.read(id)
		if (err == nil) != (want.typ != "") || typ != want.typ || own != want.own || err != nil && albs.KindOf(err) != albs.Invalid {
			t.Errorf("read(%q) = %q, %v, %v, want %+v", id, typ, own, err, want)
		}
		if err == nil && !advisory.ValidID(id) {
			t.Errorf("%q is of the scheme and can't be an id", id)
		}
	}
	for _, tt := range []struct {
		names []string
		want  string
	}{
		{nil, "ALSA-2024:A001"},
		{[]string{"ALSA-2024:A009", "ALSA-2024:A010", "ALSA-2024:A002"}, "ALSA-2024:A011"},
		{[]string{"ALSA-2024:A999"}, "ALSA-2024:A1000"},
		{[]string{"ALSA-2024:A1000", "ALSA-2024:A999"}, "ALSA-2024:A1001"},
		{[]string{"ALSA-2024:AB", "ALSA-2023:A007"}, "ALSA-2024:A001"},
	} {
		prefix, err := s.prefix(advisory.Security, 2024)
		if got := following(prefix, tt.names); got != tt.want || err != nil {
			t.Errorf("after %v comes %s, %v, want %s", tt.names, got, err, tt.want)
		}
	}
	if _, err := s.prefix(advisory.NewPackage, 2024); albs.KindOf(err) != albs.Invalid {
		t.Errorf("ids of a type that has none = %v", err)
	}
	if got := s.page("ALSA-2024:1"); got != "https://e.example/9/html/ALSA-2024-1.html" {
		t.Errorf("its page is %s", got)
	}
	s.Page = "https://errata.example/9/{id}.html"
	if got := s.page("ALSA-2024:1"); got != "https://errata.example/9/ALSA-2024-1.html" {
		t.Errorf("its page is %s", got)
	}
}
