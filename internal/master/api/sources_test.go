package api

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/git"
	"albs/internal/git/gittest"
	"albs/internal/master/api/delivery"
	"albs/internal/master/auth"
	"albs/internal/master/mastertest"
	"albs/internal/master/provenance"
	"albs/internal/master/source/notary"
)

// forge gives the fixture's notary a git server, and runs it.
func (f *fixture) forge(t *testing.T) *gittest.Server {
	t.Helper()
	forge := gittest.NewServer(t)
	out, err := egress.New(egress.Policy{Allow: []string{forge.Addr()}, CAFiles: []string{forge.CAFile()}})
	if err != nil {
		t.Fatal(err)
	}
	if f.Notary.Git, err = git.New(t.TempDir(), out); err != nil {
		t.Fatal(err)
	}
	me, err := f.Auth.LocalWorker(t.Context(), auth.NewWorker{Name: "master", Role: albs.RoleMaster})
	if err != nil {
		t.Fatal(err)
	}
	mastertest.Run(t, func(ctx context.Context) error { return f.Notary.Run(ctx, me) })
	return forge
}

func TestSources(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	forge := f.forge(t)
	commit := forge.AddRepo("hello", map[string]string{"hello.spec": "Name: hello\n"}, "imports/c9/hello-1-1.el9")
	repository := forge.URL("hello")
	of := "repository=" + url.QueryEscape(repository)

	for _, c := range []struct {
		body   string
		status int
	}{
		{`{"repository":"` + repository + `"}`, 400},
		{`{"repository":"file:///etc/passwd","all":true}`, 400},
		{`{"repository":"` + repository + `","refs":["nowhere"]}`, 404},
		{`{"repository":"` + repository + `","refs":["` + commit + `"]}`, 400},
		{`{"repository":"https://127.0.0.1:1/x","all":true}`, 403},
	} {
		f.call(t, "maintainer", post, "/api/v1/sources/notarize/", c.body, c.status).problem(t)
	}
	f.call(t, "contributor", post, "/api/v1/sources/notarize/", `{"repository":"`+repository+`","all":true}`, 403).problem(t)

	var job delivery.NotarizationView
	f.call(t, "maintainer", post, "/api/v1/sources/notarize/", `{"repository":"`+repository+`","refs":["imports/c9/*"]}`, 202).into(t, &job)
	for end := time.Now().Add(2 * time.Minute); !job.State.Final(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the task is %s: %s", job.State, job.Reason)
		}
		f.call(t, "anon", get, "/api/v1/sources/notarize/"+job.Task.String()+"/", nil, 200).into(t, &job)
	}
	if job.State != albs.TaskSucceeded || job.Requester != "maintainer" || len(job.Refs) != 1 || !strings.Contains(job.Progress, "1 commits and 1 refs are stated") {
		t.Errorf("the request came to %+v", job)
	}
	f.call(t, "anon", get, "/api/v1/sources/notarize/4711/", nil, 404).problem(t)

	var repositories []notary.Repository
	f.call(t, "anon", get, "/api/v1/sources/", nil, 200).into(t, &repositories)
	if len(repositories) != 1 || repositories[0].URL != repository || repositories[0].Commits != 1 {
		t.Errorf("repositories: %+v", repositories)
	}
	var shown delivery.CommitView
	for end := time.Now().Add(2 * time.Minute); shown.Standing != provenance.Verified; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the commit is %s", shown.Standing)
		}
		f.call(t, "anon", get, "/api/v1/sources/commits/"+commit+"/?"+of, nil, 200).into(t, &shown)
	}
	if shown.Commit.Commit != commit || len(shown.Said) != 1 || shown.Said[0].Receipt == nil || shown.Author != "A Tester <tester@example.org>" {
		t.Errorf("the commit: %+v", shown)
	}
	f.call(t, "anon", get, "/api/v1/sources/commits/"+strings.Repeat("0", 40)+"/?"+of, nil, 404).problem(t)
	var commits []delivery.CommitView
	f.call(t, "anon", get, "/api/v1/sources/commits/?"+of, nil, 200).into(t, &commits)
	if len(commits) != 1 || commits[0].Standing != provenance.Verified {
		t.Errorf("commits: %+v", commits)
	}
	f.call(t, "anon", get, "/api/v1/sources/commits/?"+of+"&before=1", nil, 200).into(t, &commits)
	if len(commits) != 0 {
		t.Errorf("commits before the first: %+v", commits)
	}
	var refs []notary.RefState
	f.call(t, "anon", get, "/api/v1/sources/refs/?"+of, nil, 200).into(t, &refs)
	if len(refs) != 1 || refs[0].Ref != "refs/tags/imports/c9/hello-1-1.el9" || refs[0].Commit != commit || refs[0].Actor != "maintainer" {
		t.Errorf("refs: %+v", refs)
	}
}
