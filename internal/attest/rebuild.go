package attest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/rpm"
)

// InputsDiffer is a verdict beside those of rpm.Match: what the package was rebuilt in
// isn't what it was built in, so that the outcome says nothing.
const InputsDiffer = "inputs-differ"

// RebuildBody says how a package came out when it was built once more, from the same
// source package in a root of the same packages. Its subject is the unsigned package
// that was built first.
type RebuildBody struct {
	Verdict string  `json:"verdict"`  // one of rpm.Match, or InputsDiffer
	Builder Builder `json:"builder"`  // of the rebuild
	Node    string  `json:"node"`     // that rebuilt
	BuiltOn string  `json:"built_on"` // the node that had built
	// InvocationID is of the rebuild, Of that of the build.
	InvocationID string `json:"invocationId"`
	Of           string `json:"of"`
	// Record is what the package was rebuilt in, BuiltIn what it was built in: buildroot
	// records.
	Record  albs.Digest `json:"record"`
	BuiltIn albs.Digest `json:"built_in"`
	// Rebuilt is the file that the rebuild left; "" if it left none of the name.
	Rebuilt albs.Digest `json:"rebuilt,omitempty"`
	// Differing is what differs: files and tags of the package, or what the roots are
	// made of. Ignored are tags that differ and tell nothing of what is installed.
	Differing []string  `json:"differing,omitempty"`
	Ignored   []string  `json:"ignored,omitempty"`
	At        time.Time `json:"at"` // when the rebuild had ended
}

// verdicts are what a RebuildBody may say.
var verdicts = []string{string(rpm.BitIdentical), string(rpm.PayloadIdentical), string(rpm.Different), InputsDiffer}

// rebuilt looks at the statements of what rebuilds of an unsigned package came to, each of
// which has to be of a build that a statement tells of, and tells the newest of each node
// and builder. One that differs is told and breaks nothing: most packages aren't
// reproducible, and who wants only those that are reads the report.
func (c *chain) rebuilt(unsigned albs.Digest, has content) error {
	type place struct{ node, builder string }
	type told struct {
		*fact
		body RebuildBody
	}
	last := map[place]told{}
	for _, f := range c.about(unsigned, Rebuild) {
		if err := has.check(f); err != nil {
			return err
		}
		var body RebuildBody
		if err := f.read(&body); err != nil {
			return err
		}
		if !slices.Contains(verdicts, body.Verdict) || body.Node == "" {
			return broken(LinkChain, "%s says of a rebuild on node %.80q that it ended %.40q", f.key, body.Node, body.Verdict)
		}
		if err := c.again(unsigned, f, body); err != nil {
			return err
		}
		f.used = true
		at := place{body.Node, body.Builder.ID}
		if before, ok := last[at]; !ok || f.n > before.n {
			last[at] = told{f, body}
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(last), func(a, b place) int {
		return cmp.Or(strings.Compare(a.node, b.node), strings.Compare(a.builder, b.builder))
	}) {
		t := last[at]
		c.step(t.fact, LinkChain, "%s", t.body)
	}
	return nil
}

// again breaks the chain unless one of the builds that a package is stated to come from is
// the one that a rebuild says it did again: on that node, in that root.
func (c *chain) again(unsigned albs.Digest, f *fact, body RebuildBody) error {
	for _, build := range c.about(unsigned, Build) {
		var b BuildBody
		if err := build.read(&b); err != nil {
			return err
		}
		if b.RunDetails.Metadata.InvocationID == body.Of && b.BuildDefinition.InternalParameters.Node == body.BuiltOn && b.BuiltIn() == body.BuiltIn {
			return nil
		}
	}
	return broken(LinkChain, "%s is of a build %.80q on node %.80q in the root %s, and no statement tells of that", f.key, body.Of, body.BuiltOn, body.BuiltIn.Short())
}

// BuiltIn returns the digest of the buildroot record that a build names, "" if it names
// none.
func (b BuildBody) BuiltIn() albs.Digest {
	i := slices.IndexFunc(b.BuildDefinition.ResolvedDependencies, func(d Descriptor) bool { return d.Name == DependencyBuildroot })
	if i < 0 {
		return ""
	}
	return albs.Digest(b.BuildDefinition.ResolvedDependencies[i].Digest[SHA256])
}

// String says in a line what came of the rebuild, with the first of what differs.
func (b RebuildBody) String() string {
	where, verdict := "node "+b.Node, b.Verdict
	if b.Node == b.BuiltOn {
		where = "the same node " + b.Node
	}
	switch b.Verdict {
	case string(rpm.BitIdentical), string(rpm.PayloadIdentical):
		return "rebuilt on " + where + ": " + verdict
	case string(rpm.Different):
		verdict = "DIFFERS"
	case InputsDiffer:
		verdict = "its inputs differ, which tells nothing of the package"
	}
	if len(b.Differing) > 0 {
		verdict += ": " + b.Differing[0]
	}
	return "rebuilt on " + where + ": " + verdict
}
