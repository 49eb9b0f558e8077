package buildroot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/sandbox"
)

// Here the root's own rpm is asked what a spec file says of itself, before anything
// is built of it.

// The formats make rpm print a fact a line, after a word that says which.
const (
	packagesFormat = `package %{ARCH} %{NAME}\n[provides %{PROVIDENAME}\n]`
	specFormat     = `[requires %{REQUIRENEVRS}\n][exclusive %{EXCLUSIVEARCH}\n][exclude %{EXCLUDEARCH}\n]`
)

// maxFactsTime bounds one question: what takes longer to parse isn't waited for.
const maxFactsTime = time.Minute

// facts asks for what the spec at p, inside the root, says for each arch. What rpm
// cannot tell is told as unknown and is no error: whether the package can be built is
// for rpmbuild to find.
func (w *work) facts(ctx context.Context, args []string, p string, arches []albs.Arch) ([]albs.SpecFacts, error) {
	var out []albs.SpecFacts
	for _, arch := range arches {
		ask := func(more ...string) (string, error) {
			return w.rpmspec(ctx, slices.Concat([]string{"--target", string(arch)}, args, more, []string{p}))
		}
		f := albs.SpecFacts{Arch: arch}
		packages, err := ask("-q", "--qf", packagesFormat)
		var spec, text string
		if err == nil {
			spec, err = ask("-q", "--srpm", "--qf", specFormat)
		}
		if err == nil {
			text, err = ask("-P")
		}
		if err == nil {
			f = parseFacts(arch, packages, spec, text)
			err = albs.CheckSpecFacts(append(slices.Clip(out), f), arches)
		}
		if errors.Is(err, albs.Invalid) || errors.Is(err, albs.TooLarge) || errors.Is(err, albs.NotFound) {
			why := strings.Join(strings.Fields(err.Error()), " ")
			f, err = albs.SpecFacts{Arch: arch, Unknown: strings.ToValidUTF8(why[:min(len(why), 500)], "")}, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// rpmspec runs rpmspec and returns what it prints. NotFound if the root has none,
// Invalid if it fails.
func (w *work) rpmspec(ctx context.Context, args []string) (string, error) {
	argv := append([]string{"rpmspec"}, args...)
	fmt.Fprintf(w.logs.Root, "+ %s\n", strings.Join(argv, " "))
	limits := w.limits
	limits.Output = 8 << 20
	if limits.Time == 0 || limits.Time > maxFactsTime {
		limits.Time = maxFactsTime
	}
	var text, errs bytes.Buffer
	exit, err := w.root.Run(ctx, sandbox.Cmd{
		Argv: argv, Stdout: &text, Stderr: io.MultiWriter(w.logs.Root, &errs), Network: w.spec.Network, Limits: limits,
	})
	if err == nil && exit != 0 {
		err = albs.Errorf(albs.Invalid, "rpmspec ended with code %d: %s", exit, cause(errs.Bytes()))
	}
	return text.String(), err
}

// parseFacts reads the answers to packagesFormat and specFormat, and the spec as rpm
// expands it.
func parseFacts(arch albs.Arch, packages, spec, text string) albs.SpecFacts {
	h := parseHeader(spec)
	f := albs.SpecFacts{Arch: arch, Requires: h.requires, Exclusive: h.exclusive, Exclude: h.exclude}
	for line := range strings.Lines(packages) {
		what, value, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		last := len(f.Packages) - 1
		switch {
		case what == "package":
			a, name, ok := strings.Cut(value, " ")
			if ok && name != "" {
				f.Packages = append(f.Packages, albs.SpecPackage{Name: name, Noarch: a == string(albs.Noarch)})
			}
		case what == "provides" && last >= 0 && value != "" && value != "(none)" && value != f.Packages[last].Name:
			f.Packages[last].Provides = append(f.Packages[last].Provides, value)
		}
	}
	files, dynamic := parseSections(text, f.Packages)
	f.Dynamic = dynamic
	for i := range f.Packages {
		p := &f.Packages[i]
		p.Provides = append(p.Provides, files[p.Name]...)
		slices.Sort(p.Provides)
		p.Provides = slices.Compact(p.Provides)
	}
	return f
}

// sections are the words that end the list of a package's files.
var sections = []string{
	"%package", "%description", "%prep", "%generate_buildrequires", "%conf", "%build", "%install", "%check", "%clean", "%pre", "%post", "%preun",
	"%postun", "%pretrans", "%posttrans", "%preuntrans", "%postuntrans", "%triggerin", "%triggerun", "%triggerprein", "%triggerpostun",
	"%filetriggerin", "%filetriggerun", "%filetriggerpostun", "%transfiletriggerin", "%transfiletriggerun", "%transfiletriggerpostun",
	"%verifyscript", "%sepolicy", "%changelog", "%sourcelist", "%patchlist",
}

// parseSections finds in an expanded spec the names that follow from the files listed
// for each of the packages, and whether there is %generate_buildrequires. A pattern
// names no file.
func parseSections(text string, packages []albs.SpecPackage) (provides map[string][]string, dynamic bool) {
	provides = make(map[string][]string)
	if len(packages) == 0 {
		return provides, false
	}
	in := "" // the package whose files are listed
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		switch {
		case words[0] == "%files":
			in = packageOfFiles(words[1:], packages[0].Name)
		case slices.Contains(sections, words[0]):
			in = ""
			dynamic = dynamic || words[0] == "%generate_buildrequires"
		case in != "":
			file := words[len(words)-1]
			if path.IsAbs(file) && !strings.ContainsAny(file, "*?[]{}%\\\"'") && !slices.Contains(words, "%dir") && !slices.Contains(words, "%exclude") {
				provides[in] = append(provides[in], namesOf(file)...)
			}
		}
	}
	return provides, dynamic
}

// packageOfFiles returns the name of the package that "%files words" is about: main,
// the package -n NAME, or main-NAME.
func packageOfFiles(words []string, main string) string {
	for i := 0; i < len(words); i++ {
		switch {
		case words[i] == "-f":
			i++
		case words[i] == "-n" && i+1 < len(words):
			return words[i+1]
		case words[i][0] != '-':
			return main + "-" + words[i]
		}
	}
	return main
}

// namesOf returns what others may call a file by: its path, and the name that rpm's
// generators give to a file of its kind.
func namesOf(file string) []string {
	names := []string{file}
	dir, base := path.Split(file)
	switch {
	case strings.HasSuffix(dir, "/pkgconfig/") && strings.HasSuffix(base, ".pc"):
		names = append(names, "pkgconfig("+strings.TrimSuffix(base, ".pc")+")")
	case strings.HasSuffix(base, "Config.cmake"):
		names = append(names, "cmake("+strings.TrimSuffix(base, "Config.cmake")+")")
	}
	return names
}
