package buildroot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/ccache"
)

// Folders inside a root.
const (
	home    = "/builddir"
	topDir  = home + "/build"
	treeDir = home + "/tree"
	srpmIn  = home + "/package.src.rpm"
)

// maxRounds bounds the search for dynamic BuildRequires, each round of which may bring
// new ones.
const maxRounds = 10

// maxSpec bounds a spec file in bytes.
const maxSpec = 8 << 20

// dynamic is rpmbuild's exit code when %generate_buildrequires asks for what isn't
// installed (RPMRC_MISSINGBUILDREQUIRES of rpm's rpmbuild.h). It has then written an
// SRPM whose requirements are all that is wanted.
const dynamic = 11

// Native makes packages by the root's own rpmbuild in an albs sandbox.
type Native struct {
	sandbox *sandbox.Engine
	rounds  int // maxRounds but in tests
}

// NewNative returns an engine that works in roots of sb.
func NewNative(sb *sandbox.Engine) *Native { return &Native{sandbox: sb, rounds: maxRounds} }

// work is one job under way.
type work struct {
	*Native
	spec   albs.Root
	repos  []sandbox.Repo
	logs   Logs
	root   *sandbox.Root
	limits sandbox.Limits
	record Record
	cache  *ccache.Cache // nil for none
}

// begin checks what both kinds of job have in common and opens a root for it. The root
// is to be closed also after an error.
func (n *Native) begin(ctx context.Context, spec albs.Root, repos []sandbox.Repo, target albs.Arch, logs Logs) (*work, error) {
	logs = logs.whole()
	macros, err := albs.MacroFile(spec.Macros)
	if err != nil {
		return nil, err
	}
	w := &work{
		Native: n, spec: spec, repos: repos, logs: logs,
		limits: sandbox.Limits{Time: spec.Timeout, Silence: spec.MaxSilence},
		record: Record{
			Format: RecordFormat, Platform: spec.Platform, Releasever: spec.Releasever, Arch: spec.Arch, Target: target,
			Environment: append(sandbox.Environment(), "HOME="+home),
			Network:     spec.Network, Isolation: n.sandbox.Isolation(), Kernel: kernel(), Emulated: n.sandbox.Emulator(spec.Arch),
			Repos: spec.Repos, Macros: spec.Macros, MacroFile: albs.DigestOf(macros),
		},
	}
	var base *sandbox.Base
	err = w.step("base", func() (err error) {
		base, err = n.sandbox.Base(ctx, spec, repos, logs.Root)
		return noBuildroot(spec, err)
	})
	if err != nil {
		return w, err
	}
	defer base.Close()
	w.record.Base = base.Digest()
	err = w.step("overlay", func() (err error) {
		w.root, err = base.Overlay(ctx)
		return err
	})
	return w, err
}

// noBuildroot lays an error of filling a root to the charge of whose doing it is: what
// can't be resolved is the build's fault if that chose among the platform's packages.
func noBuildroot(root albs.Root, err error) error {
	switch {
	case !errors.Is(err, albs.Invalid):
		return err
	case len(root.Excludes)+len(root.Modules) > 0:
		return albs.Errorf(albs.Invalid, "there is no buildroot without %q and with the modules %q: %w", root.Excludes, root.Modules, err)
	}
	return albs.Errorf(albs.Unavailable, "platform %s gives no buildroot: %v", root.Platform, err) // without its kind
}

// whole returns l with every stream.
func (l Logs) whole() Logs {
	for _, w := range []*io.Writer{&l.State, &l.Root, &l.Build} {
		if *w == nil {
			*w = io.Discard
		}
	}
	return l
}

// end completes what the job gives back and closes the root. The record goes with
// errors too: it says in what a package failed.
func (w *work) end(out *Output, err *error) {
	if w == nil {
		return
	}
	out.Record = w.record
	if w.root == nil {
		return
	}
	if cerr := w.root.Close(); cerr != nil {
		fmt.Fprintf(w.logs.State, "the root is left behind: %v\n", cerr)
		if *err == nil {
			*err = cerr
		}
	}
	closeCache(w.cache, w.logs)
}

func (w *work) step(name string, f func() error) error { return w.logs.Step(name, f) }

// stepTime is how the state log writes when something was: what a task's time goes to is
// told by the differences.
const stepTime = "2006-01-02T15:04:05.000Z07:00"

// Step does a part of a job and writes to the state log, which has to be there, when it
// begins and how it ends. It returns f's error.
func (l Logs) Step(name string, f func() error) error {
	began := time.Now()
	fmt.Fprintf(l.State, "%s %s begins\n", began.UTC().Format(stepTime), name)
	err := f()
	end := "done"
	if err != nil {
		end = "failed: " + err.Error()
	}
	fmt.Fprintf(l.State, "%s %s %s (%.2f s)\n", time.Now().UTC().Format(stepTime), name, end, time.Since(began).Seconds())
	return err
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return runtime.GOOS
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

// input names a file of the host in the record.
func input(name, file string) (albs.File, error) {
	f, err := os.Open(file)
	if err != nil {
		return albs.File{}, err
	}
	defer f.Close()
	d, size, err := albs.DigestReader(f)
	if err != nil {
		return albs.File{}, fmt.Errorf("digest %s: %w", file, err)
	}
	return albs.File{Name: name, Digest: d, Size: size}, nil
}

// run runs a program as the build user; its output goes to log. It returns the exit
// code and its last words.
func (w *work) run(ctx context.Context, log io.Writer, stdin io.Reader, argv ...string) (int, []byte, error) {
	said := sandbox.NewTail(64 << 10)
	both := io.MultiWriter(log, said)
	exit, err := w.exec(ctx, sandbox.Cmd{
		Argv: argv, Stdin: stdin, Stdout: both, Stderr: both, Network: w.spec.Network, Limits: w.limits, Cache: w.cache,
	})
	return exit, said.Bytes(), err
}

// exec runs a program of the platform; where the root doesn't have it, the platform is
// at fault.
func (w *work) exec(ctx context.Context, c sandbox.Cmd) (int, error) {
	exit, err := w.root.Run(ctx, c)
	if errors.Is(err, albs.NotFound) {
		return 0, albs.Errorf(albs.Unavailable, "platform %s gives no whole buildroot: %w", w.spec.Platform, err)
	}
	return exit, err
}

// rpmbuild runs rpmbuild and records that it did. The build host's name goes into
// every package; a root has no name that could be looked up.
func (w *work) rpmbuild(ctx context.Context, args ...string) (int, []byte, error) {
	argv := append([]string{"rpmbuild", "--define", "_topdir " + topDir, "--define", "_buildhost albs"}, args...)
	if w.record.Target == albs.I686 { // configure scripts ask the kernel what they are built for
		argv = append([]string{"setarch", "i686"}, argv...)
	}
	w.record.Commands = append(w.record.Commands, argv)
	fmt.Fprintf(w.logs.Build, "+ %s\n", strings.Join(argv, " "))
	return w.run(ctx, w.logs.Build, nil, argv...)
}

// Source implements Engine.
func (n *Native) Source(ctx context.Context, job SourceJob) (out Output, err error) {
	options, err := arguments(job.Switches)
	if err != nil {
		return Output{}, err
	}
	for _, a := range job.Arches {
		if _, err := albs.ParseArch(string(a)); err != nil {
			return Output{}, err
		}
	}
	if job.SRPM != "" {
		return n.ask(ctx, job, options)
	}
	specs, sources, err := checkSpecPath(job.Spec)
	if err != nil {
		return Output{}, err
	}
	tree, history, err := job.inputs()
	if err != nil {
		return Output{}, err
	}
	w, err := n.begin(ctx, job.Root, job.Repos, job.Root.Arch, job.Logs)
	defer w.end(&out, &err)
	if err != nil {
		return Output{}, err
	}
	w.record.Input, w.record.History = tree, history
	if err := w.step("tree", func() error { return w.unpack(ctx, job, sources) }); err != nil {
		return Output{}, err
	}
	spec := path.Join(treeDir, job.Spec)
	if err := w.step("spec", func() error { return w.complete(ctx, job, spec) }); err != nil {
		return Output{}, err
	}
	w.record.Packages, err = w.root.Installed(ctx)
	if err != nil {
		return Output{}, err
	}
	where := []string{"--define", "_specdir " + path.Join(treeDir, specs), "--define", "_sourcedir " + path.Join(treeDir, sources)}
	err = w.step("rpmbuild -bs", func() error {
		args := slices.Concat([]string{"-bs", "--nodeps", "--target", string(job.Root.Arch)}, where, options, []string{spec})
		exit, said, err := w.rpmbuild(ctx, args...)
		if err == nil && exit != 0 {
			err = albs.Errorf(albs.Invalid, "rpmbuild -bs ended with code %d: %s", exit, cause(said))
		}
		return err
	})
	if err != nil {
		return Output{}, err
	}
	err = w.step("collect", func() error {
		out.Files, err = w.root.CopyOut(ctx, topDir+"/SRPMS", ".rpm", job.Out)
		if err == nil && len(out.Files) != 1 {
			err = albs.Errorf(albs.Invalid, "the spec gives %d source packages instead of one", len(out.Files))
		}
		return err
	})
	if err != nil {
		return out, err
	}
	err = w.step("facts", func() error {
		out.Facts, err = w.facts(ctx, slices.Concat(where, options), spec, job.Arches)
		return err
	})
	return out, err
}

// ask does a source job about an SRPM that is there already.
func (n *Native) ask(ctx context.Context, job SourceJob, options []string) (out Output, err error) {
	srpm, err := input(filepath.Base(job.SRPM), job.SRPM)
	if err != nil {
		return Output{}, err
	}
	w, err := n.begin(ctx, job.Root, job.Repos, job.Root.Arch, job.Logs)
	defer w.end(&out, &err)
	if err != nil {
		return Output{}, err
	}
	w.record.Input = srpm
	if w.record.Packages, err = w.root.Installed(ctx); err != nil {
		return Output{}, err
	}
	h, err := w.header(ctx, job.SRPM)
	if err != nil {
		return Output{}, err
	}
	if err := w.lay(ctx, h, srpm.Name); err != nil {
		return Output{}, err
	}
	err = w.step("facts", func() error {
		out.Facts, err = w.facts(ctx, slices.Concat([]string{"--define", "_topdir " + topDir}, options), path.Join(topDir, "SPECS", h.spec), job.Arches)
		return err
	})
	return out, err
}

// inputs names the tree and its history, if there, in the record.
func (j SourceJob) inputs() (tree albs.File, history *albs.File, err error) {
	if tree, err = input(filepath.Base(j.Tree), j.Tree); err != nil || j.History == "" {
		return tree, nil, err
	}
	h, err := input(filepath.Base(j.History), j.History)
	return tree, &h, err
}

// unpack lays out the tree, its history and its look-aside sources.
func (w *work) unpack(ctx context.Context, job SourceJob, sources string) error {
	var copies []sandbox.Copy
	for _, s := range job.Sources {
		if err := checkSource(s.Name); err != nil {
			return err
		}
		f, err := input(s.Name, s.Path)
		if err != nil {
			return err
		}
		w.record.Sources = append(w.record.Sources, f)
		copies = append(copies, sandbox.Copy{From: s.Path, To: path.Join(treeDir, sources, s.Name), User: sandbox.UserBuild})
	}
	for _, tar := range job.tars() {
		if err := w.untar(ctx, tar); err != nil {
			return err
		}
	}
	if len(copies) == 0 {
		return nil
	}
	return w.root.CopyIn(ctx, copies...)
}

// tars are what the job's tree is unpacked from.
func (j SourceJob) tars() []string {
	if j.History == "" {
		return []string{j.Tree}
	}
	return []string{j.Tree, j.History}
}

func (w *work) untar(ctx context.Context, tar string) error {
	f, err := os.Open(tar)
	if err != nil {
		return err
	}
	defer f.Close()
	exit, said, err := w.run(ctx, w.logs.Root, f, "tar", "--extract", "--file=-", "--directory="+home, "--one-top-level="+path.Base(treeDir))
	if err == nil && exit != 0 {
		err = albs.Errorf(albs.Invalid, "the source tree can't be unpacked: %s", cause(said))
	}
	return err
}

// Build implements Engine.
func (n *Native) Build(ctx context.Context, job BuildJob) (out Output, err error) {
	options, err := arguments(job.Switches)
	if err != nil {
		return Output{}, err
	}
	if _, err := albs.ParseArch(string(job.Arch)); err != nil {
		return Output{}, err
	}
	srpm, err := input(filepath.Base(job.SRPM), job.SRPM)
	if err != nil {
		return Output{}, err
	}
	w, err := n.begin(ctx, job.Root, job.Repos, job.Arch, job.Logs)
	defer w.end(&out, &err)
	if err != nil {
		return Output{}, err
	}
	w.record.Input = srpm
	h, err := w.header(ctx, job.SRPM)
	if err != nil {
		return Output{}, err
	}
	if why := h.excluded(job.Arch); why != "" {
		return Output{Excluded: why}, nil
	}
	if err := w.lay(ctx, h, srpm.Name); err != nil {
		return Output{}, err
	}
	if err := w.require(ctx, h.requires); err != nil {
		return Output{}, err
	}
	before, err := w.useCache(ctx, job.Owner)
	if err != nil {
		return Output{}, err
	}
	defer func() { w.countCache(ctx, before) }()
	args := slices.Concat([]string{"-bb", "--target", string(job.Arch)}, options, []string{path.Join(topDir, "SPECS", h.spec)})
	if out.Excluded, err = w.build(ctx, args, h.requires); err != nil || out.Excluded != "" {
		return out, err
	}
	err = w.step("collect", func() error {
		out.Files, err = w.root.CopyOut(ctx, topDir+"/RPMS", ".rpm", job.Out)
		if err == nil && len(out.Files) == 0 {
			err = albs.Errorf(albs.Invalid, "rpmbuild made no package: no %%files section has anything for %s", job.Arch)
		}
		return err
	})
	return out, err
}

// header brings an SRPM into the root and reads what it says of itself.
func (w *work) header(ctx context.Context, srpm string) (h header, err error) {
	err = w.step("srpm", func() error {
		if err := w.root.CopyIn(ctx, sandbox.Copy{From: srpm, To: srpmIn, User: sandbox.UserBuild}); err != nil {
			return err
		}
		h, err = w.query(ctx, srpmIn)
		return err
	})
	return h, err
}

// lay unpacks the SRPM that header brought, called name.
func (w *work) lay(ctx context.Context, h header, name string) error {
	if h.spec == "" {
		return albs.Errorf(albs.Invalid, "%s holds no spec file", name)
	}
	return w.step("install srpm", func() error { return w.installSource(ctx) })
}

// query asks the root's rpm what the SRPM at p says of itself.
func (w *work) query(ctx context.Context, p string) (header, error) {
	var text, errs bytes.Buffer
	exit, err := w.exec(ctx, sandbox.Cmd{
		Argv:   []string{"rpm", "-qp", "--nosignature", "--qf", queryFormat, p},
		Stdout: &text, Stderr: io.MultiWriter(w.logs.Root, &errs),
		Limits: sandbox.Limits{Time: time.Minute, Output: 8 << 20},
	})
	if err == nil && exit != 0 {
		err = albs.Errorf(albs.Invalid, "rpm can't read the source package: %s", cause(errs.Bytes()))
	}
	if err != nil {
		return header{}, err
	}
	return parseHeader(text.String()), nil
}

// installSource lays the SRPM's files into the build user's folders.
func (w *work) installSource(ctx context.Context) error {
	exit, said, err := w.run(ctx, w.logs.Root, nil, "rpm", "-i", "--nosignature", "--define", "_topdir "+topDir, srpmIn)
	if err == nil && exit != 0 {
		err = albs.Errorf(albs.Invalid, "rpm can't install the source package: %s", cause(said))
	}
	return err
}

// require installs BuildRequires and records what the root holds then.
func (w *work) require(ctx context.Context, requires []string) error {
	return w.step("BuildRequires", func() error {
		err := w.root.Install(ctx, requires, w.repos, w.logs.Root)
		if errors.Is(err, albs.Invalid) {
			return albs.Errorf(albs.Invalid, "BuildRequires can't be installed: %w", err)
		}
		if err != nil {
			return err
		}
		w.record.Packages, err = w.root.Installed(ctx)
		return err
	})
}

// build runs rpmbuild until it asks for nothing more. It returns why the architecture
// is excluded, if rpmbuild finds so.
func (w *work) build(ctx context.Context, args, have []string) (excluded string, err error) {
	for range w.rounds {
		var wants []string
		err := w.step("rpmbuild -bb", func() error {
			exit, said, err := w.rpmbuild(ctx, args...)
			if err != nil || exit == 0 {
				return err
			}
			if excluded = exclusion(said); excluded != "" {
				return nil
			}
			if exit == dynamic {
				if wants, err = w.wanted(ctx); err != nil {
					return err
				}
			}
			wants = slices.DeleteFunc(wants, func(r string) bool { return slices.Contains(have, r) })
			if len(wants) == 0 {
				return albs.Errorf(albs.Invalid, "rpmbuild ended with code %d: %s", exit, cause(said))
			}
			return nil
		})
		if err != nil || len(wants) == 0 {
			return excluded, err
		}
		have = append(have, wants...)
		fmt.Fprintf(w.logs.State, "dynamic BuildRequires: %s\n", strings.Join(wants, ", "))
		if err := w.require(ctx, wants); err != nil {
			return "", err
		}
	}
	return "", albs.Errorf(albs.Invalid, "%%generate_buildrequires asks for more and more packages, %d times by now", w.rounds)
}

// wanted returns the requirements that rpmbuild has written down. It is rpm that
// expands the pattern.
func (w *work) wanted(ctx context.Context) ([]string, error) {
	h, err := w.query(ctx, topDir+"/SRPMS/*.buildreqs.nosrc.rpm")
	return h.requires, err
}
