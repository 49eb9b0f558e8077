// Package matching finds which packages of builds answer advisories, keeps what was found
// with what people decide on it, and has both follow what happens.
//
// It has a row for each package of each build, with what its header says, and one for each
// advisory with its matches. Events wake it: a build has packages, a release shows them or
// is taken back, an advisory is there or edited; then it looks at the tables, asks the rules
// of match and writes what they say. What a person decided stays, whatever is found later,
// until somebody takes it back. Only advisories of which a release would publish something
// are matched, and none that is frozen or that a release has in its hands.
//
// A match names a package by its build, name and version. So it stays when the build makes
// it again, or it is signed anew: which bytes those are is looked up when they are published.
package matching

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/errata"
	"albs/internal/master/errata/match"
	"albs/internal/master/event"
	"albs/internal/master/platform"
	"albs/internal/master/product"
	"albs/internal/master/release"
	"albs/internal/master/release/plan"
	"albs/internal/master/repo"
	"albs/internal/rpm"
)

// Builds are those whose packages answer; build.Builds is it.
type Builds interface {
	PackagesOfItem(ctx context.Context, id albs.BuildID, item albs.ItemID) (platform string, as []build.Artifact, err error)
}

// Releases tell what was released; release.Releases do.
type Releases interface {
	Get(ctx context.Context, id albs.ReleaseID) (release.Release, error)
	Holding(ctx context.Context, d albs.Digest) ([]release.Held, error)
}

// Parts are the modules that matching rests on. All are required.
type Parts struct {
	DB        *db.DB
	Events    *event.Log
	Artifacts *artifact.Artifacts
	Platforms *platform.Platforms
	Products  *product.Products
	Repos     *repo.Repos
	Builds    Builds
	Releases  Releases
	Errata    *errata.Errata
	Log       zerolog.Logger
}

// Matching finds and keeps matches. It may be used concurrently.
type Matching struct {
	Parts
	now func() time.Time
}

// New returns the matching of a master. It does no I/O.
func New(p Parts) *Matching { return &Matching{Parts: p, now: time.Now} }

// Run follows what happens until ctx is done, whose error it returns. Of several masters one
// does so.
func (m *Matching) Run(ctx context.Context) error {
	return m.Events.Follow(auth.System(ctx, "match advisories"), "errata-matching", m.follow)
}

// follow does what an event gives cause to. What a part that is away hinders is tried again;
// all else is told of and left, so that one package that can't be read doesn't keep all
// later ones from being matched.
func (m *Matching) follow(ctx context.Context, e event.Event) error {
	err := m.after(ctx, e)
	if err == nil || ctx.Err() != nil {
		return err
	}
	told := m.Log.Warn()
	switch albs.KindOf(err) {
	case albs.Unavailable, albs.NoSpace:
		return err
	case albs.NotFound, albs.Conflict, albs.Invalid, albs.TooLarge:
		// Deleted meanwhile, beyond retention, or beyond bounds.
	default:
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return err
		}
		told = m.Log.Error()
	}
	told.Err(err).Str("kind", e.Kind).Str("topic", e.Topic).Msg("advisories weren't matched")
	return nil
}

func (m *Matching) after(ctx context.Context, e event.Event) error {
	read := func(into any) error {
		if err := json.Unmarshal(e.Data, into); err != nil {
			return albs.Errorf(albs.Invalid, "read event %d: %w", e.ID, err)
		}
		return nil
	}
	switch e.Kind {
	case build.EventBuilt, build.EventRenewed:
		var told struct {
			Item albs.ItemID `json:"item"`
		}
		id, err := numberOf(e.Topic, "build:")
		if err := errors.Join(err, read(&told)); err != nil {
			return err
		}
		return m.built(ctx, albs.BuildID(id), told.Item)
	case build.EventDeleted:
		id, err := numberOf(e.Topic, "build:")
		if err != nil {
			return err
		}
		return m.deleted(ctx, albs.BuildID(id))
	case release.EventPublished, release.EventReverted:
		var told release.Event
		if err := read(&told); err != nil {
			return err
		}
		return m.shown(ctx, told)
	case errata.Created, errata.Imported, errata.Edited, errata.Published, errata.Failure, errata.Withdrew, errata.Restored, errata.Reverted:
		var told errata.Event
		if err := read(&told); err != nil {
			return err
		}
		return m.rematch(ctx, told.Key)
	case "platform.applied":
		return m.rematchAll(ctx, strings.TrimPrefix(e.Topic, "platform:"))
	}
	return nil
}

// numberOf reads the number of a topic.
func numberOf(topic, prefix string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimPrefix(topic, prefix), 10, 64)
	if err != nil {
		return 0, albs.Errorf(albs.Invalid, "topic %.100q has no number", topic)
	}
	return n, nil
}

// built takes in the packages of an item as its build has them now.
func (m *Matching) built(ctx context.Context, id albs.BuildID, item albs.ItemID) error {
	on, files, err := m.Builds.PackagesOfItem(ctx, id, item)
	if errors.Is(err, albs.NotFound) {
		return m.deleted(ctx, id) // since
	}
	if err != nil {
		return err
	}
	was, err := packagesOf(ctx, m.DB, item)
	if err != nil {
		return fmt.Errorf("read packages of item %d: %w", item, err)
	}
	var rows []packageRow
	for _, f := range files {
		if slices.ContainsFunc(rows, func(r packageRow) bool { return r.Unsigned == f.Digest }) {
			continue // in the repository of another arch, too
		}
		i := slices.IndexFunc(was, func(r packageRow) bool { return r.Unsigned == f.Digest && r.Platform == on })
		if i >= 0 {
			rows = append(rows, was[i])
			continue
		}
		p, err := m.Artifacts.Package(ctx, f.Digest)
		if err != nil {
			return fmt.Errorf("read %s: %w", f.Name, err)
		}
		rows = append(rows, packageRow{
			Platform: on, BuildID: id, ItemID: item, Name: p.Name, Epoch: p.Epoch, Version: p.Version, Release: p.Release, Arch: p.Arch,
			Module: p.Modularity, Source: p.SourceRPM, Unsigned: f.Digest,
		})
	}
	if err := m.DB.InTx(ctx, func(tx db.Tx) error { return setPackages(ctx, tx, item, rows) }); err != nil {
		return fmt.Errorf("keep packages of item %d: %w", item, err)
	}
	return m.changed(ctx, append(was, rows...))
}

// deleted forgets the packages of a build.
func (m *Matching) deleted(ctx context.Context, id albs.BuildID) error {
	was, err := packagesOfBuild(ctx, m.DB, id)
	if err != nil {
		return fmt.Errorf("read packages of build %d: %w", id, err)
	}
	if err := m.DB.InTx(ctx, func(tx db.Tx) error { return dropBuild(ctx, tx, id) }); err != nil {
		return fmt.Errorf("forget packages of build %d: %w", id, err)
	}
	return m.changed(ctx, was)
}

// shown looks at what a release or a rollback has changed in repositories, or at what was
// taken back with it: whether any of it was public before.
func (m *Matching) shown(ctx context.Context, told release.Event) error {
	r, err := m.Releases.Get(ctx, told.Release)
	if err != nil {
		return err
	}
	var rows []packageRow
	for _, in := range r.Plan.Repositories {
		for _, c := range in.Packages {
			if c.Action == plan.Keep {
				continue
			}
			n, err := rpm.ParseNEVRA(c.NEVRA)
			if err != nil {
				return err
			}
			rows = append(rows, packageRow{Platform: in.Platform, Name: n.Name})
		}
	}
	return m.changed(ctx, rows)
}

// changed matches the advisories to which packages of these names matter: those of their
// platforms, and of such as have packages of these released for them too.
func (m *Matching) changed(ctx context.Context, rows []packageRow) error {
	if len(rows) == 0 {
		return nil
	}
	all, err := m.Platforms.All(ctx)
	if err != nil {
		return err
	}
	takes := map[string][]string{} // by the platform of packages
	for _, p := range all {
		for _, built := range builtFor(p) {
			takes[built] = append(takes[built], p.Name)
		}
	}
	names := map[string][]string{}
	for _, r := range rows {
		for _, on := range takes[r.Platform] {
			names[on] = append(names[on], r.Name)
		}
	}
	var failed failures
	for _, on := range slices.Sorted(maps.Keys(names)) {
		list := slices.Compact(slices.Sorted(slices.Values(names[on])))
		keys, err := wanting(ctx, m.DB, on, list)
		if err != nil {
			return fmt.Errorf("find advisories of packages: %w", err)
		}
		for _, k := range keys {
			if err := failed.add(k, m.rematch(ctx, k)); err != nil {
				return err
			}
		}
	}
	return failed.err()
}

// builtFor are the platforms whose builds may be in a repository for p, p first.
func builtFor(p platform.Platform) []string { return append([]string{p.Name}, p.Compatible...) }

// rematchAll matches all advisories of a platform that wait for a release.
func (m *Matching) rematchAll(ctx context.Context, on string) error {
	var failed failures
	for after := (errata.Key{}); ; {
		rs, err := m.Errata.Unreleased(ctx, on, after, errata.MaxPage)
		if err != nil {
			return err
		}
		if len(rs) == 0 {
			return failed.err()
		}
		for _, r := range rs {
			if err := failed.add(r.Key, m.rematch(ctx, r.Key)); err != nil {
				return err
			}
			after = r.Key
		}
	}
}

// failures are of several advisories: one that can't be matched keeps no other one from it.
type failures struct {
	first error
	n     int
}

// add takes an error of one advisory. It returns it if it hinders the others too.
func (f *failures) add(k errata.Key, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("advisory %s: %w", k, err)
	if kind := albs.KindOf(err); kind == albs.Unavailable || kind == albs.NoSpace || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if f.n++; f.first == nil {
		f.first = err
	}
	return nil
}

func (f failures) err() error {
	if f.n > 1 {
		return fmt.Errorf("%w, and %d more", f.first, f.n-1)
	}
	return f.first
}

// rematch finds what answers an advisory by now and keeps it.
func (m *Matching) rematch(ctx context.Context, k errata.Key) error {
	_, err := m.change(ctx, k, change{})
	return err
}

// change is what happens to the matches of an advisory, beside that they are found anew.
type change struct {
	by       person // nobody if there is no name
	revision int64  // that the change rests on; 0 for any
	undo     bool   // what was decided before
	decide   []Decision
}

// tries bounds how often a change is begun anew because its ground has moved.
const tries = 10

// errMoved is why a change begins anew.
var errMoved = albs.Errorf(albs.Conflict, "the advisory was changed at the same moment")

// change finds what answers an advisory, makes the change and keeps both. It returns the
// revision that the advisory has then.
func (m *Matching) change(ctx context.Context, k errata.Key, c change) (int64, error) {
	for try := 1; ; try++ {
		revision, err := m.try(ctx, k, c)
		if !errors.Is(err, errMoved) || try == tries {
			return revision, err
		}
	}
}

func (m *Matching) try(ctx context.Context, k errata.Key, c change) (int64, error) {
	rec, err := m.Errata.Get(ctx, k)
	if err != nil {
		return 0, err
	}
	if c.by.name == "" && (!rec.Pending || rec.State == errata.InProgress) {
		return rec.Revision, m.DB.InTx(ctx, func(tx db.Tx) error {
			now, err := m.Errata.Look(ctx, tx, k)
			if err == nil {
				err = setPending(ctx, tx, k, now.Pending)
			}
			return err
		})
	}
	if c.revision != 0 && c.revision != rec.Revision {
		return 0, albs.Errorf(albs.Conflict, "advisory %s has revision %d by now and not %d: look at it again", k, rec.Revision, c.revision)
	}
	seen, was, err := load(ctx, m.DB, k)
	if err != nil {
		return 0, err
	}
	in, names, err := m.inputs(ctx, rec, was, c)
	if err != nil {
		return 0, err
	}
	revision := rec.Revision
	err = m.DB.InTx(ctx, func(tx db.Tx) error {
		now, err := m.Errata.Look(ctx, tx, k)
		if err != nil {
			return err
		}
		kept, _, err := load(ctx, tx, k)
		if err != nil {
			return err
		}
		if now.Revision != rec.Revision || kept.Document != seen.Document {
			return errMoved
		}
		is := was
		if c.undo {
			is = is.undone()
		}
		if is, err = is.decide(c.by, c.decide, in); err != nil {
			return err
		}
		is = is.merge(in)
		if c.by.name == "" {
			if kept.ID != 0 && kept.Pending == rec.Pending && reflect.DeepEqual(was, is) {
				return nil
			}
			if err := save(ctx, tx, kept, is, names, rec); err != nil {
				return err
			}
			return m.Events.Add(ctx, tx, errata.Matched, errata.Topic(k), auth.From(ctx).String(),
				errata.Event{Key: k, Revision: rec.Revision, State: rec.State.String(), Version: rec.Shown, Release: rec.Release})
		}
		d := differences(was, is)
		if len(d) == 0 {
			return nil
		}
		after, err := m.Errata.Decided(ctx, tx, k, rec.Revision, c.words(), d)
		if err != nil {
			return err
		}
		revision = after.Revision
		return save(ctx, tx, kept, is, is.names(in.want), after)
	})
	if err != nil {
		return 0, err
	}
	return revision, nil
}

// words are the reasons of a change, for the history.
func (c change) words() string {
	if c.undo {
		return "matched anew"
	}
	var out []string
	for _, d := range c.decide {
		if d.Why != "" && !slices.Contains(out, d.Why) {
			out = append(out, d.Why)
		}
	}
	s := strings.Join(out, "; ")
	if len(s) > advisory.MaxLine {
		s = strings.ToValidUTF8(s[:advisory.MaxLine-3], "") + "…"
	}
	return s
}

// inputs gathers what the rules ask for, and the names that matter.
func (m *Matching) inputs(ctx context.Context, rec errata.Record, was state, c change) (inputs, []string, error) {
	p, err := m.Platforms.Get(ctx, rec.Platform)
	if err != nil {
		return inputs{}, nil, err
	}
	in := inputs{want: wants(rec.Advisory), own: rec.Own, frozen: rec.Frozen && !c.undo, platform: p.Name, arches: p.Arches, held: map[place]match.Package{}}
	names := was.names(in.want)
	all := slices.Clone(names)
	for _, d := range c.decide {
		if d.NEVRA.Name != "" {
			all = append(all, d.NEVRA.Name)
		}
	}
	slices.Sort(all)
	own, others, err := m.candidates(ctx, p, slices.Compact(all))
	if err != nil {
		return inputs{}, nil, err
	}
	for _, c := range others {
		in.held[place{c.Build, c.NEVRA}] = c
		if c.Released {
			own = append(own, c)
		}
	}
	for _, c := range own {
		if at := (place{c.Build, c.NEVRA}); c.Released || !in.held[at].Released {
			in.held[at] = c
		}
	}
	in.result = match.New(p.Name, p.Errata.Suffixes, own).Match(in.want, in.own)
	return in, names, nil
}

// candidates returns the packages that have one of the names: of builds of a platform, and of
// builds of those that it names as compatible. These answer by themselves only once they
// are in a repository for the platform, where a person has put them.
func (m *Matching) candidates(ctx context.Context, p platform.Platform, names []string) (own, others []match.Package, err error) {
	for i, built := range builtFor(p) {
		rows, err := named(ctx, m.DB, built, names)
		if err != nil {
			return nil, nil, fmt.Errorf("find packages of builds: %w", err)
		}
		some, err := m.known(ctx, p.Name, rows)
		if err != nil {
			return nil, nil, err
		}
		if i == 0 {
			own = some
		} else {
			others = append(others, some...)
		}
	}
	return own, others, nil
}

// known returns packages of builds with what is known of them at present: whether they are in
// a repository for a platform.
func (m *Matching) known(ctx context.Context, on string, rows []packageRow) ([]match.Package, error) {
	var unsigned []albs.Digest
	for _, r := range rows {
		unsigned = append(unsigned, r.Unsigned)
	}
	slices.Sort(unsigned)
	copies, err := m.Artifacts.Copies(ctx, slices.Compact(unsigned)...)
	if err != nil {
		return nil, fmt.Errorf("find signed copies: %w", err)
	}
	public := shelves{m: m, platform: on, trees: map[string]map[string]albs.Digest{}}
	released := map[albs.Digest]bool{}
	for _, c := range copies {
		if !released[c.Unsigned] {
			if released[c.Unsigned], err = public.have(ctx, c); err != nil {
				return nil, err
			}
		}
	}
	out := make([]match.Package, len(rows))
	for i, r := range rows {
		out[i] = r.candidate()
		out[i].Released = released[r.Unsigned]
	}
	return out, nil
}

// shelves are the repositories for a platform that products show, as they are at one
// moment.
type shelves struct {
	m        *Matching
	platform string
	trees    map[string]map[string]albs.Digest // product → path → snapshot
}

// have reports whether one of them has a signed package.
func (s shelves) have(ctx context.Context, c artifact.Artifact) (bool, error) {
	held, err := s.m.Releases.Holding(ctx, c.Digest)
	if err != nil {
		return false, err
	}
	for _, h := range held {
		snapshots, err := s.of(ctx, h.Product)
		if err != nil {
			return false, err
		}
		if snapshots[h.Path] == "" {
			continue
		}
		f, err := s.m.Repos.Find(ctx, snapshots[h.Path], repo.Path(c.Name))
		if errors.Is(err, albs.NotFound) {
			continue
		}
		if err != nil {
			return false, err
		}
		if f.Digest == c.Digest {
			return true, nil
		}
	}
	return false, nil
}

// of returns the snapshots that a product shows for the platform, by path.
func (s shelves) of(ctx context.Context, name string) (map[string]albs.Digest, error) {
	if known, ok := s.trees[name]; ok {
		return known, nil
	}
	out := map[string]albs.Digest{}
	s.trees[name] = out
	p, err := s.m.Products.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	t, err := s.m.Repos.TreeOf(ctx, name)
	if errors.Is(err, albs.NotFound) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	doc, err := s.m.Repos.ReadTree(ctx, t.Digest)
	if err != nil {
		return nil, err
	}
	for _, r := range doc.Repositories {
		if slices.ContainsFunc(p.Repositories, func(o product.Repository) bool { return o.Path == r.Path && o.Platform == s.platform }) {
			out[r.Path] = r.Snapshot
		}
	}
	return out, nil
}
