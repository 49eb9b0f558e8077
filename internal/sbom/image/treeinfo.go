// Package image makes bills of installation images of RPM distributions: of the folder
// that one is, mounted or unpacked, or of the files in the image itself.
//
// What an image is and where its packages lie, its .treeinfo says; what the packages are,
// their own headers.
package image

import (
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
)

// TreeInfo is what the file .treeinfo of an image says, as far as it is looked at: an INI
// file as productmd writes it (https://productmd.readthedocs.io/en/latest/treeinfo-1.1.html).
type TreeInfo struct {
	Family   string // "AlmaLinux"
	Version  string // "9.4"
	Arch     string
	Built    time.Time // zero if it isn't said
	Variants []Variant // by their ids
}

// Variant is a part of an image.
type Variant struct {
	ID       string
	Packages string // folder of its packages, below the image's root
}

// Bounds of a .treeinfo.
const (
	maxTreeInfo = 1 << 20
	maxVariants = 64
	maxValue    = 4096
)

var (
	wordForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}$`)
	idForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

// ParseTreeInfo reads a .treeinfo. It is Invalid if it isn't one, lacks the name or
// version of the distribution or its variants, or names a folder outside of the image;
// TooLarge beyond bounds.
func ParseTreeInfo(b []byte) (TreeInfo, error) {
	if len(b) > maxTreeInfo {
		return TreeInfo{}, albs.Errorf(albs.TooLarge, "the .treeinfo has more than %d bytes", maxTreeInfo)
	}
	sections, err := parse(string(b))
	if err != nil {
		return TreeInfo{}, err
	}
	// The sections release and tree have it since version 1.0; general is of before and
	// still written.
	first := func(keys ...string) string {
		for _, k := range keys {
			section, key, _ := strings.Cut(k, ".")
			if v := sections[section][key]; v != "" {
				return v
			}
		}
		return ""
	}
	t := TreeInfo{
		Family: first("release.name", "general.family"), Version: first("release.version", "general.version"), Arch: first("tree.arch", "general.arch"),
	}
	for what, s := range map[string]string{"name": t.Family, "version": t.Version} {
		if !wordForm.MatchString(s) {
			return TreeInfo{}, albs.Errorf(albs.Invalid, "the .treeinfo has %.80q for the %s of the distribution", s, what)
		}
	}
	if t.Arch != "" && !idForm.MatchString(t.Arch) {
		return TreeInfo{}, albs.Errorf(albs.Invalid, "the .treeinfo has %.80q for the arch", t.Arch)
	}
	if s := first("tree.build_timestamp", "general.timestamp"); s != "" {
		seconds, err := strconv.ParseFloat(s, 64)
		if err != nil || !(seconds >= 0 && seconds < 1<<40) {
			return TreeInfo{}, albs.Errorf(albs.Invalid, "the .treeinfo has %.80q for the time when it was made", s)
		}
		t.Built = time.Unix(int64(seconds), 0).UTC()
	}
	return t, t.variants(sections, first("tree.variants", "general.variants", "general.variant"))
}

// variants takes over those that list names.
func (t *TreeInfo) variants(sections map[string]map[string]string, list string) error {
	ids := map[string]bool{}
	for id := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		if !idForm.MatchString(id) {
			return albs.Errorf(albs.Invalid, "the .treeinfo has a variant %.80q", id)
		}
		ids[id] = true
	}
	if len(ids) == 0 || len(ids) > maxVariants {
		return albs.Errorf(albs.Invalid, "the .treeinfo names %d variants, not 1 to %d", len(ids), maxVariants)
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		folder := sections["variant-"+id]["packages"]
		if folder == "" && len(ids) == 1 {
			folder = sections["general"]["packagedir"]
		}
		clean := path.Clean(folder)
		if folder == "" || !fs.ValidPath(clean) {
			return albs.Errorf(albs.Invalid, "the .treeinfo has %.80q for the folder of the packages of %s", folder, id)
		}
		t.Variants = append(t.Variants, Variant{ID: id, Packages: clean})
	}
	return nil
}

// parse reads sections of lines KEY = VALUE; a line that begins with a semicolon or a
// number sign is none.
func parse(s string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	var section map[string]string
	n := 0
	for line := range strings.SplitSeq(s, "\n") {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == ';' || line[0] == '#' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			if name, ok = strings.CutSuffix(name, "]"); !ok || name == "" || len(name) > maxValue {
				return nil, albs.Errorf(albs.Invalid, "line %d of the .treeinfo is no section: %.80q", n, line)
			}
			if section = out[name]; section == nil {
				section = map[string]string{}
				out[name] = section
			}
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			key, value, ok = strings.Cut(line, ":")
		}
		if key = strings.TrimSpace(key); !ok || key == "" || section == nil || len(line) > maxValue {
			return nil, albs.Errorf(albs.Invalid, "line %d of the .treeinfo is no KEY = VALUE of a section: %.80q", n, line)
		}
		section[key] = strings.TrimSpace(value)
	}
	return out, nil
}

// name is what ALBS calls an image.
func (t TreeInfo) name() string {
	var ids []string
	for _, v := range t.Variants {
		ids = append(ids, v.ID)
	}
	which := strings.Join(ids, " ")
	if which == "AppStream BaseOS" {
		which = "DVD"
	}
	return t.Family + " " + t.Version + " " + which + " ISO"
}
