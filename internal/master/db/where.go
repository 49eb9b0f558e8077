package db

import (
	"fmt"
	"strings"
)

// Where collects the conditions of a filter, which all have to hold. The zero Where
// has none.
type Where struct {
	conditions []string
	args       []any
}

// If adds a condition on arg where given holds. The %d in condition becomes the
// number of the argument, as in "owner = $%d".
func (w *Where) If(given bool, condition string, arg any) {
	if !given {
		return
	}
	w.args = append(w.args, arg)
	w.conditions = append(w.conditions, fmt.Sprintf(condition, len(w.args)))
}

// SQL returns what stands behind WHERE, and its arguments; further ones are numbered
// from len(args)+1.
func (w *Where) SQL() (condition string, args []any) {
	if len(w.conditions) == 0 {
		return "1 = 1", nil
	}
	return strings.Join(w.conditions, " AND "), w.args
}
