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
// worker repeats its call while the database restarts; all else stays as it is.
func kinded(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*albs.Error](err); ok {
		return err
	}
	switch {
	case full(err):
		return albs.Errorf(albs.NoSpace, "the database's disk is full: %w", err)
	case away(err):
		return albs.Errorf(albs.Unavailable, "the database is away: %w", err)
	case serializationFailure(err):
		return albs.Errorf(albs.Unavailable, "the database is too busy, try again: %w", err)
	}
	return err
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
