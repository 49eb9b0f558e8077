package buildroot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"albs/internal/albs"
	"albs/internal/sandbox"
)

// Here rpmautospec fills in release and changelog of a spec, from the history that was
// laid into its tree.

// autospecTool is the package that brings rpmautospec, and the program.
const autospecTool = "rpmautospec"

// complete sees to it that the spec at p, inside the root, needs nothing any more that
// rpmautospec fills in.
func (w *work) complete(ctx context.Context, job SourceJob, p string) error {
	if job.History != "" {
		if err := w.autospec(ctx, p); err != nil {
			return err
		}
	}
	text, err := w.root.ReadFile(ctx, p, maxSpec)
	if err != nil {
		return err
	}
	return checkAutospec(w.spec.Platform, job.History != "", text, w.spec.Macros, job.Define)
}

// autospec installs rpmautospec in the root and has it write the spec at p, inside the
// root, in place. It reads the history by a library of the root's: neither git nor
// anything of the host's sees what lies there.
func (w *work) autospec(ctx context.Context, p string) error {
	err := w.root.Install(ctx, []string{autospecTool}, w.repos, w.logs.Root)
	if errors.Is(err, albs.Invalid) { // the platform's fault, and so without its kind
		return lacksAutospec(w.spec.Platform, err)
	}
	if err != nil {
		return err
	}
	argv := []string{autospecTool, "process-distgit", p, p}
	w.record.Commands = append(w.record.Commands, argv)
	fmt.Fprintf(w.logs.Build, "+ %s\n", strings.Join(argv, " "))
	said := sandbox.NewTail(64 << 10)
	both := io.MultiWriter(w.logs.Build, said)
	exit, err := w.exec(ctx, sandbox.Cmd{Argv: argv, Stdout: both, Stderr: both, Limits: w.limits}) // no network, whatever the platform has
	if err == nil && exit != 0 {
		err = cantFill(exit, said.Bytes())
	}
	return err
}

// autospecError is how rpmautospec says what is wrong; mock has words of its own behind it.
var autospecError = regexp.MustCompile(`(?m)^Error: (.{1,500})`)

// cantFill says that rpmautospec failed, with its last words.
func cantFill(exit int, said []byte) error {
	why := cause(said)
	if m := autospecError.FindSubmatch(said); m != nil {
		why = strings.ToValidUTF8(string(m[1]), "?")
	}
	return albs.Errorf(albs.Invalid, "rpmautospec can't fill in the spec (it ended with code %d): %s", exit, why)
}

// lacksAutospec says that a platform asks for rpmautospec and doesn't have it.
func lacksAutospec(platform string, why error) error {
	return albs.Errorf(albs.Unavailable, "platform %s asks for rpmautospec, which can't be installed: "+
		"give the platform a repository that has the package rpmautospec, or take rpmautospec: true out of it (%v)", platform, why)
}

// checkAutospec refuses a spec that still needs rpmautospec: rpm's own fallback would give
// every build the same release. macros are the platform's and the package's, which may
// define what is needed. filled tells that rpmautospec was there.
func checkAutospec(platform string, filled bool, spec []byte, macros ...map[string]string) error {
	macro, must := albs.Autospec(spec, macros...)
	switch {
	case !must:
		return nil
	case filled:
		return albs.Errorf(albs.Invalid, "the spec uses %%%s where rpmautospec doesn't see it: write it into the line Release: or below %%changelog", macro)
	}
	return albs.Errorf(albs.Invalid, "the spec uses %%%s, which rpmautospec fills in from the git history, and platform %s did not ask for that: "+
		"set rpmautospec: true in the platform, or run rpmautospec process-distgit and commit what it writes", macro, platform)
}
