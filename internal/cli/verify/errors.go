package verify

import (
	"errors"
	"fmt"

	"albs/internal/attest"
	"albs/internal/cli/terminal"
)

// link is the error of a link that is broken before attest looks at anything.
func link(l attest.Link, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &attest.BrokenLink{Link: l, Msg: err.Error(), Err: errors.Unwrap(err)}
}

func exitWith(code int, err error) error { return &terminal.ExitError{Code: code, Err: err} }
