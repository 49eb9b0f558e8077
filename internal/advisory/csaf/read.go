package csaf

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
)

// MaxDocument bounds a document that is read.
const MaxDocument = 64 << 20

// maxDropped bounds the sentences on what had to be left out.
const maxDropped = 200

// Platform says which of the products that a document names are a platform's.
type Platform struct {
	Name string // as albs calls it
	// CPEs name products of it; one counts for all that is below it too, so that
	// cpe:/a:redhat:enterprise_linux:9 is also cpe:/a:redhat:enterprise_linux:9::appstream.
	CPEs []string
	// Products are ids or names of products as documents have them.
	Products []string
}

func (p Platform) has(q product) bool {
	if slices.Contains(p.Products, q.ID) || slices.Contains(p.Products, q.Name) && q.Name != "" {
		return true
	}
	return q.Helper != nil && slices.ContainsFunc(p.CPEs, func(c string) bool {
		return c != "" && (q.Helper.CPE == c || strings.HasPrefix(q.Helper.CPE, c+":"))
	})
}

// Read returns what a CSAF 2.0 document says of a platform, as one advisory that is named
// by the document: packages that are fixed, CVEs, and what is stated of packages of any
// version. There is none if it says nothing of the platform. Sentences say what had to be
// left out. A VEX document that Write made is of the advisory that it was made of. An error
// is of the document as a whole: Invalid or TooLarge; it is Invalid too if p names no
// product.
func Read(r io.Reader, p Platform) ([]advisory.Advisory, []string, error) {
	if len(p.CPEs)+len(p.Products) == 0 {
		return nil, nil, albs.Errorf(albs.Invalid, "no product of CSAF documents is said to be of the platform %s", p.Name)
	}
	b, err := io.ReadAll(io.LimitReader(r, MaxDocument+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read a CSAF document: %w", err)
	}
	if len(b) > MaxDocument {
		return nil, nil, albs.Errorf(albs.TooLarge, "a CSAF document has at most %d bytes", MaxDocument)
	}
	var doc document
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, nil, albs.Errorf(albs.Invalid, "the CSAF document can't be read: %w", err)
	}
	if doc.Head.Version != "2.0" {
		return nil, nil, albs.Errorf(albs.Invalid, "the document says that it is CSAF %.20q, and only 2.0 is read", doc.Head.Version)
	}
	products, err := newResolver(doc.Tree)
	if err != nil {
		return nil, nil, err
	}
	rd := reader{p: p, products: products, dropped: dropped{counts: map[string]int{}}}
	if err := rd.read(doc); err != nil {
		return nil, nil, err
	}
	if len(rd.a.Packages)+len(rd.a.VEX) == 0 && rd.a.Withdrawn == nil && len(doc.Vulnerabilities) > 0 {
		return nil, rd.dropped.sentences(), nil
	}
	if err := rd.a.Settle(); err != nil {
		return nil, nil, err
	}
	return []advisory.Advisory{rd.a}, rd.dropped.sentences(), nil
}

// dropped are reasons for which something was left out: of things that there are many of,
// how many and the first.
type dropped struct {
	order  []string
	counts map[string]int
	first  map[string]string
	single []string
}

// many says that one of the things has that fault.
func (d *dropped) many(things, fault, which string) {
	key := things + "\x00" + fault
	if d.counts[key] == 0 {
		d.order = append(d.order, key)
		if d.first == nil {
			d.first = map[string]string{}
		}
		d.first[key] = which
	}
	d.counts[key]++
}

// say adds a sentence, unless it is empty.
func (d *dropped) say(s string) {
	if s != "" && len(d.single) < maxDropped {
		d.single = append(d.single, s)
	}
}

func (d *dropped) sentences() []string {
	out := d.single
	for _, key := range d.order {
		things, fault, _ := strings.Cut(key, "\x00")
		out = append(out, fmt.Sprintf("%d %s %s, as %.200q", d.counts[key], things, fault, d.first[key]))
	}
	return out
}

type reader struct {
	p        Platform
	products *resolver
	a        advisory.Advisory
	stated   map[statement]bool
	open     []vulnerability // of which no package is fixed
	dropped  dropped
}

type statement struct{ cve, name, stream string }

var (
	prefixForm = regexp.MustCompile(`^[^:]{1,60} Advisory: `)
	// typeForm is how ids tell the type: the letter before the last A of the series.
	typeForm     = regexp.MustCompile(`^[A-Z]{2,6}([SBE])A-`)
	numberAtEnd  = regexp.MustCompile(`[0-9]{1,12}$`)
	cvePage      = regexp.MustCompile(`/(CVE-[0-9]{4}-[0-9]{4,19})/?$`)
	bugForm      = regexp.MustCompile(`^[0-9]{1,12}$`)
	advisoryForm = regexp.MustCompile(`^[A-Z]{2,6}A-[0-9]{4}[:-]`)
)

func (r *reader) read(doc document) error {
	h := doc.Head
	a := &r.a
	a.ID = strings.TrimSpace(h.Tracking.ID)
	if h.Category == categoryVEX || strings.HasSuffix(a.ID, vexSuffix) {
		a.ID = strings.TrimSuffix(a.ID, vexSuffix)
	}
	if !advisory.ValidID(a.ID) {
		return albs.Errorf(albs.Invalid, "%.120q, by which the document is tracked, can't be the id of an advisory", a.ID)
	}
	a.Platform = r.p.Name
	a.Type = advisory.Security
	if m := typeForm.FindStringSubmatch(a.ID); m != nil {
		a.Type = map[string]advisory.Type{"S": advisory.Security, "B": advisory.Bugfix, "E": advisory.Enhancement}[m[1]]
	}
	a.Version = 1
	major, _, _ := strings.Cut(h.Tracking.Version, ".")
	if n, err := strconv.Atoi(major); err == nil && n > 0 && n < 1<<31 {
		a.Version = n
	}
	var err error
	if a.Issued, err = time.Parse(time.RFC3339, h.Tracking.Initial); err != nil {
		return albs.Errorf(albs.Invalid, "%.60q, the document's first release, is no time", h.Tracking.Initial)
	}
	if a.Updated, err = time.Parse(time.RFC3339, h.Tracking.Current); err != nil {
		return albs.Errorf(albs.Invalid, "%.60q, the document's current release, is no time", h.Tracking.Current)
	}
	if h.Severity != nil {
		if a.Severity, err = advisory.ParseSeverity(h.Severity.Text); err != nil {
			r.dropped.say(albs.UserMessage(err))
		}
	}
	title := advisory.CleanLine(h.Title)
	a.Title = r.line("title", strings.TrimPrefix(title, prefixForm.FindString(title)))
	a.From = r.line("contact", advisory.CleanLine(h.Publisher.Contact))
	if h.Distribution != nil {
		a.Rights = r.line("rights", advisory.CleanLine(h.Distribution.Text))
	}
	r.notes(h.Notes)
	for _, ref := range h.References {
		r.reference(ref)
	}
	if a.Withdrawn != nil {
		return nil
	}
	r.stated = map[statement]bool{}
	fixed := map[string]bool{} // ids whose packages are taken
	flags := map[string]advisory.Package{}
	for _, v := range doc.Vulnerabilities {
		r.vulnerability(v, fixed, flags)
	}
	for i, p := range a.Packages {
		f := flags[p.NEVRA.String()+"\x00"+stream(p)]
		a.Packages[i].Reboot, a.Packages[i].Restart = f.Reboot, f.Restart
	}
	if len(a.Packages) == 0 {
		// What a document that fixes nothing tells of CVEs is what it is about.
		for _, v := range r.open {
			r.cve(v)
		}
	}
	// A package that is in several repositories is there once in a document of none.
	*a = a.Normal()
	return nil
}

func stream(p advisory.Package) string {
	if p.Module == nil {
		return ""
	}
	return p.Module.String()
}

// line returns s if it may be one, else what there is place for.
func (r *reader) line(what, s string) string { return r.cut(what, s, advisory.MaxLine) }

func (r *reader) text(what, s string) string {
	return r.cut(what, advisory.CleanText(s), advisory.MaxText)
}

func (r *reader) cut(what, s string, most int) string {
	if len(s) <= most {
		return s
	}
	r.dropped.say(fmt.Sprintf("the %s is longer than %d bytes, and its end is left out", what, most))
	return strings.TrimSpace(strings.ToValidUTF8(s[:most], ""))
}

func (r *reader) notes(notes []note) {
	a := &r.a
	for _, n := range notes {
		switch {
		case n.Title == noteWithdrawn:
			a.Withdrawn = &advisory.Withdrawal{At: a.Updated, Reason: cmp.Or(r.text("reason for withdrawal", n.Text), noteWithdrawn)}
		case n.Title == noteUpstream && n.Category == "other":
			a.Upstream = r.line("upstream advisory", advisory.CleanLine(n.Text))
		case n.Category == "summary" && a.Summary == "":
			a.Summary = r.text("summary", n.Text)
		case (n.Category == "general" || n.Category == "description" || n.Category == "details") && a.Description == "":
			a.Description = r.text("description", n.Text)
		case n.Category == "legal_disclaimer": // distribution has the rights
		default:
			r.dropped.many("notes", "have no place in an advisory", cmp.Or(n.Title, n.Category))
		}
	}
}

// reference takes one up by what it seems to lead to: a document doesn't say it.
func (r *reader) reference(ref reference) {
	summary := advisory.CleanLine(ref.Summary)
	if summary == canonicalURL && (ref.Category == "self" || ref.Category == "") {
		return
	}
	id, title, split := strings.Cut(summary, ": ")
	out := advisory.Reference{Kind: advisory.ToOther, URL: ref.URL, Title: summary}
	u, err := url.Parse(ref.URL)
	host := ""
	if err == nil {
		host = u.Host
	}
	self := ref.Category == "self"
	if bug := numberAtEnd.FindString(ref.URL); bug != "" && strings.HasPrefix(host, "bugzilla") && (self || strings.Contains(summary, " ") && !split) {
		// SUSE calls all that it keeps itself, and has words for what it leads to.
		id, title, self, split = bug, summary, false, true
	} else if c := cvePage.FindStringSubmatch(ref.URL); self && c != nil && c[1] != r.a.ID {
		id, title, self, split = c[1], summary, false, true
	}
	switch {
	case self:
		out.Kind, out.ID = advisory.ToSelf, r.a.ID
	case advisory.ValidCVE(id):
		out.Kind = advisory.ToCVE
	case bugForm.MatchString(id) || strings.HasPrefix(host, "bugzilla"):
		out.Kind = advisory.ToBugzilla
	case advisoryForm.MatchString(id) && advisory.ValidID(id):
		out.Kind = advisory.ToAdvisory
	}
	switch {
	case summary == ref.URL:
		out.Title = ""
	case out.Kind == advisory.ToSelf || out.Kind == advisory.ToOther:
	case split:
		out.ID, out.Title = id, title
	default:
		out.ID, out.Title = summary, ""
	}
	r.dropped.say(r.a.AddReference(out))
}

// vulnerability takes up what is said of one. fixed are ids of products that were taken
// before, flags what packages want done after their installation, by package.
func (r *reader) vulnerability(v vulnerability, fixed map[string]bool, flags map[string]advisory.Package) {
	if v.Status == nil {
		v.Status = &status{}
	}
	named := v.CVE != "" && advisory.ValidCVE(v.CVE)
	if v.CVE != "" && !named {
		r.dropped.many("vulnerabilities", "have no id of a CVE's form", v.CVE)
	}
	relevant := len(v.Status.Fixed)+len(v.Status.FirstFixed)+len(v.Status.Recommended)+len(v.Status.KnownAffected)+len(v.Status.KnownNotAffected)+len(v.Status.UnderInvestigation) == 0
	answered := relevant // by packages, or in a document that doesn't go into products
	for _, id := range slices.Concat(v.Status.Fixed, v.Status.FirstFixed, v.Status.Recommended) {
		c, ok := r.component(id)
		if !ok {
			continue
		}
		relevant = true
		switch {
		case fixed[id]:
			answered = true
		case !c.versioned:
			if named {
				r.state(v, id, c, advisory.Fixed)
			}
		case c.Arch == "":
			r.dropped.many("fixed products", "are of no arch", id)
		default:
			fixed[id], answered = true, true
			r.dropped.say(r.a.AddPackage(c.Package))
		}
	}
	for _, list := range []struct {
		status advisory.VEXStatus
		ids    []string
	}{
		{advisory.Affected, v.Status.KnownAffected},
		{advisory.UnderInvestigation, v.Status.UnderInvestigation},
		{advisory.NotAffected, v.Status.KnownNotAffected},
	} {
		for _, id := range list.ids {
			if c, ok := r.component(id); ok && named {
				relevant = true
				r.state(v, id, c, list.status)
			}
		}
	}
	if !relevant {
		r.dropped.many("vulnerabilities", "say nothing of the platform", cmp.Or(v.CVE, v.Title))
		return
	}
	r.remediations(v, flags)
	switch {
	case !named:
	case answered:
		r.cve(v)
	default:
		r.open = append(r.open, v)
	}
	for _, n := range v.Notes {
		if n.Category == "description" && r.a.Description == "" {
			r.a.Description = r.text("description", n.Text)
		}
	}
}

// component returns the package of the platform that id stands for.
func (r *reader) component(id string) (component, bool) {
	t, ok := r.products.find(id)
	if !ok || !r.p.has(t.platform) {
		r.dropped.many("products", "are of other platforms, or whole ones", id)
		return component{}, false
	}
	c, why := t.of()
	if why != "" {
		r.dropped.many("products", why, id)
		return component{}, false
	}
	return c, true
}

// state takes up what is stated of a package of any version: once for each CVE and source
// package.
func (r *reader) state(v vulnerability, id string, c component, as advisory.VEXStatus) {
	s := advisory.VEX{CVE: v.CVE, Package: c.SourceName(), Status: as, At: r.a.Updated}
	if c.Module != nil {
		s.Stream = c.Module.Name + ":" + c.Module.Stream
	}
	key := statement{s.CVE, s.Package, s.Stream}
	if r.stated[key] || len(r.a.VEX) > advisory.MaxVEX { // one more than that is refused
		return
	}
	date := ""
	switch as {
	case advisory.NotAffected:
		for _, f := range v.Flags {
			if s.Justification == "" && slices.Contains(r.products.expand(f.Products, f.Groups), id) {
				s.Justification, date = f.Label, f.Date
			}
		}
		s.Detail, date = r.detail(v, id, date)
	default:
		best := len(remedies)
		for _, f := range v.Remediations {
			i := slices.Index(remedies, f.Category)
			if i >= 0 && i < best && slices.Contains(r.products.expand(f.Products, f.Groups), id) {
				best, s.Detail, date = i, r.text("remediation", f.Details), f.Date
			}
		}
		if s.Detail == update && as == advisory.Fixed || s.Detail == wait {
			s.Detail = ""
		}
	}
	if t, err := time.Parse(time.RFC3339, date); err == nil {
		s.At = t
	}
	if err := s.Check(); err != nil {
		r.dropped.many("statements", "lack what a statement has to have", s.CVE+" of "+s.Package+": "+albs.UserMessage(err))
		return
	}
	r.stated[key] = true
	r.a.VEX = append(r.a.VEX, s)
}

// remedies are the categories of remediations, first those that say what to do.
var remedies = []string{"mitigation", "workaround", "vendor_fix", "none_available", "no_fix_planned"}

func (r *reader) detail(v vulnerability, id, date string) (string, string) {
	for _, t := range v.Threats {
		if t.Category == "impact" && slices.Contains(r.products.expand(t.Products, t.Groups), id) {
			if _, err := advisory.ParseSeverity(t.Details); err != nil {
				return r.text("threat", t.Details), cmp.Or(date, t.Date)
			}
		}
	}
	return "", date
}

// remediations takes up what to do and what has to be started anew, from the vendor's own
// fixes.
func (r *reader) remediations(v vulnerability, flags map[string]advisory.Package) {
	for _, f := range v.Remediations {
		if f.Category != "vendor_fix" || f.Date != "" && f.Details == update {
			continue
		}
		if s := r.text("solution", f.Details); r.a.Solution == "" && s != update && r.fixes(f) {
			r.a.Solution = s
		}
		if f.Restart == nil {
			continue
		}
		switch f.Restart.Category {
		case "machine":
			r.a.Reboot = r.a.Reboot || r.fixes(f)
		case "system", "service", "vulnerable_component":
			for _, id := range r.products.expand(f.Products, f.Groups) {
				c, ok := r.component(id)
				if !ok {
					continue
				}
				key := c.NEVRA.String() + "\x00" + stream(c.Package)
				p := flags[key]
				p.Reboot = p.Reboot || f.Restart.Category == "system"
				p.Restart = p.Restart || f.Restart.Category != "system"
				flags[key] = p
			}
		}
	}
}

// fixes reports whether f is of a package that is fixed in the platform, or of none in
// particular.
func (r *reader) fixes(f remediation) bool {
	ids := r.products.expand(f.Products, f.Groups)
	return len(ids) == 0 || slices.ContainsFunc(ids, func(id string) bool {
		t, ok := r.products.find(id)
		if !ok || !r.p.has(t.platform) {
			return false
		}
		c, why := t.of()
		return why == "" && c.versioned
	})
}

func (r *reader) cve(v vulnerability) {
	c := advisory.CVE{ID: v.CVE}
	if v.CWE != nil {
		c.CWEs = []string{v.CWE.ID}
	}
	said := map[string]bool{}
	for _, n := range v.Notes {
		title := advisory.CleanLine(n.Title)
		switch source, scored := strings.CutPrefix(title, noteScore); {
		case n.Category == "other" && title == noteWeaknesses:
			c.CWEs = strings.Fields(n.Text)
		case n.Category == "other" && scored:
			said[n.Text] = true
			c.Scores = append(c.Scores, advisory.Score{Vector: n.Text, Source: strings.TrimPrefix(source, " by ")})
		}
	}
	for _, s := range v.Scores {
		for _, one := range []*cvssScore{s.V3, s.V2} {
			if one == nil || one.Vector == "" || said[one.Vector] || !slices.ContainsFunc(s.Products, r.ours) {
				continue
			}
			said[one.Vector] = true
			c.Scores = append(c.Scores, advisory.Score{Vector: one.Vector})
		}
	}
	for _, t := range v.Threats {
		if s, err := advisory.ParseSeverity(t.Details); t.Category == "impact" && err == nil && c.Impact == advisory.None {
			c.Impact = s
		}
	}
	if t, err := time.Parse(time.RFC3339, cmp.Or(v.Released, v.Discovered)); err == nil {
		c.Public = t
	}
	if err := c.Check(); err != nil {
		r.dropped.say("the details of a CVE are left out: " + albs.UserMessage(err))
		c = advisory.CVE{ID: c.ID}
	}
	for _, ref := range v.References {
		out := advisory.Reference{Kind: advisory.ToCVE, ID: v.CVE, URL: ref.URL}
		id, title, split := strings.Cut(advisory.CleanLine(ref.Summary), ": ")
		switch {
		case split && id == v.CVE:
			out.Title = title
		case id != v.CVE && !strings.Contains(ref.URL, v.CVE):
			r.reference(ref)
			continue
		}
		r.dropped.say(r.a.AddReference(out))
	}
	if i := slices.IndexFunc(r.a.CVEs, func(o advisory.CVE) bool { return o.ID == c.ID }); i >= 0 {
		r.a.CVEs[i] = c
	} else if len(r.a.CVEs) <= advisory.MaxCVEs { // one more is refused
		r.a.CVEs = append(r.a.CVEs, c)
	}
}

// ours reports whether id is of the platform.
func (r *reader) ours(id string) bool {
	t, _ := r.products.find(id)
	return r.p.has(t.platform)
}
