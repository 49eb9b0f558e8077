package advisories

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/rpm"
)

// The lists of an advisory as people edit them: an entry a line, in words with spaces
// between. An entry that words can't tell is there as JSON, so that nothing is lost by
// being shown in a form:
//
//	cve CVE-2024-1 https://www.cve.org/CVERecord?id=CVE-2024-1 its title
//	CVE-2024-1 important 2024-05-01 CWE-79 CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H @nvd@nist.gov
//	bash-5.1.8-9.el9.x86_64 module=perl:5.32 source=bash-5.1.8-9.el9.src.rpm reboot

// written returns entries as lines, each as say does or, where read wouldn't give the
// entry back, as JSON.
func written[T any](entries []T, say func(T) string, read func(string) (T, error)) string {
	var lines []string
	for _, x := range entries {
		line := say(x)
		if back, err := read(line); err != nil || asJSON(back) != asJSON(x) {
			line = asJSON(x)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func asJSON(x any) string {
	b, err := json.Marshal(x)
	if err != nil {
		return "" // every entry of an advisory can be encoded
	}
	return string(b)
}

// readLines returns the entries of lines; those that are empty are none. The error is
// Invalid and names the line.
func readLines[T any](text string, most int, read func(string) (T, error)) ([]T, error) {
	out := []T{}
	for i, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if len(out) == most {
			return nil, albs.Errorf(albs.TooLarge, "more than %d lines", most)
		}
		var x T
		var err error
		if strings.HasPrefix(line, "{") {
			d := json.NewDecoder(strings.NewReader(line))
			d.DisallowUnknownFields()
			err = d.Decode(&x)
		} else {
			x, err = read(line)
		}
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "line %d, %.100q: %w", i+1, line, err)
		}
		out = append(out, x)
	}
	return out, nil
}

func sayReference(r advisory.Reference) string {
	id := r.ID
	if id == "" {
		id = "-"
	}
	return strings.TrimSpace(strings.Join([]string{string(r.Kind), id, r.URL, r.Title}, " "))
}

func readReference(line string) (advisory.Reference, error) {
	words := strings.SplitN(line, " ", 4)
	if len(words) < 3 {
		return advisory.Reference{}, albs.Errorf(albs.Invalid, "a reference is: kind, id or -, address, and a title if it has one")
	}
	r := advisory.Reference{Kind: advisory.ReferenceKind(words[0]), ID: words[1], URL: words[2]}
	if r.ID == "-" {
		r.ID = ""
	}
	if len(words) > 3 {
		r.Title = words[3]
	}
	return r, nil
}

func sayCVE(c advisory.CVE) string {
	words := []string{c.ID}
	if c.Impact != advisory.None {
		words = append(words, string(c.Impact))
	}
	if !c.Public.IsZero() {
		words = append(words, c.Public.Format(time.DateOnly))
	}
	words = append(words, c.CWEs...)
	for _, s := range c.Scores {
		words = append(words, s.Vector)
		if s.Source != "" {
			words = append(words, "@"+s.Source)
		}
	}
	return strings.Join(words, " ")
}

func readCVE(line string) (advisory.CVE, error) {
	words := strings.Fields(line)
	c := advisory.CVE{ID: words[0]}
	for _, w := range words[1:] {
		day, err := time.Parse(time.DateOnly, w)
		source, of := strings.CutPrefix(w, "@")
		switch {
		case slices.Contains(advisory.Severities(), advisory.Severity(w)):
			c.Impact = advisory.Severity(w)
		case err == nil:
			c.Public = day
		case strings.HasPrefix(w, "CWE-"):
			c.CWEs = append(c.CWEs, w)
		case of && len(c.Scores) > 0 && c.Scores[len(c.Scores)-1].Source == "":
			c.Scores[len(c.Scores)-1].Source = source
		case strings.Contains(w, "/"):
			c.Scores = append(c.Scores, advisory.Score{Vector: w})
		default:
			return c, albs.Errorf(albs.Invalid, "%.60q is neither a severity, a day, a CWE nor a CVSS vector, nor the @source of one", w)
		}
	}
	return c, nil
}

// flags are what may have to follow the installation of a package.
var flags = []struct {
	word string
	of   func(*advisory.Package) *bool
}{
	{"reboot", func(p *advisory.Package) *bool { return &p.Reboot }},
	{"relogin", func(p *advisory.Package) *bool { return &p.Relogin }},
	{"restart", func(p *advisory.Package) *bool { return &p.Restart }},
}

func sayPackage(p advisory.Package) string {
	words := []string{p.NEVRA.String()}
	if m := p.Module; m != nil {
		s := m.Name + ":" + m.Stream
		if m.Version != 0 || m.Context != "" || m.Arch != "" {
			s = m.NSVCA()
		}
		words = append(words, "module="+s)
	}
	if p.Source != "" {
		words = append(words, "source="+p.Source)
	}
	for _, f := range flags {
		if *f.of(&p) {
			words = append(words, f.word)
		}
	}
	return strings.Join(words, " ")
}

func readPackage(line string) (advisory.Package, error) {
	words := strings.Fields(line)
	n, err := rpm.ParseNEVRA(words[0])
	if err != nil {
		return advisory.Package{}, err
	}
	p := advisory.Package{NEVRA: n}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		i := slices.IndexFunc(flags, func(f struct {
			word string
			of   func(*advisory.Package) *bool
		}) bool {
			return f.word == w
		})
		switch {
		case i >= 0:
			*flags[i].of(&p) = true
		case key == "source" && value != "":
			p.Source = value
		case key == "module":
			m, ok := advisory.ParseModule(value)
			if !ok {
				return p, albs.Errorf(albs.Invalid, "%.60q is no module: name:stream", value)
			}
			p.Module = &m
		default:
			return p, albs.Errorf(albs.Invalid, "%.60q is not one of module=NAME:STREAM, source=FILE, reboot, relogin, restart", w)
		}
	}
	return p, nil
}

func sayBuilds(ids []albs.BuildID) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = id.String()
	}
	return strings.Join(words, " ")
}

func readBuilds(text string) ([]albs.BuildID, error) {
	out := []albs.BuildID{}
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\t' }) {
		id, err := readBuild(w)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out, nil
}

// mark names a text within a form, for telling whether it was changed there.
func mark(s string) string { return albs.DigestOf([]byte(s)).Short() }
