package auth

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/db"
)

// NewWorker says what an identity is to be bound to.
type NewWorker struct {
	Name   string
	Role   albs.Role   // master only for LocalWorker, which does the master's own tasks
	Arches []albs.Arch // at least one for a node or a tester; none for the others
	Keys   []string    // a signer's key fingerprints; empty lets it offer any key that it holds
	Labels []string    // what else it may offer: "big", "place:…", "secureboot", "emulated:…", "engine:…"
}

// Worker is an enrolled worker identity.
type Worker struct {
	ID         albs.WorkerID
	Name       string
	Role       albs.Role
	Labels     []string // the bound of what it may offer, sorted
	Prefix     string   // the first characters of its token; empty for one in the master's process
	CreatedAt  db.Time
	UsedAt     db.Time // rounded down to the hour; zero if never
	DisabledAt db.Time // zero while in use
}

var (
	labelPattern       = regexp.MustCompile(`^[a-z0-9]+(:[A-Za-z0-9][A-Za-z0-9._-]{0,79})?$`)
	fingerprintPattern = regexp.MustCompile(`^([0-9A-F]{40}|[0-9A-F]{64})$`)
	boundPrefixes      = []string{"kind:", "arch:", "key:"} // come from role, arches and keys only
)

// labels returns the identity's labels, or an Invalid error.
func (n NewWorker) labels() ([]string, error) {
	if err := checkName("worker", n.Name); err != nil {
		return nil, err
	}
	var out []string
	for _, k := range []albs.TaskKind{albs.KindImport, albs.KindNotarize, albs.KindGraph, albs.KindSuites, albs.KindSource, albs.KindBuild, albs.KindRebuild, albs.KindTest, albs.KindSign, albs.KindKeygen, albs.KindPublish, albs.KindPrune, albs.KindProve} {
		if k.Role() == n.Role {
			out = append(out, "kind:"+string(k))
		}
	}
	if len(out) == 0 {
		return nil, albs.Errorf(albs.Invalid, "role %.40q does no tasks: a worker is a node, a tester, a signer or a releaser", n.Role)
	}
	byArch := n.Role == albs.RoleNode || n.Role == albs.RoleTester
	if byArch != (len(n.Arches) > 0) {
		return nil, albs.Errorf(albs.Invalid, "a node or a tester is bound to at least one arch, other roles to none")
	}
	for _, arch := range n.Arches {
		if _, err := albs.ParseArch(string(arch)); err != nil {
			return nil, err
		}
		out = append(out, "arch:"+string(arch))
	}
	if len(n.Keys) > 0 && n.Role != albs.RoleSigner {
		return nil, albs.Errorf(albs.Invalid, "only a signer has keys")
	}
	if n.Role == albs.RoleSigner && len(n.Keys) == 0 {
		out = append(out, "key:*")
	}
	for _, k := range n.Keys {
		if !fingerprintPattern.MatchString(k) {
			return nil, albs.Errorf(albs.Invalid, "%.80q is not a key's fingerprint in upper-case hex", k)
		}
		out = append(out, "key:"+k)
	}
	for _, l := range n.Labels {
		bound := slices.ContainsFunc(boundPrefixes, func(p string) bool { return len(l) >= len(p) && l[:len(p)] == p })
		if bound || !labelPattern.MatchString(l) {
			return nil, albs.Errorf(albs.Invalid, "label %.80q: use word or word:value, other than kind:, arch: and key:", l)
		}
		if arch, ok := strings.CutPrefix(l, albs.EmulatedLabel("")); ok && !slices.Contains(n.Arches, albs.Arch(arch)) {
			return nil, albs.Errorf(albs.Invalid, "label %s: the worker is not bound to the arch %s that it is to emulate", l, arch)
		}
		if engine, ok := strings.CutPrefix(l, albs.EngineLabel("")); ok {
			if err := albs.CheckTestEngine(engine); err != nil {
				return nil, albs.Errorf(albs.Invalid, "label %s: %w", l, err)
			}
			if n.Role != albs.RoleTester {
				return nil, albs.Errorf(albs.Invalid, "label %s: only a tester has engines of tests", l)
			}
		}
		out = append(out, l)
	}
	if len(out) > maxLabels {
		return nil, albs.Errorf(albs.TooLarge, "the worker has %d labels, %d are allowed", len(out), maxLabels)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

const maxLabels = 100

// AddWorker enrolls a worker and returns its token, which is not kept. A taken
// name is a Conflict, a bad role, arch, key or label Invalid. It asks for
// worker.manage.
func (a *Auth) AddWorker(ctx context.Context, n NewWorker) (string, Worker, error) {
	if err := Can(ctx, WorkerManage, Object{}); err != nil {
		return "", Worker{}, err
	}
	labels, err := n.labels()
	if err != nil {
		return "", Worker{}, err
	}
	if n.Role == albs.RoleMaster {
		return "", Worker{}, albs.Errorf(albs.Invalid, "the master enrolls itself: a worker is a node, a tester, a signer or a releaser")
	}
	secret, prefix, hash := newToken(letterWorker)
	w := Worker{Name: n.Name, Role: n.Role, Labels: labels, Prefix: prefix, CreatedAt: a.time()}
	err = a.d.InTx(ctx, func(tx db.Tx) error {
		id, err := insertWorker(ctx, tx, w, hash)
		if db.IsUnique(err) {
			return albs.Errorf(albs.Conflict, "there is a worker %s already", w.Name)
		}
		if err != nil {
			return err
		}
		w.ID = id
		return a.record(ctx, tx, "worker.added", workerTopic(w.Name), workerEvent{w.Role, w.Labels})
	})
	if err != nil {
		return "", Worker{}, err
	}
	return secret, w, nil
}

type workerEvent struct {
	Role   albs.Role `json:"role"`
	Labels []string  `json:"labels"`
}

// LocalWorker returns the actor of a worker that runs in the master's process
// and so needs no token. Its identity is made on first use and follows n
// afterwards. A name that an enrolled worker has is a Conflict.
func (a *Auth) LocalWorker(ctx context.Context, n NewWorker) (Actor, error) {
	labels, err := n.labels()
	if err != nil {
		return Actor{}, err
	}
	ctx = System(ctx, "local worker")
	w := Worker{Name: n.Name, Role: n.Role, Labels: labels, CreatedAt: a.time()}
	err = a.d.InTx(ctx, func(tx db.Tx) error {
		have, err := workerByName(ctx, tx, n.Name)
		switch {
		case albs.KindOf(err) == albs.NotFound:
			if w.ID, err = insertWorker(ctx, tx, w, ""); err != nil {
				return err
			}
			return a.record(ctx, tx, "worker.added", workerTopic(w.Name), workerEvent{w.Role, w.Labels})
		case err != nil:
			return err
		case have.Prefix != "":
			return albs.Errorf(albs.Conflict, "worker %s is enrolled with a token: give the one in the master's process another name", n.Name)
		case !have.DisabledAt.IsZero():
			return albs.Errorf(albs.Conflict, "worker %s is disabled", n.Name)
		}
		w.ID = have.ID
		return updateWorker(ctx, tx, w)
	})
	if err != nil {
		return Actor{}, err
	}
	return w.actor(), nil
}

func (w Worker) actor() Actor {
	return Actor{Kind: KindWorker, Worker: w.ID, Name: w.Name, Role: w.Role, Labels: w.Labels}
}

// Workers returns every worker identity by name. Anyone may ask: they hold no secret.
func (a *Auth) Workers(ctx context.Context) ([]Worker, error) { return workers(ctx, a.d) }

// DisableWorker closes an identity for good: its token is refused from now on,
// and its leases end by themselves. Doing it twice changes nothing. It asks for
// worker.manage.
func (a *Auth) DisableWorker(ctx context.Context, id albs.WorkerID) error {
	if err := Can(ctx, WorkerManage, Object{}); err != nil {
		return err
	}
	return a.d.InTx(ctx, func(tx db.Tx) error {
		w, err := workerByID(ctx, tx, id)
		if err != nil || !w.DisabledAt.IsZero() {
			return err
		}
		if err := disableWorker(ctx, tx, id, a.time()); err != nil {
			return err
		}
		return a.record(ctx, tx, "worker.disabled", workerTopic(w.Name), nil)
	})
}

func (a *Auth) worker(ctx context.Context, secret string) (Actor, error) {
	w, err := workerByHash(ctx, a.d, albs.DigestOf([]byte(secret)))
	if albs.KindOf(err) == albs.NotFound {
		return Actor{}, albs.Errorf(albs.Unauthenticated, "the worker token is unknown: enroll the worker with albs worker add")
	}
	if err != nil {
		return Actor{}, err
	}
	if !w.DisabledAt.IsZero() {
		return Actor{}, albs.Errorf(albs.Unauthenticated, "worker %s is disabled", w.Name)
	}
	a.used(ctx, "worker", int64(w.ID), w.UsedAt)
	return w.actor(), nil
}

func workerTopic(name string) string { return "worker:" + name }
