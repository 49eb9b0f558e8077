// Package terminal is the side of a command that its caller sees: how a command line
// is read, what is printed and where, and the exit code.
//
// Results go to stdout, progress and errors to stderr. What others wrote (names,
// reasons, logs) is printed with its control characters removed wherever a terminal
// would obey them. A command line that can't be meant ends with ExitUsage and a line
// that shows how the command is used.
//
// The package knows nothing of servers and of what commands do.
package terminal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// Exit codes. verify alone has more, attest.Link's.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// Terminal is one run of the command line, with all that it takes from its process.
type Terminal struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Now            func() time.Time
	// Width reports whether a stream is a terminal, and the number of its columns;
	// nil says that none is.
	Width func(stream any) (columns int, ok bool)
}

// Width is Terminal.Width of a process's own streams.
func Width(stream any) (columns int, ok bool) {
	f, ok := stream.(*os.File)
	if !ok {
		return 0, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, false
	}
	return int(size.Col), true
}

func (t *Terminal) width(stream any) (int, bool) {
	if t.Width == nil {
		return 0, false
	}
	return t.Width(stream)
}

// Run reads and does the command line args (args[0] is the program) by the commands
// of root, and returns the exit code. An error is printed on stderr in explain's
// words.
func (t *Terminal) Run(ctx context.Context, root *urfave.App, args []string, explain func(error) string) int {
	t.prepare(root)
	if len(args) == 0 {
		args = []string{root.Name}
	}
	err := root.RunContext(ctx, flagsFirst(root, args))
	if err == nil {
		return ExitOK
	}
	msg := "broken off"
	if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		msg = explain(err)
	}
	_, _ = fmt.Fprintln(t.Stderr, root.Name+": "+Printable(msg)) // there is nobody left to tell
	usage, misused := errors.AsType[*usageError](err)
	if misused && usage.hint != "" {
		_, _ = fmt.Fprintln(t.Stderr, usage.hint)
	}
	if e, ok := errors.AsType[*ExitError](err); ok {
		return e.Code
	}
	if misused {
		return ExitUsage
	}
	return ExitFailed
}

// ExitError ends the program with a code of its own.
type ExitError struct {
	Code int
	Err  error
}

// Error returns Err's words.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *ExitError) Unwrap() error { return e.Err }

// Printable returns s in one line, without what a terminal would obey.
func Printable(s string) string {
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

// LogWriter is stdout for logs. To a terminal only text goes: the packages that are
// built write it.
func (t *Terminal) LogWriter() io.Writer {
	if _, ok := t.width(t.Stdout); ok {
		return harmless{t.Stdout}
	}
	return t.Stdout
}

// harmless is a writer to a terminal that keeps text and line ends and drops what
// else the terminal would obey.
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

// Say writes one line of a result.
func (t *Terminal) Say(format string, args ...any) error {
	_, err := fmt.Fprintln(t.Stdout, Printable(fmt.Sprintf(format, args...)))
	return err
}

// Note writes a line for people beside the result.
func (t *Terminal) Note(format string, args ...any) error {
	_, err := fmt.Fprintln(t.Stderr, Printable(fmt.Sprintf(format, args...)))
	return err
}

// PrintJSON writes b as a result, indented, and an end of line.
func (t *Terminal) PrintJSON(b []byte) error {
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	out.WriteByte('\n')
	_, err := t.Stdout.Write(out.Bytes())
	return err
}

// Result prints json if --json was given, else the sentence.
func (t *Terminal) Result(c *urfave.Context, json []byte, format string, args ...any) error {
	if c.Bool("json") {
		return t.PrintJSON(json)
	}
	return t.Say(format, args...)
}

// JSONOr prints json, unless there is an error.
func (t *Terminal) JSONOr(json []byte, err error) error {
	if err != nil {
		return err
	}
	return t.PrintJSON(json)
}
