package api

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/api/tests"
	"albs/internal/master/auth"
	"albs/internal/master/mastertest"
	"albs/internal/worker"
)

// tester is a worker that is played.
type tester struct{ *worker.Client }

// tested ends the next test with one case that is bad, or good.
func (w tester) tested(t *testing.T, good bool) {
	t.Helper()
	l, err := w.Claim(t.Context(), worker.Offer{Version: "1", Labels: []string{"kind:test", "arch:x86_64"}, Wait: 30})
	if err != nil || l == nil {
		t.Fatalf("Claim = %v, %v", l, err)
	}
	nevra := l.Spec.Test.Packages[0].NEVRA
	tap := []byte("TAP version 14\n")
	log := albs.File{Name: nevra + ".integrity.log", Digest: albs.DigestOf(tap), Size: int64(len(tap))}
	if _, err := w.Put(t.Context(), l.Token, log.Digest, 0, bytes.NewReader(tap)); err != nil {
		t.Fatal(err)
	}
	r := mastertest.Tested(l.Spec.Test, func(_ string, s albs.TestStage) string {
		if s == albs.StageIntegrity && !good {
			return "1 of 2 cases failed"
		}
		return ""
	})
	for i := range r.Stages {
		if r.Stages[i].Stage == albs.StageIntegrity {
			r.Stages[i].Log = log.Name
		}
	}
	status := map[bool]albs.TestStatus{true: albs.TestPassed, false: albs.TestFailed}[good]
	r.Cases = []albs.TestCase{
		{Package: nevra, Stage: albs.StageIntegrity, Name: "<files>", Status: status, Detail: map[bool]string{false: "/usr/bin/x\x1b is missing"}[good]},
		{Package: nevra, Stage: albs.StageIntegrity, Name: "links", Status: albs.TestSkipped},
	}
	if err := w.Complete(t.Context(), l.Token, albs.OutcomeOK, albs.Result{Test: r, Logs: []albs.File{log}}); err != nil {
		t.Fatal(err)
	}
}

// TestResults: what tests found out, by what is asked for; then the same once more with
// another answer, which is compared, and flaky.
func TestResults(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	mastertest.Run(t, f.Events.Run, f.Tests.Run)
	b, node, lease := f.leased(t)
	made := finishes(t, node, lease)
	secret, _, err := f.Auth.AddWorker(auth.System(t.Context(), "test"), auth.NewWorker{Name: "tester-1", Role: albs.RoleTester, Arches: []albs.Arch{albs.X8664}})
	if err != nil {
		t.Fatal(err)
	}
	w := tester{worker.NewClient(f.url, secret, http.DefaultClient)}
	w.tested(t, false)

	build, task := fmt.Sprintf("/api/v1/tests/build/%d/", b.ID), fmt.Sprintf("/api/v1/tests/%d/", lease.Token.Task)
	results := func(query string) tests.ResultsView {
		t.Helper()
		var v tests.ResultsView
		f.call(t, "anon", get, build+"results/"+query, nil, http.StatusOK).into(t, &v)
		return v
	}
	all := results("")
	if all.Total != len(all.Results) || all.Total < 10 || all.Packages != (tests.CountView{All: 1, Failed: 1}) || all.Revisions != 1 {
		t.Errorf("all results are %+v", all)
	}
	for query, want := range map[string]string{
		"?status=bad":                            "integrity/ integrity/<files>",
		"?status=bad&stage=install":              "",
		"?status=skipped":                        "integrity/links",
		"?text=LINK":                             "integrity/links",
		"?stage=install&package=albs-rich":       "install/",
		"?stage=install&arch=aarch64":            "",
		"?flaky=true":                            "",
		"?status=bad&pageSize=1":                 "integrity/",
		"?status=bad&pageSize=1&pageNumber=2":    "integrity/<files>",
		"?status=bad&pageNumber=3":               "",
		"?stage=install&package=" + string(made): "install/",
	} {
		var got []string
		for _, c := range results(query).Results {
			got = append(got, string(c.Stage)+"/"+c.Case)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("results%s are %q, want %q", query, got, want)
		}
	}
	for query, status := range map[string]int{"?status=good": 400, "?stage=prayer": 400, "?pageSize=1001": 422, "?revision=2": 404, "?text=" + strings.Repeat("x", 201): 422} {
		f.call(t, "anon", get, build+"results/"+query, nil, status).problem(t)
	}
	f.call(t, "anon", get, "/api/v1/tests/build/999/results/", nil, http.StatusNotFound).problem(t)
	bad := results("?status=bad").Results
	log := f.call(t, "anon", get, bad[0].Log, nil, http.StatusOK)
	if string(log.body) != "TAP version 14\n" || bad[1].Log != bad[0].Log || bad[1].OK || bad[1].Detail != "/usr/bin/x\x1b is missing" {
		t.Errorf("the log is %q of %+v", log.body, bad)
	}

	// As ALBS has it: an entry for each package, and cases read out of logs.
	var latest []runView
	f.call(t, "anon", get, task+"latest", nil, http.StatusOK).into(t, &latest)
	if len(latest) != 1 || latest[0].Name != "albs-rich" || latest[0].Version != "1.0~rc1" || latest[0].Release != "3.el9" || latest[0].Status != testFailed || latest[0].Revision != 1 || len(latest[0].Logs) != 1 {
		t.Errorf("the latest test is %+v", latest)
	}
	f.call(t, "anon", get, task+"1", nil, http.StatusOK).into(t, &latest)
	f.call(t, "anon", get, task+"2", nil, http.StatusNotFound).problem(t)
	var logs []testLogView
	f.call(t, "anon", get, task+"logs", nil, http.StatusOK).into(t, &logs)
	if len(logs) != 1 || logs[0].Success == nil || *logs[0].Success || logs[0].Format != "tap" {
		t.Fatalf("logs %+v", logs)
	}
	if d := cmp.Diff([]tapView{{"<files>", 1, "/usr/bin/x\x1b is missing"}, {"links", 4, ""}}, logs[0].Results); d != "" {
		t.Errorf("results of the log (-want +got):\n%s", d)
	}

	// A second revision, by the task, which is cancelled, and a third.
	f.call(t, "anon", put, build+"cancel", nil, http.StatusUnauthorized).problem(t)
	f.call(t, "signer", put, build+"cancel", nil, http.StatusForbidden).problem(t)
	f.call(t, "contributor", put, build+"cancel", nil, http.StatusConflict).problem(t)
	restart := fmt.Sprintf("/api/v1/tests/build_task/%d/restart", lease.Token.Task)
	f.call(t, "signer", put, restart, nil, http.StatusForbidden).problem(t)
	f.call(t, "contributor", put, "/api/v1/tests/build_task/9999/restart", nil, http.StatusNotFound).problem(t)
	f.call(t, "contributor", put, restart, nil, http.StatusOK)
	f.call(t, "contributor", put, restart, nil, http.StatusConflict).problem(t)
	f.call(t, "contributor", put, build+"cancel", nil, http.StatusOK)
	if v := results("?status=missing"); v.Total != 1 || v.Packages.Missing != 1 || v.Revisions != 2 {
		t.Errorf("after the cancelling the results are %+v", v)
	}
	f.call(t, "contributor", put, restart, nil, http.StatusOK)
	w.tested(t, true)
	if v := results("?flaky=true"); v.Total != 2 || v.Results[1].Case != "<files>" || !v.Results[1].Flaky || !v.Results[1].OK || v.Packages != (tests.CountView{All: 1, Passed: 1, Flaky: 1}) {
		t.Errorf("what is flaky is %+v", v)
	}
	if v := results("?revision=1&status=bad"); v.Total != 2 {
		t.Errorf("the first revision is %+v", v)
	}
	var compared tests.ComparedView
	f.call(t, "anon", get, build+"compare?from=1&to=3", nil, http.StatusOK).into(t, &compared)
	if len(compared.Changes) != 2 || compared.Changes[1].Change != "fixed" || compared.Changes[1].Before != albs.TestFailed || compared.Changes[1].After != albs.TestPassed || compared.Same < 8 {
		t.Errorf("compared %+v", compared)
	}
	f.call(t, "anon", get, build+"compare", nil, http.StatusOK).into(t, &compared)
	if compared.From != 2 || compared.To != 3 {
		t.Errorf("the last two are %d and %d", compared.From, compared.To)
	}
	f.call(t, "anon", get, build+"compare?to=4", nil, http.StatusNotFound).problem(t)
	var history tests.HistoryView
	f.call(t, "anon", get, "/api/v1/tests/history/?package=albs-rich&stage=integrity&case=%3Cfiles%3E", nil, http.StatusOK).into(t, &history)
	if len(history.Seen) != 2 || history.Seen[0].Status != albs.TestPassed || !history.Seen[1].Flaky || history.Seen[0].Inputs == "" || history.Seen[0].Inputs != history.Seen[1].Inputs || history.Before != 0 {
		t.Errorf("history %+v", history)
	}
	f.call(t, "anon", get, "/api/v1/tests/history/", nil, http.StatusUnprocessableEntity).problem(t)

	for path, want := range map[string]string{build + "junit.xml": `failures="0"`, build + "junit.xml?revision=1": `failures="2"`, task + "junit.xml": `failures="0"`, task + "1/junit.xml": `failures="2"`} {
		a := f.call(t, "anon", get, path, nil, http.StatusOK)
		if err := xml.Unmarshal(a.body, new(struct{})); err != nil || a.Header.Get("Content-Type") != "application/xml" || !bytes.Contains(a.body, []byte(want)) || !bytes.Contains(a.body, []byte(`name="&lt;files&gt;"`)) {
			t.Errorf("%s = %v, %s", path, err, a.body)
		}
	}
	for _, path := range []string{build + "junit.xml?revision=9", "/api/v1/tests/build/999/junit.xml", "/api/v1/tests/9999/junit.xml", task + "9/junit.xml"} {
		f.call(t, "anon", get, path, nil, http.StatusNotFound).problem(t)
	}
	f.call(t, "anon", get, build+"junit.xml?revision=x", nil, http.StatusBadRequest).problem(t)
}
