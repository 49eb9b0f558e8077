package attest

import (
	"maps"
	"slices"
	"time"

	"albs/internal/albs"
)

// Short names of the predicates, as ledger keys have them.
const (
	Source          = "source"           // an SRPM or an upload, and where it came from
	Build           = "build"            // an unsigned RPM, and how it was built
	Test            = "test"             // an RPM, signed or not, and how its tests went
	Waiver          = "waiver"           // an unsigned RPM, and who lets it go though its tests didn't pass, or no longer
	Rebuild         = "rebuild"          // an unsigned RPM, and how it came out when it was built once more
	SignIntent      = "sign-intent"      // what is about to be signed, with which key and for whom
	SignResult      = "sign-result"      // the same, and how that ended
	Sign            = "sign"             // a signed RPM, and what was signed by which key
	ReleaseApproved = "release-approved" // a repomd.xml that a release is about to sign, and who approved it
	Release         = "release"          // a signed RPM, and where it was published
	VSA             = "vsa"              // a signed RPM, and who verified it by what; it lies beside the package
	Approval        = "approval"         // effects, and the person who approves them; by that person's key
	ApprovalTaken   = "approval-taken"   // effects, and whose approval of them came
	SignAllowed     = "sign-allowed"     // another file than a package, and the product whose keys may sign it
	KeyRevoked      = "key-revoked"      // a public key with the certificate of its revocation, and who wanted that
	SBOM            = "sbom"             // a package, signed or not, or a document, and the bills of materials of it
	Advisory        = "advisory"         // an advisory as it was published, and which packages it lists
	WorkerKey       = "worker-key"       // a worker's identity, and the key of its own statements
	Ref             = "ref"              // a branch or tag of a git repository, and what it named
)

// predicateTypes are the predicates' type URIs. Build and vsa are SLSA's provenance and
// verification summary v1, and test is in-toto's test result; the others are albs's own.
var predicateTypes = map[string]string{
	Commit:          commitType,
	Source:          "urn:albs:predicate:source:v1",
	Build:           "https://slsa.dev/provenance/v1",
	Test:            "https://in-toto.io/attestation/test-result/v0.1",
	Waiver:          "urn:albs:predicate:waiver:v1",
	Rebuild:         "urn:albs:predicate:rebuild:v1",
	SignIntent:      "urn:albs:predicate:sign-intent:v1",
	SignResult:      "urn:albs:predicate:sign-result:v1",
	Sign:            "urn:albs:predicate:sign:v1",
	ReleaseApproved: "urn:albs:predicate:release-approved:v1",
	Release:         "urn:albs:predicate:release:v1",
	VSA:             "https://slsa.dev/verification_summary/v1",
	Approval:        "urn:albs:predicate:approval:v1",
	ApprovalTaken:   "urn:albs:predicate:approval-taken:v1",
	SignAllowed:     "urn:albs:predicate:sign-allowed:v1",
	KeyRevoked:      "urn:albs:predicate:key-revoked:v1",
	SBOM:            "urn:albs:predicate:sbom:v1",
	Advisory:        "urn:albs:predicate:advisory:v1",
	WorkerKey:       "urn:albs:predicate:worker-key:v1",
	Ref:             "urn:albs:predicate:ref:v1",
}

// Predicates returns the short names of all predicates, sorted.
func Predicates() []string { return slices.Sorted(maps.Keys(predicateTypes)) }

// Descriptor is in-toto's ResourceDescriptor, as far as it is used.
type Descriptor struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

// SourceBody says where an SRPM came from: from Commit of Repository by way of
// Tree and Files, or, if Repository is empty, from an upload by Uploader, for whom it
// was fetched from URL if that is there.
type SourceBody struct {
	Repository string      `json:"repository,omitempty"` // git+https://…
	Ref        string      `json:"ref,omitempty"`
	Commit     string      `json:"commit,omitempty"`
	Tree       albs.Digest `json:"tree,omitempty"` // the exported files, a tar
	// History is a tar of what git has of the commits that led to Commit, out of which
	// rpmautospec made release and changelog.
	History  albs.Digest  `json:"history,omitempty"`
	Files    []Descriptor `json:"files,omitempty"`  // look-aside files
	Record   albs.Digest  `json:"record,omitempty"` // of the root in which the SRPM was made
	Uploader string       `json:"uploader,omitempty"`
	URL      string       `json:"url,omitempty"`
}

// BuildBody is SLSA provenance v1 (slsa.dev/spec/v1.0/provenance). The master
// generates every field, but for those under InternalParameters that a node told.
type BuildBody struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildType is the buildType of every BuildBody.
const BuildType = "urn:albs:buildtype:rpm:v1"

// BuildDefinition says what was asked for and what it rested on.
type BuildDefinition struct {
	BuildType            string             `json:"buildType"`
	ExternalParameters   ExternalParameters `json:"externalParameters"`
	InternalParameters   InternalParameters `json:"internalParameters"`
	ResolvedDependencies []Descriptor       `json:"resolvedDependencies"`
}

// ExternalParameters are all that a person chose.
type ExternalParameters struct {
	Source   Descriptor `json:"source"` // git URL and ref, or the uploaded SRPM
	Platform string     `json:"platform"`
	Arch     albs.Arch  `json:"arch"`
	With     []string   `json:"with,omitempty"`
	Without  []string   `json:"without,omitempty"`

	Define   map[string]string `json:"define,omitempty"`   // macros
	Excludes []string          `json:"excludes,omitempty"` // packages that dnf could not take
	Modules  []string          `json:"modules,omitempty"`  // enabled streams, name:stream
	Flavours []string          `json:"flavours,omitempty"` // what the platform's root had added, name@revision

	// SecureBoot says that the platform's macros for it held, on a node kept for it.
	SecureBoot bool `json:"secure_boot,omitempty"`
}

// InternalParameters are what the build system chose.
type InternalParameters struct {
	Node    string `json:"node"`
	Attempt int    `json:"attempt"`
	Network bool   `json:"network"`
	// Emulated tells that the node's identity is one that runs the arch's programs by
	// an emulator; which, the buildroot record says.
	Emulated bool `json:"emulated,omitempty"`
	// Macros is the digest of the platform's macros, in the form of the buildroot record's.
	Macros albs.Digest `json:"macros,omitempty"`
	// CCache names the owner whose builds share the compiler cache that the node could
	// use: what was made of the inputs may rest on those builds too. "" is none.
	CCache string `json:"ccache,omitempty"`
}

// RunDetails says who built, when, and what else came out.
type RunDetails struct {
	Builder    Builder      `json:"builder"`
	Metadata   RunMetadata  `json:"metadata"`
	Byproducts []Descriptor `json:"byproducts,omitempty"`
}

// Builder names the trust that a build deserves.
type Builder struct {
	ID string `json:"id"`
}

// RunMetadata names one run.
type RunMetadata struct {
	InvocationID string    `json:"invocationId"`
	StartedOn    time.Time `json:"startedOn,omitzero"`
	FinishedOn   time.Time `json:"finishedOn,omitzero"`
}

// Names of a build's resolved dependencies that the chain follows.
const (
	DependencySRPM      = "srpm"
	DependencyBuildroot = "buildroot" // the buildroot record
)

// TestBody is in-toto's test result v0.1. Its Configuration names, by TestRoot, the
// sort of root in which the tests were run: a later statement stands in the place of
// an earlier one of the same, for a package may have to pass in several.
type TestBody struct {
	Result        string       `json:"result"` // PASSED, WARNED or FAILED
	Configuration []Descriptor `json:"configuration"`
	PassedTests   []string     `json:"passedTests,omitempty"`
	WarnedTests   []string     `json:"warnedTests,omitempty"` // that failed, and need not be passed
	FailedTests   []string     `json:"failedTests,omitempty"`
}

// Results of a TestBody.
const (
	Passed = "PASSED"
	Warned = "WARNED"
	Failed = "FAILED"
)

// testRoot is the name of the descriptor of TestRoot.
const testRoot = "root"

// TestRoot returns the descriptor of the roots of a platform and arch.
func TestRoot(platform string, arch albs.Arch) Descriptor {
	return Descriptor{Name: testRoot, URI: "urn:albs:root:" + platform + ":" + string(arch)}
}

// TestEngine returns the descriptor of the engine that made the roots. Where there is none
// it was albs.EngineNative.
func TestEngine(name string) Descriptor {
	return Descriptor{Name: "engine", URI: "urn:albs:engine:" + name}
}

// TestEmulated returns the descriptor of tests whose programs, of that arch, were run by an
// emulator.
func TestEmulated(arch albs.Arch) Descriptor {
	return Descriptor{Name: "emulated", URI: "urn:albs:emulated:" + string(arch)}
}

// Root returns the URI of the TestRoot in b's Configuration, "" if there is none.
func (b TestBody) Root() string {
	for _, d := range b.Configuration {
		if d.Name == testRoot {
			return d.URI
		}
	}
	return ""
}

// SignIntentBody is the recorded reason of a signature that is yet to be made. The
// signer makes none without, and each attempt at the task has the same.
type SignIntentBody struct {
	Task        albs.TaskID `json:"task"`
	Fingerprint string      `json:"fingerprint"` // of the key, upper-case hex
	Product     string      `json:"product"`
	Requester   string      `json:"requester,omitempty"` // "" for a document, whose approval names people
}

// SignAllowedBody says that a file which is no package may be signed for a product: it
// is a document that albs made, or somebody put it on the product's list.
type SignAllowedBody struct {
	Product string `json:"product"`
	By      string `json:"by,omitempty"` // the person; "" of a document of albs's own
	Note    string `json:"note,omitempty"`
}

// SignResultBody says how an intent ended: with a signature, or for a Reason without.
type SignResultBody struct {
	Task        albs.TaskID `json:"task"`
	Fingerprint string      `json:"fingerprint"`
	Signature   albs.Digest `json:"signature,omitempty"` // sha256 of what the signer sent
	Reason      string      `json:"reason,omitempty"`
}

// SignBody says what was signed. It is the signer's statement.
type SignBody struct {
	Unsigned    albs.Digest `json:"unsigned"`    // the package before
	Fingerprint string      `json:"fingerprint"` // of the key, upper-case hex
	// Task is the one of the intent; 0 in what was stated before signers had keys of
	// their own.
	Task      albs.TaskID `json:"task,omitempty"`
	Build     int64       `json:"build"`
	Requester string      `json:"requester"`
}

// KeyRevokedBody says that a package key was revoked, by a certificate of its own.
type KeyRevokedBody struct {
	Fingerprint string `json:"fingerprint"` // upper-case hex
	Reason      string `json:"reason"`      // compromised, superseded or retired
	Text        string `json:"text,omitempty"`
	Requester   string `json:"requester"`
}

// ApprovedBy is one person's word for a plan.
type ApprovedBy = albs.ApprovedBy

// ReleaseApprovedBody says that a repository's metadata, or a file beside repositories, is
// what an approved plan comes to. The signer signs a repomd.xml for nothing else.
type ReleaseApprovedBody struct {
	Product    string      `json:"product"`
	Repository string      `json:"repository"`
	Snapshot   albs.Digest `json:"snapshot"` // the unsealed snapshot with this repomd.xml
	// File is the path of another file than a repomd.xml, which no repository has.
	File      string       `json:"file,omitempty"`
	Release   int64        `json:"release"`
	Plan      albs.Digest  `json:"plan"`
	Approvals []ApprovedBy `json:"approvals"`
}

// ReleaseBody says where a package was published. It is the releaser's statement.
type ReleaseBody struct {
	Product      string       `json:"product"`
	Repositories []string     `json:"repositories"`
	Release      int64        `json:"release"`
	Serial       int64        `json:"serial"`
	Tree         albs.Digest  `json:"tree"`
	Plan         albs.Digest  `json:"plan"`
	Approvals    []ApprovedBy `json:"approvals"`
	// Waivers are those by which it went, where its tests hadn't passed.
	Waivers []albs.Waived `json:"waivers,omitempty"`
}

// AdvisoryBody says what was published as a version of an advisory, whose file is the
// statement's subject.
type AdvisoryBody struct {
	ID        string `json:"id"`
	Platform  string `json:"platform"`
	Version   int    `json:"version"`
	Release   int64  `json:"release"`
	Withdrawn bool   `json:"withdrawn,omitempty"`
	// Packages is how many it lists, and Listed the first of them by NEVRA and digest: all
	// of them if they are not too many for a statement. The file has them all.
	Packages int          `json:"packages"`
	Listed   []Descriptor `json:"listed,omitempty"`
}
