package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"albs/internal/albs"
)

// Entry is one file of a commit.
type Entry struct {
	Path   string
	Mode   string // git's: 100644, 100755, 120000 for a link, 160000 for a submodule
	Object string // id of the blob
	Size   int64  // bytes; 0 for a submodule
}

// Regular reports whether e is a plain file.
func (e Entry) Regular() bool { return strings.HasPrefix(e.Mode, "100") }

// List returns all files of commit, in git's order (by bytes of the path),
// fetching the commit if needed. It fails as Fetch does, and with TooLarge if the
// listing has more than 64 MiB.
func (m *Mirrors) List(ctx context.Context, url, commit string) ([]Entry, error) {
	dir, err := m.ensure(ctx, url, commit)
	if err != nil {
		return nil, err
	}
	return m.list(ctx, dir, "-r", commit)
}

// Read returns the content of the plain file name of commit, at most limit
// bytes, fetching the commit if needed. It fails with Invalid for a name that is
// absolute, has a step up or is not a plain file, NotFound if the commit has no
// such file, TooLarge beyond limit, else as Fetch does.
func (m *Mirrors) Read(ctx context.Context, url, commit, name string, limit int64) ([]byte, error) {
	if name == "" || name == "." || name == ".." || name[0] == '/' || path.Clean(name) != name || strings.HasPrefix(name, "../") || hasControl(name) {
		return nil, albs.Errorf(albs.Invalid, "%.200q is not a path inside a repository", name)
	}
	dir, err := m.ensure(ctx, url, commit)
	if err != nil {
		return nil, err
	}
	entries, err := m.list(ctx, dir, commit, "--", name)
	if err != nil {
		return nil, err
	}
	if len(entries) != 1 || entries[0].Path != name {
		return nil, albs.Errorf(albs.NotFound, "commit %s of %s has no file %s", commit, url, name)
	}
	e := entries[0]
	if !e.Regular() {
		return nil, albs.Errorf(albs.Invalid, "%s in commit %s of %s is not a plain file", name, commit, url)
	}
	if e.Size > limit {
		return nil, albs.Errorf(albs.TooLarge, "%s in commit %s of %s has %d bytes, %d are taken", name, commit, url, e.Size, limit)
	}
	var out bytes.Buffer
	if err := m.local(ctx, dir, command{args: []string{"cat-file", "blob", e.Object}, stdout: &out, limit: limit}); err != nil {
		return nil, fmt.Errorf("read %s of commit %s: %w", name, commit, err)
	}
	return out.Bytes(), nil
}

func (m *Mirrors) list(ctx context.Context, dir string, args ...string) ([]Entry, error) {
	var out bytes.Buffer
	args = append([]string{"ls-tree", "-z", "-l", "--full-tree"}, args...)
	if err := m.local(ctx, dir, command{args: args, stdout: &out, limit: maxListing}); err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	entries, err := parseTree(out.String())
	if err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	return entries, nil
}

var errListing = errors.New("git's listing is not of the known form")

// parseTree reads the output of ls-tree -z -l: mode SP type SP id SP size TAB
// path NUL, the size padded with spaces or "-".
func parseTree(s string) ([]Entry, error) {
	var entries []Entry
	for s != "" {
		record, rest, ok := strings.Cut(s, "\x00")
		if !ok {
			return nil, errListing
		}
		s = rest
		facts, name, ok := strings.Cut(record, "\t")
		f := strings.Fields(facts)
		if !ok || len(f) != 4 {
			return nil, errListing
		}
		e := Entry{Path: name, Mode: f[0], Object: f[2]}
		if f[3] != "-" {
			n, err := strconv.ParseInt(f[3], 10, 64)
			if err != nil || n < 0 {
				return nil, errListing
			}
			e.Size = n
		}
		entries = append(entries, e)
	}
	return entries, nil
}
