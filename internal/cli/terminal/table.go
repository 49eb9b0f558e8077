package terminal

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Table is text in columns for people. Cells are made printable; an empty one shows
// as "-" so that columns can be told apart.
type Table struct{ rows [][]string }

// NewTable returns a Table without rows under the names of its columns.
func NewTable(head ...string) *Table { return &Table{rows: [][]string{head}} }

// Row adds a row with a cell for each column.
func (t *Table) Row(cells ...string) { t.rows = append(t.rows, cells) }

// Rows returns the number of rows.
func (t *Table) Rows() int { return len(t.rows) - 1 }

// Empty reports whether the table has no rows.
func (t *Table) Empty() bool { return t.Rows() == 0 }

// Table prints x as a result, or the sentence none if it has no rows.
func (t *Terminal) Table(x *Table, none string) error {
	if x.Empty() && none != "" {
		return t.Say("%s", none)
	}
	var out bytes.Buffer
	columns := tabwriter.NewWriter(&out, 0, 8, 2, ' ', 0)
	for _, r := range x.rows {
		cells := make([]string, len(r))
		for i, c := range r {
			if cells[i] = Printable(c); cells[i] == "" {
				cells[i] = "-"
			}
		}
		if _, err := fmt.Fprintln(columns, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	if err := columns.Flush(); err != nil {
		return err
	}
	for line := range bytes.Lines(out.Bytes()) {
		if _, err := fmt.Fprintf(t.Stdout, "%s\n", bytes.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// Section prints a table below what stands above; nothing for an empty one.
func (t *Terminal) Section(x *Table) error {
	if x.Empty() {
		return nil
	}
	if _, err := io.WriteString(t.Stdout, "\n"); err != nil {
		return err
	}
	return t.Table(x, "")
}

// Facts prints names and values (by turns in pairs) below each other, those without
// a value left out.
func (t *Terminal) Facts(pairs ...string) error {
	var out bytes.Buffer
	columns := tabwriter.NewWriter(&out, 0, 8, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if v := Printable(pairs[i+1]); v != "" {
			if _, err := fmt.Fprintf(columns, "%s\t%s\n", pairs[i]+":", v); err != nil {
				return err
			}
		}
	}
	if err := columns.Flush(); err != nil {
		return err
	}
	_, err := t.Stdout.Write(out.Bytes())
	return err
}

// When is a time for people, in their own zone; "" for none.
func When(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04")
}

// Took is how long something went on, or goes on; "" for what hasn't started.
func (t *Terminal) Took(started, finished time.Time) string {
	switch {
	case started.IsZero():
		return ""
	case finished.IsZero():
		return span(t.Now().Sub(started))
	default:
		return span(finished.Sub(started))
	}
}

// span is a duration for people.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return ""
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

// Decimal is a number for people.
func Decimal[T ~int | ~int64 | ~uint64](n T) string { return fmt.Sprint(int64(n)) }
