package advisories

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/errata"
	"albs/internal/master/errata/draft"
	"albs/internal/master/platform"
	"albs/internal/master/ui/page"
)

// maxEdit is how many bytes a form with a whole advisory may have.
const maxEdit = 8 << 20

// field is a part of an advisory as forms have it: a text, whatever it is.
type field struct {
	Name, Label, Help string
	Rows              int      // of a text of several lines; 0 is one line, or a choice
	Options           []string // to choose from
	of                func(errata.Record) string
	set               func(*errata.Edit, string) error
}

// text is a field that is what it is shown as.
func text(name, label, help string, rows int, of func(errata.Record) string, into func(*errata.Edit) **string) field {
	return field{Name: name, Label: label, Help: help, Rows: rows, of: of, set: func(e *errata.Edit, s string) error {
		*into(e) = &s
		return nil
	}}
}

// flag is a field that is so or not.
func flag(name, label, help string, of func(errata.Record) bool, into func(*errata.Edit) **bool) field {
	say := map[bool]string{true: "yes", false: "no"}
	return field{Name: name, Label: label, Help: help, Options: []string{"no", "yes"}, of: func(r errata.Record) string { return say[of(r)] }, set: func(e *errata.Edit, s string) error {
		b := s == say[true]
		if !b && s != say[false] {
			return albs.Errorf(albs.Invalid, "%.20q is neither yes nor no", s)
		}
		*into(e) = &b
		return nil
	}}
}

// list is a field with an entry a line.
func list[T any](name, label, help string, most int, of func(errata.Record) []T, say func(T) string, read func(string) (T, error), into func(*errata.Edit) **[]T) field {
	return field{Name: name, Label: label, Help: help, Rows: 6, of: func(r errata.Record) string { return written(of(r), say, read) }, set: func(e *errata.Edit, s string) error {
		entries, err := readLines(s, most, read)
		*into(e) = &entries
		return err
	}}
}

// others are the references of an advisory but that to its own page, which the server adds.
func others(r errata.Record) []advisory.Reference {
	return slices.DeleteFunc(slices.Clone(r.Advisory.References), func(x advisory.Reference) bool { return x.Kind == advisory.ToSelf })
}

// fields are all that people edit of an advisory but what they state of CVEs.
var fields = []field{
	text("title", "Title", "without the severity", 0, func(r errata.Record) string { return r.Advisory.Title }, func(e *errata.Edit) **string { return &e.Title }),
	{Name: "severity", Label: "Severity", Options: []string{none, "low", "moderate", "important", "critical"}, of: func(r errata.Record) string {
		if r.Advisory.Severity == advisory.None {
			return none
		}
		return string(r.Advisory.Severity)
	}, set: func(e *errata.Edit, s string) error {
		v, err := advisory.ParseSeverity(s)
		e.Severity = &v
		return err
	}},
	text("summary", "Summary", "", 3, func(r errata.Record) string { return r.Advisory.Summary }, func(e *errata.Edit) **string { return &e.Summary }),
	text("description", "Description", "", 12, func(r errata.Record) string { return r.Advisory.Description }, func(e *errata.Edit) **string { return &e.Description }),
	text("solution", "Solution", "what to do", 3, func(r errata.Record) string { return r.Advisory.Solution }, func(e *errata.Edit) **string { return &e.Solution }),
	list("packages", "Packages that it wants", "one a line: NEVRA, then module=NAME:STREAM, source=FILE, reboot, relogin or restart where that holds", advisory.MaxPackages,
		func(r errata.Record) []advisory.Package { return r.Advisory.Packages }, sayPackage, readPackage, func(e *errata.Edit) **[]advisory.Package { return &e.Packages }),
	list("cves", "CVEs", "one a line: CVE, then severity, day on which it became known, CWEs, CVSS vectors, each with its @source", advisory.MaxCVEs,
		func(r errata.Record) []advisory.CVE { return r.Advisory.CVEs }, sayCVE, readCVE, func(e *errata.Edit) **[]advisory.CVE { return &e.CVEs }),
	list("references", "References", "one a line: cve, bugzilla, rhsa or other, id or -, address, title; that to its own page is added", advisory.MaxReferences,
		others, sayReference, readReference, func(e *errata.Edit) **[]advisory.Reference { return &e.References }),
	flag("reboot", "The system is to be started anew", "", func(r errata.Record) bool { return r.Advisory.Reboot }, func(e *errata.Edit) **bool { return &e.Reboot }),
	{Name: "issued", Label: "Issued", Help: "a day, or a day and a time in UTC", of: func(r errata.Record) string {
		if r.Advisory.Issued.IsZero() {
			return ""
		}
		return r.Advisory.Issued.UTC().Format(time.DateTime)
	}, set: func(e *errata.Edit, s string) error {
		t, err := advisory.ParseTime(s)
		e.Issued = &t
		return err
	}},
	text("upstream", "Notice that it answers", "its id", 0, func(r errata.Record) string { return r.Advisory.Upstream }, func(e *errata.Edit) **string { return &e.Upstream }),
	text("from", "Who answers for it", "an address of mail", 0, func(r errata.Record) string { return r.Advisory.From }, func(e *errata.Edit) **string { return &e.From }),
	text("rights", "Notice of copyright", "", 0, func(r errata.Record) string { return r.Advisory.Rights }, func(e *errata.Edit) **string { return &e.Rights }),
	{Name: "builds", Label: "Builds for which it was made", Help: "their numbers", of: func(r errata.Record) string { return sayBuilds(r.Builds) }, set: func(e *errata.Edit, s string) error {
		ids, err := readBuilds(s)
		e.Builds = &ids
		return err
	}},
	flag("frozen", "Frozen", "automatic matching leaves it alone", func(r errata.Record) bool { return r.Frozen }, func(e *errata.Edit) **bool { return &e.Frozen }),
}

// filled is a field in a form.
type filled struct {
	field
	Value string
	Mark  string // of what the advisory had when the form was first filled in
	Wrong string // what is wrong with it
	Now   string // what somebody else made of it meanwhile, where both did
	Both  bool
}

// formOf is the form of an advisory as it is.
func formOf(r errata.Record) []filled {
	out := make([]filled, len(fields))
	for i, f := range fields {
		v := f.of(r)
		out[i] = filled{field: f, Value: v, Mark: mark(v)}
	}
	return out
}

// typed is a form as it came back, for an advisory as it is by now: fields that weren't
// touched are as the advisory is, those that were are as they were typed. It returns what the
// touched ones change. Wrong says of a field why it can't be read.
func typed(form url.Values, r errata.Record) (out []filled, e errata.Edit, ok bool) {
	ok = true
	out = formOf(r)
	for i := range out {
		f := &out[i]
		if !form.Has(f.Name) {
			continue
		}
		v := newlines(form.Get(f.Name))
		was := form.Get("was-" + f.Name)
		if mark(v) == was || v == f.Value {
			continue // as it was shown, or as it is by now
		}
		if was != "" && was != f.Mark {
			f.Both, f.Now = true, f.Value
		}
		f.Value = v
		if err := f.set(&e, v); err != nil {
			f.Wrong, ok = albs.UserMessage(err), false
		}
	}
	return out, e, ok
}

type editView struct {
	errata.Key
	URL       string
	New       bool
	Type      string // of a new one without an id
	Types     []advisory.Type
	Platforms []string
	Revision  int64
	Fields    []filled
	Reason    string
	Problem   string
	Build     string          // to draft from; "" for none
	Notes     []string        // of a draft
	Since     []errata.Change // that others made while the form was filled in
	Why       string          // why the person may not; "" if it can be done
}

// editPage asks what to change of an advisory.
func (u *Pages) editPage(w http.ResponseWriter, r *http.Request) error {
	rec, pf, err := u.recordOf(r)
	if err != nil {
		return err
	}
	v := editView{Key: rec.Key, URL: path(rec.Key) + "/edit", Revision: rec.Revision, Fields: formOf(rec), Why: whyNotEdit(r.Context(), rec, pf)}
	return u.Render(w, r, http.StatusOK, "advisories/edit", page.Page{Title: "Edit " + rec.ID, Section: section, Body: v})
}

func whyNotEdit(ctx context.Context, r errata.Record, p platform.Platform) string {
	if err := auth.Can(ctx, auth.ErrataCreate, on(p)); err != nil {
		return page.WhyNot(err)
	}
	return busy(r)
}

// edit changes an advisory as a form says. Where that can't be, the form is shown again with
// all that was typed; what somebody else changed meanwhile stands beside it.
func (u *Pages) edit(w http.ResponseWriter, r *http.Request) error {
	rec, pf, err := u.recordOf(r)
	if err != nil {
		return err
	}
	if err := auth.Can(r.Context(), auth.ErrataCreate, on(pf)); err != nil { // before much is read
		return err
	}
	if err := page.LongForm(w, r, maxEdit); err != nil {
		return err
	}
	revision, err := revisionOf(r.PostForm)
	if err != nil {
		return err
	}
	form, e, ok := typed(r.PostForm, rec)
	e.Reason = strings.TrimSpace(r.PostForm.Get("reason"))
	if !ok {
		err = albs.Errorf(albs.Invalid, "something of it can't be read: it is told below")
	} else {
		_, err = u.Errata.Edit(r.Context(), rec.Key, revision, e)
	}
	if err == nil {
		http.Redirect(w, r, path(rec.Key), http.StatusSeeOther)
		return nil
	}
	if !again(err) {
		return err
	}
	v := editView{Key: rec.Key, URL: path(rec.Key) + "/edit", Revision: rec.Revision, Reason: e.Reason, Problem: albs.UserMessage(err), Why: whyNotEdit(r.Context(), rec, pf)}
	if revision != rec.Revision {
		changes, err := u.Errata.History(r.Context(), rec.Key, 0)
		if err != nil {
			return err
		}
		v.Since = slices.DeleteFunc(changes, func(c errata.Change) bool { return c.Revision <= revision })
		v.Problem = fmt.Sprintf("The advisory was changed while you wrote: it has revision %d by now. Below is what you typed, with what others changed; send it again to have it so.", rec.Revision)
	}
	v.Fields = form
	return u.Render(w, r, statusOf(err), "advisories/edit", page.Page{Title: "Edit " + rec.ID, Section: section, Body: v})
}

// again reports whether an error is one that a form is shown again for.
func again(err error) bool {
	return slices.Contains([]albs.Kind{albs.Invalid, albs.TooLarge, albs.Conflict, albs.NotFound}, albs.KindOf(err))
}

// statusOf is the status of a form that is shown again.
func statusOf(err error) int {
	if errors.Is(err, albs.Conflict) {
		return http.StatusConflict
	}
	return http.StatusUnprocessableEntity
}

// blank is a form for a new advisory.
func (u *Pages) blank(ctx context.Context, r errata.Record) (editView, error) {
	ps, err := u.advised(ctx)
	if err != nil {
		return editView{}, err
	}
	v := editView{New: true, Key: r.Key, URL: "/errata/create", Types: advisory.Types(), Type: string(advisory.Security), Platforms: names(ps), Fields: formOf(r), Why: page.WhyNot(anywhere(ctx, auth.ErrataCreate, ps))}
	if r.Advisory.Type != "" {
		v.Type = string(r.Advisory.Type)
	}
	return v, nil
}

// createPage asks for a new advisory; ?build= of the query is to be drafted from.
func (u *Pages) createPage(w http.ResponseWriter, r *http.Request) error {
	q, err := page.Filters(r, "platform", "build")
	if err != nil {
		return err
	}
	rec := errata.Record{Key: errata.Key{Platform: q[0]}}
	if q[1] != "" {
		id, err := readBuild(q[1])
		if err != nil {
			return err
		}
		rec.Builds = []albs.BuildID{id}
	}
	v, err := u.blank(r.Context(), rec)
	if err != nil {
		return err
	}
	v.Build = q[1]
	return u.Render(w, r, http.StatusOK, "advisories/edit", page.Page{Title: "New advisory", Section: section, Body: v})
}

// draft fills in the form for a new advisory by what a build tells.
func (u *Pages) draft(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	id, err := readBuild(r.PostForm.Get("build"))
	if err != nil {
		return err
	}
	var d draft.Draft
	if d, err = u.Drafts.Of(r.Context(), id, r.PostForm.Get("platform")); err != nil {
		return err
	}
	v, err := u.blank(r.Context(), errata.Record{Key: errata.Key{Platform: d.Advisory.Platform}, Advisory: d.Advisory, Builds: []albs.BuildID{id}})
	if err != nil {
		return err
	}
	v.Notes = d.Notes
	return u.Render(w, r, http.StatusOK, "advisories/edit", page.Page{Title: "New advisory for build " + id.String(), Section: section, Body: v})
}

// create makes an advisory of a form.
func (u *Pages) create(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	ps, err := u.advised(ctx)
	if err != nil {
		return err
	}
	if err := anywhere(ctx, auth.ErrataCreate, ps); err != nil { // before much is read
		return err
	}
	if err := page.LongForm(w, r, maxEdit); err != nil {
		return err
	}
	k := errata.Key{ID: strings.TrimSpace(r.PostForm.Get("id")), Platform: r.PostForm.Get("platform")}
	form, e, ok := typed(r.PostForm, errata.Record{})
	e.Reason = strings.TrimSpace(r.PostForm.Get("reason"))
	var made errata.Record
	if ok {
		made, err = u.Errata.Create(ctx, e.Apply(advisory.Advisory{ID: k.ID, Platform: k.Platform, Type: typeOf(k.ID, r.PostForm.Get("type"))}), optionsOf(e))
	} else {
		err = albs.Errorf(albs.Invalid, "something of it can't be read: it is told below")
	}
	if err == nil {
		http.Redirect(w, r, path(made.Key), http.StatusSeeOther)
		return nil
	}
	if !again(err) {
		return err
	}
	v, failed := u.blank(ctx, errata.Record{Key: k})
	if failed != nil {
		return failed
	}
	v.Type, v.Fields, v.Reason, v.Problem = r.PostForm.Get("type"), form, e.Reason, albs.UserMessage(err)
	return u.Render(w, r, statusOf(err), "advisories/edit", page.Page{Title: "New advisory", Section: section, Body: v})
}

// typeOf is the type that a form chooses; that of one with an id is in the id.
func typeOf(id, chosen string) advisory.Type {
	if id != "" {
		return ""
	}
	return advisory.Type(chosen)
}

func optionsOf(e errata.Edit) errata.CreateOptions {
	o := errata.CreateOptions{Reason: e.Reason}
	if e.Builds != nil {
		o.Builds = *e.Builds
	}
	o.Frozen = e.Frozen != nil && *e.Frozen
	return o
}
