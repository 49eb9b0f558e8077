package errata

import (
	"regexp"
	"slices"
	"strings"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/platform"
)

// rewriter makes of an advisory that others wrote one of a platform, by its rules.
type rewriter struct {
	scheme
	platform string
	rules    []rule
}

type rule struct {
	in      []string
	find    string
	pattern *regexp.Regexp // nil for one that finds a text
	with    string
}

func newRewriter(p platform.Platform) (rewriter, error) {
	w := rewriter{scheme: scheme{p.Errata}, platform: p.Name}
	for _, r := range p.Errata.Rewrite {
		next := rule{in: r.In, find: r.Find, with: r.With}
		if r.Pattern != "" {
			re, err := regexp.Compile(r.Pattern)
			if err != nil {
				return w, albs.Errorf(albs.Invalid, "platform %s: %w", p.Name, err)
			}
			next.pattern = re
		}
		w.rules = append(w.rules, next)
	}
	return w, nil
}

// rewrite returns the advisory as the platform's. One whose id changes answers the one
// that it was, and the reference to its page becomes one to that notice. TooLarge if a
// text grows beyond what advisories may have.
func (w rewriter) rewrite(a advisory.Advisory) (advisory.Advisory, error) {
	var err error
	say := func(in, s string, most int) string {
		if err != nil {
			return s
		}
		s, err = w.apply(in, s, most)
		return s
	}
	was := a.ID
	a.Platform, a.ID = w.platform, say(platform.InID, a.ID, advisory.MaxLine)
	for _, line := range []*string{&a.Title, &a.Rights} {
		*line = say(platform.InText, *line, advisory.MaxLine)
	}
	for _, text := range []*string{&a.Summary, &a.Description, &a.Solution} {
		*text = say(platform.InText, *text, advisory.MaxText)
	}
	told := slices.ContainsFunc(a.References, func(r advisory.Reference) bool { return r.Kind == advisory.ToAdvisory && r.ID == was })
	refs := make([]advisory.Reference, 0, len(a.References))
	for _, r := range a.References {
		switch {
		case r.Kind != advisory.ToSelf:
			r.URL, r.Title = say(platform.InReference, r.URL, advisory.MaxLine), say(platform.InReference, r.Title, advisory.MaxLine)
		case a.ID == was || told:
			continue // its own page is added
		default:
			r.Kind, r.ID = advisory.ToAdvisory, was
		}
		refs = append(refs, r)
	}
	a.References = refs
	if err != nil {
		return a, err
	}
	if a.ID != was && a.Upstream == "" {
		a.Upstream = was
	}
	return a, nil
}

// apply does what the rules for in say to s, one after the other.
func (w rewriter) apply(in, s string, most int) (string, error) {
	for i, r := range w.rules {
		if !slices.Contains(r.in, in) {
			continue
		}
		if r.pattern == nil {
			if n := strings.Count(s, r.find); len(s)+n*(len(r.with)-len(r.find)) > most {
				return "", tooLong(i, most)
			}
			s = strings.ReplaceAll(s, r.find, r.with)
			continue
		}
		var b []byte
		last := 0
		for _, m := range r.pattern.FindAllStringSubmatchIndex(s, -1) {
			b = append(b, s[last:m[0]]...)
			b = r.pattern.ExpandString(b, r.with, s, m)
			if last = m[1]; len(b) > most {
				return "", tooLong(i, most)
			}
		}
		if len(b)+len(s)-last > most {
			return "", tooLong(i, most)
		}
		s = string(b) + s[last:]
	}
	return s, nil
}

func tooLong(rule, most int) error {
	return albs.Errorf(albs.TooLarge, "errata.rewrite, rule %d: a text becomes longer than %d bytes", rule+1, most)
}
