package csaf

import (
	"cmp"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/advisory/cvss"
	"albs/internal/albs"
)

// Words by which a reader knows again what a document tells in notes, for want of fields.
const (
	noteTopic      = "Topic"
	noteDetails    = "Details"
	noteUpstream   = "Upstream advisory"
	noteWithdrawn  = "Reason for withdrawal"
	noteScore      = "CVSS vector"
	noteWeaknesses = "Weaknesses"
	canonicalURL   = "Canonical URL"
	titlePrefix    = " Security Advisory: "
	update         = "Update the affected packages."
	wait           = "Whether the package is affected is being looked into."
)

// Revision is an earlier version of an advisory: when it was published, and with what
// words for those who read its history; "" is that it was published.
type Revision struct {
	At      time.Time
	Summary string
}

// Folder is where the documents are below the place of a platform's advisories.
const Folder = "csaf/"

// Write returns the documents of an advisory, each with the files of its hashes, and the
// piece that it has in Lists: of a security advisory what it fixes, and of one of any type
// for which statements were made a VEX document. Without either there is nothing. Paths
// begin with Folder; a file that ends in .json is a document, beside which who publishes
// puts the signature, as .json.asc.
//
// earlier are the versions that were published before, one for each, from the first on; any
// other number is Invalid, as is an advisory that Check refuses. A document of one that was
// withdrawn tells when and why, and of no product any more.
func Write(a advisory.Advisory, d advisory.Distribution, earlier []Revision) ([]advisory.File, advisory.Piece, error) {
	a = a.Normal()
	piece := advisory.Piece{ID: a.ID, Updated: a.Updated}
	if err := a.Check(); err != nil {
		return nil, piece, err
	}
	if len(earlier) != a.Version-1 {
		return nil, piece, albs.Errorf(albs.Invalid, "version %d of the advisory %s has %d earlier ones", a.Version, a.ID, len(earlier))
	}
	w := writer{a: a, d: d, earlier: earlier, cves: cves(a)}
	piece.Updated = w.changed()
	var docs []document
	if a.Type == advisory.Security {
		docs = append(docs, w.advisory())
	}
	if len(a.VEX) > 0 {
		docs = append(docs, w.vex())
	}
	var files []advisory.File
	for _, doc := range docs {
		b, err := encode(doc)
		if err != nil {
			return nil, piece, err
		}
		name := fileName(doc.Head.Tracking.ID)
		path := doc.Head.Tracking.Initial[:4] + "/" + name
		s256, s512 := sha256.Sum256(b), sha512.Sum512(b)
		files = append(files, advisory.File{Path: Folder + path, Bytes: b},
			advisory.File{Path: Folder + path + ".sha256", Bytes: []byte(hex.EncodeToString(s256[:]) + "  " + name + "\n")},
			advisory.File{Path: Folder + path + ".sha512", Bytes: []byte(hex.EncodeToString(s512[:]) + "  " + name + "\n")})
		line, err := json.Marshal(entry{
			Path: path, ID: doc.Head.Tracking.ID, Title: doc.Head.Title, Published: doc.Head.Tracking.Initial, Updated: doc.Head.Tracking.Current,
		})
		if err != nil {
			return nil, piece, err
		}
		piece.Bytes = append(append(piece.Bytes, line...), '\n')
	}
	return files, piece, nil
}

type writer struct {
	a       advisory.Advisory
	d       advisory.Distribution
	earlier []Revision
	cves    []advisory.CVE // that the packages fix, by id
}

// cves returns what is known of all CVEs that an advisory answers, those too that only its
// references name.
func cves(a advisory.Advisory) []advisory.CVE {
	var all []advisory.CVE
	for _, id := range a.AllCVEs() {
		c := advisory.CVE{ID: id}
		if i := slices.IndexFunc(a.CVEs, func(o advisory.CVE) bool { return o.ID == id }); i >= 0 {
			c = a.CVEs[i]
		}
		all = append(all, c)
	}
	return all
}

// answers reports whether the packages fix the CVE; of an advisory that was withdrawn they
// fix none.
func (w writer) answers(cve string) bool {
	return w.a.Withdrawn == nil && slices.ContainsFunc(w.cves, func(c advisory.CVE) bool { return c.ID == cve })
}

// advisory is the document of what the packages fix.
func (w writer) advisory() document {
	doc := document{Head: w.head(w.a.ID)}
	doc.Head.Title = w.d.Vendor + titlePrefix + w.a.Title
	if w.a.Withdrawn != nil {
		return doc
	}
	t := newProducts(w.d)
	fixed := w.fixed(t)
	if len(fixed) > 0 {
		doc.Head.Category = categoryAdvisory
	}
	for _, c := range w.cves {
		doc.Vulnerabilities = append(doc.Vulnerabilities, w.vulnerability(c, fixed, nil, nil))
	}
	if len(w.cves) == 0 {
		v := w.vulnerability(advisory.CVE{}, fixed, nil, nil)
		v.Title = w.a.Title
		doc.Vulnerabilities = []vulnerability{v}
	}
	doc.Tree = t.tree()
	return doc
}

// vex is the document of what people stated, beside what is fixed of the same CVEs.
func (w writer) vex() document {
	doc := document{Head: w.head(w.a.ID + vexSuffix)}
	doc.Head.Title = w.d.Vendor + titlePrefix + w.a.Title
	if w.a.Withdrawn != nil {
		return doc
	}
	doc.Head.Category = categoryVEX
	t := newProducts(w.d)
	stated := map[string][]advisory.VEX{}
	for _, v := range w.a.VEX {
		list := stated[v.CVE]
		// Of statements about the same, which stand in the order of their times, the last
		// one holds.
		if n := len(list); n > 0 && list[n-1].Package == v.Package && list[n-1].Stream == v.Stream {
			list = list[:n-1]
		}
		stated[v.CVE] = append(list, v)
	}
	cves := slices.Clone(w.cves)
	for cve := range stated {
		if !w.answers(cve) {
			cves = append(cves, advisory.CVE{ID: cve})
		}
	}
	slices.SortFunc(cves, func(x, y advisory.CVE) int { return strings.Compare(x.ID, y.ID) })
	fixed := w.fixed(t)
	for _, c := range cves {
		var ids, of []string
		if w.answers(c.ID) {
			of = fixed
		}
		for _, v := range stated[c.ID] {
			ids = append(ids, t.any(v.Package, v.Stream))
		}
		if len(ids)+len(of) > 0 {
			doc.Vulnerabilities = append(doc.Vulnerabilities, w.vulnerability(c, of, ids, stated[c.ID]))
		}
	}
	doc.Tree = t.tree()
	return doc
}

// fixed adds all packages to the tree and returns their ids, ascending.
func (w writer) fixed(t *products) []string {
	var ids []string
	for _, p := range w.a.Packages {
		ids = append(ids, t.fixed(p))
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// head is what all documents of an advisory have in common. Its category is the one that
// wants nothing of the rest.
func (w writer) head(id string) head {
	a, d := w.a, w.d
	h := head{
		Category: categoryBase, Version: "2.0", Lang: "en",
		Distribution: &distribution{Text: a.Rights, TLP: &tlp{Label: "WHITE", URL: "https://www.first.org/tlp/"}},
		Publisher:    publisher{Category: "vendor", Contact: cmp.Or(a.From, d.Contact), Name: d.Vendor, Namespace: d.Namespace},
	}
	if a.Severity != advisory.None {
		h.Severity = &aggregate{Text: a.Severity.Title()}
	}
	for _, n := range []note{{"summary", a.Summary, noteTopic}, {"general", a.Description, noteDetails}, {"other", a.Upstream, noteUpstream}} {
		if n.Text != "" {
			h.Notes = append(h.Notes, n)
		}
	}
	if a.Withdrawn != nil {
		h.Notes = append(h.Notes, note{"description", a.Withdrawn.Reason, noteWithdrawn})
	}
	h.Tracking = w.tracking(id)
	h.References = []reference{{Category: "self", Summary: canonicalURL, URL: d.URL + "/" + Folder + h.Tracking.Initial[:4] + "/" + fileName(id)}}
	for _, r := range a.References {
		if r.Kind != advisory.ToCVE || !w.answers(r.ID) {
			h.References = append(h.References, told(r))
		}
	}
	return h
}

// tracking has a revision for each version. The first is of the day of issue; none is
// before the one that it follows.
func (w writer) tracking(id string) tracking {
	a := w.a
	t := tracking{
		Generator: &generator{engine{"albs"}}, ID: id, Initial: stamp(a.Issued), Status: "final", Version: strconv.Itoa(a.Version),
	}
	at := a.Issued
	add := func(when time.Time, summary string) {
		if len(t.History) > 0 && when.After(at) {
			at = when
		}
		t.History = append(t.History, revision{Date: stamp(at), Number: strconv.Itoa(len(t.History) + 1), Summary: summary})
	}
	for i, r := range w.earlier {
		when := r.At.Truncate(time.Second)
		if when.After(w.changed()) {
			when = w.changed()
		}
		add(when, cmp.Or(advisory.CleanLine(r.Summary), published(i+1)))
	}
	if a.Withdrawn != nil {
		add(w.changed(), "Withdrawn")
	} else {
		add(w.changed(), published(a.Version))
	}
	t.Current = stamp(w.changed())
	return t
}

// changed is when what the documents tell was last changed.
func (w writer) changed() time.Time {
	if w.a.Withdrawn != nil && w.a.Withdrawn.At.After(w.a.Updated) {
		return w.a.Withdrawn.At
	}
	return w.a.Updated
}

func published(version int) string {
	if version == 1 {
		return "First version"
	}
	return "Version " + strconv.Itoa(version)
}

// told is how a document refers to r: the id first, by which its kind is known again.
func told(r advisory.Reference) reference {
	out := reference{Category: "external", Summary: r.Title, URL: r.URL}
	switch {
	case r.Kind == advisory.ToSelf:
		out.Category = "self"
		out.Summary = cmp.Or(r.Title, r.ID)
	case r.Kind == advisory.ToOther:
		out.Summary = cmp.Or(r.Title, r.ID)
	case r.Title != "" && r.Title != r.ID && r.ID != "":
		out.Summary = r.ID + ": " + r.Title
	default:
		out.Summary = cmp.Or(r.ID, r.Title)
	}
	out.Summary = cmp.Or(out.Summary, r.URL)
	return out
}

// vulnerability tells of a CVE that these products are fixed, and what was stated of
// products, ids in the order of the statements. c may be empty.
func (w writer) vulnerability(c advisory.CVE, fixed, ids []string, stated []advisory.VEX) vulnerability {
	v := vulnerability{CVE: c.ID, Notes: []note{{"summary", w.a.Title, "Advisory"}}}
	all := append(slices.Clone(fixed), ids...)
	slices.Sort(all)
	v.weaknesses(c.CWEs)
	v.scores(c.Scores, all)
	if !c.Public.IsZero() {
		v.Released = stamp(c.Public)
	}
	if c.Impact != advisory.None {
		v.Threats = append(v.Threats, threat{Category: "impact", Details: c.Impact.Title()})
	}
	for _, r := range w.a.References {
		if r.Kind == advisory.ToCVE && r.ID == c.ID {
			v.References = append(v.References, told(r))
		}
	}
	if len(all) == 0 {
		return v
	}
	v.Status = &status{Fixed: slices.Clone(fixed)}
	if len(fixed) > 0 {
		v.Remediations = w.fixes(fixed)
	}
	for i, s := range stated {
		v.state(ids[i], s)
	}
	slices.Sort(v.Status.Fixed)
	return v
}

// fixes are the remediations of what is fixed: one for all packages, and one more for those
// after which something has to be started anew.
func (w writer) fixes(fixed []string) []remediation {
	fix := remediation{Category: "vendor_fix", Details: cmp.Or(w.a.Solution, update)}
	for _, r := range w.a.References {
		if r.Kind == advisory.ToSelf && fix.URL == "" {
			fix.URL = r.URL
		}
	}
	whole := fix
	whole.Products = fixed
	if w.a.Reboot {
		whole.Restart = &restart{"machine"}
	}
	out := []remediation{whole}
	for _, r := range []struct {
		category string
		wants    func(advisory.Package) bool
	}{
		{"system", func(p advisory.Package) bool { return p.Reboot }},
		{"service", func(p advisory.Package) bool { return p.Restart }},
	} {
		t, part := newProducts(w.d), fix
		for _, p := range w.a.Packages {
			if r.wants(p) {
				part.Products = append(part.Products, t.fixed(p))
			}
		}
		if len(part.Products) > 0 {
			slices.Sort(part.Products)
			part.Products = slices.Compact(part.Products)
			part.Restart = &restart{r.category}
			out = append(out, part)
		}
	}
	return out
}

// state adds what a person stated of the product with that id.
func (v *vulnerability) state(id string, s advisory.VEX) {
	at, of := stamp(s.At), []string{id}
	switch s.Status {
	case advisory.Affected:
		v.Status.KnownAffected = append(v.Status.KnownAffected, id)
		v.Remediations = append(v.Remediations, remediation{Category: "mitigation", Date: at, Details: s.Detail, Products: of})
		return
	case advisory.NotAffected:
		v.Status.KnownNotAffected = append(v.Status.KnownNotAffected, id)
		v.Flags = append(v.Flags, justified{Date: at, Label: s.Justification, Products: of})
	case advisory.Fixed:
		v.Status.Fixed = append(v.Status.Fixed, id)
		v.Remediations = append(v.Remediations, remediation{Category: "vendor_fix", Date: at, Details: cmp.Or(s.Detail, update), Products: of})
		return
	case advisory.UnderInvestigation:
		v.Status.UnderInvestigation = append(v.Status.UnderInvestigation, id)
		v.Remediations = append(v.Remediations, remediation{Category: "none_available", Date: at, Details: cmp.Or(s.Detail, wait), Products: of})
		return
	}
	if s.Detail != "" {
		v.Threats = append(v.Threats, threat{Category: "impact", Date: at, Details: s.Detail, Products: of})
	}
}

// weaknesses names the first one that CWE's list has, for a document has a place for one,
// and all in a note if that isn't all.
func (v *vulnerability) weaknesses(ids []string) {
	for _, id := range ids {
		if name := cweNames()[id]; name != "" {
			v.CWE = &cwe{id, name}
			break
		}
	}
	if len(ids) > 1 || len(ids) == 1 && v.CWE == nil {
		v.Notes = append(v.Notes, note{"other", strings.Join(ids, " "), noteWeaknesses})
	}
}

// scores gives the products the first score of version 3 and the first of version 2: a
// document has one of each, and doesn't say whose it is. What that leaves unsaid stands in
// notes.
func (v *vulnerability) scores(all []advisory.Score, products []string) {
	var v2, v3 *cvssScore
	for _, s := range all {
		c, err := cvss.Parse(s.Vector)
		one := &cvssScore{Base: c.Base, Severity: c.Severity, Vector: s.Vector, Version: c.Version}
		shown := err == nil && len(products) > 0
		switch {
		case shown && c.Version == "2.0" && v2 == nil:
			v2 = one
		case shown && c.Version != "2.0" && v3 == nil:
			v3 = one
		default:
			shown = false
		}
		if shown && s.Source == "" {
			continue
		}
		title := noteScore
		if s.Source != "" {
			title += " by " + s.Source
		}
		v.Notes = append(v.Notes, note{"other", s.Vector, title})
	}
	if v2 != nil || v3 != nil {
		v.Scores = []score{{V2: v2, V3: v3, Products: products}}
	}
}
