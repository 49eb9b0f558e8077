package sbom

import (
	"cmp"
	"crypto/sha256"
	"crypto/sha512"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/purl"
)

// Made is what a program in Go may not say of itself.
type Made struct {
	Version string    // "" is the version of its module
	At      time.Time // zero is when the commit was made that it names
}

// OfProgram returns the bill of a program in Go, of which the file tells by itself from
// which modules it was made. It is Invalid if r isn't one. A program that neither says
// nor names when it was made is dated 1970. tool is the version of the albs that asks.
func OfProgram(path string, r interface {
	io.ReadSeeker
	io.ReaderAt
}, made Made, by Party, base, tool string) (Bill, error) {
	info, err := buildinfo.Read(r)
	if err != nil {
		return Bill{}, albs.Errorf(albs.Invalid, "%s is no program that Go made: %w", path, err)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return Bill{}, fmt.Errorf("read %s: %w", path, err)
	}
	sum256, sum512 := sha256.New(), sha512.New()
	if _, err := io.Copy(io.MultiWriter(sum256, sum512), r); err != nil {
		return Bill{}, fmt.Errorf("read %s: %w", path, err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	root := Component{
		Ref: "program", Type: Application, Name: filepath.Base(info.Path), Version: cmp.Or(made.Version, version(info.Main)), File: filepath.Base(path),
		SHA256: hex.EncodeToString(sum256.Sum(nil)), SHA512: hex.EncodeToString(sum512.Sum(nil)), Resolved: true,
	}
	for _, p := range []Property{
		{"albs:go:os", settings["GOOS"]}, {"albs:go:arch", settings["GOARCH"]}, {"albs:go:cgo", settings["CGO_ENABLED"]}, {"albs:go:tags", settings["-tags"]},
		{"albs:git:revision", settings["vcs.revision"]}, {"albs:git:modified", settings["vcs.modified"]},
	} {
		if p.Value != "" {
			root.Properties = append(root.Properties, p)
		}
	}
	if made.At.IsZero() {
		if made.At, err = time.Parse(time.RFC3339, settings["vcs.time"]); err != nil {
			made.At = time.Unix(0, 0)
		}
	}
	b := Bill{Kind: Program, Root: root, Made: made.At, Supplier: by, Base: base, Tool: tool}
	add := func(c Component) {
		b.Root.Needs = append(b.Root.Needs, c.Ref)
		b.Others = append(b.Others, c)
	}
	add(Component{Ref: "go:std", Type: Library, Name: "stdlib", Version: info.GoVersion, License: "BSD-3-Clause", PURL: purl.PURL{Type: "golang", Name: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")}.String()})
	for _, m := range info.Deps {
		add(module(m))
	}
	return b, nil
}

func version(m debug.Module) string {
	if m.Version == "(devel)" {
		return ""
	}
	return m.Version
}

// module is a module that went into a program, or what took its place.
func module(m *debug.Module) Component {
	if m.Replace != nil {
		m = m.Replace
	}
	namespace, name := "", m.Path
	if i := strings.LastIndexByte(m.Path, '/'); i >= 0 {
		namespace, name = m.Path[:i], m.Path[i+1:]
	}
	c := Component{Ref: "go:" + m.Path + "@" + m.Version, Type: Library, Name: m.Path, Version: m.Version, PURL: purl.PURL{Type: "golang", Namespace: namespace, Name: name, Version: m.Version}.String()}
	// go.sum's digest is one of names and digests of the module's files (dirhash "h1").
	if m.Sum != "" {
		c.Properties = []Property{{"albs:go:sum", m.Sum}}
	}
	return c
}
