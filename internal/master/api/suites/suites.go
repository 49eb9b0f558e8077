// Package suites has the resources of the interface about tests that maintainers keep in
// git: test repositories, what they map, and what a build asks for beside them.
package suites

import (
	"context"
	"time"

	"albs/internal/master/api/rest"
	"albs/internal/master/testrun/suite"
)

type resources struct {
	suites *suite.Suites
}

// Register adds the operations to s.
func Register(s *rest.Server, suites *suite.Suites) {
	r := resources{suites}
	const all, one = "/api/v1/test_repositories/", "/api/v1/test_repositories/{repository_id}/"
	op := rest.Operation(rest.Get, all, "List test repositories")
	op.Description = "With pageNumber the answer is one page, an object, else the list of all."
	rest.Handle(s, op, r.list)
	op = rest.Slow(rest.Created(rest.Operation(rest.Post, all+"create/", "Register a test repository")))
	op.Description = "It is scanned first: what can't be had, or has faults, isn't registered."
	rest.Handle(s, op, r.create)
	rest.Handle(s, rest.Operation(rest.Get, one, "Show a test repository with what it maps"), r.get)
	rest.Handle(s, rest.Slow(rest.Operation(rest.Patch, one, "Change a test repository, and scan it; what is left out stays")), r.edit)
	rest.Handle(s, rest.Operation(rest.Delete, one+"remove/", "Remove a test repository with its mappings"), r.remove)
	rest.Handle(s, rest.Slow(rest.Operation(rest.Post, one+"scan/", "Look at the commit that the ref names now, and map its folders")), r.scan)
	rest.Handle(s, rest.Operation(rest.Get, one+"packages/", "List which packages a repository tests by which folders"), r.packages)
	rest.Handle(s, rest.Created(rest.Operation(rest.Post, one+"packages/create/", "Map a package to a folder")), r.mapOne)
	rest.Handle(s, rest.Created(rest.Operation(rest.Post, one+"packages/bulk_create/", "Map many packages at once, or none of them")), r.mapMany)
	rest.Handle(s, rest.Operation(rest.Post, one+"packages/bulk_remove/", "Remove many mappings, by their ids"), r.unmapMany)
	rest.Handle(s, rest.Operation(rest.Delete, all+"packages/{package_id}/remove/", "Remove a mapping"), r.unmapOne)
}

type testRepositoryView struct {
	ID       int64         `json:"id"`
	Name     string        `json:"name"`
	URL      string        `json:"url"`
	Ref      string        `json:"git_ref" doc:"By whose commit packages are tested"`
	Dir      string        `json:"tests_dir" doc:"Below which the folders are"`
	Prefix   string        `json:"tests_prefix" doc:"With which their names begin, before that of a package"`
	Team     string        `json:"team" doc:"Whose it is; empty for the installation's"`
	Packages []mappingView `json:"packages,omitempty" doc:"In the answer about this one, the first hundred"`

	Total     int       `json:"total_packages" doc:"Mappings in all"`
	Commit    string    `json:"commit" doc:"Whose folders are mapped"`
	ScannedAt time.Time `json:"scanned_at"`
	Failure   string    `json:"failure,omitempty" doc:"Why the last scan came to nothing; what the one before found stays"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
}

func view(r suite.Repository) testRepositoryView {
	return testRepositoryView{
		ID: r.ID, Name: r.Name, URL: r.URL, Ref: r.Ref, Dir: r.TestsDir, Prefix: r.TestsPrefix, Team: r.Team, Total: r.Mappings,
		Commit: r.Commit, ScannedAt: r.ScannedAt.Time, Failure: r.Failure, CreatedBy: r.Actor, CreatedAt: r.CreatedAt.Time,
	}
}

type mappingView struct {
	ID      int64  `json:"id"`
	Package string `json:"package_name" doc:"With regex, what that says"`
	Folder  string `json:"folder_name" doc:"Below the repository's tests_dir"`
	URL     string `json:"url" doc:"Of the repository"`
	Regex   string `json:"regex,omitempty" doc:"A pattern of RE2 for whole names"`
	Scanned bool   `json:"scanned" doc:"A scan found it; else a person said so"`
}

func viewMappings(all []suite.Mapping, url string) []mappingView {
	out := make([]mappingView, len(all))
	for i, m := range all {
		out[i] = mappingView{ID: m.ID, Package: m.Package, Folder: m.Folder, URL: url, Scanned: m.Scanned}
		if m.Pattern {
			out[i].Regex = m.Package
		}
	}
	return out
}

type listRepositoriesInput struct {
	Page int    `query:"pageNumber" minimum:"0" maximum:"1000000" doc:"Ten repositories a page, by name; absent for all"`
	Name string `query:"name" maxLength:"200" doc:"Only those with this in their names"`
}

type testRepositoriesView struct {
	Repositories []testRepositoryView `json:"test_repositories"`
	Total        int                  `json:"total_test_repositories"`
	Page         int                  `json:"current_page"`
}

func (r resources) list(ctx context.Context, in *listRepositoriesInput) (*rest.Body[any], error) {
	f := suite.Filter{Text: in.Name, Limit: suite.MaxRepositories}
	if in.Page > 0 {
		f.Limit, f.Skip = rest.PerPage, (in.Page-1)*rest.PerPage
	}
	page, total, err := r.suites.List(ctx, f)
	if err != nil {
		return nil, err
	}
	out := make([]testRepositoryView, len(page))
	for i, x := range page {
		out[i] = view(x)
	}
	if in.Page > 0 {
		return rest.Answer[any](testRepositoriesView{out, total, in.Page}), nil
	}
	return rest.Answer[any](out), nil
}

type createRepositoryInput struct {
	Body struct {
		Name   string `json:"name" maxLength:"64"`
		URL    string `json:"url" maxLength:"2048" doc:"https, without credentials"`
		Ref    string `json:"git_ref,omitempty" maxLength:"255" doc:"A branch, a tag or a commit; absent is HEAD"`
		Dir    string `json:"tests_dir" maxLength:"200" doc:"Ends in a slash; empty for the top"`
		Prefix string `json:"tests_prefix,omitempty" maxLength:"200"`
		Team   string `json:"team,omitempty" maxLength:"64" doc:"Whose it is; without one the installation's, for operators"`
	}
}

func (r resources) create(ctx context.Context, in *createRepositoryInput) (*rest.Body[testRepositoryView], error) {
	b := in.Body
	made, err := r.suites.Add(ctx, suite.NewRepository{Name: b.Name, URL: b.URL, Ref: b.Ref, Layout: suite.Layout{TestsDir: b.Dir, TestsPrefix: b.Prefix}, Team: b.Team})
	if err != nil {
		return nil, err
	}
	return r.show(ctx, made)
}

// show is a repository with what it maps.
func (r resources) show(ctx context.Context, x suite.Repository) (*rest.Body[testRepositoryView], error) {
	mapped, _, err := r.suites.Mapped(ctx, x.ID, suite.Filter{})
	if err != nil {
		return nil, err
	}
	out := view(x)
	out.Packages = viewMappings(mapped, x.URL)
	return rest.Answer(out), nil
}

type repositoryInput struct {
	ID int64 `path:"repository_id" minimum:"1"`
}

func (r resources) get(ctx context.Context, in *repositoryInput) (*rest.Body[testRepositoryView], error) {
	x, err := r.suites.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return r.show(ctx, x)
}

type editRepositoryInput struct {
	ID   int64 `path:"repository_id" minimum:"1"`
	Body struct {
		Name   *string `json:"name,omitempty" maxLength:"64"`
		URL    *string `json:"url,omitempty" maxLength:"2048"`
		Ref    *string `json:"git_ref,omitempty" maxLength:"255"`
		Dir    *string `json:"tests_dir,omitempty" maxLength:"200"`
		Prefix *string `json:"tests_prefix,omitempty" maxLength:"200"`
		Team   *string `json:"team,omitempty" maxLength:"64"`
	}
}

func (r resources) edit(ctx context.Context, in *editRepositoryInput) (*rest.Body[testRepositoryView], error) {
	b := in.Body
	x, err := r.suites.Edit(ctx, in.ID, suite.Change{Name: b.Name, URL: b.URL, Ref: b.Ref, TestsDir: b.Dir, TestsPrefix: b.Prefix, Team: b.Team})
	if err != nil {
		return nil, err
	}
	return r.show(ctx, x)
}

func (r resources) remove(ctx context.Context, in *repositoryInput) (*struct{}, error) {
	return nil, r.suites.Remove(ctx, in.ID)
}

type scannedRepositoryView struct {
	testRepositoryView
	Added   int `json:"added" doc:"Mappings that are new"`
	Removed int `json:"removed" doc:"Mappings whose folders are gone"`
}

func (r resources) scan(ctx context.Context, in *repositoryInput) (*rest.Body[scannedRepositoryView], error) {
	s, err := r.suites.Scan(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return rest.Answer(scannedRepositoryView{view(s.Repository), s.Added, s.Removed}), nil
}

type mappingsInput struct {
	ID     int64  `path:"repository_id" minimum:"1"`
	Page   int    `query:"pageNumber" minimum:"1" maximum:"1000000" default:"1" doc:"A hundred mappings a page, by package and folder"`
	Search string `query:"search" maxLength:"200" doc:"Only those with this in the package or the folder"`
}

type mappingsView struct {
	Packages []mappingView `json:"packages"`
	Total    int           `json:"total_packages"`
	Page     int           `json:"current_page"`
}

const perPage = 100 // mappings

func (r resources) packages(ctx context.Context, in *mappingsInput) (*rest.Body[mappingsView], error) {
	x, err := r.suites.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	page, total, err := r.suites.Mapped(ctx, in.ID, suite.Filter{Text: in.Search, Limit: perPage, Skip: (in.Page - 1) * perPage})
	if err != nil {
		return nil, err
	}
	return rest.Answer(mappingsView{viewMappings(page, x.URL), total, in.Page}), nil
}

type newMapping struct {
	Package string `json:"package_name,omitempty" maxLength:"200" doc:"Exactly so"`
	Folder  string `json:"folder_name" maxLength:"200" doc:"Below the repository's tests_dir"`
	Regex   string `json:"regex,omitempty" maxLength:"200" doc:"In place of package_name: a pattern of RE2 for whole names"`
	URL     string `json:"url,omitempty" maxLength:"2048" doc:"Without effect: the repository has it"`
}

func (m newMapping) mapping() suite.Mapping {
	if m.Regex != "" {
		return suite.Mapping{Package: m.Regex, Pattern: true, Folder: m.Folder}
	}
	return suite.Mapping{Package: m.Package, Folder: m.Folder}
}

type mapOneInput struct {
	ID   int64 `path:"repository_id" minimum:"1"`
	Body newMapping
}

type mappedView struct {
	Added int `json:"added" doc:"Those that weren't there"`
}

func (r resources) mapOne(ctx context.Context, in *mapOneInput) (*rest.Body[mappedView], error) {
	return r.add(ctx, in.ID, in.Body)
}

type mapManyInput struct {
	ID   int64        `path:"repository_id" minimum:"1"`
	Body []newMapping `maxItems:"5000"`
}

func (r resources) mapMany(ctx context.Context, in *mapManyInput) (*rest.Body[mappedView], error) {
	return r.add(ctx, in.ID, in.Body...)
}

func (r resources) add(ctx context.Context, id int64, all ...newMapping) (*rest.Body[mappedView], error) {
	list := make([]suite.Mapping, len(all))
	for i, m := range all {
		list[i] = m.mapping()
	}
	n, err := r.suites.Map(ctx, id, list)
	if err != nil {
		return nil, err
	}
	return rest.Answer(mappedView{n}), nil
}

type unmapManyInput struct {
	ID   int64   `path:"repository_id" minimum:"1"`
	Body []int64 `maxItems:"5000"`
}

func (r resources) unmapMany(ctx context.Context, in *unmapManyInput) (*struct{}, error) {
	_, err := r.suites.Unmap(ctx, in.ID, in.Body)
	return nil, err
}

type unmapOneInput struct {
	ID int64 `path:"package_id" minimum:"1"`
}

func (r resources) unmapOne(ctx context.Context, in *unmapOneInput) (*struct{}, error) {
	return nil, r.suites.UnmapOne(ctx, in.ID)
}
