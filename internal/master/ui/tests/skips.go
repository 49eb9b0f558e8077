package tests

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/testrun"
	"albs/internal/master/ui/page"
)

// skipsView is the skip list.
type skipsView struct {
	Platform, Package, Stage string // by which it is filtered
	Platforms                []string
	Stages                   []albs.TestStage
	Skips                    []testrun.Skip
	Pager                    page.Pager
	Why                      string // why the person can't change it
}

// Filtered reports whether only some entries are asked for.
func (v skipsView) Filtered() bool { return v.Platform+v.Package+v.Stage != "" }

func (u *Pages) skipsPage(w http.ResponseWriter, r *http.Request) error {
	q, err := page.Filters(r, "platform", "package", "stage")
	if err != nil {
		return err
	}
	ctx := r.Context()
	p, err := u.Follow(ctx, page.Page{Title: "The skip list", Section: section}, FollowSkips)
	if err != nil {
		return err
	}
	v := skipsView{Platform: q[0], Package: strings.TrimSpace(q[1]), Stage: q[2], Stages: stages(), Why: mayNot(ctx)}
	if v.Platforms, err = u.platforms(ctx); err != nil {
		return err
	}
	skips, err := u.Tests.Skips(ctx, v.Platform)
	if err != nil {
		return err
	}
	part := strings.ToLower(v.Package)
	skips = slices.DeleteFunc(skips, func(s testrun.Skip) bool {
		return !strings.Contains(strings.ToLower(s.Package), part) || v.Stage != "" && string(s.Stage) != v.Stage
	})
	if v.Skips, v.Pager, err = page.Paged(r, skips, perPage); err != nil {
		return err
	}
	p.Body = v
	return u.Render(w, r, http.StatusOK, "tests/skips", p)
}

// mayNot says why the person who asks can't change the skip list; "" if that can be done.
func mayNot(ctx context.Context) string {
	return page.WhyNot(auth.Can(ctx, auth.PlatformApply, auth.Object{}))
}

// platforms are the names of all platforms.
func (u *Pages) platforms(ctx context.Context) ([]string, error) {
	all, err := u.Platforms.All(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range all {
		out = append(out, p.Name)
	}
	slices.SortFunc(out, cmp.Compare)
	return out, nil
}

// skipView asks whether an entry is to be made.
type skipView struct {
	testrun.Skip
	Others []testrun.Skip // that the package has on the platform
	Why    string         // why the person can't make it
}

// skipOf reads an entry as a form has it.
func skipOf(f url.Values) testrun.Skip {
	return testrun.Skip{
		Platform: f.Get("platform"), Package: strings.TrimSpace(f.Get("package")), Stage: albs.TestStage(f.Get("stage")), Reason: strings.TrimSpace(f.Get("reason")),
	}
}

// skipPage says what an entry would do, and asks whether it is to be made.
func (u *Pages) skipPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	v := skipView{Skip: skipOf(r.URL.Query()), Why: mayNot(ctx)}
	if err := v.Check(); err != nil {
		return err
	}
	if _, err := u.Platforms.Get(ctx, v.Platform); err != nil {
		return err
	}
	all, err := u.Tests.Skips(ctx, v.Platform)
	if err != nil {
		return err
	}
	v.Others = slices.DeleteFunc(all, func(s testrun.Skip) bool { return s.Package != v.Package })
	return u.Render(w, r, http.StatusOK, "tests/skip", page.Page{Title: "Skip a stage", Section: section, Body: v})
}

func (u *Pages) addSkip(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	s, err := u.Tests.AddSkip(r.Context(), skipOf(r.PostForm))
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/tests/skips?"+url.Values{"platform": {s.Platform}}.Encode(), http.StatusSeeOther)
	return nil
}

func (u *Pages) removeSkip(w http.ResponseWriter, r *http.Request) error {
	id, err := page.Number(r, "entry")
	if err != nil {
		return err
	}
	if err := u.Tests.RemoveSkip(r.Context(), id); err != nil {
		return err
	}
	return page.Changed(w, r, "/tests/skips")
}
