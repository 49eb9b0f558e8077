package ui

import (
	"fmt"

	"albs/internal/albs"
	"albs/internal/failure"
)

// causeView is why an attempt failed, with the lines of the log that tell it.
type causeView struct {
	failure.Cause
	URL   string // of the line in its log's viewer; "" if no log tells it
	Lines []causeLine
}

type causeLine struct {
	Number int
	Text   string
	Tells  bool // it is the cause's own
}

// causeOf returns how a cause is shown; nil for one that says no more than the
// attempt's reason does, which is shown anyway.
func causeOf(c *failure.Cause, id albs.BuildID, task albs.TaskID, attempt int) *causeView {
	if c == nil || c.Kind == failure.Unknown && c.Log == "" {
		return nil
	}
	v := &causeView{Cause: *c}
	if c.Log == "" {
		return v
	}
	// Without JavaScript the page begins where the link says.
	v.URL = fmt.Sprintf("/build/%d/task/%d/log/%s?attempt=%d&from=%d#L%d", id, task, c.Log, attempt, max(c.First(), 1), c.Number)
	n := c.First()
	add := func(text string) {
		v.Lines = append(v.Lines, causeLine{Number: n, Text: text, Tells: n == c.Number})
		n++
	}
	for _, l := range c.Before {
		add(l)
	}
	add(c.Line)
	for _, l := range c.After {
		add(l)
	}
	return v
}
