package delivery

import "albs/internal/failure"

// FailureView is why an attempt came to nothing. log and line say where it stands, and
// are missing for what no log tells.
type FailureView struct {
	Kind    failure.Kind `json:"kind" doc:"What was at fault: unknown, dependency, patch, compile, test …"`
	Text    string       `json:"text" doc:"One line for people"`
	Hint    string       `json:"hint,omitempty" doc:"What is usually done about it"`
	Attempt int          `json:"attempt,omitempty"`
	Log     string       `json:"log,omitempty" doc:"The log's name"`
	Line    int          `json:"line,omitempty" doc:"The line's number in it, from 1"`
	Quote   string       `json:"quote,omitempty" doc:"That line"`
	Before  []string     `json:"before,omitempty" doc:"The lines above it"`
	After   []string     `json:"after,omitempty" doc:"The lines below it"`
}

// ViewFailure shows a cause, and nil for none.
func ViewFailure(c *failure.Cause, attempt int) *FailureView {
	if c == nil {
		return nil
	}
	return &FailureView{Kind: c.Kind, Text: c.Text, Hint: c.Hint, Attempt: attempt, Log: c.Log, Line: c.Number, Quote: c.Line, Before: c.Before, After: c.After}
}
