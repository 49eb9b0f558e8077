package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"albs/internal/albs"
)

// terminal reports whether w is a terminal, and its width.
func terminal(w any) (width int, ok bool) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, false
	}
	return int(size.Col), true
}

// printable returns s in one line, without what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.Is(unicode.C, r): // control, format (bidi overrides), private use
			return -1
		}
		return r
	}, s)
}

// harmless is a writer to a terminal that keeps text and line ends and drops what
// else the terminal would obey: logs are written by the packages that are built.
type harmless struct{ w io.Writer }

func (h harmless) Write(p []byte) (int, error) {
	kept := bytes.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.Is(unicode.Cc, r) {
			return -1
		}
		return r
	}, p)
	if _, err := h.w.Write(kept); err != nil {
		return 0, err
	}
	return len(p), nil
}

// printJSON writes b, indented, and an end of line.
func (a *app) printJSON(b []byte) error {
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	out.WriteByte('\n')
	_, err := a.stdout.Write(out.Bytes())
	return err
}

// say writes one line of a result.
func (a *app) say(format string, args ...any) error {
	_, err := fmt.Fprintln(a.stdout, printable(fmt.Sprintf(format, args...)))
	return err
}

// table is text in columns for people. Cells are made printable; an empty one
// shows as "-" so that columns can be told apart.
type table struct{ rows [][]string }

func newTable(head ...string) *table { return &table{rows: [][]string{head}} }

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// write prints the table, or the sentence none if it has no rows.
func (t *table) write(w io.Writer, none string) error {
	if len(t.rows) == 1 && none != "" {
		_, err := fmt.Fprintln(w, none)
		return err
	}
	var out bytes.Buffer
	columns := tabwriter.NewWriter(&out, 0, 8, 2, ' ', 0)
	for _, r := range t.rows {
		cells := make([]string, len(r))
		for i, c := range r {
			if cells[i] = printable(c); cells[i] == "" {
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
		if _, err := fmt.Fprintf(w, "%s\n", bytes.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// facts prints names and values below each other, those without a value left out.
func facts(w io.Writer, pairs ...string) error {
	var out bytes.Buffer
	columns := tabwriter.NewWriter(&out, 0, 8, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if v := printable(pairs[i+1]); v != "" {
			if _, err := fmt.Fprintf(columns, "%s\t%s\n", pairs[i]+":", v); err != nil {
				return err
			}
		}
	}
	if err := columns.Flush(); err != nil {
		return err
	}
	_, err := w.Write(out.Bytes())
	return err
}

// when is a time for people, in their own zone; "" for none.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04")
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

// saveFile writes what r gives to the file path, or to a.stdout for "-". The file
// appears whole or not at all.
func (a *app) saveFile(path string, r io.Reader) (err error) {
	if path == "-" {
		_, err := io.Copy(a.stdout, r)
		return err
	}
	dir, name := splitPath(path)
	f, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return albs.Errorf(albs.Invalid, "write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := io.Copy(f, r); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.Chmod(0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// result prints json if --json was given, else the sentence.
func (a *app) result(c *urfave.Context, json []byte, format string, args ...any) error {
	if c.Bool("json") {
		return a.printJSON(json)
	}
	return a.say(format, args...)
}

// jsonOr prints json, unless there is an error.
func (a *app) jsonOr(json []byte, err error) error {
	if err != nil {
		return err
	}
	return a.printJSON(json)
}

// note writes a line for people beside the result.
func (a *app) note(format string, args ...any) error {
	_, err := fmt.Fprintln(a.stderr, printable(fmt.Sprintf(format, args...)))
	return err
}

func decimal[T ~int | ~int64 | ~uint64](n T) string { return fmt.Sprint(int64(n)) }

// splitPath returns the folder and the base name of a file's path.
func splitPath(path string) (dir, name string) { return filepath.Dir(path), filepath.Base(path) }
