package osv

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"albs/internal/advisory"
)

// referenceType returns OSV's word for a kind of reference; they are those that
// AlmaLinux's files have.
func referenceType(k advisory.ReferenceKind) string {
	switch k {
	case advisory.ToSelf, advisory.ToAdvisory:
		return "ADVISORY"
	case advisory.ToCVE, advisory.ToBugzilla:
		return "REPORT"
	}
	return "WEB"
}

var (
	cveIn    = regexp.MustCompile(`CVE-[0-9]{4}-[0-9]{4,19}`)
	numberIn = regexp.MustCompile(`[0-9]+$`)
)

// meant returns what a reference of the advisory id most likely leads to.
func meant(r reference, id string) advisory.Reference {
	out := advisory.Reference{Kind: advisory.ToOther, URL: r.URL}
	u, err := url.Parse(r.URL)
	if err != nil {
		return out
	}
	last := strings.TrimSuffix(path.Base(u.Path), ".html")
	switch r.Type {
	case "ADVISORY":
		switch {
		case bare(last) == bare(id):
			out.Kind, out.ID, out.Title = advisory.ToSelf, id, id
		case cveIn.MatchString(r.URL):
			out.Kind, out.ID = advisory.ToCVE, cveIn.FindString(r.URL)
			out.Title = out.ID
		default:
			out.Kind = advisory.ToAdvisory
			if advisory.ValidID(last) && strings.ContainsAny(last, "-:") {
				out.ID, out.Title = last, last
			}
		}
	case "REPORT":
		if out.ID = cveIn.FindString(r.URL); out.ID != "" {
			out.Kind, out.Title = advisory.ToCVE, out.ID
			break
		}
		out.Kind = advisory.ToBugzilla
		if out.ID = u.Query().Get("id"); out.ID == "" {
			out.ID = numberIn.FindString(u.Path)
		}
	}
	return out
}

// bare is an id as addresses spell it in one way or another: ALSA-2024:6964 stands there with
// a dash, SUSE-SU-2024:0321-1 as suse-su-20240321-1.
func bare(id string) string {
	return strings.Map(func(c rune) rune {
		if c == '-' || c == ':' || c == '_' {
			return -1
		}
		return unicode.ToLower(c)
	}, id)
}

// metric is one of a CVSS vector with the values that it may have.
type metric struct {
	name   string
	values string // with spaces between
}

// versions are CVSS's, with the metrics that a vector may have; those of the first n have to
// be there (CVSS 2.0 §3.2, 3.1 §6, 4.0 §7).
var versions = []struct {
	name, prefix string
	n            int
	ordered      bool
	metrics      []metric
}{
	{"CVSS_V4", "CVSS:4.0/", 11, true, []metric{
		{"AV", "N A L P"}, {"AC", "L H"}, {"AT", "N P"}, {"PR", "N L H"}, {"UI", "N P A"}, {"VC", "H L N"}, {"VI", "H L N"}, {"VA", "H L N"}, {"SC", "H L N"}, {"SI", "H L N"}, {"SA", "H L N"},
		{"E", "X A P U"}, {"CR", "X H M L"}, {"IR", "X H M L"}, {"AR", "X H M L"}, {"MAV", "X N A L P"}, {"MAC", "X L H"}, {"MAT", "X N P"}, {"MPR", "X N L H"}, {"MUI", "X N P A"},
		{"MVC", "X H L N"}, {"MVI", "X H L N"}, {"MVA", "X H L N"}, {"MSC", "X H L N"}, {"MSI", "X S H L N"}, {"MSA", "X S H L N"},
		{"S", "X N P"}, {"AU", "X N Y"}, {"R", "X A U I"}, {"V", "X D C"}, {"RE", "X L M H"}, {"U", "X Clear Green Amber Red"},
	}},
	{"CVSS_V3", "CVSS:3.1/", 8, false, version3},
	{"CVSS_V3", "CVSS:3.0/", 8, false, version3},
	{"CVSS_V2", "", 6, false, []metric{
		{"AV", "L A N"}, {"AC", "H M L"}, {"Au", "M S N"}, {"C", "N P C"}, {"I", "N P C"}, {"A", "N P C"},
		{"E", "U POC F H ND"}, {"RL", "OF TF W U ND"}, {"RC", "UC UR C ND"}, {"CDP", "N L LM MH H ND"}, {"TD", "N L M H ND"}, {"CR", "L M H ND"}, {"IR", "L M H ND"}, {"AR", "L M H ND"},
	}},
}

var version3 = []metric{
	{"AV", "N A L P"}, {"AC", "L H"}, {"PR", "N L H"}, {"UI", "N R"}, {"S", "U C"}, {"C", "N L H"}, {"I", "N L H"}, {"A", "N L H"},
	{"E", "X U P F H"}, {"RL", "X O T W U"}, {"RC", "X U R C"}, {"CR", "X L M H"}, {"IR", "X L M H"}, {"AR", "X L M H"},
	{"MAV", "X N A L P"}, {"MAC", "X L H"}, {"MPR", "X N L H"}, {"MUI", "X N R"}, {"MS", "X U C"}, {"MC", "X N L H"}, {"MI", "X N L H"}, {"MA", "X N L H"},
}

// vectorType returns OSV's type for a CVSS vector, or "" for what is none: scanners refuse a
// file for one bad vector.
func vectorType(vector string) string {
	for _, v := range versions {
		rest, ok := strings.CutPrefix(vector, v.prefix)
		if !ok {
			continue
		}
		seen := make([]bool, len(v.metrics))
		last := -1
		for _, part := range strings.Split(rest, "/") {
			name, value, _ := strings.Cut(part, ":")
			i := slices.IndexFunc(v.metrics, func(m metric) bool { return m.name == name })
			if i < 0 || seen[i] || v.ordered && i < last || !slices.Contains(strings.Fields(v.metrics[i].values), value) {
				return ""
			}
			seen[i], last = true, i
		}
		if slices.Contains(seen[:v.n], false) {
			return ""
		}
		return v.name
	}
	return ""
}
