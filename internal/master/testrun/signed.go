package testrun

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/event"
	"albs/internal/master/product"
	"albs/internal/master/repo"
)

// Signatures is what is asked of the module that has packages signed. It rests on this one,
// so it is given by itself.
type Signatures interface {
	// Signed returns the signed copies by a key, given by fingerprint, of those of the
	// unsigned packages that have one, as the master stated them.
	Signed(ctx context.Context, unsigned []albs.Digest, key string) (map[albs.Digest]artifact.Artifact, error)
	// PublicKey returns the armored public part of a key as it is registered. Of a key that
	// was revoked it is a Conflict: nothing that it signed is good any more.
	PublicKey(ctx context.Context, fingerprint string) ([]byte, error)
}

// eventSigned is the kind of the event that tells of a request with everything signed, and
// request what is read of its data.
const eventSigned = "build.signed"

type request struct {
	Build albs.BuildID `json:"build"`
	Key   string       `json:"key"`
}

// Sign has t ask s for signed copies and their keys. It is called before t is used.
func (t *Tests) Sign(s Signatures) { t.signs = s }

// signed has the copies tested that a request left, unless the build's product leaves
// that out.
func (t *Tests) signed(ctx context.Context, e event.Event) error {
	var r request
	if err := json.Unmarshal(e.Data, &r); err != nil {
		t.log.Error().Err(err).Int64("event_id", e.ID).Msg("an event of a signature cannot be read; the signed packages are not tested")
		return nil
	}
	gate, err := t.gateOf(ctx, r.Build)
	if err == nil && gate.Of(albs.StageSigned) != product.Off {
		_, err = t.TestSigned(ctx, r.Build, r.Key)
	}
	switch albs.KindOf(err) {
	case albs.NotFound:
		t.log.Warn().Err(err).Int64("build_id", int64(r.Build)).Msg("a build is gone; its signed packages are not tested")
		return nil
	case albs.Conflict: // with the ledger: no repetition mends it, and who plans a release is told
		t.log.Error().Err(err).Int64("build_id", int64(r.Build)).Msg("its signed packages are not tested")
		return nil
	}
	return err
}

// TestSigned has tested what never was of the copies of a build's packages that are signed
// with a key, given by fingerprint, and returns whether there was such. Each is tested in
// the root of each rebuild that left its package: one of no arch once on each arch. It is
// NotFound for an unknown build. The runs are durable on return.
func (t *Tests) TestSigned(ctx context.Context, id albs.BuildID, key string) (begun bool, err error) {
	b, err := t.builds.Get(ctx, id)
	if err != nil {
		return false, err
	}
	for _, p := range plan(b) {
		found, err := t.copiesOf(ctx, p.packages, key)
		if err != nil {
			return begun, err
		}
		seen, _, err := t.store.revisions(ctx, t.store.d, p.row.BuildTaskID, key)
		if err != nil {
			return begun, err
		}
		tested, err := t.store.signedTested(ctx, t.store.d, p.row.BuildTaskID, key)
		if err != nil {
			return begun, err
		}
		p.row.SignedBy, p.packages = key, nil
		for _, a := range found {
			if !slices.Contains(tested, a.Digest) {
				p.packages = append(p.packages, a.Digest)
			}
		}
		if len(p.packages) == 0 {
			continue
		}
		if err := t.begin(ctx, p, b, seen, search{}); err != nil {
			return begun, err
		}
		begun = true
	}
	return begun, nil
}

// copiesOf returns the signed copies of packages, sorted by name.
func (t *Tests) copiesOf(ctx context.Context, unsigned []albs.Digest, key string) ([]artifact.Artifact, error) {
	if t.signs == nil {
		return nil, albs.Errorf(albs.Internal, "nobody knows of signed packages")
	}
	found, err := t.signs.Signed(ctx, unsigned, key)
	if err != nil {
		return nil, fmt.Errorf("signed copies: %w", err)
	}
	var out []artifact.Artifact
	for _, d := range unsigned {
		if a, ok := found[d]; ok {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b artifact.Artifact) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// signedAgain returns which signed copies of a rebuild's packages are to be tested once more,
// by the key: those that were tested before and didn't pass.
func signedAgain(runs []Run, p planned) []repeated {
	var keys []string
	of := map[string]*repeated{}
	last := map[albs.Digest]State{}
	for _, r := range runs { // in the order of their making
		if r.BuildTask != p.row.BuildTaskID || r.SignedBy == "" {
			continue
		}
		a := of[r.SignedBy]
		if a == nil {
			a = &repeated{planned: p}
			a.row.SignedBy, a.packages = r.SignedBy, nil
			of[r.SignedBy], keys = a, append(keys, r.SignedBy)
		}
		a.seen = max(a.seen, r.Revision)
		for _, x := range r.Packages {
			if _, again := last[x.Digest]; !again {
				a.packages = append(a.packages, x.Digest)
			}
			last[x.Digest] = x.Verdict.State
		}
	}
	var out []repeated
	for _, k := range keys {
		a := *of[k]
		a.packages = slices.DeleteFunc(a.packages, func(d albs.Digest) bool { return last[d] == Passed || last[d] == Pending })
		out = append(out, a)
	}
	return out
}

// signedRepo and signedPriority are the repository of signed copies, as dnf sees it: in front
// of all others.
const (
	signedRepo     = "signed"
	signedPriority = 1
)

// offerSigned composes the root in which signed copies are installed: as that of the unsigned
// packages, but that the build's own repositories make room for one of the copies, of which
// dnf takes what the key signed and nothing else. The key is the registry's.
func (h handler) offerSigned(ctx context.Context, run runRow) (*albs.TestSpec, error) {
	if h.signs == nil {
		return nil, albs.Errorf(albs.Internal, "nobody knows of signed packages")
	}
	public, err := h.signs.PublicKey(ctx, run.SignedBy)
	if err != nil {
		return nil, invalid(err)
	}
	root, err := h.builds.TestRoot(ctx, run.BuildID, run.Platform, run.Arch)
	if err != nil {
		return nil, err
	}
	packages, err := h.store.packagesOf(ctx, h.store.d, run.ID)
	if err != nil {
		return nil, fmt.Errorf("packages of test run %d: %w", run.ID, err)
	}
	snapshot, err := h.snapshotOfCopies(ctx, run, packages)
	if err != nil {
		return nil, err
	}
	own := "build-" + run.BuildID.String()
	repos := []albs.Repo{{ID: signedRepo, Snapshot: snapshot, Priority: signedPriority, Own: true, Keys: string(public)}}
	for _, r := range root.Repos {
		if r.ID != own && r.ID != own+"-debug" {
			repos = append(repos, r)
		}
	}
	root.Repos = repos
	spec := &albs.TestSpec{Root: root, Stages: []albs.TestStage{albs.StageEnvironment, albs.StageSigned}}
	return spec, h.describe(ctx, spec, run, packages)
}

// invalid makes an error that no later try mends end the task.
func invalid(err error) error {
	if k := albs.KindOf(err); k == albs.NotFound || k == albs.Conflict {
		return albs.Errorf(albs.Invalid, "%w", err)
	}
	return err
}

// copies remember, for a while, the repositories that were made of the signed copies of a
// build: it may have many runs. No repository shows them, so they are kept for as long
// as whatever nothing needs is.
type copies struct {
	mu   sync.Mutex
	made map[string]madeCopies
}

type madeCopies struct {
	snapshot albs.Digest
	has      map[albs.Digest]bool
	at       time.Time
}

const (
	maxCopies  = 16
	copiesLife = time.Hour // much shorter than the time of grace
)

// snapshotOfCopies returns a repository with all signed copies of the build's packages for
// the platform and arch of a run, those of the run among them. One that isn't signed with the
// key any more is Invalid.
func (h handler) snapshotOfCopies(ctx context.Context, run runRow, packages []packageRow) (albs.Digest, error) {
	h.copies.mu.Lock()
	defer h.copies.mu.Unlock()
	key := fmt.Sprintf("%d %s %s %s", run.BuildID, run.Platform, run.Arch, run.SignedBy)
	lacks := func(m madeCopies) bool {
		return slices.ContainsFunc(packages, func(p packageRow) bool { return !m.has[p.Digest] })
	}
	if m, ok := h.copies.made[key]; ok && time.Since(m.at) < copiesLife && !lacks(m) {
		return m.snapshot, nil
	}
	b, err := h.builds.Get(ctx, run.BuildID)
	if err != nil {
		return "", err
	}
	var all []artifact.Artifact
	m := madeCopies{has: map[albs.Digest]bool{}, at: time.Now()}
	for _, p := range plan(b) {
		if p.row.Platform != run.Platform || p.row.Arch != run.Arch {
			continue
		}
		found, err := h.copiesOf(ctx, p.packages, run.SignedBy)
		if err != nil {
			return "", err
		}
		for _, a := range found {
			if !m.has[a.Digest] {
				m.has[a.Digest], all = true, append(all, a)
			}
		}
	}
	if lacks(m) {
		return "", albs.Errorf(albs.Invalid, "build %d has other packages signed with key %s than those to be tested", run.BuildID, run.SignedBy)
	}
	if m.snapshot, err = h.repos.ExtendSnapshot(ctx, "", repo.Change{Add: all}); err != nil {
		return "", fmt.Errorf("make a repository of signed packages: %w", err)
	}
	if h.copies.made == nil || len(h.copies.made) >= maxCopies {
		h.copies.made = map[string]madeCopies{}
	}
	h.copies.made[key] = m
	return m.snapshot, nil
}

// VerdictOfSigned returns what the tests of a build say to gate of signed copies of its
// packages, given by the unsigned ones, by which the answer is too. It is as Verdict's; a
// waiver counts that names the stage and no other, also for a copy that was never tested.
func (t *Tests) VerdictOfSigned(ctx context.Context, id albs.BuildID, signed map[albs.Digest]albs.Digest, gate product.Gate) (map[albs.Digest]Verdict, error) {
	runs, err := t.Of(ctx, id)
	if err != nil {
		return nil, err
	}
	views := viewsOf(runs)
	gate = gate.Signed()
	out := make(map[albs.Digest]Verdict, len(signed))
	for unsigned, d := range signed {
		v := verdictOf(views[d], gate)
		switch {
		case v.Passes():
			v, err = t.stated(ctx, d, v, gate)
		case v.State != Pending:
			var waivers []albs.Waived
			if waivers, _, err = t.inForce(ctx, id, unsigned); err == nil {
				v = waiveSigned(v, waivers)
			}
		}
		if err != nil {
			return nil, err
		}
		out[unsigned] = v
	}
	return out, nil
}

// barredCopies returns the signed copies that were tested and that gate doesn't let go, or lets
// go by a waiver, as far as rows tell, by the unsigned packages: of several copies of one the
// worst.
func (t *Tests) barredCopies(ctx context.Context, id albs.BuildID, runs []Run, gate product.Gate) (map[albs.Digest]Standing, error) {
	if gate = gate.Signed(); !gate.Requires() {
		return nil, nil
	}
	out := map[albs.Digest]Standing{}
	for _, r := range Latest(runs) {
		for _, p := range r.Packages {
			if p.SignedBy == "" {
				continue
			}
			v := p.view.verdict(gate)
			if v.State == Passed {
				continue
			}
			a, err := t.artifacts.Find(ctx, p.Digest)
			if err != nil {
				return nil, err
			}
			if v.State != Pending {
				waivers, _, err := t.inForce(ctx, id, a.Unsigned)
				if err != nil {
					return nil, err
				}
				v = waiveSigned(v, waivers)
			}
			if had, ok := out[a.Unsigned]; !ok || rank[v.State] > rank[had.Verdict.State] {
				out[a.Unsigned] = Standing{Digest: p.Digest, NEVRA: p.NEVRA, Verdict: v}
			}
		}
	}
	return out, nil
}

// waiveSigned is what a verdict on a signed copy comes to with these waivers. One that names
// no stage was made for what failed before anything was signed.
func waiveSigned(was Verdict, waivers []albs.Waived) Verdict {
	out := Verdict{State: Waived, Reason: was.Reason}
	for _, w := range waivers {
		if w.Stage == albs.StageSigned {
			out.Waivers = append(out.Waivers, w)
			out.Reason += "; " + w.String()
		}
	}
	if len(out.Waivers) == 0 {
		return was
	}
	return out
}
