package rebuild

import (
	"maps"
	"slices"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/queue"
	"albs/internal/master/queue/schedule"
)

// What is here is pure: what a build rested on, and who is to do it again.

// agree holds the spec that an attempt had, which a row of the database tells, to what was
// stated of the build, and returns the digest of the buildroot record. A spec that says
// anything else is a Conflict: the rebuild would be of another build.
func agree(spec albs.BuildSpec, body attest.BuildBody) (record albs.Digest, err error) {
	d, p := body.BuildDefinition, body.BuildDefinition.ExternalParameters
	stated := map[string]albs.Digest{}
	for _, r := range d.ResolvedDependencies {
		if r.Name != "" {
			stated[r.Name] = albs.Digest(r.Digest[attest.SHA256])
		}
	}
	if record = body.BuiltIn(); !record.Valid() {
		return "", albs.Errorf(albs.Conflict, "nothing says in what it was built")
	}
	other := func(what string) error {
		return albs.Errorf(albs.Conflict, "what was given to the node and what was stated of the build differ in %s", what)
	}
	switch {
	case stated[attest.DependencySRPM] != spec.SRPM.Digest:
		return "", other("the source package")
	case p.Arch != spec.Arch:
		return "", other("the arch")
	case !slices.Equal(p.With, spec.With) || !slices.Equal(p.Without, spec.Without) || !maps.Equal(p.Define, spec.Define):
		return "", other("the options")
	case !slices.Equal(p.Excludes, spec.Root.Excludes) || !slices.Equal(p.Modules, spec.Root.Modules):
		return "", other("the root's packages")
	case d.InternalParameters.Network != spec.Root.Network:
		return "", other("the network")
	}
	if said := d.InternalParameters.Macros; said != "" { // older statements say nothing of them
		if b, err := albs.MacroFile(spec.Root.Macros); err != nil || albs.DigestOf(b) != said {
			return "", other("the macros")
		}
	}
	for _, r := range spec.Root.Repos {
		want := r.Snapshot
		if r.Snapshot == "" {
			want = r.Repomd
		}
		if stated["repository:"+r.ID] != want {
			return "", other("repository " + r.ID)
		}
	}
	return record, nil
}

// place returns what the node of a rebuild has to be, as a need, beside all that the build
// needs: the one that is asked for; not the one that isn't wanted; or, if nothing is
// asked for, not the one that built, if another could do it; "" is any. NotFound for a node
// that nobody has heard of, Invalid for one that can't do it.
func place(n Request, builtOn string, needs []string, workers []queue.Worker) (string, error) {
	switch {
	case n.Node != "" && n.NotNode != "":
		return "", albs.Errorf(albs.Invalid, "name the node that is to do it or one that isn't, not both")
	case n.NotNode != "":
		if !slices.ContainsFunc(workers, func(w queue.Worker) bool { return w.Name == n.NotNode }) {
			return "", unheard(n.NotNode)
		}
		return schedule.Except(n.NotNode), nil
	case n.Node != "":
		i := slices.IndexFunc(workers, func(w queue.Worker) bool { return w.Name == n.Node })
		if i < 0 {
			return "", unheard(n.Node)
		}
		if lacks := lacking(workers[i], needs); lacks != "" {
			return "", albs.Errorf(albs.Invalid, "node %s can't do it: it has no %s", n.Node, lacks)
		}
		return schedule.Only(n.Node), nil
	}
	for _, w := range workers {
		if w.Name != builtOn && w.Alive && w.Drained.IsZero() && w.Quarantined.IsZero() && lacking(w, needs) == "" {
			return schedule.Except(builtOn), nil
		}
	}
	return "", nil
}

func unheard(node string) error {
	return albs.Errorf(albs.NotFound, "no node %.80q has asked for work", node)
}

// lacking returns the first of the needs that a worker doesn't have as a label, or "".
func lacking(w queue.Worker, needs []string) string {
	for _, n := range needs {
		if !slices.Contains(w.Labels, n) {
			return n
		}
	}
	return ""
}
