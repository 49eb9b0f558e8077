package release

import (
	"maps"
	"testing"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/queue/queuetest"
	"albs/internal/pgp"
)

func TestHandlerContract(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and signs packages: not with -short")
	}
	t.Parallel()
	d := dbtest.Open(t, dbtest.SQLite(t))
	f := setup(t, d)
	stop := f.startSigner()
	f.makeKey("demo key", pgp.Ed25519)
	build := f.signedBuild(rpmbuild(t, "1", "one"))
	unreleased := f.addBuild(rpmbuild(t, "2", "two"))
	r := f.approved(build)
	_, err := f.Publish(f.planner, r.ID)
	f.must(err)
	l := f.claim(f.releaser, "kind:publish")
	stop()
	packages, err := f.builds.Packages(t.Context(), unreleased)
	f.must(err)
	p := l.Spec.Publish
	c := queuetest.Case{
		DB: d, Queue: f.queue, Handler: handler{f.Releases}, Worker: auth.With(t.Context(), f.releaser), Lease: *l,
		Good: albs.Result{Publish: &albs.PublishResult{Serial: p.Serial, Tree: p.Tree, Statements: f.stated(l, f.releaserStates(), nil, nil)}},
		Garbage: map[string]albs.Result{
			"another serial": {Publish: &albs.PublishResult{Serial: p.Serial + 1, Tree: p.Tree}},
			"another tree":   {Publish: &albs.PublishResult{Serial: p.Serial, Tree: albs.DigestOf(nil)}},
			"another kind's": {Build: &albs.BuildResult{}},
		},
	}
	maps.Copy(c.Garbage, f.misstated(l))
	for _, a := range packages {
		c.Foreign = append(c.Foreign, a.Digest)
	}
	queuetest.Run(t, c)
}
