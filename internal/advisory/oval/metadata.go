package oval

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/advisory/cvss"
)

// metadata is what a definition tells people.
func (p *parts) metadata(a advisory.Advisory) *elem {
	title := a.ID + ": " + a.Title
	if a.Severity != advisory.None {
		title += " (" + a.Severity.Title() + ")"
	}
	m := element("metadata").add(element("title").text(title),
		element("affected").attr("family", "unix").add(element("platform").text(p.system())))
	refs := a.AllReferences()
	for _, r := range refs {
		id, source := r.ID, ""
		switch r.Kind {
		case advisory.ToSelf:
			id = a.ID
			source, _, _ = strings.Cut(id, "-")
		case advisory.ToAdvisory:
			source, _, _ = strings.Cut(id, "-")
		case advisory.ToCVE:
			source = "CVE"
		}
		if source != "" && id != "" {
			m.add(element("reference").attr("ref_id", id).attr("ref_url", r.URL).attr("source", source))
		}
	}
	m.add(element("description").text(a.Description))
	adv := element("advisory").attr("from", cmp.Or(a.From, p.d.Contact)).add(
		element("severity").text(a.Severity.Title()), element("rights").text(a.Rights),
		element("issued").attr("date", a.Issued.Format(time.DateOnly)), element("updated").attr("date", a.Updated.Format(time.DateOnly)))
	for _, id := range a.AllCVEs() {
		adv.add(vulnerability(a, id, refs))
	}
	for _, r := range refs {
		if r.Kind == advisory.ToBugzilla {
			adv.add(element("bugzilla").attr("href", r.URL).attr("id", r.ID).text(r.Title))
		}
	}
	list := element("affected_cpe_list")
	for _, c := range p.cpes(a.Packages) {
		list.add(element("cpe").text(c))
	}
	return m.add(adv.add(list))
}

// vulnerability is a CVE with what is known of it; scores stand before their vectors.
func vulnerability(a advisory.Advisory, id string, refs []advisory.Reference) *elem {
	e := element("cve").text(id)
	if i := slices.IndexFunc(a.CVEs, func(c advisory.CVE) bool { return c.ID == id }); i >= 0 {
		c := a.CVEs[i]
		for _, s := range c.Scores {
			if v, err := cvss.Parse(s.Vector); err == nil && !e.has("cvss"+v.Version[:1]) {
				e.attr("cvss"+v.Version[:1], fmt.Sprintf("%.1f/%s", v.Base, s.Vector))
			}
		}
		if len(c.CWEs) > 0 {
			e.attr("cwe", strings.Join(c.CWEs, "|"))
		}
		if c.Impact != advisory.None {
			e.attr("impact", string(c.Impact))
		}
		if !c.Public.IsZero() {
			e.attr("public", c.Public.Format("20060102"))
		}
	}
	for _, r := range refs {
		if r.Kind == advisory.ToCVE && r.ID == id && !e.has("href") {
			e.attr("href", r.URL)
		}
	}
	return e
}

// cpes are those of the repositories that have a package of the advisory.
func (p *parts) cpes(packages []advisory.Package) []string {
	var out []string
	for _, q := range packages {
		if c := cmp.Or(p.d.RepositoryCPEs[q.Repository], p.d.CPE); c != "" {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
