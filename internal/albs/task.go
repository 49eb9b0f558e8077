package albs

import (
	"fmt"
	"slices"
	"time"
)

// TaskKind says which role does a task and which member of Spec and Result it has.
type TaskKind string

// The kinds of task. A new kind of work is a new kind here, a Handler in the
// module that owns it and a loop in the role that does it.
const (
	KindImport   TaskKind = "import"   // master: git commit and look-aside files → exported source
	KindNotarize TaskKind = "notarize" // master: the commits of refs → statements about them
	KindGraph    TaskKind = "graph"    // master: what the SRPMs of a platform say → the order of their rebuilds
	KindSuites   TaskKind = "suites"   // master: the names of a build's packages → the tests of their own, pinned
	KindSource   TaskKind = "source"   // node: exported source → one SRPM
	KindBuild    TaskKind = "build"    // node: SRPM → RPMs of one arch
	KindRebuild  TaskKind = "rebuild"  // node: a build once more, by the spec that it had, to be compared
	KindTest     TaskKind = "test"     // tester: install, check, remove
	KindSign     TaskKind = "sign"     // signer: header and detached signatures
	KindKeygen   TaskKind = "keygen"   // signer: make a key that stays there, or revoke one
	KindPublish  TaskKind = "publish"  // releaser: a sealed tree to the public place
	KindPrune    TaskKind = "prune"    // releaser: what is beyond a product's retention out of the public place
	KindProve    TaskKind = "prove"    // releaser: statements and proofs beside released packages
)

// Role is a part that the one binary can play.
type Role string

// The roles.
const (
	RoleMaster   Role = "master"
	RoleNode     Role = "node"
	RoleTester   Role = "tester"
	RoleSigner   Role = "signer"
	RoleReleaser Role = "releaser"
)

// Roles lists every role in the order in which they start.
var Roles = []Role{RoleMaster, RoleNode, RoleTester, RoleSigner, RoleReleaser}

// Role returns the role that does tasks of kind k; "" for an unknown kind.
func (k TaskKind) Role() Role {
	switch k {
	case KindImport, KindNotarize, KindGraph, KindSuites:
		return RoleMaster
	case KindSource, KindBuild, KindRebuild:
		return RoleNode
	case KindTest:
		return RoleTester
	case KindSign, KindKeygen:
		return RoleSigner
	case KindPublish, KindPrune, KindProve:
		return RoleReleaser
	}
	return ""
}

// TaskState is where a task stands. The table of its transitions is in
// internal/master/queue.
type TaskState string

// The states of a task. Succeeded, Failed, Excluded and Cancelled are final until
// a person retries.
const (
	TaskBlocked   TaskState = "blocked"   // waits for tasks before it
	TaskQueued    TaskState = "queued"    // may be claimed
	TaskLeased    TaskState = "leased"    // a worker holds it
	TaskStopping  TaskState = "stopping"  // cancelled while leased; its worker is being told
	TaskSucceeded TaskState = "succeeded" // its result is applied
	TaskFailed    TaskState = "failed"    // its work failed, or its attempts were lost
	TaskExcluded  TaskState = "excluded"  // the package does not build for this arch
	TaskCancelled TaskState = "cancelled" // a person ended it
)

// Final reports whether nothing but a retry moves the task on.
func (s TaskState) Final() bool {
	return s == TaskSucceeded || s == TaskFailed || s == TaskExcluded || s == TaskCancelled
}

// Outcome is how an attempt ended, in its worker's words.
type Outcome string

// The outcomes that a worker may report.
const (
	OutcomeOK       Outcome = "ok"       // the result holds what was asked for
	OutcomeFailed   Outcome = "failed"   // the work itself failed; trying again gives the same
	OutcomeExcluded Outcome = "excluded" // the package excludes the arch
	OutcomeInfra    Outcome = "infra"    // the worker's own means failed; another may succeed
	OutcomeLost     Outcome = "lost"     // the worker died in the middle of the work and is back
	OutcomeStopped  Outcome = "stopped"  // ended because the master said stop
)

// Spec is all that a worker learns of a task. Exactly the member of the task's
// kind is set; a rebuild is specified, and reported, as a build.
type Spec struct {
	Import   *ImportSpec   `json:"import,omitempty"`
	Notarize *NotarizeSpec `json:"notarize,omitempty"`
	Graph    *GraphSpec    `json:"graph,omitempty"`
	Suites   *SuitesSpec   `json:"suites,omitempty"`
	Source   *SourceSpec   `json:"source,omitempty"`
	Build    *BuildSpec    `json:"build,omitempty"`
	Test     *TestSpec     `json:"test,omitempty"`
	Sign     *SignSpec     `json:"sign,omitempty"`
	Keygen   *KeygenSpec   `json:"keygen,omitempty"`
	Publish  *PublishSpec  `json:"publish,omitempty"`
	Prune    *PruneSpec    `json:"prune,omitempty"`
	Prove    *ProveSpec    `json:"prove,omitempty"`
}

// Root returns the root that the task is done in, the zero Root for kinds without.
func (s Spec) Root() Root {
	switch {
	case s.Source != nil:
		return s.Source.Root
	case s.Build != nil:
		return s.Build.Root
	case s.Test != nil:
		return s.Test.Root
	}
	return Root{}
}

// Result is what a worker proposes at the end of an attempt. At most the member
// of the task's kind is set; Logs and Reason go with every outcome.
type Result struct {
	// Reason is one line for people: why it failed, what was excluded.
	Reason string `json:"reason,omitempty"`
	// Logs are uploaded log files, complete, by the names under which they streamed.
	Logs []File `json:"logs,omitempty"`

	Import   *ImportResult   `json:"import,omitempty"`
	Notarize *NotarizeResult `json:"notarize,omitempty"`
	Graph    *GraphResult    `json:"graph,omitempty"`
	Suites   *SuitesResult   `json:"suites,omitempty"`
	Source   *SourceResult   `json:"source,omitempty"`
	Build    *BuildResult    `json:"build,omitempty"`
	Test     *TestResult     `json:"test,omitempty"`
	Sign     *SignResult     `json:"sign,omitempty"`
	Keygen   *KeygenResult   `json:"keygen,omitempty"`
	Publish  *PublishResult  `json:"publish,omitempty"`
	Prune    *PruneResult    `json:"prune,omitempty"`
	Prove    *ProveResult    `json:"prove,omitempty"`
}

// File is one file by name and content. Name is a base name, never a path.
type File struct {
	Name   string `json:"name"`
	Digest Digest `json:"digest"`
	Size   int64  `json:"size"`
}

// Repo is one repository that dnf sees inside a root. Exactly one of Snapshot and
// Mirror is set; neither floats.
type Repo struct {
	// ID is dnf's repository id.
	ID string `json:"id"`
	// Snapshot names a sealed snapshot of this master; the depot serves it by Get.
	Snapshot Digest `json:"snapshot,omitempty"`
	// Mirror is the base URL of an outside repository; the depot fetches through
	// the worker's egress and serves Repomd as its repodata/repomd.xml.
	Mirror string `json:"mirror,omitempty"`
	// Repomd is the digest of the mirror's repomd.xml as the master pinned it.
	Repomd Digest `json:"repomd,omitempty"`
	// Priority is dnf's: lower wins; 0 is dnf's default of 99.
	Priority int `json:"priority,omitempty"`
	// Own marks a repository that changes from task to task, such as the build's:
	// dnf sees it in the root and not when it fills the base.
	Own bool `json:"own,omitempty"`
	// Modular says of an own repository that it has modules: dnf sees of their packages those
	// of streams that are enabled or the default. Without, it sees them all, for what is built
	// has labels of modules and no modules.
	Modular bool `json:"modular,omitempty"`
	// Keys are OpenPGP public keys, ASCII-armored, as a key file has them: dnf takes a package
	// of the repository only if one of them signed it. "" leaves signatures unlooked at, as
	// what is built has none.
	Keys string `json:"keys,omitempty"`
}

// Root says what a buildroot or a test root is made of. Equal Roots give equal roots.
type Root struct {
	Platform   string            `json:"platform"`
	Releasever string            `json:"releasever"`
	Arch       Arch              `json:"arch"`
	Repos      []Repo            `json:"repos"`
	Packages   []string          `json:"packages"`              // requirement strings that dnf installs first
	Macros     map[string]string `json:"macros,omitempty"`      // rpm macros, name without % → body; never expanded outside the root
	RPMDBPath  string            `json:"rpmdb_path"`            // absolute, inside the root
	RPMDB      string            `json:"rpmdb,omitempty"`       // its backend: sqlite, ndb or bdb
	ModuleID   string            `json:"module_id,omitempty"`   // dnf's module_platform_id
	Modules    []string          `json:"modules,omitempty"`     // streams of modules that are enabled before anything is installed, name:stream
	Excludes   []string          `json:"excludes,omitempty"`    // packages that dnf may not take, names or patterns
	Network    bool              `json:"network,omitempty"`     // true: the work may reach the network, and its provenance says so
	CCache     bool              `json:"ccache,omitempty"`      // true: builds use a compiler cache, and their provenance says so
	SingleUID  bool              `json:"single_uid,omitempty"`  // true: every file of the platform's base belongs to root, so one mapped uid suffices
	Timeout    time.Duration     `json:"timeout,omitempty"`     // limit on the work in the root; 0 is the worker's own
	MaxSilence time.Duration     `json:"max_silence,omitempty"` // limit on output-free time; 0 is the worker's own
}

// Base returns the part of r that many tasks share: r without its own repositories.
func (r Root) Base() Root {
	r.Repos = slices.DeleteFunc(slices.Clone(r.Repos), func(x Repo) bool { return x.Own })
	return r
}

// ImportSpec asks for the files of one git commit and of the look-aside cache of
// its platform.
type ImportSpec struct {
	URL      string `json:"url"`
	Ref      string `json:"ref"`
	Commit   string `json:"commit"`
	Platform string `json:"platform"`
}

// ImportResult is an exported source, every file checked and held by digest.
type ImportResult struct {
	Tree    Digest `json:"tree"`              // a tar of the commit's files
	Spec    string `json:"spec"`              // the spec file's path in Tree
	Package string `json:"package"`           // the spec's base name without .spec
	Sources []File `json:"sources,omitempty"` // look-aside files
	// History is a tar of the folder .git with the commit's history, for a spec that
	// rpmautospec is to fill in on a platform that asks for it.
	History Digest `json:"history,omitempty"`
}

// NotarizeSpec asks for statements about the commits of a repository that refs have and
// that weren't notarized yet.
type NotarizeSpec struct {
	URL  string     `json:"url"`
	Refs []NamedRef `json:"refs"` // as they were when it was asked for; what they name when it is done is stated
	// WithoutUpstream goes on where the commit that another one changes isn't notarized.
	WithoutUpstream bool   `json:"without_upstream,omitempty"`
	Requester       string `json:"requester"`
}

// NamedRef is a branch or tag by its full name, and the commit that it named when it was
// looked at.
type NamedRef struct {
	Name   string `json:"name"`
	Commit string `json:"commit"`
}

// NotarizeResult counts what was stated in the attempt that came to the end.
type NotarizeResult struct {
	Commits   int      `json:"commits"`             // of which nothing was stated before
	Refs      int      `json:"refs"`                // that name another commit than before
	Rewritten []string `json:"rewritten,omitempty"` // refs whose earlier commit is no part of their history any more
}

// GraphSpec asks for the order in which the packages of a build are rebuilt on one
// platform.
type GraphSpec struct {
	Build    BuildID `json:"build"`
	Platform string  `json:"platform"`
}

// GraphResult counts what was found; who needs whom is in the log.
type GraphResult struct {
	Nodes  int `json:"nodes"`
	Edges  int `json:"edges"`
	Broken int `json:"broken"` // edges that don't count, for they close a circle
}

// Switches are rpmbuild's typed options, for the SRPM as for what is built of it:
// what a package requires may depend on them.
type Switches struct {
	With    []string          `json:"with,omitempty"`    // names of conditionals
	Without []string          `json:"without,omitempty"` // likewise
	Define  map[string]string `json:"define,omitempty"`  // macros, name without % → body
}

// SourceSpec asks for one SRPM out of an exported source tree, and for what its spec
// file says for each of Arches; or, if SRPM is there in place of a tree, only for the
// latter.
type SourceSpec struct {
	Root Root `json:"root"`
	// Tree is a tar of the commit's files as the master exported them.
	Tree Digest `json:"tree,omitempty"`
	// Spec is the path of the spec file inside Tree.
	Spec string `json:"spec,omitempty"`
	// Sources are look-aside files, checked by the master, laid into SOURCES by name.
	Sources []File `json:"sources,omitempty"`
	// History, if there, is a tar to be laid into the tree, with the folder .git that
	// rpmautospec reads before the SRPM is made.
	History Digest `json:"history,omitempty"`
	// Commit is the git commit, for the record only.
	Commit string `json:"commit,omitempty"`
	// SRPM is a source package that was given.
	SRPM *File `json:"srpm,omitempty"`
	// Arches are those that the package is going to be rebuilt for.
	Arches []Arch `json:"arches,omitempty"`
	Switches
}

// SourceResult is the SRPM that a source task made, empty if one was given, and what
// its spec says.
type SourceResult struct {
	SRPM   File        `json:"srpm,omitzero"`
	Record File        `json:"record"` // the buildroot record, JSON
	Facts  []SpecFacts `json:"facts,omitempty"`
}

// BuildSpec asks for the RPMs of one arch out of one SRPM.
type BuildSpec struct {
	Root Root `json:"root"`
	SRPM File `json:"srpm"`
	// Arch is rpmbuild's --target.
	Arch Arch `json:"arch"`
	// Owner is whose build it is: where the root has a compiler cache, it is one that only
	// this owner's builds use.
	Owner string `json:"owner,omitempty"`
	Switches
}

// BuildResult is what rpmbuild left, and the record of what it was made in.
type BuildResult struct {
	Packages []File `json:"packages"` // binary RPMs, debuginfo among them; never an SRPM
	Record   File   `json:"record"`   // the buildroot record, JSON
}

// SignSpec asks for signatures by one key. Packages get header signatures,
// Documents of a release detached ones, and other Files these or, with Clear, a
// clear-signed copy. A task has one of the three.
type SignSpec struct {
	// Key is the fingerprint of the key, upper-case hex.
	Key string `json:"key"`
	// Product is the product whose policy the signer holds for the key.
	Product string `json:"product"`
	// Build is the one that the packages are of, for the signer's statements about them.
	Build     BuildID `json:"build,omitempty"`
	Packages  []File  `json:"packages,omitempty"`
	Documents []File  `json:"documents,omitempty"`
	Files     []File  `json:"files,omitempty"`
	Clear     bool    `json:"clear,omitempty"`
	// Effects are what people approved of this and more (effect.Effects), to be read; nil
	// if nobody approved anything.
	Effects *File `json:"effects,omitempty"`
}

// Items returns all that is to be signed.
func (s SignSpec) Items() []File { return slices.Concat(s.Packages, s.Documents, s.Files) }

// SignResult gives a signature for each thing asked for, by the digest of the
// unsigned bytes.
type SignResult struct {
	Signatures []Signature `json:"signatures"`
}

// Signature is one OpenPGP signature packet: over the RPM's main header for a
// package, over the whole file for a document (then ASCII-armored); or a whole
// clear-signed copy.
type Signature struct {
	Of    Digest `json:"of"`
	Bytes []byte `json:"bytes"`
	// Statement is what the signer states of the signed copy of a package
	// (attest.Envelope, encoded); files have none.
	Statement []byte `json:"statement,omitempty"`
}

// KeygenSpec asks the signer to make a key in its own store, or to revoke one.
type KeygenSpec struct {
	Name      string `json:"name"`      // the user id, as "AlmaLinux 9 <packager@example.org>"
	Algorithm string `json:"algorithm"` // "rsa4096" or "ed25519"
	// Subkey asks for a primary key that only certifies, and a subkey that signs.
	Subkey bool `json:"subkey,omitempty"`
	// Products are what the key may ever sign for, which the signer keeps with it;
	// none is any.
	Products []string `json:"products,omitempty"`
	// NotBefore and NotAfter are when it may sign, likewise; a zero one is no bound.
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	// Revoke, in place of all that, asks for the end of a key.
	Revoke *Revocation `json:"revoke,omitempty"`
}

// Revocation is the end of a key: it certifies that, and signs nothing else any more.
type Revocation struct {
	Key    string `json:"key"`            // its fingerprint
	Reason string `json:"reason"`         // one of pgp's
	Text   string `json:"text,omitempty"` // for people
}

// Where the private part of a key is.
const (
	KeptInFile  = "file"  // of the signer, sealed
	KeptInToken = "token" // by PKCS#11, which never gives it out
)

// KeygenResult is the public part of a new key, or of one that was revoked with the
// certificate of that.
type KeygenResult struct {
	Fingerprint string `json:"fingerprint"`    // upper-case hex
	Public      []byte `json:"public"`         // ASCII-armored
	Kept        string `json:"kept,omitempty"` // where the private part is, if the signer says
}

// PublishSpec asks for one sealed tree to become the public one.
type PublishSpec struct {
	Product string `json:"product"`
	// Tree is the digest of the tree's document; the format is repodata.Tree.
	Tree   Digest `json:"tree"`
	Serial int64  `json:"serial"`
	// Release, Effects and Approvals are what the releaser states, beside where they are,
	// of the packages that are added, which the effects (effect.Effects, to be read) name.
	// A rollback adds none and has none of this.
	Release   ReleaseID    `json:"release,omitempty"`
	Effects   File         `json:"effects,omitzero"`
	Approvals []ApprovedBy `json:"approvals,omitempty"`
}

// ApprovedBy is one person's word for a plan.
type ApprovedBy struct {
	Person string    `json:"person"`
	At     time.Time `json:"at"`
	// KeyID is that of the person's own key, if it signed the approval.
	KeyID string `json:"keyid,omitempty"`
}

// Waived is a person's word that a package may be signed and released though its tests
// didn't pass.
type Waived struct {
	// Build is the one as whose package it may go. What was stated of releases before waivers
	// had it names none.
	Build  BuildID `json:"build,omitempty"`
	Waiver int64   `json:"waiver"` // its number
	// Stage is the one that need not pass; "" is every one.
	Stage TestStage `json:"stage,omitempty"`
	// Untested lets it go also where nobody knows how its tests end.
	Untested bool      `json:"untested,omitempty"`
	Person   string    `json:"person"`
	Reason   string    `json:"reason"`
	Expires  time.Time `json:"expires"`
}

// Covers reports whether w lets a stage be one that didn't pass. That of the signed copy has to
// be named: a waiver of all that failed was made before there was one.
func (w Waived) Covers(s TestStage) bool { return w.Stage == s || w.Stage == "" && s != StageSigned }

// Same reports whether w says the very same as what was stated; no build is any.
func (w Waived) Same(stated Waived) bool {
	if w.Build == 0 {
		w.Build = stated.Build
	}
	same := w.Expires.Equal(stated.Expires)
	w.Expires = stated.Expires
	return same && w == stated
}

// WaivedSoon is how long before its end a waiver is said to end soon.
const WaivedSoon = 3 * 24 * time.Hour

// Soon reports whether w is to end soon after now, and hasn't yet.
func (w Waived) Soon(now time.Time) bool {
	left := w.Expires.Sub(now)
	return left > 0 && left <= WaivedSoon
}

// What says what w lets go.
func (w Waived) What() string {
	switch {
	case w.Untested:
		return "all of its tests"
	case w.Stage != "":
		return "the stage " + string(w.Stage)
	}
	return "what failed"
}

// String says in a line who waives what, and why.
func (w Waived) String() string {
	return fmt.Sprintf("%s is waived by %s until %s (waiver %d): %s", w.What(), w.Person, w.Expires.UTC().Format(time.DateOnly), w.Waiver, w.Reason)
}

// PublishResult says what the public place holds after the switch.
type PublishResult struct {
	Serial int64  `json:"serial"`
	Tree   Digest `json:"tree"`
	// Location is where the product can be reached in the public place, a path.
	Location string `json:"location"`
	// Statements are what the releaser states of each package that was added, uploaded: an
	// attest.Envelope a line. Without packages there are none.
	Statements File `json:"statements,omitzero"`
}

// PruneSpec asks for the removal of what is beyond a product's retention. What a tree in
// the public place names that stays, and what readers may still be reading, is never
// removed.
type PruneSpec struct {
	Product string `json:"product"`
	// Oldest is the oldest serial that is kept.
	Oldest int64 `json:"oldest"`
	// Packages has the packages removed too that no tree in the public place names.
	Packages bool `json:"packages,omitempty"`
}

// PruneResult says what was removed from the public place.
type PruneResult struct {
	Trees    []int64 `json:"trees,omitempty"`    // serials
	Waiting  []int64 `json:"waiting,omitempty"`  // serials that readers may still be reading: they go later
	Packages int     `json:"packages,omitempty"` // names of packages
	Bytes    int64   `json:"bytes,omitempty"`    // of these packages
}

// ProveSpec asks for what is to lie beside released packages of a product in the public
// place.
type ProveSpec struct {
	Product  string         `json:"product"`
	Packages []ProvePackage `json:"packages"`
}

// ProvePackage is one package and what is told of it.
type ProvePackage struct {
	// Paths are the names of the package in the product's tree: REPOSITORY/Packages/…
	Paths []string `json:"paths"`
	// Package is the digest of the package itself.
	Package Digest `json:"package"`
	// Statements, LedgerProof and LogProof are the digests of the files that are to lie
	// beside it, by the endings that attest gives them.
	Statements  Digest `json:"statements"`
	LedgerProof Digest `json:"ledger_proof"`
	LogProof    Digest `json:"log_proof"`
}

// ProveResult says what of it lies in the public place.
type ProveResult struct {
	Packages int `json:"packages,omitempty"` // names of packages that have all three files
	Gone     int `json:"gone,omitempty"`     // names that the place hasn't any more
	// Wrong are the packages of the task that couldn't be proven, as what lies under a name
	// of theirs is another one, or of which it doesn't hold; the attempt's reason says why.
	Wrong []Digest `json:"wrong,omitempty"`
	// Summaries is the upload of what the releaser states of packages that it has verified,
	// an envelope a line; the zero value if it verifies none.
	Summaries File `json:"summaries,omitzero"`
}
