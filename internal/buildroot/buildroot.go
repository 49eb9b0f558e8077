// Package buildroot turns an exported source tree into an SRPM and an SRPM into RPMs,
// in a sandbox, and records what they were made in.
//
// It owns the order of rpmbuild's steps and the search for BuildRequires, which Native
// does itself and Mock leaves to mock, the questions to a spec, and the buildroot record;
// the root itself, or the workshop in which mock makes one, is the sandbox's. Invariants:
// no spec is parsed and no macro expanded outside a root; what the package says of itself
// (requirements, names, architectures) is data here and an argument there, never part of
// a command line's syntax; a package's own fault is an Invalid error, everything else is
// not.
package buildroot

import (
	"context"
	"encoding/json"
	"io"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/emulator"
)

// Engine makes packages. Package buildroottest asks every implementation for what is
// said here.
//
// Its methods may be called concurrently, with an Out folder each. An error is Invalid
// exactly where the package is at fault, with a message that names the cause, a passed
// limit among them; where it is the worker, the platform or the repositories, errors.Is
// finds no Invalid in it, and where ctx ended, its cause.
//
// When a method returns, whatever it returns, all that it started is dead, and nothing
// of the work is left but Out and what went to the logs. Out then holds the files that
// Output names; after an error it may hold others, which are worthless. They are not
// synced to the disk. Output.Record is filled as far as the job came, also with an error.
// A crash leaves what the sandbox's does, and Out; the next engine on the same folder
// removes the former.
type Engine interface {
	// Source makes one SRPM out of a source tree, or takes the one given, and tells what
	// its spec says for each of the job's arches. An engine that can't ask leaves
	// Output.Facts empty.
	Source(ctx context.Context, job SourceJob) (Output, error)
	// Build makes the RPMs of one architecture out of an SRPM. A package that isn't
	// for the architecture gives an Output with Excluded set and no error.
	Build(ctx context.Context, job BuildJob) (Output, error)
}

// Logs are where the three streams of a job go; nil drops a stream.
type Logs struct {
	State io.Writer // what step began and ended when
	Root  io.Writer // dnf and rpm, filling the root
	Build io.Writer // rpmbuild
}

// File is a file of the host under the name that it has in the job.
type File struct {
	Name string // a base name
	Path string
}

// SourceJob asks for one SRPM and for facts of its spec, or, if SRPM is given, for the
// facts alone.
type SourceJob struct {
	Root  albs.Root
	Repos []sandbox.Repo // Root.Repos, where they are served
	SRPM  string         // host path; Tree, History, Spec and Sources are empty then
	// Arches are those that the facts are asked for; none may be.
	Arches []albs.Arch
	// Tree is the path of a tar of the source tree. It is unpacked inside the root.
	Tree string
	// History, if there, is the path of a tar with the folder .git of the tree, which is
	// unpacked into it for rpmautospec to fill in the spec.
	History string
	// Spec is the path of the spec file in the tree. Beside a folder SPECS that holds
	// it, sources lie in SOURCES; else they lie where the spec does.
	Spec    string
	Sources []File // look-aside files, laid beside those of the tree
	albs.Switches
	Out  string // host folder that gets the SRPM
	Logs Logs
}

// BuildJob asks for the RPMs of one architecture.
type BuildJob struct {
	Root  albs.Root
	Repos []sandbox.Repo // Root.Repos, where they are served
	SRPM  string         // host path
	Arch  albs.Arch      // rpmbuild's --target
	Owner string         // whose compiler cache is used, if Root has one
	albs.Switches
	Out  string // host folder that gets the RPMs
	Logs Logs
}

// Output is what a job made.
type Output struct {
	Files    []string         // host paths in Out: one SRPM, or RPMs
	Facts    []albs.SpecFacts // of a source job, one for each arch that rpm was asked for
	Record   Record           // without a Format if the job was refused before it began
	Excluded string           // why the package isn't built for the architecture; "" if it is
}

// RecordFormat names the form of Record.
const RecordFormat = "albs-buildroot/v1"

// Record tells what a job was done in: all that doing it again takes.
type Record struct {
	Format      string            `json:"format"`
	Platform    string            `json:"platform"`
	Releasever  string            `json:"releasever"`
	Arch        albs.Arch         `json:"arch"`              // of the root
	Target      albs.Arch         `json:"target"`            // that rpmbuild was given
	Input       albs.File         `json:"input"`             // the tree or the SRPM
	History     *albs.File        `json:"history,omitempty"` // of the tree, for rpmautospec
	Sources     []albs.File       `json:"sources,omitempty"`
	Commands    [][]string        `json:"commands"`    // of rpmautospec and rpmbuild, or of mock, in order
	Environment []string          `json:"environment"` // of every command
	Network     bool              `json:"network"`     // the work could reach the network
	Isolation   sandbox.Isolation `json:"isolation"`
	// Emulated is what ran the root's programs where the processor couldn't.
	Emulated *emulator.Emulator `json:"emulated,omitempty"`
	// CCache is the compiler cache that rpmbuild could use: what it made may rest on what
	// earlier builds left there.
	CCache    *CCache           `json:"ccache,omitempty"`
	Kernel    string            `json:"kernel"`
	Repos     []albs.Repo       `json:"repos"`
	Base      albs.Digest       `json:"base"` // what the root was before BuildRequires
	Macros    map[string]string `json:"macros,omitempty"`
	MacroFile albs.Digest       `json:"macro_file"` // of the macros as rpm read them
	Packages  []sandbox.Package `json:"packages"`   // installed when rpmbuild began
}

// Encode returns the record as the JSON that goes with the result.
func (r Record) Encode() ([]byte, error) { return json.MarshalIndent(r, "", " ") }
