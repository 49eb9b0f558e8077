package advisories

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/errata"
	"albs/internal/master/errata/forms"
	"albs/internal/master/face"
	"albs/internal/master/platform"
	"albs/internal/master/ui/page"
)

// formALBS is the body that ALBS's clients send, in a file.
const formALBS = "albs"

// formMemory is how much of a form with a file is held in memory; the rest waits in a
// file.
const formMemory = 8 << 20

// How much of an import its page tells of.
const (
	maxTaken   = 500
	maxDropped = 500
)

type importView struct {
	Platforms []string
	Platform  string
	Formats   []string
	Bound     int64
	Why       string // why the person may not; "" if it can be done
}

func (u *Pages) importPage(w http.ResponseWriter, r *http.Request) error {
	ps, err := u.advised(r.Context())
	if err != nil {
		return err
	}
	q, err := page.Filters(r, "platform")
	if err != nil {
		return err
	}
	v := importView{Platforms: names(ps), Platform: q[0], Formats: append(forms.Names(), formALBS), Bound: forms.MaxFile, Why: page.WhyNot(anywhere(r.Context(), auth.ErrataCreate, ps))}
	return u.Render(w, r, http.StatusOK, "advisories/import", page.Page{Title: "Import advisories", Section: section, Body: v})
}

// importedView is what became of a file.
type importedView struct {
	Platform    string
	File        string
	Taken       []errata.Taken
	MoreTaken   int
	Dropped     []string
	MoreDropped int
	Counts      []outcomeCount
}

type outcomeCount struct {
	Outcome errata.Outcome
	Count   int
}

// importFile takes in the advisories of a form's file, and tells what became of each and what
// was left out.
func (u *Pages) importFile(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	ps, err := u.advised(ctx)
	if err != nil {
		return err
	}
	if err := anywhere(ctx, auth.ErrataCreate, ps); err != nil { // before the file is read
		return err
	}
	r.Body = face.LongBody(w, r, forms.MaxFile+(1<<20))
	if err := r.ParseMultipartForm(formMemory); err != nil {
		if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return albs.Errorf(albs.TooLarge, "the file has more than %d bytes", large.Limit)
		}
		return albs.Errorf(albs.Invalid, "the form is malformed, or broke off")
	}
	defer func() { _ = r.MultipartForm.RemoveAll() }() // what stays is in the system's temporary folder
	p, err := u.Platforms.Get(ctx, r.PostFormValue("platform"))
	if err != nil {
		return err
	}
	if err := auth.Can(ctx, auth.ErrataCreate, on(p)); err != nil {
		return err
	}
	f, about, err := r.FormFile("file")
	if err != nil {
		return albs.Errorf(albs.Invalid, "choose the file to import")
	}
	defer f.Close()
	v, err := u.take(ctx, f, r.PostFormValue("format"), p, errata.CreateOptions{Reason: strings.TrimSpace(r.PostFormValue("reason"))})
	if err != nil {
		return err
	}
	v.File = about.Filename
	return u.Render(w, r, http.StatusOK, "advisories/imported", page.Page{Title: "Imported advisories", Section: section, Body: v})
}

// take imports a file as the advisories of a platform.
func (u *Pages) take(ctx context.Context, f io.Reader, format string, p platform.Platform, o errata.CreateOptions) (importedView, error) {
	v := importedView{Platform: p.Name}
	var as []advisory.Advisory
	var dropped []string
	var err error
	if format == formALBS {
		as, dropped, err = body(f, p, &o)
	} else {
		as, dropped, err = forms.Read(f, format, p)
	}
	if err != nil {
		return v, err
	}
	taken, err := u.Errata.Import(ctx, p.Name, as, o)
	if err != nil {
		return v, err
	}
	for _, outcome := range []errata.Outcome{errata.Added, errata.Updated, errata.Unchanged, errata.Refused} {
		n := 0
		for _, t := range taken {
			if t.Outcome == outcome {
				n++
			}
		}
		if n > 0 {
			v.Counts = append(v.Counts, outcomeCount{outcome, n})
		}
	}
	// What people have to look at comes first.
	slices.SortStableFunc(taken, func(a, b errata.Taken) int {
		rank := func(t errata.Taken) int { return map[bool]int{true: 0, false: 1}[t.Outcome == errata.Refused] }
		return rank(a) - rank(b)
	})
	v.Taken, v.MoreTaken = head(taken, maxTaken)
	v.Dropped, v.MoreDropped = head(dropped, maxDropped)
	return v, nil
}

// body reads what ALBS's clients send. The platform is the form's: the number in the body may
// be that of another server.
func body(f io.Reader, p platform.Platform, o *errata.CreateOptions) ([]advisory.Advisory, []string, error) {
	b, err := io.ReadAll(io.LimitReader(f, advisory.MaxBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read file: %w", err)
	}
	if len(b) > advisory.MaxBytes {
		return nil, nil, albs.Errorf(albs.TooLarge, "a body of ALBS's has at most %d bytes", advisory.MaxBytes)
	}
	g, err := forms.ALBS(b)
	if err != nil {
		return nil, nil, err
	}
	if g.Platform != strconv.FormatInt(p.ID, 10) {
		g.Dropped = append(g.Dropped, fmt.Sprintf("it is of platform %.40s, and was taken as one of %s", g.Platform, p.Name))
	}
	o.Builds, o.Frozen = g.Builds, g.Frozen
	return []advisory.Advisory{g.Advisory}, g.Dropped, nil
}
