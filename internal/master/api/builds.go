package api

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/delivery"
	"albs/internal/master/api/rest"
	"albs/internal/master/api/suites"
	"albs/internal/master/build"
	"albs/internal/master/build/repository"
	"albs/internal/master/build/settle"
	"albs/internal/master/build/status"
	"albs/internal/master/release"
	"albs/internal/master/sign"
)

type buildInput struct {
	Build albs.BuildID `path:"build_id" minimum:"1"`
}

type buildsInput struct {
	Page      int    `query:"pageNumber" minimum:"1" maximum:"1000000" default:"1" doc:"Ten builds a page, the newest first"`
	CreatedBy string `query:"created_by" doc:"The owner's name"`
	Project   string `query:"project" doc:"The name of a package"`
	Platform  string `query:"platform" doc:"The name of a platform"`
	Product   string `query:"product" doc:"The name of a product"`
}

// unsupportedFilters are ALBS's that this server cannot filter by.
var unsupportedFilters = []string{
	"ref", "rpm_name", "rpm_epoch", "rpm_version", "rpm_release", "rpm_arch", "platform_id", "build_task_arch", "released", "signed", "is_running",
}

func (s *Server) routeBuilds() {
	op := rest.Operation(get, "/api/v1/builds/", "List builds")
	op = rest.Unsupported(op, unsupportedFilters...)
	rest.Handle(s.Server, op, s.listBuilds)
	op = rest.Operation(post, "/api/v1/builds/", "Build packages")
	op = rest.Slow(op) // every ref is resolved
	op.Description = "Every ref is resolved first; a request that is refused leaves nothing behind. A second request with the same Idempotency-Key gets the first one's build."
	rest.Handle(s.Server, op, s.createBuild)
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/builds/{build_id}/", "Show a build with its tasks and files"), s.getBuild)
	rest.Handle(s.Server, rest.Operation(patch, "/api/v1/builds/{build_id}/cancel", "Cancel all of a build that has not ended, also what is running"), s.changeBuild(s.Builds.Cancel))
	rest.Handle(s.Server, rest.Operation(patch, "/api/v1/builds/{build_id}/restart-failed", "Queue a build's failed and cancelled tasks again"), s.changeBuild(s.Builds.RetryFailed))
	rest.Handle(s.Server, rest.Operation(patch, "/api/v1/builds/{build_id}/parallel-restart-failed", "The same as restart-failed"), s.changeBuild(s.Builds.RetryFailed))
	s.routeChanges()
	s.routeOrder()
}

type buildsView struct {
	Builds      []buildView `json:"builds"`
	TotalBuilds int         `json:"total_builds"`
	CurrentPage int         `json:"current_page"`
}

func (s *Server) listBuilds(ctx context.Context, in *buildsInput) (*rest.Body[buildsView], error) {
	if _, err := strconv.Atoi(in.CreatedBy); err == nil {
		return nil, albs.Errorf(albs.Invalid, "query.created_by takes an owner's name, not a number")
	}
	f := build.Filter{Owner: in.CreatedBy, Package: in.Project, Platform: in.Platform, Product: in.Product, Limit: rest.PerPage, Skip: (in.Page - 1) * rest.PerPage}
	page, _, err := s.Builds.List(ctx, f)
	if err != nil {
		return nil, err
	}
	out := buildsView{Builds: make([]buildView, len(page)), CurrentPage: in.Page}
	if out.TotalBuilds, err = s.Builds.CountOf(ctx, f); err != nil {
		return nil, err
	}
	for i, b := range page {
		if out.Builds[i], err = s.showBuild(ctx, b.ID); err != nil {
			return nil, err
		}
	}
	return rest.Answer(out), nil
}

func (s *Server) getBuild(ctx context.Context, in *buildInput) (*rest.Body[buildView], error) {
	v, err := s.showBuild(ctx, in.Build)
	if err != nil {
		return nil, err
	}
	return rest.Answer(v), nil
}

// maxListed is how many requests for signatures a build tells of.
const maxListed = 100

// showBuild returns a build with what other modules know of it.
func (s *Server) showBuild(ctx context.Context, id albs.BuildID) (buildView, error) {
	b, err := s.Builds.Get(ctx, id)
	if err != nil {
		return buildView{}, err
	}
	sources, err := s.Builds.Sources(ctx, b)
	if err != nil {
		return buildView{}, err
	}
	out := viewBuild(b, sources)
	runs, err := s.Tests.Of(ctx, id)
	if err != nil {
		return buildView{}, err
	}
	requests, _, err := s.Signs.Requests(ctx, sign.Filter{Build: id, Limit: maxListed})
	if err != nil {
		return buildView{}, err
	}
	if out.SignTasks, err = s.delivery.ViewSignTasks(ctx, requests...); err != nil {
		return buildView{}, err
	}
	released, _, err := s.Releases.List(ctx, release.Filter{Build: id, Status: release.Completed, Limit: 1})
	if err != nil {
		return buildView{}, err
	}
	if len(released) > 0 {
		out.Released, out.ReleaseID = true, &released[0].ID
	}
	for i, t := range out.Tasks {
		for _, r := range runs {
			if r.BuildTask == t.ID {
				out.Tasks[i].TestTasks = append(out.Tasks[i].TestTasks, viewRun(r))
			}
		}
	}
	return out, nil
}

// changeBuild is an operation that changes a build and answers with it.
func (s *Server) changeBuild(change func(context.Context, albs.BuildID) error) func(context.Context, *buildInput) (*rest.Body[buildView], error) {
	return func(ctx context.Context, in *buildInput) (*rest.Body[buildView], error) {
		if err := change(ctx, in.Build); err != nil {
			return nil, err
		}
		return s.getBuild(ctx, in)
	}
}

// newBuild is ALBS's request for a build, with srpm and product of ours. Members
// of type json.RawMessage are ALBS's that albs cannot do; their empty values pass.
type newBuild struct {
	Platforms       []newTarget                `json:"platforms" minItems:"1" maxItems:"16"`
	Tasks           []newTask                  `json:"tasks" minItems:"1" maxItems:"2000" doc:"Packages"`
	Order           string                     `json:"order,omitempty" enum:"auto,listed,independent" doc:"How the rebuilds of a platform follow each other: as their spec files say that they need each other (auto, the default), each after those listed before it, or all at once"`
	Break           []string                   `json:"break,omitempty" maxItems:"1000" doc:"Where to break cycles, with order auto: a→b (or a->b) has a built without waiting for b"`
	MockOptions     map[string]json.RawMessage `json:"mock_options,omitempty" doc:"with and without: names of rpmbuild's conditionals; definitions: macros; yum_exclude: packages that dnf may not take; module_enable: streams, name:stream; target_arch: rpmbuild's target"`
	Tests           json.RawMessage            `json:"test_configuration,omitempty" doc:"As each task's, for all of them"`
	Product         string                     `json:"product,omitempty" doc:"The name of a product; without one the build belongs to none"`
	ProductID       json.RawMessage            `json:"product_id,omitempty" doc:"The id of a product, in place of its name"`
	LinkedBuilds    []albs.BuildID             `json:"linked_builds,omitempty" doc:"Builds against whose packages, as they are now, this one is built"`
	PlatformFlavors json.RawMessage            `json:"platform_flavors,omitempty" doc:"Names or ids of flavours, in the order in which their repositories and packages come"`
	IsSecureBoot    bool                       `json:"is_secure_boot,omitempty" doc:"On nodes that are kept for it, with the platform's macros for it; a permission of its own"`
}

type newTarget struct {
	Name             string          `json:"name" doc:"Of the platform"`
	Arches           []albs.Arch     `json:"arch_list,omitempty" doc:"All of the platform's if there are none"`
	Parallel         json.RawMessage `json:"parallel_mode_enabled,omitempty" doc:"Without effect, as in ALBS"`
	IndependentTasks json.RawMessage `json:"independent_tasks,omitempty" doc:"Of all platforms alike: true is order independent"`
}

type newTask struct {
	URL         string                     `json:"url,omitempty" doc:"Of a git repository, or of an SRPM, which is fetched once"`
	Ref         string                     `json:"git_ref,omitempty" doc:"Branch, tag or full commit id"`
	RefType     json.RawMessage            `json:"ref_type,omitempty" doc:"git_branch (1), git_tag (2), srpm_url (3) or git_ref (4)"`
	SRPM        string                     `json:"srpm,omitempty" doc:"The sha256 of an uploaded SRPM, in place of url and git_ref"`
	MockOptions map[string]json.RawMessage `json:"mock_options,omitempty" doc:"As the build's, beside which they stand"`
	ModuleName  json.RawMessage            `json:"module_name,omitempty" doc:"Not supported"`
	Stream      json.RawMessage            `json:"module_stream,omitempty" doc:"Not supported"`
	ModulesYAML json.RawMessage            `json:"modules_yaml,omitempty" doc:"Not supported"`
	Refs        json.RawMessage            `json:"refs,omitempty" doc:"Not supported"`
	Tests       json.RawMessage            `json:"test_configuration,omitempty" doc:"tests: folders of tests in git, each with url, git_ref, test_dir, tests_to_run and the packages that it tests; test_env: extra_env_vars, NAME=VALUE each"`
}

// request turns ALBS's words into those of build, or refuses what it cannot say.
func (n newBuild) request() (build.NewBuild, error) {
	out := build.NewBuild{Product: n.Product}
	out.Linked, out.SecureBoot = n.LinkedBuilds, n.IsSecureBoot
	var err error
	if out.Options, err = options(n.MockOptions, "body.mock_options."); err != nil {
		return out, err
	}
	if out.Options.Tests, err = suites.Parse(n.Tests, "body.test_configuration"); err != nil {
		return out, err
	}
	if out.Order, out.Break, err = n.orderOf(); err != nil {
		return out, err
	}
	for _, p := range n.Platforms {
		out.Platforms = append(out.Platforms, build.Target{Platform: p.Name, Arches: p.Arches})
	}
	for i, t := range n.Tasks {
		p, err := t.request("body.tasks[" + strconv.Itoa(i) + "].")
		if err != nil {
			return out, err
		}
		out.Packages = append(out.Packages, p)
	}
	return out, nil
}

func (t newTask) request(at string) (build.Package, error) {
	for _, f := range []struct {
		name  string
		value json.RawMessage
	}{{"module_name", t.ModuleName}, {"module_stream", t.Stream}, {"modules_yaml", t.ModulesYAML}, {"refs", t.Refs}} {
		if !rest.Empty(f.value) {
			return build.Package{}, rest.NotSupported(at + f.name)
		}
	}
	own, err := options(t.MockOptions, at+"mock_options.")
	if err != nil {
		return build.Package{}, err
	}
	if own.Tests, err = suites.Parse(t.Tests, at+"test_configuration"); err != nil {
		return build.Package{}, err
	}
	if t.SRPM != "" {
		if t.URL != "" || t.Ref != "" {
			return build.Package{}, albs.Errorf(albs.Invalid, "%ssrpm stands in place of url and git_ref; give one or the other", at)
		}
		d, err := albs.ParseDigest(t.SRPM)
		if err != nil {
			return build.Package{}, albs.Errorf(albs.Invalid, "%ssrpm: %w", at, err)
		}
		return build.Package{SRPM: d, Options: own}, nil
	}
	ref := t.Ref
	switch strings.Trim(string(t.RefType), `" `) {
	case "", "null", "4", "git_ref":
	case "1", "git_branch":
		ref = qualified(ref, branches)
	case "2", "git_tag":
		ref = qualified(ref, tags)
	case "3", "srpm_url":
		return build.Package{SRPMURL: t.URL, Options: own}, nil
	default:
		return build.Package{}, albs.Errorf(albs.Invalid, "%sref_type %.40s is none of git_branch (1), git_tag (2), srpm_url (3) and git_ref (4)", at, t.RefType)
	}
	if ref == "" && strings.HasSuffix(t.URL, ".src.rpm") { // ALBS goes by the name too
		return build.Package{SRPMURL: t.URL, Options: own}, nil
	}
	if t.URL == "" || ref == "" {
		return build.Package{}, albs.Errorf(albs.Invalid, "%surl and git_ref, or srpm, have to be given", at)
	}
	return build.Package{URL: t.URL, Ref: ref, Options: own}, nil
}

const (
	branches = "refs/heads/"
	tags     = "refs/tags/"
)

// qualified gives ref its full name, so that a branch is never taken for a tag.
func qualified(ref, space string) string {
	if ref == "" || strings.HasPrefix(ref, "refs/") {
		return ref
	}
	return space + ref
}

func unqualified(ref string) string {
	return strings.TrimPrefix(strings.TrimPrefix(ref, branches), tags)
}

// options reads ALBS's mock options, whose members lie at a path of the body. ALBS
// takes any member that is an object for macros, and passes over what it doesn't know;
// here a member does what it says or is refused.
func options(m map[string]json.RawMessage, at string) (build.Options, error) {
	var out build.Options
	members := map[string]struct {
		into any
		form string
	}{
		"with": {&out.With, "a list of names"}, "without": {&out.Without, "a list of names"}, "definitions": {&out.Define, "an object of macros, name and body"},
		"yum_exclude": {&out.Excludes, "a list of packages"}, "module_enable": {&out.Modules, "a list of name:stream"}, "target_arch": {&out.TargetArch, "an arch"},
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		member, known := members[name]
		switch v := m[name]; {
		case rest.Empty(v):
		case !known:
			return out, rest.NotSupported(at + name)
		case json.Unmarshal(v, member.into) != nil:
			return out, albs.Errorf(albs.Invalid, "%s%s has to be %s", at, name, member.form)
		}
	}
	return out, nil
}

// flavours returns the names of flavours that are given by name or by ALBS's sort of id.
func (s *Server) flavours(ctx context.Context, list json.RawMessage) ([]string, error) {
	if rest.Empty(list) {
		return nil, nil
	}
	var given []any
	if err := json.Unmarshal(list, &given); err != nil {
		return nil, albs.Errorf(albs.Invalid, "body.platform_flavors has to be a list of names or ids")
	}
	var names []string
	for _, g := range given {
		switch v := g.(type) {
		case string:
			names = append(names, v)
		case float64:
			f, err := s.Platforms.Flavours.ByID(ctx, int64(v))
			if err != nil {
				return nil, err
			}
			names = append(names, f.Name)
		default:
			return nil, albs.Errorf(albs.Invalid, "body.platform_flavors has to be a list of names or ids")
		}
	}
	return names, nil
}

type createBuildInput struct {
	Key  string `header:"Idempotency-Key" maxLength:"200" doc:"Of the client's choice: makes a repeated request return the first one's build"`
	Body newBuild
}

func (s *Server) createBuild(ctx context.Context, in *createBuildInput) (*rest.Body[buildView], error) {
	n, err := in.Body.request()
	if err != nil {
		return nil, err
	}
	if !rest.Empty(in.Body.ProductID) {
		if n.Product != "" {
			return nil, albs.Errorf(albs.Invalid, "body.product_id stands in place of product; give one or the other")
		}
		id, err := strconv.ParseInt(string(in.Body.ProductID), 10, 64)
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "body.product_id has to be a number; a product's name goes into product")
		}
		p, err := s.Products.ByID(ctx, id)
		if err != nil {
			return nil, err
		}
		n.Product = p.Name
	}
	if n.Flavours, err = s.flavours(ctx, in.Body.PlatformFlavors); err != nil {
		return nil, err
	}
	n.Key = in.Key
	b, err := s.Builds.Create(ctx, n)
	if err != nil {
		return nil, err
	}
	return s.getBuild(ctx, &buildInput{b.ID})
}

// The views of a build have ALBS's members first, ours behind them.

type buildView struct {
	ID              albs.BuildID             `json:"id"`
	CreatedAt       time.Time                `json:"created_at"`
	FinishedAt      *time.Time               `json:"finished_at"`
	Owner           rest.OwnerView           `json:"owner"`
	Tasks           []taskView               `json:"tasks"`
	LinkedBuilds    []albs.BuildID           `json:"linked_builds"`
	PlatformFlavors []repository.UsedFlavour `json:"platform_flavors" doc:"In the revisions that the build goes by"`
	MockOptions     build.Options            `json:"mock_options"`
	Tests           *suites.Configuration    `json:"test_configuration,omitempty"`
	Products        []rest.NameView          `json:"products"`
	SignTasks       []delivery.SignTaskView  `json:"sign_tasks"`
	Released        bool                     `json:"released"`
	ReleaseID       *albs.ReleaseID          `json:"release_id" doc:"The newest release that made its packages public"`

	StartedAt *time.Time   `json:"started_at"`
	State     status.State `json:"state" enum:"queued,running,succeeded,failed,cancelled"`
	Reason    string       `json:"reason" doc:"One line: what failed first, or what is still to do"`
	Done      int          `json:"tasks_done"`
	Total     int          `json:"tasks_total"`
	Team      string       `json:"team,omitempty"`
	Packages  []string     `json:"packages"`

	Linked       []repository.Linked `json:"linked" doc:"What was taken of the linked builds"`
	IsSecureBoot bool                `json:"is_secure_boot"`
	Warnings     []string            `json:"warnings" doc:"What the platforms would have otherwise"`
	Noarch       []settle.Difference `json:"noarch_differences" doc:"Noarch packages that arches made differently; all have the first one's"`
	Order        build.Order         `json:"order" enum:"auto,listed,independent"`

	Items        []itemView      `json:"items"`
	GraphTasks   []graphTaskView `json:"graph_tasks" doc:"What finds the order of a platform, where it has to be found"`
	EarlierTasks []taskView      `json:"earlier_tasks" doc:"Those whose place the tasks of a fresh SRPM took"`
}

// maxQuoted is how many failed tasks of a build are shown with lines of their logs: a
// build may have thousands, and the lines of one are up to 2 KiB.
const maxQuoted = 20

func viewBuild(b build.Build, sources map[albs.ItemID]build.Source) buildView {
	quoted := 0
	shorten := func(t taskView) taskView {
		if t.Failure != nil && t.Failure.Log != "" {
			if quoted++; quoted > maxQuoted {
				t.Failure.Quote, t.Failure.Before, t.Failure.After = "", nil, nil
			}
		}
		return t
	}
	out := buildView{
		ID: b.ID, CreatedAt: b.CreatedAt, FinishedAt: rest.TimeOf(b.Status.Finished), StartedAt: rest.TimeOf(b.Status.Started),
		Owner: rest.OwnerView{ID: b.OwnerID, Username: b.Owner}, Tasks: []taskView{}, LinkedBuilds: []albs.BuildID{}, PlatformFlavors: []repository.UsedFlavour{}, Linked: []repository.Linked{}, Noarch: []settle.Difference{}, IsSecureBoot: b.SecureBoot, Warnings: []string{},
		MockOptions: b.Options, Tests: suites.Show(b.Options.Tests), Products: []rest.NameView{}, Packages: []string{},
		State: b.Status.State, Reason: b.Status.Reason, Done: b.Status.Done, Total: b.Status.Total, Team: b.Team,
		Order: b.Order, Items: []itemView{}, GraphTasks: []graphTaskView{}, EarlierTasks: []taskView{},
	}
	out.MockOptions.Tests = build.Tests{}
	out.PlatformFlavors = append(out.PlatformFlavors, b.Flavours...)
	for _, l := range b.Linked {
		out.LinkedBuilds, out.Linked = append(out.LinkedBuilds, l.Build), append(out.Linked, l)
	}
	if b.Product != "" {
		out.Products = append(out.Products, rest.NameView{Name: b.Product})
	}
	files := make(map[albs.TaskID][]artifactView)
	for _, a := range b.Artifacts {
		files[a.Task] = append(files[a.Task], viewFile(a))
	}
	for _, it := range b.Items {
		out.Noarch = append(out.Noarch, it.Noarch...)
		if it.Warning != "" {
			out.Warnings = append(out.Warnings, it.Warning)
		}
		if !slices.Contains(out.Packages, it.Package) {
			out.Packages = append(out.Packages, it.Package)
		}
		for _, t := range it.Tasks {
			out.Tasks = append(out.Tasks, shorten(viewTask(b.ID, it, sources[it.ID], t, files[t.ID])))
		}
		for _, t := range it.Earlier {
			out.EarlierTasks = append(out.EarlierTasks, shorten(viewTask(b.ID, it, sources[it.ID], t, files[t.ID])))
		}
		out.Items = append(out.Items, viewItem(it, sources[it.ID]))
	}
	for _, g := range b.Gates {
		out.GraphTasks = append(out.GraphTasks, graphTaskView{Task: g.Task.ID, Platform: g.Platform, State: g.Task.State, Reason: g.Task.Reason, Logs: logsOf(b.ID, g.Task.ID)})
	}
	return out
}
