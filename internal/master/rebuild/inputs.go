package rebuild

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"albs/internal/albs"
)

// maxRecord bounds a buildroot record in bytes; one of a thousand packages has a quarter
// of a mebibyte.
const maxRecord = 16 << 20

// maxPackages bounds the packages of a root.
const maxPackages = 10_000

// maxDiffering is how many differences between two roots are told.
const maxDiffering = 20

// inputs is what of a buildroot record (buildroot.Record) decides what comes out: the
// package that was built, and the root that it was built in.
type inputs struct {
	Format    string      `json:"format"`
	Target    albs.Arch   `json:"target"`
	Input     albs.File   `json:"input"`
	MacroFile albs.Digest `json:"macro_file"`
	Network   bool        `json:"network"`
	Packages  []installed `json:"packages"`
}

// installed is a package in a root.
type installed struct {
	Name    string      `json:"name"`
	Epoch   int         `json:"epoch"`
	Version string      `json:"version"`
	Release string      `json:"release"`
	Arch    string      `json:"arch"`
	Header  albs.Digest `json:"header_sha256"`
	File    albs.Digest `json:"sha256"`
}

func (p installed) slot() string { return p.Name + "." + p.Arch }

func (p installed) String() string {
	epoch := ""
	if p.Epoch != 0 {
		epoch = fmt.Sprintf("%d:", p.Epoch)
	}
	return fmt.Sprintf("%s-%s%s-%s.%s", p.Name, epoch, p.Version, p.Release, p.Arch)
}

// is reports whether p is the same file as o, or, where a record doesn't tell the file,
// has the same header, which names the payload.
func (p installed) is(o installed) bool {
	if p.File != "" && o.File != "" {
		return p.File == o.File
	}
	return p.String() == o.String() && p.Header == o.Header && p.Header != ""
}

// maxWord bounds a name, version, release or arch in bytes.
const maxWord = 255

// check returns an Invalid error unless p is made of words that go into a row, a signed
// statement and a terminal as they are.
func (p installed) check() error {
	for _, word := range []string{p.Name, p.Version, p.Release, p.Arch} {
		if !plain(word) {
			return albs.Errorf(albs.Invalid, "the buildroot record names a package %.80q, and its words are at most %d bytes of printable text", p.String(), maxWord)
		}
	}
	return nil
}

func plain(s string) bool {
	return len(s) <= maxWord && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}

// readInputs reads a buildroot record. Invalid if it is none, tells of no package, or
// names what can't be told.
func readInputs(b []byte) (inputs, error) {
	var in inputs
	if len(b) > maxRecord {
		return in, albs.Errorf(albs.TooLarge, "the buildroot record has more than %d bytes", maxRecord)
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return in, albs.Errorf(albs.Invalid, "the buildroot record can't be read: %w", err)
	}
	if in.Format != recordFormat {
		return in, albs.Errorf(albs.Invalid, "the buildroot record is of the format %.40q, not %s", in.Format, recordFormat)
	}
	if !plain(string(in.Target)) {
		return in, albs.Errorf(albs.Invalid, "the buildroot record is of the target %.80q", in.Target)
	}
	switch n := len(in.Packages); {
	case n == 0:
		return in, albs.Errorf(albs.Invalid, "the buildroot record names no package")
	case n > maxPackages:
		return in, albs.Errorf(albs.TooLarge, "the buildroot record names %d packages, %d are allowed", n, maxPackages)
	}
	for _, p := range in.Packages {
		if err := p.check(); err != nil {
			return in, err
		}
	}
	return in, nil
}

// recordFormat is buildroot.RecordFormat, which a node writes.
const recordFormat = "albs-buildroot/v1"

// differing names in what the root of a rebuild is not that of the build, the first of it
// first; nothing if the two are equal.
func (was inputs) differing(now inputs) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, clip(fmt.Sprintf(format, args...))) }
	if was.Input.Digest != now.Input.Digest {
		say("the source package was %s and is %s", was.Input.Digest.Short(), now.Input.Digest.Short())
	}
	if was.Target != now.Target {
		say("it was built for %s and is built for %s", was.Target, now.Target)
	}
	before, after := was.bySlot(), now.bySlot()
	for _, slot := range slices.Sorted(maps.Keys(before)) {
		out = append(out, versions(before[slot], after[slot])...)
	}
	for _, slot := range slices.Sorted(maps.Keys(after)) {
		if len(before[slot]) == 0 {
			out = append(out, versions(nil, after[slot])...)
		}
	}
	if was.MacroFile != now.MacroFile {
		say("the macros were %s and are %s", was.MacroFile.Short(), now.MacroFile.Short())
	}
	if was.Network != now.Network {
		say("the network was in reach: %t, and is: %t", was.Network, now.Network)
	}
	if n := len(out) - maxDiffering; n > 0 {
		out = append(out[:maxDiffering], fmt.Sprintf("%d more", n))
	}
	return out
}

// bySlot sorts packages by name and arch, of which a root may have several versions, as of
// kernels.
func (in inputs) bySlot() map[string][]installed {
	out := make(map[string][]installed, len(in.Packages))
	for _, p := range in.Packages {
		out[p.slot()] = append(out[p.slot()], p)
	}
	return out
}

// versions says how the packages of one name and arch changed.
func versions(before, after []installed) []string {
	gone := without(before, after)
	came := without(after, before)
	var out []string
	for len(gone) > 0 && len(came) > 0 {
		was, is := gone[0], came[0]
		gone, came = gone[1:], came[1:]
		if was.String() == is.String() {
			out = append(out, clip(fmt.Sprintf("%s is another file: %s where it was %s", is, short(is), short(was))))
		} else {
			out = append(out, clip(fmt.Sprintf("%s where it was %s", is, was)))
		}
	}
	for _, p := range gone {
		out = append(out, clip(p.String()+" is missing"))
	}
	for _, p := range came {
		out = append(out, clip(p.String()+" was not there"))
	}
	return out
}

func without(all, those []installed) []installed {
	return slices.DeleteFunc(slices.Clone(all), func(p installed) bool { return slices.ContainsFunc(those, p.is) })
}

func short(p installed) string {
	if p.File != "" {
		return p.File.Short()
	}
	return "header " + p.Header.Short()
}

// clip bounds one line: names come from a node.
func clip(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	for cut := most; ; cut-- {
		if s[cut]&0xc0 != 0x80 {
			return s[:cut] + "…"
		}
	}
}
