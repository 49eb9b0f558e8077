package albs

import (
	"slices"
	"time"
)

// TestStage is a part of the test of one package.
type TestStage string

// The stages, in the order in which they are carried out.
const (
	StageEnvironment TestStage = "environment" // a fresh root
	StageSystem      TestStage = "system"      // what is in it, told in the log
	StageInstall     TestStage = "install"     // the package, from its repository
	StageIntegrity   TestStage = "integrity"   // what came of that: files, libraries, scriptlets
	StageUpgrade     TestStage = "upgrade"     // in another fresh root, from the released version
	StageDowngrade   TestStage = "downgrade"   // there, back to it
	StagePackage     TestStage = "package"     // tests that the package's maintainers wrote
	StageRemove      TestStage = "remove"      // unless the platform needs it
	StageReinstall   TestStage = "reinstall"   // after that
	StageSigned      TestStage = "signed"      // the signed copy, with its signature checked
)

// TestStages lists every stage in the order in which they are carried out.
var TestStages = []TestStage{
	StageEnvironment, StageSystem, StageInstall, StageIntegrity, StageUpgrade, StageDowngrade, StagePackage, StageRemove, StageReinstall, StageSigned,
}

// Known reports whether s is one of TestStages.
func (s TestStage) Known() bool { return slices.Contains(TestStages, s) }

// Setup reports whether s makes ready what the others need, and finds nothing out about
// the package.
func (s TestStage) Setup() bool { return s == StageEnvironment || s == StageSystem }

// TestStatus is what a stage or a case came to.
type TestStatus string

// The statuses.
const (
	TestPassed  TestStatus = "passed"
	TestFailed  TestStatus = "failed"
	TestSkipped TestStatus = "skipped" // it wasn't to be carried out, for a reason that is told
	TestTodo    TestStatus = "todo"    // of a case alone: it failed, as its author expects
	TestNotRun  TestStatus = "not_run" // it couldn't be carried out: what it needs had failed
)

// Known reports whether s is a status.
func (s TestStatus) Known() bool {
	return s == TestPassed || s == TestFailed || s == TestSkipped || s == TestTodo || s == TestNotRun
}

// Bad reports whether what it stands for doesn't count as good: it failed, or couldn't
// be carried out.
func (s TestStatus) Bad() bool { return s != TestPassed && s != TestSkipped && s != TestTodo }

// MaxTested is how many packages one task tests.
const MaxTested = 20

// EngineNative is the engine of tests that is meant where none is named.
const EngineNative = "native"

// TestSpec asks for tests of packages, each in a fresh root.
type TestSpec struct {
	Root Root `json:"root"`
	// Packages are the NEVRAs under test with the digests that dnf must install.
	Packages []TestPackage `json:"packages"`
	// Stages are to be carried out, in this order; what a product's policy leaves out is
	// none of them.
	Stages []TestStage `json:"stages"`
	// Engine makes the roots; "" is EngineNative.
	Engine string `json:"engine,omitempty"`
	// Network lets tests of the stage package use the network.
	Network bool `json:"network,omitempty"`
	// Env are further variables of tests of the stage package.
	Env map[string]string `json:"env,omitempty"`
	// Suites are what the stage package has to run.
	Suites []TestSuite `json:"suites,omitempty"`
}

// TestPackage is one package under test.
type TestPackage struct {
	NEVRA  string `json:"nevra"`
	Digest Digest `json:"digest"`
	// Module is the stream to enable first, name:stream; "" for none.
	Module string `json:"module,omitempty"`
	// From is the NEVRA of the released version that the stage upgrade starts at; "" if
	// there is none.
	From string `json:"from,omitempty"`
	// Skip are the stages that are left out for this package, each with its reason.
	Skip []TestSkip `json:"skip,omitempty"`
	// Suites are places in the spec's Suites.
	Suites []int `json:"suites,omitempty"`
}

// TestSkip is a stage that isn't carried out.
type TestSkip struct {
	Stage  TestStage `json:"stage"`
	Reason string    `json:"reason"`
}

// TestSuite is one folder of tests, as it is in a commit of a repository.
type TestSuite struct {
	Repository string `json:"repository"`
	Commit     string `json:"commit"`
	// Tree is a tar of the commit's files.
	Tree Digest `json:"tree"`
	// Dir is the folder of the tests in Tree.
	Dir string `json:"dir"`
	// Files are those to run; none is all.
	Files []string `json:"files,omitempty"`
}

// TestResult tells what the stages of each package came to.
type TestResult struct {
	Stages []StageResult `json:"stages"`
	// Cases are the single checks of stages that have such.
	Cases []TestCase `json:"cases,omitempty"`
}

// StageResult is what one stage of one package's test came to.
type StageResult struct {
	Package string     `json:"package"` // NEVRA
	Stage   TestStage  `json:"stage"`
	Status  TestStatus `json:"status"`
	// Reason is one sentence for people: why it failed, was skipped or couldn't run.
	Reason  string    `json:"reason,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Millis  int64     `json:"millis"`
	// Log is the name of an uploaded log that is this stage's own; "" if it said nothing.
	Log string `json:"log,omitempty"`
}

// TestCase is one check of one package.
type TestCase struct {
	Package string     `json:"package"` // NEVRA
	Stage   TestStage  `json:"stage"`
	Name    string     `json:"name"` // files, libraries …
	Status  TestStatus `json:"status"`
	Detail  string     `json:"detail,omitempty"`
	Millis  int64      `json:"millis,omitempty"`
}
