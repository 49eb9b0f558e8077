package albs

import (
	"maps"
	"regexp"
	"slices"
	"strings"
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

// Engines of tests, which make the roots.
const (
	EngineNative = "native" // namespaces; it is meant where none is named
	EnginePodman = "podman" // containers
	EngineVM     = "vm"     // machines with a kernel of their own
)

// TestEngines are all of them.
var TestEngines = []string{EngineNative, EnginePodman, EngineVM}

// CheckTestEngine returns an Invalid error unless there is an engine of that name.
func CheckTestEngine(name string) error {
	if !slices.Contains(TestEngines, name) {
		return Errorf(Invalid, "%.40q is no engine of tests; there are %s", name, strings.Join(TestEngines, ", "))
	}
	return nil
}

// engineLabel begins the labels of testers for engines.
const engineLabel = "engine:"

// EngineLabel returns the label of a tester that has an engine beside EngineNative. Its
// identity must have it too, and tests that ask for that engine need it.
func EngineLabel(engine string) string { return engineLabel + engine }

// EngineOf returns the engine that tests with these needs ask for.
func EngineOf(needs []string) string {
	for _, l := range needs {
		if engine, ok := strings.CutPrefix(l, engineLabel); ok {
			return engine
		}
	}
	return EngineNative
}

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
	// Missing is one sentence of why there is no Tree: then the stage package can't be
	// carried out.
	Missing string `json:"missing,omitempty"`
}

// SuitesSpec asks for the tests of their own that packages of a build have.
type SuitesSpec struct {
	Build    BuildID  `json:"build"`
	Packages []string `json:"packages"` // names
	// Asked are those that the build itself asks for, beside what test repositories have.
	Asked []AskedSuite `json:"asked,omitempty"`
}

// AskedSuite is a folder of tests that a build asks for.
type AskedSuite struct {
	URL   string   `json:"url"`
	Ref   string   `json:"git_ref"`
	Dir   string   `json:"test_dir"`
	Files []string `json:"tests_to_run,omitempty"` // none is all
	// Packages are the names of those that it tests; none is all but those with
	// information for debuggers.
	Packages []string `json:"packages,omitempty"`
}

// SuitesResult is what was found.
type SuitesResult struct {
	Suites []FoundSuite `json:"suites"`
}

// FoundSuite is a folder of tests of one package. Its commit is the one that is pinned for
// the build.
type FoundSuite struct {
	Package string   `json:"package"`
	URL     string   `json:"url"`
	Ref     string   `json:"ref"`
	Dir     string   `json:"dir"`
	Files   []string `json:"files,omitempty"`
	Missing string   `json:"missing,omitempty"` // why they can't be had
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
	// Reason is one sentence for people: why it failed, was skipped or couldn't run; of
	// StageEnvironment also how programs are run there, if not as on most machines.
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

// Bounds of the variables of package tests.
const (
	maxVariables = 100
	maxVariable  = 4096 // bytes of a value
)

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,99}$`)

// CheckVariables returns an Invalid error if variables of package tests are too many, have
// names that a shell doesn't know, or values that are long or no text.
func CheckVariables(env map[string]string) error {
	if len(env) > maxVariables {
		return Errorf(Invalid, "%d variables of tests are more than %d", len(env), maxVariables)
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !variable.MatchString(name) {
			return Errorf(Invalid, "%.120q is no name of a variable", name)
		}
		if v := env[name]; len(v) > maxVariable || strings.ToValidUTF8(v, "") != v || strings.ContainsRune(v, 0) {
			return Errorf(Invalid, "the variable %s has a value that is no text of at most %d bytes", name, maxVariable)
		}
	}
	return nil
}
