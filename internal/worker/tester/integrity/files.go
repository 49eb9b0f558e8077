package integrity

import (
	"context"
	"path"
	"strconv"
	"strings"

	"albs/internal/rpm"
	"albs/internal/sandbox/examine"
)

// maxIDs bounds /etc/passwd and /etc/group.
const maxIDs = 4 << 20

// files looks at all files of the package at once and compares them with the header.
func (c *check) files(ctx context.Context) error {
	var files []rpm.FileInfo
	var asks []examine.Ask
	for _, f := range c.Package.Files {
		if f.Ghost() || leftOut(f.Path) {
			continue
		}
		a := examine.Ask{Path: f.Path}
		if examine.KindOf(uint32(f.Mode)) == examine.File {
			a.ELF, a.Digest, a.Size = true, contents(f) && f.Digest != "", f.Size
		}
		files, asks = append(files, f), append(asks, a)
	}
	if len(files) == 0 {
		for _, r := range []string{RuleFiles, RuleModes, RuleOwners, RuleContents, RuleLinks, RuleDangling} {
			c.skipped[r] = "the package lays out no files"
		}
		return nil
	}
	entries, err := c.view.Examine(ctx, asks)
	if err != nil {
		return err
	}
	var users, groups owners
	for i, f := range files { // mostly all is root's, and there is nothing to look up
		if !roots(f.User, entries[i].UID) && users.ids == nil {
			if users, err = c.ids(ctx, "/etc/passwd"); err != nil {
				return err
			}
		}
		if !roots(f.Group, entries[i].GID) && groups.ids == nil {
			if groups, err = c.ids(ctx, "/etc/group"); err != nil {
				return err
			}
		}
	}
	c.entries = make(map[string]examine.Entry, len(files))
	for i, f := range files {
		c.entries[f.Path] = entries[i]
		c.file(f, entries[i], users, groups)
	}
	return nil
}

// leftOut reports whether rpm leaves p to the kernel in a root: it is a mount point there.
func leftOut(p string) bool {
	for _, dir := range []string{"/proc", "/dev"} {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return false
}

// contents reports whether what is in f must stay as it was packaged.
func contents(f rpm.FileInfo) bool {
	return !f.Config() && f.Verifies(rpm.VerifyDigest)
}

// file compares one file with its header.
func (c *check) file(f rpm.FileInfo, e examine.Entry, users, groups owners) {
	want := examine.KindOf(uint32(f.Mode))
	switch {
	case e.Kind == examine.Absent && f.MissingOK():
		return
	case e.Kind == examine.Absent:
		c.say(RuleFiles, "%s is missing", f.Path)
		return
	case want == examine.Dir && e.Kind == examine.Link && e.Leads == examine.Dir:
		return // rpm goes by what the link leads to, which is another package's
	case e.Kind != want:
		c.say(RuleFiles, "%s is a %s and no %s", f.Path, e.Kind, want)
		return
	}
	if mode := uint32(f.Mode) & 0o7777; want != examine.Link && f.Verifies(rpm.VerifyMode) && e.Mode != mode {
		c.say(RuleModes, "%s has mode %04o, the package says %04o", f.Path, e.Mode, mode)
	}
	if f.Verifies(rpm.VerifyUser) {
		c.owner(f.Path, "user", f.User, e.UID, users)
	}
	if f.Verifies(rpm.VerifyGroup) {
		c.owner(f.Path, "group", f.Group, e.GID, groups)
	}
	switch want {
	case examine.File:
		switch {
		case f.Config():
		case f.Verifies(rpm.VerifySize) && e.Size != f.Size:
			c.say(RuleContents, "%s has %d bytes, the package says %d", f.Path, e.Size, f.Size)
		case contents(f) && f.Digest != "" && e.Digest != f.Digest:
			c.say(RuleContents, "%s has another content than in the package", f.Path)
		}
	case examine.Link:
		if f.Verifies(rpm.VerifyLink) && !f.Config() && e.Link != f.Link {
			c.say(RuleLinks, "%s leads to %s, the package says %s", f.Path, e.Link, f.Link)
			return
		}
		if e.Leads == examine.Absent && !f.MissingOK() && !c.mayDangle(f.Path, e.Link) {
			c.say(RuleDangling, "%s leads to %s, where nothing is", f.Path, e.Link)
		}
	}
}

// Folders that are filled when a system runs.
var atRuntime = []string{"/proc/", "/sys/", "/dev/", "/run/", "/tmp/", "/var/run/", "/var/lock/", "/var/tmp/"}

// mayDangle reports whether the link at p may lead to nothing: into what a running system
// has, or of debug data to the object that it is of, which is in another package.
func (c *check) mayDangle(p, target string) bool {
	if c.Package.Debug() || strings.HasPrefix(p, "/usr/lib/debug/") || strings.HasPrefix(p, "/usr/lib/.build-id/") {
		return true
	}
	if !path.IsAbs(target) {
		target = path.Join(path.Dir(p), target)
	}
	target = path.Clean(target) + "/"
	for _, dir := range atRuntime {
		if strings.HasPrefix(target, dir) {
			return true
		}
	}
	return false
}

// owner compares the id of a file's user or group with the name that the header has.
func (c *check) owner(p, what, name string, id int, have owners) {
	if name == "" || roots(name, id) {
		return
	}
	want, ok := have.ids[name]
	if name == "root" {
		want, ok = 0, true // whatever a line says
	}
	switch {
	case !ok:
		c.say(RuleOwners, "%s has the %s %s, the package says %s, whom the system doesn't have", p, what, have.name(id), name)
	case want != id:
		c.say(RuleOwners, "%s has the %s %s, the package says %s", p, what, have.name(id), name)
	}
}

// roots reports whether a file is root's that is to be root's.
func roots(name string, id int) bool { return name == "root" && id == 0 }

// owners are the users or the groups of a root.
type owners struct {
	ids   map[string]int
	names map[int]string
}

func (o owners) name(id int) string {
	if n := o.names[id]; n != "" {
		return n
	}
	return strconv.Itoa(id)
}

// ids reads a file of the form of passwd(5) or group(5): the first line of a name counts.
func (c *check) ids(ctx context.Context, name string) (owners, error) {
	b, err := c.readFile(ctx, name, maxIDs)
	o := owners{ids: map[string]int{}, names: map[int]string{}}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 4)
		if len(f) < 3 || f[0] == "" {
			continue
		}
		id, err := strconv.Atoi(f[2])
		if err != nil {
			continue
		}
		if _, ok := o.ids[f[0]]; !ok {
			o.ids[f[0]] = id
		}
		if o.names[id] == "" {
			o.names[id] = f[0]
		}
	}
	return o, err
}
