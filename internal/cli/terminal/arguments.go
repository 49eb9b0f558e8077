package terminal

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// usageError is a command line that can't be meant. hint is the line that shows
// how the command is used.
type usageError struct {
	msg  string
	hint string
}

func (u *usageError) Error() string { return u.msg }

// Misused returns the error of a command line that can't be meant, for the command of c.
func Misused(c *urfave.Context, format string, args ...any) error {
	u := &usageError{msg: fmt.Sprintf(format, args...)}
	if c != nil && c.Command != nil && c.Command.UsageText != "" {
		u.hint = "usage: " + c.Command.UsageText
	}
	return u
}

func onUsage(c *urfave.Context, err error, _ bool) error {
	msg := flagWords(err.Error())
	if c.Command == nil || c.Command.UsageText == "" || onlyHolds(c.Command) {
		return &usageError{msg: msg, hint: "try: " + strings.TrimSpace(c.Command.HelpName) + " --help"}
	}
	return Misused(c, "%s", msg)
}

// flagWords says what package flag found wrong in words that name the flag as it was
// written. There is nothing but its text to tell its errors apart.
func flagWords(msg string) string {
	for _, w := range flagErrors {
		if m := w.is.FindStringSubmatchIndex(msg); m != nil {
			return string(w.is.ExpandString(nil, w.say, msg, m))
		}
	}
	return msg
}

var flagErrors = []struct {
	is  *regexp.Regexp
	say string
}{
	{regexp.MustCompile(`^flag provided but not defined: -(.*)$`), "there is no flag --$1"},
	{regexp.MustCompile(`^flag needs an argument: -(.*)$`), "--$1 needs a value"},
	{regexp.MustCompile(`^invalid boolean value ".*" for -([^:]*): .*$`), "--$1 takes no value"},
	{regexp.MustCompile(`^invalid value (".*") for flag -([^:]*): (?:parse error|strconv\.Parse.*)$`), "--$2 $1 is no number"},
	{regexp.MustCompile(`^invalid value (".*") for flag -([^:]*): (.*)$`), "--$2 $1: $3"},
}

// group is the action of a command that only holds others.
func group(c *urfave.Context) error {
	name := strings.TrimSpace(c.Command.HelpName)
	if name == "" {
		name = c.App.HelpName
	}
	cs := c.Command.Subcommands
	if c.NArg() == 0 {
		c.App.Writer = c.App.ErrWriter // the help that nobody asked for is no result
		if err := urfave.ShowSubcommandHelp(c); err != nil {
			return err
		}
		return &usageError{msg: fmt.Sprintf("%q needs a command of those above", name)}
	}
	return &usageError{
		msg:  fmt.Sprintf("there is no command %q", name+" "+c.Args().First()),
		hint: "there are: " + strings.Join(names(cs), ", "),
	}
}

func names(cs []*urfave.Command) []string {
	var out []string
	for _, c := range cs {
		if !c.Hidden {
			out = append(out, c.Name)
		}
	}
	return out
}

// Action is do with its number of arguments checked: from least to most, most < 0
// for any number.
func Action(least, most int, do func(c *urfave.Context) error) urfave.ActionFunc {
	return func(c *urfave.Context) error {
		switch n := c.NArg(); {
		case n < least:
			return Misused(c, "an argument is missing")
		case most >= 0 && n > most:
			return Misused(c, "%q is one argument too many", c.Args().Get(most))
		}
		return do(c)
	}
}

// Number reads an argument that is a number, as "build 7" and "release 3" have.
func Number(c *urfave.Context, what, arg string) (int64, error) {
	n, err := strconv.ParseInt(arg, 10, 64)
	if err != nil || n < 1 {
		return 0, Misused(c, "%q is no %s's number", arg, what)
	}
	return n, nil
}

// Needs returns a usage error if one of the named flags was not given.
func Needs(c *urfave.Context, flags ...string) error {
	for _, f := range flags {
		if !c.IsSet(f) {
			return Misused(c, "--%s is missing", f)
		}
	}
	return nil
}

// JSONFlag is --json, which every command has that reads.
func JSONFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: "json", Usage: "print the server's answer as JSON"}
}

// WaitFlag is --wait, of a command that begins what takes long.
func WaitFlag(what string) urfave.Flag {
	return &urfave.BoolFlag{Name: "wait", Usage: "wait until " + what + ", and exit 1 if it fails"}
}

// prepare completes root and every command of its tree: groups explain themselves,
// and a usage error never prints a page of help.
func (t *Terminal) prepare(root *urfave.App) {
	root.HideHelpCommand, root.HideVersion = true, true
	root.DisableSliceFlagSeparator = true // a URL may hold a comma
	root.Reader, root.Writer, root.ErrWriter = t.Stdin, t.Stdout, t.Stderr
	root.ExitErrHandler = func(*urfave.Context, error) {} // Run decides
	root.OnUsageError, root.Action = onUsage, group
	prepare(root.Commands, root.Name)
}

// groupUsage ends the usage of a command that only holds others.
const groupUsage = " COMMAND …"

// onlyHolds reports, of a command that was prepared, whether it does nothing by itself.
func onlyHolds(c *urfave.Command) bool { return strings.Contains(c.UsageText, groupUsage) }

func prepare(cs []*urfave.Command, path string) {
	for _, c := range cs {
		c.HideHelpCommand = true
		c.OnUsageError = onUsage
		for _, f := range c.Flags {
			if b, ok := f.(*urfave.BoolFlag); ok {
				b.DisableDefaultText = true // "(default: false)" is no news
			}
		}
		name := path + " " + c.Name
		prepare(c.Subcommands, name)
		if len(c.Subcommands) > 0 && c.Action == nil {
			c.Action, c.UsageText = group, name+groupUsage
			continue
		}
		c.UsageText = name
		switch {
		case c.ArgsUsage != "":
			c.UsageText += " " + c.ArgsUsage
		case len(c.Flags) > 0:
			c.UsageText += " [options]"
		}
		// It stands in UsageText; urfave would put it there a second time.
		c.ArgsUsage = " "
	}
}

// flagsFirst moves the flags of the command that args call before its other
// arguments, where urfave wants them, so that people may write them anywhere. What
// follows "--" is never a flag.
func flagsFirst(root *urfave.App, args []string) []string {
	cs := root.Commands
	var leaf *urfave.Command
	at := 1
	for ; at < len(args) && len(cs) > 0; at++ {
		i := slices.IndexFunc(cs, func(c *urfave.Command) bool { return c.HasName(args[at]) })
		if i < 0 {
			break
		}
		leaf, cs = cs[i], cs[i].Subcommands
	}
	if leaf == nil || onlyHolds(leaf) {
		return args
	}
	var flags, rest []string
	for i := at; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			rest = append(rest, args[i+1:]...)
			i = len(args)
		case len(arg) < 2 || arg[0] != '-':
			rest = append(rest, arg)
		default:
			flags = append(flags, arg)
			if !takesValue(leaf, arg) {
				continue
			}
			if i++; i == len(args) { // its value is missing, which urfave will say
				return append(slices.Clone(args[:at]), flags...)
			}
			flags = append(flags, args[i])
		}
	}
	out := append(slices.Clone(args[:at]), flags...)
	if slices.Contains(flags, "--help") || slices.Contains(flags, "-h") {
		return out // urfave would look for help on the first argument
	}
	if len(rest) > 0 {
		out = append(append(out, "--"), rest...)
	}
	return out
}

// takesValue reports whether the argument after the flag arg belongs to it.
func takesValue(c *urfave.Command, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	for _, f := range c.Flags {
		if slices.Contains(f.Names(), name) {
			_, isBool := f.(*urfave.BoolFlag)
			return !isBool
		}
	}
	return false
}
