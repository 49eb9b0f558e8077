// Package plan says what a release comes to: which package goes into which repository of a
// product, what speaks against it, and the digest over its effects that people approve.
//
// It is pure: package gather finds the facts that a plan is made of, package release keeps
// plans, has them approved and publishes them. Equal facts give equal plans.
package plan

import (
	"time"

	"albs/internal/albs"
	"albs/internal/attest/effect"
	"albs/internal/master/product"
	"albs/internal/master/release/place"
	"albs/internal/master/testrun"
	"albs/internal/repodata"
)

// Action says what a plan does with a package in a repository.
type Action string

// The actions. Nothing is ever replaced: a NEVRA that was released keeps its
// digest, and older versions stay beside newer ones. Remove is what a rollback to
// an earlier tree comes to.
const (
	Add    Action = "add"
	Keep   Action = "keep" // it is there already, byte for byte
	Remove Action = "remove"
)

// Plan is what a release comes to, computed from what there is and never from
// what a client sends.
type Plan struct {
	Product string `json:"product"`
	// Revision is the product's, by which the plan was made.
	Revision int64 `json:"revision"`
	// Key is the fingerprint of the key whose signatures count; "" if there is none.
	Key string `json:"key"`
	// Gate is the product's policy on tests.
	Gate product.Tests `json:"gate"`
	// Serial is what the product showed when the plan was made, 0 for nothing.
	Serial int64 `json:"serial"`
	// Expires is when approvals of the plan end.
	Expires time.Time `json:"expires"`
	// Repositories are all that the product will show, by path.
	Repositories []Repository `json:"repositories"`
	// Wanted is what was asked for beside packages, Items what that comes to.
	Wanted []Wanted `json:"wanted,omitempty"`
	Items  []Item   `json:"items,omitempty"`
	// Skipped is what of it was left out, which nobody insisted on.
	Skipped []Skipped `json:"skipped,omitempty"`
	// Files are those that change of the tree, by path.
	Files []FileChange `json:"files,omitempty"`
	// Decisions are what people decided of its packages; they are among the inputs.
	Decisions []place.Decision `json:"decisions,omitempty"`
	// Copy is where its packages come from, if that isn't from builds.
	Copy *Copy `json:"copy,omitempty"`
	// Left are those packages of the product copied from that the plan leaves out.
	Left []Left `json:"left,omitempty"`
	// Excluded are the packages of the builds that go nowhere, by decision.
	Excluded []string `json:"excluded,omitempty"`
	// Missing are arches of the product for which a build has nothing.
	Missing []Missing `json:"missing,omitempty"`
	// Dropped are the paths of repositories that are shown now and won't be.
	Dropped []string `json:"dropped,omitempty"`
	// Closure is what the release would leave unresolved; nil if nobody looked.
	Closure *Closure `json:"closure,omitempty"`
	// Refusals say why the plan can't be approved. A plan without is sound.
	Refusals []Refusal `json:"refusals,omitempty"`
	// Notes are what people should know beside.
	Notes []string `json:"notes,omitempty"`
	// Why is what the person who asked for a rollback gave as the reason; it may be empty.
	Why string `json:"why,omitempty"`
}

// Repository is one repository of a plan.
type Repository struct {
	Path     string       `json:"path"`
	Platform string       `json:"platform"`
	Arch     albs.Arch    `json:"arch"`
	Kind     product.Kind `json:"kind"`
	New      bool         `json:"new,omitempty"` // nothing is shown there now
	Before   int          `json:"before"`        // packages shown now
	After    int          `json:"after"`         // packages after publication
	Bytes    int64        `json:"bytes"`         // of the packages that it adds
	Packages []Change     `json:"packages"`      // by file name
	// Records are those that change, by type.
	Records []RecordChange `json:"records,omitempty"`
	// Metadata is how primary, filelists and other will be compressed, where it isn't as now;
	// of a new repository, where it isn't gzip.
	Metadata repodata.Compression `json:"metadata,omitempty"`
	// Modules are the streams that it gains or loses by them, and those of its packages here.
	Modules []Module `json:"modules,omitempty"`
}

// Change is one package of a plan in one repository.
type Change struct {
	Action Action      `json:"action"`
	NEVRA  string      `json:"nevra"`
	File   string      `json:"file"`
	Digest albs.Digest `json:"digest"` // of the signed package
	Size   int64       `json:"size"`
	// Unsigned is the package that was built, Build where.
	Unsigned albs.Digest  `json:"unsigned,omitempty"`
	Build    albs.BuildID `json:"build,omitempty"`
	// Module is the label of the module that it belongs to, name:stream:version:context.
	Module string `json:"module,omitempty"`
	// BuiltFor is the platform that it was built for, where that isn't the repository's but
	// one that the repository's names as compatible.
	BuiltFor string `json:"built_for,omitempty"`
	// Tests is the verdict on it, "" for a source package.
	Tests  testrun.State `json:"tests,omitempty"`
	Reason string        `json:"reason,omitempty"` // of the verdict
	// Waivers are those by which it goes though its tests didn't pass.
	Waivers []albs.Waived `json:"waivers,omitempty"`
	// Place is where references have it, and Match how well what they have fits; both are
	// empty where there was no choice, or a person chose.
	Place string `json:"place,omitempty"`
	Match string `json:"match,omitempty"`
	// Updates is the newest of the shown packages of its name and arch that it comes after.
	Updates string `json:"updates,omitempty"`
}

// Missing says that a build has packages of a platform for other arches than these, for
// which the product has repositories too.
type Missing struct {
	Build    albs.BuildID `json:"build"`
	Platform string       `json:"platform"`
	Arches   []albs.Arch  `json:"arches"`
}

// Refusal is one reason against a plan, a sentence for people.
type Refusal struct {
	Package string       `json:"package,omitempty"` // NEVRA; "" if it is about all
	Build   albs.BuildID `json:"build,omitempty"`
	Reason  string       `json:"reason"`
	// Pending says that it waits for tests that are still to end: a plan that is computed
	// after that may do without it.
	Pending bool `json:"pending,omitempty"`
}

// String returns the refusal as one line.
func (r Refusal) String() string {
	if r.Package == "" {
		return r.Reason
	}
	return r.Package + ": " + r.Reason
}

// Effects returns what people approve: what will be added and
// dropped where, packages and what is released with them, signed by which key, with which verdicts, by which decisions, and
// until when people's word for it holds. Counts, notes
// and the serial don't belong to it, for another release may change them without
// touching this one.
func (p Plan) Effects() effect.Effects {
	e := effect.Effects{Product: p.Product, Key: p.Key, Expires: p.Expires, Dropped: p.Dropped}
	for _, d := range p.Decisions {
		e.Decisions = append(e.Decisions, effect.Decision{Action: string(d.Action), Package: d.Package, To: d.To, Reason: d.Reason})
	}
	for _, r := range p.Repositories {
		f := effect.Repository{Path: r.Path, Metadata: string(r.Metadata)}
		for _, c := range r.Packages {
			if c.Action != Keep {
				f.Changes = append(f.Changes, effect.Package{File: c.File, Digest: c.Digest, Tests: string(c.Tests), Removed: c.Action == Remove, Waivers: c.Waivers})
			}
		}
		for _, c := range r.Records {
			f.Records = append(f.Records, effect.Record{
				Action: string(c.Action), Type: c.Type, Name: c.Name, Digest: c.Digest, Size: c.Size, OpenDigest: c.OpenDigest, OpenSize: c.OpenSize, Before: c.Before,
			})
		}
		e.Repositories = append(e.Repositories, f)
	}
	for _, i := range p.Items {
		e.Items = append(e.Items, effect.Item{
			Part: i.Part, Name: i.Name, Version: i.Version, Digest: i.Digest, Withdraws: i.Withdraws, Force: i.Force, Missing: i.Missing,
		})
	}
	for _, c := range p.Files {
		e.Tree = append(e.Tree, effect.Tree{Action: string(c.Action), Path: c.Path, Digest: c.Digest, Size: c.Size, Signed: c.Sign, Before: c.Before})
	}
	return e
}

// Digest returns the digest over the plan's effects. It is that which people approve.
func (p Plan) Digest() albs.Digest { return p.Effects().Digest() }

// Added counts the packages that the plan adds, each file once.
func (p Plan) Added() int {
	files := map[albs.Digest]bool{}
	for _, r := range p.Repositories {
		for _, c := range r.Packages {
			if c.Action == Add {
				files[c.Digest] = true
			}
		}
	}
	return len(files)
}
