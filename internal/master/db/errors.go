package db

import (
	"database/sql/driver"
	"errors"
	"net"

	"github.com/lib/pq"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"albs/internal/albs"
)

// serializationFailure reports whether PostgreSQL gave the transaction up for
// another's sake, so that the same again may succeed.
func serializationFailure(err error) bool {
	e, ok := errors.AsType[*pq.Error](err)
	return ok && (e.Code == "40001" || e.Code == "40P01")
}

// IsUnique reports whether err is the violation of a unique constraint.
func IsUnique(err error) bool {
	if e, ok := errors.AsType[*pq.Error](err); ok {
		return e.Code == "23505"
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
	}
	return false
}

// kinded gives a driver's error the kind that a caller can act on, so that a
// worker repeats its call while the database restarts; all else stays as it is. The
// message is for anybody and so without the driver's words, which hold addresses
// and names; those go to the log, and stay the error's cause.
func (d *DB) kinded(err error) error {
	kind, says := kindOf(err)
	if kind == "" {
		return err
	}
	d.log.Warn().Err(err).Msg(says)
	return &albs.Error{Kind: kind, Msg: says + ", try again soon", Err: err}
}

// kindedOpen is kinded for Open, whose errors are the operator's to read.
func kindedOpen(err error) error {
	if kind, says := kindOf(err); kind != "" {
		return albs.Errorf(kind, "%s: %w", says, err)
	}
	return err
}

// kindOf returns the kind of a driver's error and a sentence for it, "" if it has none
// or err has a kind already.
func kindOf(err error) (albs.Kind, string) {
	if _, ok := errors.AsType[*albs.Error](err); ok {
		return "", ""
	}
	switch {
	case err == nil:
		return "", ""
	case full(err):
		return albs.NoSpace, "the database's disk is full"
	case away(err):
		return albs.Unavailable, "the database is away"
	case serializationFailure(err):
		return albs.Unavailable, "the database is too busy"
	}
	return "", ""
}

func full(err error) bool {
	if e, ok := errors.AsType[*pq.Error](err); ok {
		return e.Code == "53100"
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_FULL
}

func away(err error) bool {
	if e, ok := errors.AsType[*pq.Error](err); ok {
		switch e.Code {
		case "53300", "57P01", "57P02", "57P03": // too many connections; shut down; crashed; starting
			return true
		}
		return e.Code.Class() == "08" // connection exceptions
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()&0xff == sqlite3.SQLITE_BUSY
	}
	_, network := errors.AsType[*net.OpError](err)
	return network || errors.Is(err, driver.ErrBadConn)
}
