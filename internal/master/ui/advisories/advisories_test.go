package advisories

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/errata"
	"albs/internal/master/errata/match"
	"albs/internal/master/errata/matching"
	"albs/internal/master/errata/monitor"
	"albs/internal/master/errata/publish"
	"albs/internal/master/product"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/page/pagetest"
	"albs/internal/rpm"
)

func nevra(s string) rpm.NEVRA {
	n, err := rpm.ParseNEVRA(s)
	if err != nil {
		panic(err)
	}
	return n
}

var issued = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// noted is an advisory with all that there can be of one.
func noted() advisory.Advisory {
	return advisory.Advisory{
		ID: "ALSA-2024:1", Platform: "el9", Version: 2, Type: advisory.Security, Severity: advisory.Critical, Title: "bash security update", Summary: "Short.", Description: "Long.\n\nWith lines.", Solution: "Update.",
		Rights: "Copyright", From: "x@example.org", Upstream: "RHSA-2024:1", Issued: issued, Updated: issued, Reboot: true,
		References: []advisory.Reference{
			{Kind: advisory.ToSelf, ID: "ALSA-2024:1", URL: "https://errata.example/1", Title: "ALSA-2024:1"}, {Kind: advisory.ToBugzilla, ID: "17", URL: "https://bugs.example/17", Title: "a title of words"},
			{Kind: advisory.ToOther, URL: "https://example.org/no-id"}, {Kind: advisory.ToCVE, ID: "with space", URL: "https://example.org/x"},
		},
		CVEs: []advisory.CVE{
			{ID: "CVE-2024-1001", Impact: advisory.Important, CWEs: []string{"CWE-120", "CWE-79"}, Public: time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC), Scores: []advisory.Score{
				{Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Source: "nvd@nist.gov"}, {Vector: "AV:N/AC:L/Au:N/C:P/I:P/A:P"},
			}},
			{ID: "CVE-2024-1002", Public: issued, Scores: []advisory.Score{{Vector: "CVSS:3.1/AV:N", Source: "the vendor"}}}, {ID: "CVE-2024-1003"},
		},
		Packages: []advisory.Package{
			{NEVRA: nevra("bash-5.1.8-9.el9.x86_64"), Source: "bash-5.1.8-9.el9.src.rpm", Reboot: true, Restart: true}, {NEVRA: nevra("perl-1:5-1.el9.noarch"), Module: &advisory.Module{Name: "perl", Stream: "5.32"}},
			{NEVRA: nevra("x-1-1.x86_64"), Module: &advisory.Module{Name: "m", Stream: "1", Version: 9, Context: "ab", Arch: "x86_64"}, Relogin: true},
		},
	}
}

// TestTemplates executes the templates with all that they can show, hostile where it is
// foreign.
func TestTemplates(t *testing.T) {
	t.Parallel()
	const bad = pagetest.Bad
	k, now := errata.Key{ID: "ALSA-2024:1", Platform: "el9"}, time.Now()
	a := noted()
	a.Title, a.Summary, a.Description, a.Solution, a.Rights, a.From, a.Upstream = bad, bad, bad+"\n"+bad, bad, bad, bad, bad
	a.References = append(a.References, advisory.Reference{Kind: advisory.ToOther, ID: bad, URL: "javascript:alert(1)", Title: bad}, advisory.Reference{Kind: advisory.ToOther, URL: "https://example.org/" + bad})
	a.CVEs[0].Scores = append(a.CVEs[0].Scores, advisory.Score{Vector: bad, Source: bad})
	a.VEX = []advisory.VEX{{CVE: "CVE-2024-1001", Package: bad, Stream: bad, Status: advisory.NotAffected, Justification: "component_not_present", Detail: bad, At: now}, {CVE: "CVE-2024-1003", Package: "x", Status: advisory.Affected}}
	rec := errata.Record{Key: k, Revision: 3, State: errata.Released, Reason: bad, Frozen: true, Own: true, Advisory: a, Original: noted(), Builds: []albs.BuildID{7}, Shown: 1, Pending: true, Release: 4, Created: now, Changed: now}
	gone := rec
	gone.Advisory.Withdrawn = &advisory.Withdrawal{At: now, Reason: bad}
	wrong := nevra("bash-5-1.el9.x86_64")
	wrong.Name = bad
	m := matching.Match{Key: k, Wanted: wrong, NEVRA: wrong, Build: 7, Unsigned: albs.DigestOf(nil), Source: bad, Label: bad, Released: true, Status: matching.Proposal, Strength: match.Newer, Reason: bad, By: bad, Why: bad, At: now, Pick: true}
	passed := m
	passed.Status, passed.By, passed.Unsigned = matching.Skipped, "", ""
	is := matching.Answers{Wanted: []matching.Wanted{{NEVRA: wrong, Module: bad, Lack: bad}, {NEVRA: nevra("y-1-1.noarch"), Lack: bad}, {NEVRA: nevra("z-1-1.noarch"), Excluded: true, By: bad, Why: bad, At: now}}, Matches: []matching.Match{m, passed, {NEVRA: wrong, Build: 8, Status: matching.Approved, By: bad, Why: bad}}}
	answers, added := answersOf(is)
	standing := matching.Standing{Key: k, Stage: matching.NeedsBuild, Wanted: 3, Lacking: 1, Open: 1, Settled: 1}
	differences := errata.Differences(noted(), a)
	changes := []errata.Change{{Revision: 3, Kind: errata.Edited, Actor: bad, Reason: bad, Differences: append(differences, errata.Difference{Field: bad, Was: bad, Is: bad}), At: now}, {Revision: 1, Kind: errata.Created}}
	actions := []page.Action{{URL: "/x", Label: "Do", Sure: "x"}, {Label: "Do", Why: bad}, {URL: "/y", Label: "Go", Leads: true}}
	full := &recordView{Record: rec, Path: path(k), Standing: standing, Steps: []page.Step{{Name: "read", State: "none"}}, Actions: actions, Withdraw: page.Action{URL: "/w", Label: "Withdraw"}, Restore: page.Action{Label: "Restore", Why: bad},
		Builds: groupsOf(is.Matches), Answers: answers, Pager: page.Pager{From: 1, To: 3, All: 9, Prev: "/p", Next: "/n"}, Filter: answerFilter{Search: bad, Show: "open"}, Added: added, Edited: differences,
		CVEs: cvesOf(a), MoreCVEs: 2, References: a.AllReferences(), MoreReferences: 2, VEX: vexView{Stated: a.VEX, CVEs: a.AllCVEs(), Packages: []string{bad}, Statuses: advisory.VEXStatuses(), Justifications: advisory.Justifications(), Revision: 3},
		Addresses: []publish.Address{{Form: "OSV", URL: "https://example.org/" + bad}}, Issues: []errata.Issue{{Version: 1, Digest: albs.DigestOf(nil), Release: 4, At: now}, {Version: 2}}, Changes: changes, Earlier: true, Public: map[rpm.NEVRA][]string{wrong: {bad, "os"}}}
	shut := *full
	shut.Record, shut.Cannot, shut.VEX.Why, shut.Withdraw, shut.Restore = gone, bad, bad, page.Action{}, page.Action{URL: "/r", Label: "Restore"}
	rows := []row{{Record: rec, Standing: standing, Chosen: true}, {Record: errata.Record{Key: k, Pending: true}}, {Record: gone}}
	waiting := []stageCount{{matching.NeedsBuild, 2, "/errata/queue?stage=x"}, {matching.Ready, 0, "/x"}}
	candidates := []candidate{{Package: match.Package{NEVRA: wrong, Source: bad, Module: bad, Build: 7, Released: true}, Fits: true, Now: "skipped"}, {Package: match.Package{NEVRA: wrong, Build: 8}}}
	typing := rec // what stands in a form is what it was, so that it can come back so
	typing.Advisory = noted()
	typing.Advisory.Title, typing.Advisory.Description = `"><img src=x>`, "</textarea><img src=x>"
	fields := formOf(typing)
	fields[0].Wrong, fields[0].Both, fields[0].Now = bad, true, bad
	trouble := monitor.Trouble{Kind: monitor.WrongDigest, Platform: "el9", Repository: bad, Advisory: bad, Package: bad, Detail: bad}
	pagetest.Execute(t, Group(), map[string][]any{
		"list":    {listView{}, listView{Filter: filter{Title: bad}}, listView{Filter: filter{ID: bad, Platform: "el9", State: "released", Type: "security", Severity: none, Pending: true}, Platforms: []string{"el9"}, States: errata.States(), Types: advisory.Types(), Severities: []string{none}, Waiting: waiting, Rows: rows, All: 3, Next: "/n", First: "/f", Actions: actions}},
		"queue":   {queueView{}, queueView{Platform: "el9", Stage: matching.Ready, Platforms: []string{"el9"}, Waiting: waiting, Rows: rows, Next: "/n", First: "/f"}, queueView{Platform: bad}},
		"results": {resultsView{}, resultsView{What: "Approved", Done: 1, Outcomes: []outcome{{Key: k, OK: true, Say: bad}, {Key: k, Say: bad}}}},
		"record":  {&recordView{}, full, &shut},
		"choose":  {chooseView{}, chooseView{Key: k, Path: path(k), Wanted: bad, Module: bad, Lack: bad, Name: bad, Build: bad, Packages: candidates, More: true}, chooseView{Name: "x", Why: bad}, chooseView{Packages: candidates, Why: bad}},
		"release": {releaseView{}, releaseView{Advisories: []released{{Record: rec, Standing: standing, Lacking: is.Wanted, More: 2, Why: bad}, {Record: gone}}, Products: []string{"distro"}, Product: "distro", Builds: []albs.BuildID{7}, Others: bad, Optional: true}, releaseView{Why: bad, WhyForce: bad}},
		"edit": {editView{}, editView{Key: k, URL: "/x", Revision: 3, Fields: fields, Reason: bad, Problem: bad, Since: changes}, editView{New: true, Fields: fields, Why: bad, Types: advisory.Types(), Type: "bugfix"},
			editView{New: true, Fields: fields, Platforms: []string{"el9"}, Build: bad, Notes: []string{bad}}},
		"import": {importView{}, importView{Platforms: []string{"el9"}, Platform: "el9", Formats: []string{"osv"}, Bound: 5}, importView{Why: bad}},
		"imported": {importedView{}, importedView{Platform: "el9", File: bad, Dropped: []string{bad}, MoreDropped: 2, MoreTaken: 3, Counts: []outcomeCount{{errata.Added, 1}, {errata.Refused, 1}},
			Taken: []errata.Taken{{Key: k, From: bad, Outcome: errata.Added, Revision: 1, Note: bad}, {Key: errata.Key{ID: bad, Platform: "el9"}, From: bad, Outcome: errata.Refused, Err: albs.Errorf(albs.Invalid, "%s", bad)}}}},
		"history":    {historyView{}, historyView{Key: k, Path: path(k), Changes: changes, Older: "/o", Newest: "/n"}},
		"updateinfo": {updateinfoView{}, updateinfoView{Key: k, Path: path(k), Version: 1, Issues: []errata.Issue{{Version: 1}, {Version: 2}}, Notices: []noticeView{{Repository: bad, XML: bad, Cut: true}}}},
		"monitor": {monitorView{}, monitorView{Search: bad, Products: []checkedView{
			{Product: "distro", Last: monitor.Result{Checked: now, Since: now, Serial: 2, Advisories: 3, Troubles: []monitor.Trouble{trouble}, Unchecked: []string{bad}}, Troubles: []monitor.Trouble{trouble, {Kind: monitor.Unread, Detail: bad}}, More: 2, Check: page.Action{URL: "/x", Label: "Check now"}},
			{Product: "other", Check: page.Action{Label: "Check now", Why: bad}}, {Product: "sound", Sound: true, Last: monitor.Result{Checked: now}},
		}}},
	})
}

// TestForm: what a form shows comes back as it was, whatever an advisory has; and a field is
// changed if it was touched.
func TestForm(t *testing.T) {
	t.Parallel()
	rec := errata.Record{Key: errata.Key{ID: "ALSA-2024:1", Platform: "el9"}, Advisory: noted(), Builds: []albs.BuildID{7, 8}}
	form := url.Values{}
	for _, f := range formOf(rec) {
		form.Set(f.Name, strings.ReplaceAll(f.Value, "\n", "\r\n")) // as browsers send it
		form.Set("was-"+f.Name, f.Mark)
		// What is shown, read as if it were new, is what there was.
		var e errata.Edit
		if err := f.set(&e, f.Value); err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		got := e.Apply(rec.Advisory)
		if f.Name == "references" { // that to its own page is the server's
			got.References = append([]advisory.Reference{noted().References[0]}, got.References...)
		}
		if d := errata.Differences(rec.Advisory, got); len(d) > 0 {
			t.Errorf("%s comes back with %v", f.Name, d)
		}
		if diff := cmp.Diff(rec.Advisory.Packages, got.Packages); diff != "" {
			t.Errorf("%s: packages (-was +is):\n%s", f.Name, diff)
		}
	}
	if _, e, ok := typed(form, rec); !ok || !cmp.Equal(e, errata.Edit{}) {
		t.Errorf("an untouched form changes %+v, %t", e, ok)
	}

	// Somebody else has changed the title and the summary meanwhile.
	now := rec
	now.Advisory.Title, now.Advisory.Summary = "theirs", "theirs too"
	form.Set("title", "mine")
	form.Set("severity", "low")
	out, e, ok := typed(form, now)
	if !ok || *e.Title != "mine" || *e.Severity != advisory.Low || e.Summary != nil {
		t.Errorf("the edit is %+v, %t", e, ok)
	}
	for _, f := range out {
		switch f.Name {
		case "title":
			if !f.Both || f.Now != "theirs" || f.Value != "mine" {
				t.Errorf("the title is shown as %+v", f)
			}
		case "summary":
			if f.Both || f.Value != "theirs too" {
				t.Errorf("the summary is shown as %+v", f)
			}
		}
	}
	form.Set("packages", "bash-1-1.x86_64 reboot\nnothing")
	out, _, ok = typed(form, rec)
	i := slices.IndexFunc(out, func(f filled) bool { return f.Name == "packages" })
	if ok || !strings.Contains(out[i].Wrong, "line 2") || !strings.HasSuffix(out[i].Value, "nothing") {
		t.Errorf("a line that is wrong: %t, %+v", ok, out[i])
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	a := noted()
	want := "CVE-2024-1001 important 2024-05-01 CWE-120 CWE-79 CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H @nvd@nist.gov AV:N/AC:L/Au:N/C:P/I:P/A:P\n" +
		`{"id":"CVE-2024-1002","scores":[{"vector":"CVSS:3.1/AV:N","source":"the vendor"}],"public":"2024-05-06T07:08:09Z"}` + "\nCVE-2024-1003"
	if diff := cmp.Diff(want, written(a.CVEs, sayCVE, readCVE)); diff != "" {
		t.Errorf("CVEs (-want +got):\n%s", diff)
	}
	want = "bash-5.1.8-9.el9.x86_64 source=bash-5.1.8-9.el9.src.rpm reboot restart\nperl-1:5-1.el9.noarch module=perl:5.32\nx-1-1.x86_64 module=m:1:9:ab:x86_64 relogin"
	if diff := cmp.Diff(want, written(a.Packages, sayPackage, readPackage)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	want = "bugzilla 17 https://bugs.example/17 a title of words\nother - https://example.org/no-id\n" + `{"kind":"cve","id":"with space","url":"https://example.org/x"}`
	if diff := cmp.Diff(want, written(a.References[1:], sayReference, readReference)); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"cve", "cve x", `{"kind": 1}`, `{"nothing": 1}`} {
		if _, err := readLines(bad, 9, readReference); albs.KindOf(err) != albs.Invalid {
			t.Errorf("reference %q: %v", bad, err)
		}
	}
	for _, bad := range []string{"CVE-2024-1 urgent", "CVE-2024-1 @nobody"} {
		if _, err := readLines(bad, 9, readCVE); albs.KindOf(err) != albs.Invalid {
			t.Errorf("CVE %q: %v", bad, err)
		}
	}
	for _, bad := range []string{"bash", "bash-1-1.x86_64 modul=x", "bash-1-1.x86_64 module=x", "bash-1-1.x86_64 source=", "../x-1-1.noarch"} {
		if _, err := readLines(bad, 9, readPackage); albs.KindOf(err) != albs.Invalid {
			t.Errorf("package %q: %v", bad, err)
		}
	}
	if _, err := readLines("CVE-2024-1001\nCVE-2024-1002", 1, readCVE); albs.KindOf(err) != albs.TooLarge {
		t.Errorf("two lines where one is the most: %v", err)
	}
	if _, err := readBuilds("7, 8\n7 x"); albs.KindOf(err) != albs.Invalid {
		t.Errorf("builds: %v", err)
	}
}

// FuzzLines: whatever a form has for lists, what is read of it is written as lines that are
// read as the same.
func FuzzLines(f *testing.F) {
	a := noted()
	f.Add(written(a.CVEs, sayCVE, readCVE))
	f.Add(written(a.Packages, sayPackage, readPackage))
	f.Add(written(a.References, sayReference, readReference))
	f.Add("CVE-2024-1 2024-05-01 2024-05-02 low low @x a/b @y @z\n{}")
	f.Fuzz(func(t *testing.T, s string) {
		reread(t, s, sayCVE, readCVE)
		reread(t, s, sayPackage, readPackage)
		reread(t, s, sayReference, readReference)
	})
}

func reread[T any](t *testing.T, s string, say func(T) string, read func(string) (T, error)) {
	t.Helper()
	one, err := readLines(s, 100, read)
	if err != nil {
		return
	}
	text := written(one, say, read)
	two, err := readLines(text, 100, read)
	if err != nil {
		t.Fatalf("%q, written as %q, can't be read: %v", s, text, err)
	}
	if asJSON(one) != asJSON(two) {
		t.Fatalf("%q, written as %q, is %s and not %s", s, text, asJSON(two), asJSON(one))
	}
}

// TestAnswers: what has no answer comes first, and each match is where a reader looks for it.
func TestAnswers(t *testing.T) {
	t.Parallel()
	w := func(s string) matching.Wanted { return matching.Wanted{NEVRA: nevra(s + "-1-1.noarch")} }
	lost, none := w("lost"), w("excluded")
	lost.Lack, none.Excluded = "nothing of it was built", true
	m := func(wanted string, build albs.BuildID, s matching.Status) matching.Match {
		x := matching.Match{NEVRA: nevra("p-1-1.noarch"), Build: build, Source: "src", Status: s}
		if wanted != "" {
			x.Wanted = nevra(wanted + "-1-1.noarch")
		}
		return x
	}
	is := matching.Answers{Wanted: []matching.Wanted{w("done"), w("open"), none, lost, w("refused")}, Matches: []matching.Match{
		m("done", 9, matching.Skipped), m("done", 8, matching.Approved), m("open", 9, matching.Proposal), m("open", 7, matching.Skipped), m("refused", 9, matching.Skipped), m("", 8, matching.Approved),
	}}
	answers, added := answersOf(is)
	var got []string
	for _, a := range answers {
		got = append(got, fmt.Sprintf("%s %s %d %d %s", a.Name, a.State, len(a.First), len(a.Others), a.Lack))
	}
	if diff := cmp.Diff([]string{"lost lacking 0 0 nothing of it was built", "refused lacking 0 1 all that was found for it was skipped", "open open 1 1 ", "done settled 1 1 ", "excluded excluded 0 0 "}, got); diff != "" || len(added) != 1 {
		t.Errorf("answers (-want +got):\n%s\nadded %v", diff, added)
	}
	for f, want := range map[answerFilter]string{{}: "lost refused open done excluded", {Show: "lacking"}: "lost refused", {Search: "DONE"}: "done", {Show: "open", Search: "done"}: ""} {
		var got []string
		for _, a := range answers {
			if f.has(a) {
				got = append(got, a.Name)
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%+v leaves %q, want %q", f, s, want)
		}
	}
	var groups []string
	for _, g := range groupsOf(is.Matches) {
		groups = append(groups, fmt.Sprintf("%d %s %d %v", g.Build, g.Source, g.All, g.Counts))
	}
	if diff := cmp.Diff([]string{"9 src 3 [{proposal 1} {skipped 2}]", "8 src 2 [{approved 2}]", "7 src 1 [{skipped 1}]"}, groups); diff != "" {
		t.Errorf("builds (-want +got):\n%s", diff)
	}
}

func TestReads(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"since=soon", "state=x", "severity=x", "before=x", "before=1.0", "before=1.x", "title=" + strings.Repeat("a", 300)} {
		if _, _, err := filterOf(httptest.NewRequestWithContext(t.Context(), "GET", "/errata?"+query, nil)); albs.KindOf(err) != albs.Invalid {
			t.Errorf("%.40s: %v", query, err)
		}
	}
	at := errata.Place{Issued: issued, ID: 7}
	f, q, err := filterOf(httptest.NewRequestWithContext(t.Context(), "GET", "/errata?id=ALSA-2024:1,+ALSA-2024:2&cve=cve-2024-1001&state=in+progress&severity=none&until=2024-05-06&pending=yes&before="+spell(at), nil))
	if err != nil || !f.Filled() || len(q.IDs) != 2 || q.CVE != "CVE-2024-1001" || q.State != errata.InProgress || *q.Severity != advisory.None || q.Until.Day() != 7 || !q.Pending || q.Before != at {
		t.Errorf("filter = %+v, %+v, %v", f, q, err)
	}
	for _, s := range []string{"", "x", "ALSA-2024:1", "ALSA-2024:1/", "../x/el9"} {
		if _, err := readKey(s); albs.KindOf(err) != albs.Invalid {
			t.Errorf("readKey(%q) = %v", s, err)
		}
	}
	if got := path(errata.Key{ID: "ALSA-2024:1", Platform: "el/9"}); got != "/errata/el%2F9/ALSA-2024:1" {
		t.Errorf("path = %s", got)
	}
	ps := []product.Product{{Spec: product.Spec{Name: "a", Platforms: []string{"el9"}}}, {Spec: product.Spec{Name: "b", Platforms: []string{"el8", "el9"}}}}
	if got := productsOf(ps, []string{"el8", "el9"}); !slices.Equal(got, []string{"b"}) {
		t.Errorf("products of two platforms: %v", got)
	}
	for _, tc := range []url.Values{{"action": {"replace"}, "wanted": {"a-1-1.noarch"}}, {"action": {"add"}}, {"action": {"approve"}, "build": {"x"}}, {"action": {"approve"}, "wanted": {"x"}}, {"action": {"skip"}, "package": {"x"}}} {
		if _, err := decisionOf(tc); albs.KindOf(err) != albs.Invalid {
			t.Errorf("decisionOf(%v) = %v", tc, err)
		}
	}
	d, err := decisionOf(url.Values{"action": {"replace"}, "wanted": {"a-1-1.noarch"}, "choice": {"7 b-2-1.noarch"}, "reason": {" why "}})
	if err != nil || d.Build != 7 || d.NEVRA.Name != "b" || d.Why != "why" {
		t.Errorf("decision = %+v, %v", d, err)
	}
}
