package releases

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/product"
	"albs/internal/master/release"
	"albs/internal/master/release/closure"
	"albs/internal/master/release/place"
	"albs/internal/master/release/plan"
	"albs/internal/master/sign"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// How much of a plan a page shows.
const (
	perTable   = 100  // packages
	maxRefused = 100  // refusals, one by one
	maxTold    = 50   // notes
	maxAddress = 3000 // bytes of an address that names advisories
	maxAsked   = 20   // builds that are looked up for whether they are signed
)

// releaseView is a release with its plan.
type releaseView struct {
	release.Release
	Steps     []page.Step
	Actions   []page.Action
	Approve   approveForm
	Progress  *progress // nil while nothing is published
	Refusals  []plan.Refusal
	MoreRefs  int      // refusals that aren't listed
	Advised   []string // advisories that are asked for, as ID/PLATFORM
	MoreAdv   int
	Otherwise string // where they are asked for anew; "" for nowhere
	Notes     []string
	MoreNotes int
	Closure   *closureView // nil if nothing was found, or nobody looked
	Left      []plan.Left
	MoreLeft  int
	Files     []plan.FileChange
	MoreFiles int
	Added     int // packages, each file once
	Removed   int
	Bytes     int64 // of what is added
	Verdicts  []count
	Rows      []row
	Pager     page.Pager
	Filter    rowFilter
	MayDecide bool
	Cannot    string // why nothing can be decided; "" if it can be
}

// closureView is what a release would leave without a provider.
type closureView struct {
	Barring bool // the product's policy makes refusals of it
	Broken  []closure.Broken
	Unknown []closure.Broken
	More    int // of either that aren't listed
}

// closureOf is nil for what has nothing to tell. What couldn't be looked at is among the
// plan's notes.
func closureOf(c *plan.Closure) *closureView {
	if c == nil || len(c.Broken)+len(c.Unknown)+c.More == 0 {
		return nil
	}
	v := closureView{Barring: c.Policy == product.Closed}
	var b, u int
	v.Broken, b = head(c.Broken, maxRefused)
	v.Unknown, u = head(c.Unknown, maxTold)
	v.More = c.More + b + u
	return &v
}

// approveForm is the word of a person for a plan.
type approveForm struct {
	Why  string // why it can't be given; "" if it can be
	Sure string // what is approved
}

// count is how many packages have a verdict.
type count struct {
	State string
	Count int
}

// releaseOf returns the release that a path names.
func (u *Pages) releaseOf(r *http.Request) (release.Release, error) {
	n, err := page.Number(r, "release")
	if err != nil {
		return release.Release{}, err
	}
	return u.Releases.Get(r.Context(), albs.ReleaseID(n))
}

func (u *Pages) releasePage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	n, err := page.Number(r, "release")
	if err != nil {
		return err
	}
	p, err := u.Follow(ctx, page.Page{Section: "releases"}, release.Topic(albs.ReleaseID(n)))
	if err != nil {
		return err
	}
	rel, err := u.Releases.Get(ctx, albs.ReleaseID(n))
	if err != nil {
		return err
	}
	prod, err := u.Products.Get(ctx, rel.Product)
	if err != nil {
		return err
	}
	v := releaseView{Release: rel, Added: rel.Plan.Added()}
	v.Refusals, v.MoreRefs = head(rel.Plan.Refusals, maxRefused)
	v.Advised, v.Otherwise = advisedOf(rel)
	v.Advised, v.MoreAdv = head(v.Advised, maxTold)
	v.Notes, v.MoreNotes = head(rel.Plan.Notes, maxTold)
	v.Left, v.MoreLeft = head(rel.Plan.Left, maxRefused)
	v.Files, v.MoreFiles = head(rel.Plan.Files, maxRefused)
	v.Closure = closureOf(rel.Plan.Closure)
	if v.Filter, err = rowFilterOf(r); err != nil {
		return err
	}
	rows := rowsOf(rel.Plan)
	for _, x := range rows {
		if x.Removed {
			v.Removed++
		}
	}
	for _, x := range rel.Plan.Repositories {
		v.Bytes += x.Bytes
	}
	v.Verdicts = verdictsOf(rows)
	if v.Rows, v.Pager, err = page.Paged(r, v.Filter.of(rows), perTable); err != nil {
		return err
	}
	if rel.Task != 0 {
		if v.Progress, err = u.progress(ctx, rel); err != nil {
			return err
		}
	}
	if v.Steps, err = u.steps(ctx, v); err != nil {
		return err
	}
	now := time.Now()
	v.Cannot = page.WhyNot(auth.Can(ctx, auth.ReleasePlan, objectOf(rel)))
	if v.Cannot == "" {
		v.Cannot = closed(rel)
	}
	v.MayDecide = v.Cannot == ""
	v.Approve = approveForm{Why: whyNotApprove(ctx, rel, prod, now), Sure: sureOf(v)}
	v.Actions = actions(ctx, rel, now)
	p.Title, p.Body = fmt.Sprintf("Release %d of %s", rel.ID, rel.Product), v
	return u.Render(w, r, http.StatusOK, "releases/release", p)
}

// head returns the first n of a list and how many there are beside.
func head[T any](all []T, n int) ([]T, int) {
	if len(all) <= n {
		return all, 0
	}
	return all[:n], len(all) - n
}

func objectOf(r release.Release) auth.Object { return auth.Object{Team: r.Team, Owner: r.PlannerID} }

// advisedOf returns the advisories that a release was asked for, and the address at which it
// can be asked for otherwise: with other builds, or without what is missing.
func advisedOf(r release.Release) (names []string, again string) {
	q := url.Values{"product": {r.Product}}
	for _, w := range r.Plan.Wanted {
		if w.Part == "errata" {
			names = append(names, w.Name)
			q.Add("advisory", w.Name)
		}
	}
	for _, b := range r.Builds {
		q.Add("build", b.String())
	}
	if again = "/errata/release?" + q.Encode(); len(names) == 0 || len(again) > maxAddress {
		again = ""
	}
	return names, again
}

// closed says why the plan of a release can't be changed any more; "" if it can be.
func closed(r release.Release) string {
	switch {
	case r.Kind != release.Publication:
		return "a rollback has no plan that could be changed"
	case r.Status != release.Scheduled && r.Status != release.Failed:
		return "it is " + words.LookOf(r.Status).Word
	}
	return ""
}

// whyNotApprove says why the person who asks can't approve a release now; "" if that
// person can. The module says it again to who does it nevertheless.
func whyNotApprove(ctx context.Context, r release.Release, p product.Product, now time.Time) string {
	who := auth.From(ctx).User
	shaped := r.PlannerID == who || slices.ContainsFunc(r.Plan.Decisions, func(d place.Decision) bool { return d.User == who })
	if err := auth.Can(ctx, auth.ReleaseApprove, objectOf(r)); err != nil {
		return page.WhyNot(err)
	}
	switch {
	case closed(r) != "":
		return closed(r)
	case len(r.Plan.Refusals) > 0:
		return "its plan is refused: see what speaks against it"
	case !r.Expires.After(now):
		return "its plan has expired: plan it again"
	case p.Approvals.Distinct && shaped:
		return "you planned it, or decided about it: another person's word is needed"
	case slices.ContainsFunc(r.Approvals, func(a auth.Approval) bool { return a.User == who }):
		return "you approved it already"
	case p.Approvals.Signed:
		return fmt.Sprintf("the product counts only what people sign with keys of their own: albs approve %d --key FILE", r.ID)
	}
	return ""
}

// sureOf says what is approved.
func sureOf(v releaseView) string {
	s := []string{fmt.Sprintf("adds %s of %s", words.Plural(v.Added, "package"), words.Bytes(v.Bytes))}
	if v.Removed > 0 {
		s = append(s, "removes "+words.Plural(v.Removed, "package"))
	}
	records := 0
	for _, r := range v.Plan.Repositories {
		records += len(r.Records)
	}
	if records > 0 {
		s = append(s, "changes "+words.Plural(records, "metadata file"))
	}
	switch n := len(v.Plan.Items); {
	case n == 1:
		s = append(s, "releases an advisory")
	case n > 1:
		s = append(s, fmt.Sprintf("releases %d advisories", n))
	}
	if n := len(v.Plan.Files); n > 0 {
		s = append(s, "changes "+words.Plural(n, "file")+" beside the repositories")
	}
	if n := len(v.Plan.Dropped); n > 0 {
		s = append(s, fmt.Sprintf("drops %d of its repositories", n))
	}
	return fmt.Sprintf("You give your word for exactly this plan, %s: it %s. Your word ends with the plan, and is void if anything of it changes.",
		v.Digest.Short(), strings.Join(s, ", "))
}

// actions says what the person who asks may do with a release.
func actions(ctx context.Context, r release.Release, now time.Time) []page.Action {
	base, object := "/release/"+r.ID.String(), objectOf(r)
	verb := auth.ReleasePublish
	if r.Kind == release.Rollback {
		verb = auth.ReleaseRollback
	}
	may := auth.Can(ctx, verb, object)
	waits := r.Status == release.Scheduled || r.Status == release.Failed
	label, nothing := "Publish", ""
	switch {
	case r.Status == release.Failed:
		label = "Try again"
	case !waits:
		nothing = "it is " + words.LookOf(r.Status).Word
	}
	if nothing == "" && r.Kind == release.Publication {
		switch {
		case len(r.Plan.Refusals) > 0:
			nothing = "its plan is refused"
		case !r.Expires.After(now):
			nothing = "its plan has expired: plan it again"
		case !r.Approved():
			nothing = fmt.Sprintf("it has %d of the %s that the product asks for", len(r.Approvals), words.Plural(r.Needed, "approval"))
		}
	}
	publish := page.ActionOf(base+"/publish", label, may, nothing == "", nothing)
	publish.Sure = "The metadata is signed, and then readers see all of it at once. It can be rolled back."
	out := []page.Action{publish}
	if r.Kind == release.Publication {
		replan := page.ActionOf(base+"/replan", "Plan again", auth.Can(ctx, auth.ReleasePlan, object), closed(r) == "", closed(r))
		if len(r.Approvals) > 0 {
			replan.Sure = "The plan is computed anew; the approvals that it has are void."
		}
		out = append(out, replan)
	}
	if r.Status == release.InProgress {
		cancel := page.ActionOf(base+"/cancel", "Cancel", may, true, "")
		cancel.Sure = "The publication ends and readers see what they saw before. It can be tried again."
		out = append(out, cancel)
	}
	if r.Status == release.Completed {
		before := fmt.Sprintf("/product/%s/rollback?to=%d", r.Product, r.From)
		revert := page.ActionOf(before, "Revert…", auth.Can(ctx, auth.ReleaseRollback, object), r.From > 0, "nothing was shown before it")
		revert.Leads = true
		out = append(out, revert)
	}
	return out
}

// steps lays out how far a release has come.
func (u *Pages) steps(ctx context.Context, v releaseView) ([]page.Step, error) {
	shown := page.Step{Name: "show", State: "none"}
	switch v.Status {
	case release.InProgress:
		shown.State = "running"
	case release.Failed:
		shown.State = "failed"
	case release.Completed, release.Reverted:
		shown.State = v.Status.String()
	}
	if v.Serial > 0 && v.Status != release.Failed {
		shown.Note = fmt.Sprintf("serial %d", v.Serial)
	}
	if v.Kind == release.Rollback {
		return []page.Step{{Name: "ask", State: "succeeded", Note: v.Planner}, shown}, nil
	}
	out := []page.Step{{Name: "build", State: "succeeded", Note: words.Plural(len(v.Builds), "build")}}
	if from := v.Plan.Copy; from != nil {
		out[0] = page.Step{Name: "copy", State: "succeeded", Note: from.Product, URL: "/product/" + from.Product}
	} else if len(v.Builds) == 0 && len(v.Plan.Items) > 0 {
		out[0] = page.Step{Name: "build", State: "given", Note: "advisories only"}
	} else if len(v.Builds) == 0 {
		out[0] = page.Step{Name: "build", State: "given", Note: "metadata only"}
	} else {
		signed, err := u.signed(ctx, v.Builds)
		if err != nil {
			return nil, err
		}
		out = append(out, signed)
	}
	planned := page.Step{Name: "plan", State: "succeeded", Note: words.Plural(v.Added, "package")}
	if n := len(v.Plan.Refusals); n > 0 {
		planned.State, planned.Note = "refused", words.Plural(n, "refusal")
	}
	approve := page.Step{Name: "approve", State: "none", Note: fmt.Sprintf("%d of %d", len(v.Approvals), v.Needed)}
	switch {
	case v.Approved():
		approve.State = "succeeded"
	case v.Status != release.Scheduled && v.Status != release.Failed:
		approve.State, approve.Note = "succeeded", "" // those of then may have expired
	case len(v.Plan.Refusals) == 0:
		approve.State = "pending"
	}
	return append(out, planned, approve, shown), nil
}

// signed tells how many of the builds are signed.
func (u *Pages) signed(ctx context.Context, builds []albs.BuildID) (page.Step, error) {
	asked, _ := head(builds, maxAsked)
	done, last := 0, sign.Request{}
	for _, id := range asked {
		rs, _, err := u.Signs.Requests(ctx, sign.Filter{Build: id, Limit: maxAsked})
		if err != nil {
			return page.Step{}, err
		}
		if slices.ContainsFunc(rs, func(r sign.Request) bool { return r.Status == sign.Completed }) {
			done++
		} else if len(rs) > 0 {
			last = rs[0]
		}
	}
	s := page.Step{Name: "sign", State: "none", Note: fmt.Sprintf("%d of %d", done, len(builds)), URL: "/build/" + builds[0].String() + "#signing"}
	switch {
	case done == len(asked):
		s.State = "signed"
	case last.ID != 0:
		s.State = last.Status.String()
	}
	if len(builds) > len(asked) {
		s.Note = words.Plural(len(builds), "build")
	}
	return s, nil
}

// verdictsOf counts what tests say of the packages that are added.
func verdictsOf(rows []row) []count {
	n := map[string]int{}
	for _, r := range rows {
		if r.Tests != "" && r.Adds {
			n[r.Tests]++
		}
	}
	var out []count
	for s, c := range n {
		out = append(out, count{s, c})
	}
	slices.SortFunc(out, func(a, b count) int { return cmp.Compare(a.State, b.State) })
	return out
}
