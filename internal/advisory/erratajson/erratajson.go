// Package erratajson writes and reads errata.json and errata.full.json, the two files over all
// advisories of a platform as AlmaLinux publishes them.
//
// errata.json is what Trivy reads, through github.com/aquasecurity/vuln-list-update, which
// keeps one entry an id, and trivy-db, which takes all packages of an entry for those of its
// one module. So an advisory has one entry for each stream of a module and one for the
// packages of none; the first bears the advisory's id, each other one the id with "#" and the
// stream behind it. errata.full.json names the module of each package and has one entry for
// an advisory.
//
// Both are made of pieces, one for each advisory. Neither tells of withdrawn ones.
package erratajson

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"albs/internal/advisory"
)

// The names of the files.
const (
	Name     = "errata.json"
	FullName = "errata.full.json"
)

// entry is an entry of errata.json.
type entry struct {
	ID          string      `json:"updateinfo_id"`
	Issued      date        `json:"issued_date"`
	Updated     date        `json:"updated_date"`
	From        string      `json:"fromstr"`
	Title       string      `json:"title"`
	Type        string      `json:"type"`
	Release     word        `json:"release"`
	Version     word        `json:"version"`
	Rights      string      `json:"rights"`
	Solution    string      `json:"solution"`
	Status      string      `json:"status"`
	Severity    string      `json:"severity"`
	Summary     string      `json:"summary"`
	PushCount   word        `json:"pushcount"`
	Description string      `json:"description"`
	Pkglist     pkglist     `json:"pkglist"`
	References  []reference `json:"references"`
}

type date struct {
	Milliseconds int64 `json:"$date"`
}

type pkglist struct {
	Name      string  `json:"name"`
	ShortName string  `json:"shortname"`
	Module    *module `json:"module,omitempty"`
	Packages  []pkg   `json:"packages"`
}

type module struct {
	Name    string `json:"name"`
	Stream  string `json:"stream"`
	Version digits `json:"version,omitempty"`
	Context string `json:"context,omitempty"`
	Arch    string `json:"arch,omitempty"`
}

type pkg struct {
	Name     string `json:"name"`
	Epoch    word   `json:"epoch"`
	Version  word   `json:"version"`
	Release  word   `json:"release"`
	Arch     string `json:"arch"`
	Src      string `json:"src"`
	Filename string `json:"filename"`
	Sum      string `json:"sum"`
	SumType  any    `json:"sum_type"` // createrepo_c's number, in old files the name
	Reboot   number `json:"reboot_suggested"`
}

type reference struct {
	Href  string `json:"href"`
	Type  string `json:"type"`
	ID    string `json:"id"`
	Title string `json:"title"`
}

// fullEntry is an entry of errata.full.json, whose times are whole seconds.
type fullEntry struct {
	ID          string          `json:"id"`
	Issued      seconds         `json:"issued_date"`
	Updated     seconds         `json:"updated_date"`
	Severity    string          `json:"severity"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Type        string          `json:"type"`
	Packages    []fullPackage   `json:"packages"`
	Modules     []fullModule    `json:"modules"`
	References  []fullReference `json:"references"`
}

type fullPackage struct {
	Name         string `json:"name"`
	Epoch        word   `json:"epoch"`
	Version      word   `json:"version"`
	Release      word   `json:"release"`
	Arch         string `json:"arch"`
	Src          string `json:"src"`
	Filename     string `json:"filename"`
	Checksum     string `json:"checksum"`
	ChecksumType string `json:"checksum_type"`
	Reboot       number `json:"reboot_suggested"`
	Module       string `json:"module,omitempty"` // name:stream:version:context:arch
}

type fullModule struct {
	Name    string `json:"name"`
	Stream  string `json:"stream"`
	Version word   `json:"version"`
	Context string `json:"context"`
	Arch    string `json:"arch"`
}

type fullReference struct {
	Href string `json:"href"`
	Type string `json:"type"`
	ID   string `json:"id"`
}

// sha256Number is createrepo_c's number of sha256.
const sha256Number = 5

// Piece returns what errata.json has of an advisory: no bytes of a withdrawn one. Equal
// advisories have equal pieces.
func Piece(a advisory.Advisory) advisory.Piece {
	a = a.Normal()
	if a.Withdrawn != nil {
		return advisory.Piece{ID: a.ID, Updated: a.Updated}
	}
	e := entry{
		ID: a.ID, Issued: date{a.Issued.UnixMilli()}, Updated: date{a.Updated.UnixMilli()}, From: a.From, Title: a.FullTitle(), Type: string(a.Type),
		// Release and push count say nothing; today's files have these.
		Release: "0", PushCount: "1", Status: "final", Version: word(strconv.Itoa(a.Version)), Rights: a.Rights, Solution: a.Solution,
		Severity: a.Severity.Title(), Summary: a.Summary, Description: a.Description, References: []reference{},
	}
	for _, r := range a.AllReferences() {
		e.References = append(e.References, reference{Href: r.URL, Type: string(r.Kind), ID: r.ID, Title: r.Title})
	}
	groups := a.ByModule()
	if len(groups) == 0 {
		groups = []advisory.ModuleGroup{{}} // its texts are told nevertheless
	}
	var entries [][]byte
	for i, g := range groups {
		e.ID = a.ID
		if i > 0 {
			e.ID += "#" + g.Stream
		}
		e.Pkglist = list(a, g)
		entries = append(entries, encode(e))
	}
	return advisory.Piece{ID: a.ID, Updated: a.Updated, Bytes: bytes.Join(entries, []byte(",\n"))}
}

// list returns the packages of a group, each once: those of noarch are in the repositories of
// several arches. That the system is to be started anew is told of packages alone.
func list(a advisory.Advisory, g advisory.ModuleGroup) pkglist {
	name := strings.ToLower(a.Platform) + "__default"
	if g.Stream != "" {
		name = strings.ToLower(a.Platform) + "__" + strings.ReplaceAll(g.Stream, ":", "_")
	}
	l := pkglist{Name: name, ShortName: name, Module: common(g), Packages: []pkg{}}
	seen := map[pkg]bool{}
	for _, p := range g.Packages {
		q := pkg{
			Name: p.Name, Epoch: word(strconv.Itoa(p.Epoch)), Version: word(p.Version), Release: word(p.Release), Arch: p.Arch, Src: p.Source, Filename: p.Filename(),
			Sum: string(p.Digest), SumType: 0, Reboot: yes(p.Reboot || a.Reboot),
		}
		if p.Digest != "" {
			q.SumType = sha256Number
		}
		if !seen[q] {
			seen[q] = true
			l.Packages = append(l.Packages, q)
		}
	}
	return l
}

// common returns what the modules of a group have in common, and the highest version.
// Versions beyond 63 bits are left out, for readers couldn't read the file.
func common(g advisory.ModuleGroup) *module {
	if g.Stream == "" {
		return nil
	}
	first := g.Packages[0].Module
	m := &module{Name: first.Name, Stream: first.Stream, Context: first.Context, Arch: first.Arch}
	var highest uint64
	for _, p := range g.Packages {
		if p.Module.Context != m.Context {
			m.Context = ""
		}
		if p.Module.Arch != m.Arch {
			m.Arch = ""
		}
		if v := p.Module.Version; v <= math.MaxInt64 {
			highest = max(highest, v)
		}
	}
	if highest != 0 {
		m.Version = digits(strconv.FormatUint(highest, 10))
	}
	return m
}

// FullPiece returns what errata.full.json has of an advisory, as Piece does.
func FullPiece(a advisory.Advisory) advisory.Piece {
	a = a.Normal()
	if a.Withdrawn != nil {
		return advisory.Piece{ID: a.ID, Updated: a.Updated}
	}
	e := fullEntry{
		ID: a.ID, Issued: seconds(a.Issued.Unix()), Updated: seconds(a.Updated.Unix()), Severity: a.Severity.Title(), Title: a.FullTitle(), Description: a.Description,
		Type: string(a.Type), Packages: []fullPackage{}, Modules: []fullModule{}, References: []fullReference{},
	}
	seen := map[fullPackage]bool{}
	for _, g := range a.ByModule() {
		for _, p := range g.Packages {
			q := fullPackage{
				Name: p.Name, Epoch: word(strconv.Itoa(p.Epoch)), Version: word(p.Version), Release: word(p.Release), Arch: p.Arch, Src: p.Source, Filename: p.Filename(),
				Checksum: string(p.Digest), Reboot: yes(p.Reboot || a.Reboot),
			}
			if p.Digest != "" {
				q.ChecksumType = "sha256"
			}
			if m := p.Module; m != nil {
				q.Module = m.NSVCA()
				f := strings.Split(q.Module, ":")
				if fm := (fullModule{f[0], f[1], word(f[2]), f[3], f[4]}); !slices.Contains(e.Modules, fm) {
					e.Modules = append(e.Modules, fm)
				}
			}
			if !seen[q] {
				seen[q] = true
				e.Packages = append(e.Packages, q)
			}
		}
	}
	for _, r := range a.AllReferences() {
		e.References = append(e.References, fullReference{Href: r.URL, Type: string(r.Kind), ID: r.ID})
	}
	return advisory.Piece{ID: a.ID, Updated: a.Updated, Bytes: encode(e)}
}

// Join returns errata.json of its pieces, in the order of their ids.
func Join(ps []advisory.Piece) advisory.File {
	return advisory.File{Path: Name, Bytes: join("[\n", ps, "\n]\n")}
}

// JoinFull returns errata.full.json of its pieces, in the order of their ids.
func JoinFull(ps []advisory.Piece) advisory.File {
	return advisory.File{Path: FullName, Bytes: join(`{"schema_version":"1.0","data":[`+"\n", ps, "\n]}\n")}
}

func join(head string, ps []advisory.Piece, tail string) []byte {
	size := len(head) + len(tail)
	for _, p := range ps {
		size += len(p.Bytes) + 2
	}
	out := append(make([]byte, 0, size), head...)
	for _, p := range advisory.ByID(ps) {
		if len(p.Bytes) == 0 {
			continue
		}
		if len(out) > len(head) {
			out = append(out, ",\n"...)
		}
		out = append(out, p.Bytes...)
	}
	return append(out, tail...)
}

// encode returns v in one line.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil // every type of an entry can be encoded
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// number is 0 or 1; read, it may be a boolean too.
type number int

func yes(b bool) number {
	if b {
		return 1
	}
	return 0
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(b []byte) error {
	*n = yes(!slices.Contains([]string{"0", "false", "null", `""`, `"0"`, `"False"`}, string(b)))
	return nil
}
