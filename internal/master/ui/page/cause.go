package page

import (
	"fmt"

	"albs/internal/albs"
	"albs/internal/failure"
)

// Cause is why an attempt failed, with the lines of the log that tell it.
type Cause struct {
	failure.Cause
	URL   string // of the line in its log's viewer; "" if no log tells it
	Lines []CauseLine
}

// CauseLine is one line of the log that tells of a cause, or stands around it.
type CauseLine struct {
	Number int
	Text   string
	Tells  bool // it is the cause's own
}

// CauseOf returns how a cause is shown; nil for one that says no more than the
// attempt's reason does, which is shown anyway.
func CauseOf(c *failure.Cause, id albs.BuildID, task albs.TaskID, attempt int) *Cause {
	if c == nil || c.Kind == failure.Unknown && c.Log == "" {
		return nil
	}
	v := &Cause{Cause: *c}
	if c.Log == "" {
		return v
	}
	// Without JavaScript the page begins where the link says.
	v.URL = fmt.Sprintf("/build/%d/task/%d/log/%s?attempt=%d&from=%d#L%d", id, task, c.Log, attempt, max(c.First(), 1), c.Number)
	n := c.First()
	add := func(text string) {
		v.Lines = append(v.Lines, CauseLine{Number: n, Text: text, Tells: n == c.Number})
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
