package tests

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/product"
	"albs/internal/master/testrun"
	"albs/internal/master/testrun/suite"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/page/pagetest"
)

// TestTemplates executes the templates with all that they can show, hostile where it is
// foreign.
func TestTemplates(t *testing.T) {
	t.Parallel()
	const bad = pagetest.Bad
	now := time.Now()
	d := albs.DigestOf([]byte("a"))
	w := testrun.Waiver{
		ID: 3, Build: 7, Digest: d, NEVRA: bad, Stage: albs.StageUpgrade, Person: bad, Reason: bad, CreatedAt: db.Time{Time: now}, ExpiresAt: db.Time{Time: now.Add(time.Hour)},
	}
	ended := w
	ended.EndedAt, ended.EndedBy, ended.EndedFor, ended.Stage, ended.Untested = db.Time{Time: now}, bad, bad, "", true
	failed := testrun.Standing{
		Digest: d, NEVRA: bad, Verdict: testrun.Verdict{State: testrun.Failed, Reason: bad},
		Bad: []testrun.Stage{{Stage: albs.StageUpgrade, Status: albs.TestFailed, Reason: bad}},
	}
	pending := testrun.Standing{Digest: d, NEVRA: bad, Verdict: testrun.Verdict{State: testrun.Pending}}
	required := product.Gate{Tests: product.Required}
	skip := testrun.Skip{ID: 4, Platform: "el9", Package: bad, Stage: albs.StageRemove, Reason: bad, Actor: bad, At: db.Time{Time: now}}
	repository := suite.Repository{ID: 5, Name: "core", URL: bad, Ref: bad, Layout: suite.Layout{TestsDir: bad, TestsPrefix: bad}, Team: "core", Commit: bad, Failure: bad, ScannedAt: db.Time{Time: now}, Mappings: 2}
	pagetest.Execute(t, Group(), map[string][]any{
		"waivers": {
			waiversView{}, waiversView{State: "expired", Package: bad, Build: bad, States: testrun.WaiverStates},
			waiversView{Rows: []waiverRow{{w, standing(w, now), ""}, {w, "in force", bad}, {ended, standing(ended, now), ""}, {w, standing(w, now.Add(2*time.Hour)), ""}}, Next: "/n", First: "/f"},
		},
		"waive": {
			waiveView{}, waiveView{Product: "a", Gate: product.Gate{Tests: product.Off}}, waiveView{Gate: required},
			waiveView{Build: 7, Product: "a", Gate: required, Barred: []testrun.Standing{failed, pending}}, waiveView{Build: 7, Gate: required, Chosen: &failed, Days: 14, MaxDays: 90}, waiveView{Chosen: &pending, Why: bad},
		},
		"skips": {
			skipsView{}, skipsView{Why: bad, Skips: []testrun.Skip{skip}}, skipsView{Platform: "el9", Package: bad, Stage: "remove", Platforms: []string{"el9"}, Stages: stages()},
			skipsView{Skips: []testrun.Skip{skip}, Pager: page.Pager{All: 1}}, skipsView{Pager: page.Pager{All: 1}},
		},
		"repositories": {
			repositoriesView{}, repositoriesView{Name: bad, Pager: page.Pager{All: 1}}, repositoriesView{Name: bad},
			repositoriesView{Repositories: []suite.Repository{repository, {}}, Pager: page.Pager{All: 2}, Teams: []string{"", "core"}},
		},
		"repository": {
			repositoryView{}, repositoryView{Repository: repository, Search: bad, Why: bad, Pager: page.Pager{All: 1}}, repositoryView{Search: bad},
			repositoryView{Repository: repository, Mapped: []suite.Mapping{{ID: 1, Package: bad, Folder: bad}, {ID: 2, Package: bad, Pattern: true, Folder: bad, Scanned: true}}, Teams: []string{"", "core"}},
			repositoryView{Mapped: []suite.Mapping{{ID: 1}}, Scan: "The scan found 1 new and 0 gone.", Why: bad},
		},
		"skip": {skipView{}, skipView{Skip: skip, Others: []testrun.Skip{skip, skip}, Why: bad}},
	})
}

// TestStanding: one who reads the list sees which waivers are about to end.
func TestStanding(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := func(d time.Duration) db.Time { return db.Time{Time: now.Add(d)} }
	for _, tt := range []struct {
		w    testrun.Waiver
		want string
	}{
		{testrun.Waiver{ExpiresAt: at(albs.WaivedSoon + time.Second)}, "in force"},
		{testrun.Waiver{ExpiresAt: at(albs.WaivedSoon)}, "expires soon"},
		{testrun.Waiver{ExpiresAt: at(time.Second)}, "expires soon"},
		{testrun.Waiver{ExpiresAt: at(0)}, "expired"},
		{testrun.Waiver{ExpiresAt: at(time.Hour), EndedAt: at(-time.Hour)}, "taken back"},
		{testrun.Waiver{ExpiresAt: at(-time.Hour), EndedAt: at(-2 * time.Hour)}, "taken back"},
	} {
		if got := standing(tt.w, now); got != tt.want {
			t.Errorf("standing(%v, %v) = %q, want %q", tt.w.ExpiresAt, tt.w.EndedAt, got, tt.want)
		}
	}
}

func TestMappings(t *testing.T) {
	t.Parallel()
	got, err := mappings("bash p_bash\r\n\n /python3.*/\tp_python \n")
	want := []suite.Mapping{{Package: "bash", Folder: "p_bash"}, {Package: "python3.*", Pattern: true, Folder: "p_python"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("mappings = %+v, %v, want %+v", got, err, want)
	}
	for text, want := range map[string]string{"": "a line for each", "a b\n\nc": "line 3", "a b\na b c": "line 2", "a ../b": "line 1: folder", "/(/ b": "line 1: the pattern"} {
		if _, err := mappings(text); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want Invalid with %q", text, err, want)
		}
	}
}
