package auth_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// below are the folders beside this one whose methods, as those of folders in them, no
// face calls for a person; those of tests' packages are left out too.
var below = []string{"api", "content", "db", "event", "face", "ui"}

// unasked are the methods without a transaction that don't ask Can, by why they
// needn't. To add one is to say that anybody may call it, or that no face does.
var unasked = map[string]string{
	// Anyone may read it.
	"open": `
		artifact.Artifacts.Copies artifact.Artifacts.Find artifact.Artifacts.Named artifact.Artifacts.Open
		auth.Auth.Teams auth.Auth.Workers
		build.Builds.BuiltBy build.Builds.Causes build.Builds.CountOf build.Builds.Get build.Builds.Graph build.Builds.Kept build.Builds.List build.Builds.Made build.Builds.OfCommit build.Builds.OfSRPM build.Builds.Packages build.Builds.Schedule build.Builds.Sources
		platform/reference.Index.Find platform/reference.Index.States
		provenance.Provenance.Bundle provenance.Provenance.Commits provenance.Provenance.Envelopes provenance.Provenance.Examine provenance.Provenance.ExamineCommit provenance.Provenance.History provenance.Provenance.Notarized provenance.Provenance.Trust provenance.Provenance.WorkerKeys
		queue.Queue.Attempts queue.Queue.List queue.Queue.Logs queue.Queue.ReadLog queue.Queue.Stats queue.Queue.Task queue.Queue.Tasks
		queue.Queue.Why queue.Queue.Whys queue.Queue.Worker queue.Queue.Workers
		bill.Bills.OfBuild bill.Bills.OfPackage bill.Bills.OfRelease bill.Bills.OfRoot bill.Document.Ready record.Records.Of release.Releases.CountOf release.Releases.Get release.Releases.Holding release.Releases.List release.Releases.Publishing release.Releases.ShownBy
		revision.Store.All revision.Store.ByID revision.Store.Get revision.Store.GetRevision revision.Store.History
		repo.Repos.Contain repo.Repos.Current repo.Repos.Find repo.Repos.Open repo.Repos.ReadTree repo.Repos.TreeAt repo.Repos.TreeOf repo.Repos.TreeShown repo.Repos.Trees repo/history.History.Diff repo/history.History.Holdings repo/history.History.Moments repo/history.History.Show
		release.Releases.Effects sign.Signing.AllowedFiles sign.Signing.File sign.Signing.FileEffects sign.Signing.Files sign.Signing.RequestEffects
		sign.Signing.Key sign.Signing.Keygen sign.Signing.Keys sign.Signing.PublicKey sign.Signing.Request sign.Signing.Requests sign.Signing.Revocation sign.Signing.Revoked sign.Signing.Signed sign.Signing.SignedBy source/notary.Notary.Commit source/notary.Notary.Commits source/notary.Notary.Job source/notary.Notary.Refs source/notary.Notary.Repositories trace.Traces.Of
		errata/matching.Matching.Counts errata/matching.Matching.Of errata/matching.Matching.OfBuild errata/matching.Matching.Packages errata/matching.Matching.Queue errata/matching.Matching.Standings errata/monitor.Monitor.Last
		errata.Errata.Count errata.Errata.Get errata.Errata.History errata.Errata.Issue errata.Errata.Issues errata.Errata.List errata.Errata.Published errata.Errata.Summaries errata.Errata.Unreleased
		rebuild.Rebuilds.ByTask rebuild.Rebuilds.Get rebuild.Rebuilds.List rebuild.Rebuilds.Of
		transparency.Transparency.Beside transparency.Transparency.Open transparency.Transparency.Policy transparency.Transparency.State transparency.Transparency.Summary
		build.Builds.Brief errata.Errata.PublishedBy
		testrun/suite.Suites.Get testrun/suite.Suites.List testrun/suite.Suites.Mapped
		testrun.Tests.Barred testrun.Tests.Flaky testrun.Tests.History testrun.Tests.Of testrun.Tests.Skips testrun.Tests.Verdict testrun.Tests.VerdictOfSigned testrun.Tests.Waivers`,
	// It finds out who someone is, or ends that: a secret is asked for instead.
	"secret": `auth.Auth.Authenticate auth.Auth.Login auth.Auth.Logout auth.Auth.Session`,
	// The lease's token is asked for, and that the actor is the worker it was given to.
	"lease": `queue.Queue.Claim queue.Queue.Complete queue.Queue.Get queue.Queue.Log queue.Queue.Put queue.Queue.Renew queue.Queue.Stat`,
	// The master itself runs it, or another module that has asked.
	"inside": `
		notice.Notices.Run
		artifact.Artifacts.Admit artifact.Artifacts.After artifact.Artifacts.AdmitLogs artifact.Artifacts.Collect artifact.Artifacts.DropStaged artifact.Artifacts.OpenStaged artifact.Artifacts.Package artifact.Artifacts.Reach artifact.Artifacts.Renew artifact.Artifacts.Save
		artifact.Artifacts.Stage artifact.Artifacts.Staged artifact.Artifacts.StagedLeases
		auth.Auth.Bootstrap auth.Auth.LocalWorker bill.Bills.Run build.Builds.Left build.Builds.PackagesOfItem build.Builds.ProductOf build.Builds.Run build.Builds.TestsOf errata/matching.Matching.Run build.Builds.TestRoot gc.Collector.Collect gc.Collector.Run platform.Platforms.Root platform.Platforms.Roots platform/reference.Index.Provided platform/reference.Index.Run
		build/given.SRPMs.Fetch build/given.SRPMs.Held build/given.SRPMs.Upload
		build/repository.Repositories.Extend build/repository.Repositories.Flavours build/repository.Repositories.Link build/repository.Repositories.Of build/repository.Repositories.Root
		fleet.Fleet.Flush fleet.Fleet.Read fleet.Fleet.Run provenance.Checker.Check provenance.Checker.Run provenance.Provenance.Evidence provenance.Provenance.KeyOf provenance.Provenance.Meet provenance.Provenance.OnTheWay provenance.Provenance.Pending provenance.Provenance.Run provenance.Provenance.Stated provenance.Provenance.Unverified provenance.Provenance.Uploaded provenance.Provenance.WaitCommits provenance.Provenance.WaitNotarized
		queue.Queue.CleanLogs queue.Queue.Run queue.Queue.RunLocal queue/measure.Usage.Recount retention.Retention.Apply revision.Store.Apply
		release.Releases.Added release.Releases.EachAdded release.Releases.EachWithdrawn release.Releases.Withdrawn release/gather.Gatherer.Closure release/gather.Gatherer.Current release/gather.Gatherer.Entries release/gather.Gatherer.Facts release/gather.Gatherer.ShownBy
		errata/monitor.Monitor.Run errata/publish.Matched.Chosen errata/publish.Publisher.Released errata/publish.Publisher.Reverted errata/publish.Publisher.Share
		repo.Repos.Extend repo.Repos.ExtendSnapshot repo.Repos.Pin repo.Repos.Retired repo.Repos.SaveTree repo.Repos.Seal
		sign.Signing.DocumentSignature sign.Signing.Intended source/notary.Notary.Run source.Sources.File source.Sources.Files source.Sources.Import source.Sources.Message source.Sources.Resolve source.Sources.SRPM source.Sources.Tree stream.Streams.Run testrun.Tests.Run testrun.Tests.TestSigned testrun/suite.Suites.Of testrun/suite.Suites.Run transparency.Transparency.Run`,
}

// TestEveryMethodAsks reads the modules: a method that faces may call for a person asks
// Can, or stands in the table above.
func TestEveryMethodAsks(t *testing.T) {
	t.Parallel()
	why := make(map[string]string)
	for reason, names := range unasked {
		for _, n := range strings.Fields(names) {
			why[n] = reason
		}
	}
	asking := 0
	for _, module := range modules(t) {
		for name, asks := range methodsOf(t, module) {
			reason, listed := why[name]
			delete(why, name)
			switch {
			case asks && listed:
				t.Errorf("%s asks Can and is listed as %s: take it out of the list", name, reason)
			case !asks && !listed:
				t.Errorf("%s doesn't ask Can: let it, or say in unasked why it needn't", name)
			case asks:
				asking++
			}
		}
	}
	for name, reason := range why {
		t.Errorf("%s, listed as %s, isn't there", name, reason)
	}
	if asking < 20 {
		t.Errorf("only %d methods were found to ask", asking)
	}
}

// modules returns the folders of packages below this one's parent, by their paths below
// it, without those in which a face or a test may be.
func modules(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || path == ".." {
			return err
		}
		module := strings.TrimPrefix(filepath.ToSlash(path), "../")
		if slices.Contains(below, module) || strings.HasSuffix(module, "test") {
			return fs.SkipDir
		}
		all = append(all, module)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// methodsOf returns the methods of a module's exported types that take a context and no
// transaction, by "module.Type.Method", and whether each comes to ask Can: itself, or in
// a function of its package that it calls.
func methodsOf(t *testing.T, module string) map[string]bool {
	t.Helper()
	files := token.NewFileSet()
	names, err := filepath.Glob(filepath.Join("..", module, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	calls := make(map[string][]string) // by function: what it calls of its package, and "Can"
	public := make(map[string]string)  // methods as above: the function
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			self, typ := receiver(fn)
			key := typ + "." + fn.Name.Name
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.SelectorExpr:
					x, ok := n.X.(*ast.Ident)
					switch {
					case ok && x.Name == self:
						calls[key] = append(calls[key], typ+"."+n.Sel.Name)
					case ok && x.Name == "auth" && n.Sel.Name == "Can":
						calls[key] = append(calls[key], ".Can")
					}
				case *ast.Ident:
					calls[key] = append(calls[key], "."+n.Name)
				}
				return true
			})
			if typ != "" && ast.IsExported(typ) && fn.Name.IsExported() && takes(fn, "context.Context") && !takes(fn, "db.Tx") && !takes(fn, "db.Q") {
				public[module+"."+key] = key
			}
		}
	}
	out := make(map[string]bool)
	for name, key := range public {
		out[name] = asks(calls, key, make(map[string]bool))
	}
	return out
}

func asks(calls map[string][]string, fn string, seen map[string]bool) bool {
	if fn == ".Can" {
		return true
	}
	if seen[fn] {
		return false
	}
	seen[fn] = true
	for _, c := range calls[fn] {
		if asks(calls, c, seen) {
			return true
		}
	}
	return false
}

func receiver(fn *ast.FuncDecl) (name, typ string) {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return "", ""
	}
	r := fn.Recv.List[0]
	if len(r.Names) > 0 {
		name = r.Names[0].Name
	}
	e := r.Type
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	switch of := e.(type) { // a generic type's parameters don't matter
	case *ast.IndexExpr:
		e = of.X
	case *ast.IndexListExpr:
		e = of.X
	}
	if id, ok := e.(*ast.Ident); ok {
		typ = id.Name
	}
	return name, typ
}

func takes(fn *ast.FuncDecl, typ string) bool {
	for _, p := range fn.Type.Params.List {
		if s, ok := p.Type.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name+"."+s.Sel.Name == typ {
				return true
			}
		}
	}
	return false
}
