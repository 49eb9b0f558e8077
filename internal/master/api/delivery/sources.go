package delivery

import (
	"context"
	"net/http"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/provenance"
	"albs/internal/master/source/notary"
)

func (s *Resources) routeSources() {
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/sources/", "List the git repositories of which commits are notarized, by URL"), s.listRepositories)
	op := rest.Slow(rest.Operation(rest.Post, "/api/v1/sources/notarize/", "Notarize the commits of branches and tags")) // every ref is resolved
	op.DefaultStatus = http.StatusAccepted
	op.Description = "All that led to each of them is notarized too, as far as it isn't. Of a tag that says it changes another one, that one has to be notarized, or without_upstream said."
	rest.Handle(s.Server, op, s.notarize)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/sources/notarize/{task_id}/", "Show how far a request to notarize is"), s.getNotarization)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/sources/commits/", "List the notarized commits of a repository, the newest statement first"), s.listCommits)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/sources/commits/{commit}/", "Show a notarized commit with all that is stated of it"), s.getCommit)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/sources/refs/", "List what the refs of a repository named whenever they were notarized, the newest first"), s.listRefs)
}

// sourcesPage is how many entries a page of sources has.
const sourcesPage = 100

type repositoriesInput struct {
	After string `query:"after" maxLength:"2048" doc:"Only those behind this URL, for the next page; a page has up to 100"`
}

func (s *Resources) listRepositories(ctx context.Context, in *repositoriesInput) (*rest.Body[[]notary.Repository], error) {
	list, err := s.Notary.Repositories(ctx, in.After, sourcesPage)
	if err != nil {
		return nil, err
	}
	return rest.Answer(list), nil
}

type notarizeInput struct {
	Body struct {
		Repository      string   `json:"repository" maxLength:"2048" doc:"The URL, as builds name it"`
		Refs            []string `json:"refs,omitempty" maxItems:"200" doc:"Branches and tags, or patterns as imports/c9/*"`
		All             bool     `json:"all,omitempty" doc:"Every branch and tag, in place of refs"`
		WithoutUpstream bool     `json:"without_upstream,omitempty" doc:"Go on where what a tag changes isn't notarized, and state that"`
	}
}

// NotarizationView is a request to notarize, and how far it is.
type NotarizationView struct {
	Task            albs.TaskID     `json:"task_id"`
	State           albs.TaskState  `json:"state"`
	Reason          string          `json:"reason" doc:"Why it failed, or what it waits for"`
	Progress        string          `json:"progress" doc:"The last line of its log"`
	Repository      string          `json:"repository"`
	Refs            []albs.NamedRef `json:"refs"`
	WithoutUpstream bool            `json:"without_upstream"`
	Requester       string          `json:"requester"`
}

func (s *Resources) notarize(ctx context.Context, in *notarizeInput) (*rest.Body[NotarizationView], error) {
	task, err := s.Notary.Notarize(ctx, notary.Wish{
		URL: in.Body.Repository, Refs: in.Body.Refs, All: in.Body.All, WithoutUpstream: in.Body.WithoutUpstream,
	})
	if err != nil {
		return nil, err
	}
	return s.getNotarization(ctx, &notarizationInput{task})
}

type notarizationInput struct {
	Task albs.TaskID `path:"task_id" minimum:"1"`
}

func (s *Resources) getNotarization(ctx context.Context, in *notarizationInput) (*rest.Body[NotarizationView], error) {
	j, err := s.Notary.Job(ctx, in.Task)
	if err != nil {
		return nil, err
	}
	return rest.Answer(NotarizationView{
		Task: j.Task.ID, State: j.Task.State, Reason: j.Task.Reason, Progress: j.Progress, Repository: j.URL,
		Refs: append([]albs.NamedRef{}, j.Refs...), WithoutUpstream: j.WithoutUpstream, Requester: j.Requester,
	}), nil
}

type commitsInput struct {
	Repository string `query:"repository" required:"true" maxLength:"2048" doc:"Its URL"`
	Before     int64  `query:"before" minimum:"0" doc:"Only those with a lower id, for the next page; a page has up to 100"`
}

// CommitView is a notarized commit.
type CommitView struct {
	notary.Commit
	Standing provenance.Standing   `json:"standing" enum:"verified,pending,missing,failed" doc:"verified: the ledger proved it for this answer, or for an earlier one"`
	Said     []provenance.Examined `json:"statements,omitempty" doc:"All that is stated of it, of whatever repository; where one commit is shown"`
}

func (s *Resources) listCommits(ctx context.Context, in *commitsInput) (*rest.Body[[]CommitView], error) {
	list, err := s.Notary.Commits(ctx, in.Repository, in.Before, sourcesPage)
	if err != nil {
		return nil, err
	}
	out, err := s.commits(ctx, list...)
	if err != nil {
		return nil, err
	}
	return rest.Answer(out), nil
}

// commits adds the standing of each.
func (s *Resources) commits(ctx context.Context, list ...notary.Commit) ([]CommitView, error) {
	named := func(c notary.Commit) provenance.NamedCommit {
		return provenance.NamedCommit{Repository: provenance.GitURI(c.Repository), Commit: c.Commit}
	}
	var all []provenance.NamedCommit
	for _, c := range list {
		all = append(all, named(c))
	}
	found, err := s.Provenance.Commits(ctx, all...)
	if err != nil {
		return nil, err
	}
	out := make([]CommitView, len(list))
	for i, c := range list {
		out[i] = CommitView{Commit: c, Standing: found[named(c)].Standing}
	}
	return out, nil
}

type commitInput struct {
	Commit     string `path:"commit" maxLength:"64"`
	Repository string `query:"repository" required:"true" maxLength:"2048" doc:"Its URL"`
}

func (s *Resources) getCommit(ctx context.Context, in *commitInput) (*rest.Body[CommitView], error) {
	c, err := s.Notary.Commit(ctx, in.Repository, in.Commit)
	if err != nil {
		return nil, err
	}
	out, err := s.commits(ctx, c)
	if err != nil {
		return nil, err
	}
	e, err := s.Provenance.Examine(ctx, c.SHA256)
	if err != nil {
		return nil, err
	}
	out[0].Said = e.Statements
	return rest.Answer(out[0]), nil
}

type refsInput struct {
	Repository string `query:"repository" required:"true" maxLength:"2048" doc:"Its URL"`
	Ref        string `query:"ref" maxLength:"300" doc:"The full name of one ref"`
	Before     int64  `query:"before" minimum:"0" doc:"Only those with a lower id, for the next page; a page has up to 100"`
}

func (s *Resources) listRefs(ctx context.Context, in *refsInput) (*rest.Body[[]notary.RefState], error) {
	list, err := s.Notary.Refs(ctx, in.Repository, in.Ref, in.Before, sourcesPage)
	if err != nil {
		return nil, err
	}
	return rest.Answer(list), nil
}
