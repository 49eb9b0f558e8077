package albs

import (
	"errors"
	"fmt"
)

// Kind says what sort of failure an error is. A Kind is itself an error, so that
// errors.Is(err, albs.NotFound) asks for it; faces map kinds to statuses.
type Kind string

// The kinds of error. An error without a kind is Internal.
const (
	Invalid         Kind = "invalid"         // the request can never succeed as it stands
	NotFound        Kind = "not_found"       // the named thing does not exist
	Conflict        Kind = "conflict"        // the thing's present state forbids it
	StaleLease      Kind = "stale_lease"     // the lease's token has been superseded or has ended
	Stopped         Kind = "stopped"         // the task was told to stop; only its end may be reported
	Unauthenticated Kind = "unauthenticated" // no valid identity was given
	Forbidden       Kind = "forbidden"       // the identity may not do this
	TooLarge        Kind = "too_large"       // a bound on size or number was passed
	NoSpace         Kind = "no_space"        // the storage is full; nothing acknowledged is lost
	Unavailable     Kind = "unavailable"     // a part is away; the same request may succeed later
	Internal        Kind = "internal"        // a fault of albs
)

// Error lets a Kind serve as the target of errors.Is.
func (k Kind) Error() string { return string(k) }

// Error is a failure with a kind and a message for the user, who reads all of it
// unless the kind is Internal. Err is the cause, for errors.Is; its text is in Msg
// only where Msg was made with it, as Errorf does by %w.
type Error struct {
	Kind Kind
	Msg  string
	Err  error
}

// Errorf returns an Error of kind k whose message is for the user; %w in format
// keeps the cause.
func Errorf(k Kind, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: k, Msg: err.Error(), Err: errors.Unwrap(err)}
}

// Error returns the message.
func (e *Error) Error() string { return e.Msg }

// Unwrap returns the kind and the cause, so that errors.Is finds both.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// KindOf returns the kind of err: that of the outermost Error in its chain, else
// Internal. KindOf(nil) is "".
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if k, ok := errors.AsType[Kind](err); ok {
		return k
	}
	return Internal
}

// UserMessage returns what a person outside may read of err: its text, or for an
// Internal error a sentence that hides it.
func UserMessage(err error) string {
	if KindOf(err) == Internal {
		return "an internal error happened; the server's log has it"
	}
	return err.Error()
}
