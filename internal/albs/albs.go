// Package albs holds the words that both sides of the worker wall say: ids,
// digests, arches, task kinds and states, the specs and results of tasks, and
// the kinds of error. It does no I/O and imports nothing of the project.
//
// A type belongs here only if the master and a worker both need it, or if three
// modules of the master do; everything else lives with its owner.
package albs

import "strconv"

// Ids of rows that cross package borders. Zero is no id.
type (
	// UserID names a person's account.
	UserID int64
	// WorkerID names an enrolled worker identity.
	WorkerID int64
	// BuildID names a build.
	BuildID int64
	// ItemID names one package of a build on one platform.
	ItemID int64
	// TaskID names one unit of leased work.
	TaskID int64
	// ReleaseID names a release, planned or published.
	ReleaseID int64
)

// String returns the id in decimal.
func (id TaskID) String() string { return strconv.FormatInt(int64(id), 10) }

// String returns the id in decimal.
func (id BuildID) String() string { return strconv.FormatInt(int64(id), 10) }

// String returns the id in decimal.
func (id ReleaseID) String() string { return strconv.FormatInt(int64(id), 10) }
