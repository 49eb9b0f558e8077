package git

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"albs/internal/albs"
)

// Bounds says how much of a history is taken.
type Bounds struct {
	Commits int
	Bytes   int64 // on the wire, and packed
}

// History writes the folder .git of a repository whose one branch ends in commit, as a
// tar: the commit with all that came before it, in one pack with its index, and no index
// of a work tree, hook or setting that a repository could bring. The same git gives
// equal bytes for equal commits, whatever else the mirror holds. It returns the number of
// commits.
//
// It fails with TooLarge beyond the bounds, Invalid if the repository doesn't have the
// whole history itself, else as Fetch does. What was written before an error is
// worthless.
func (m *Mirrors) History(ctx context.Context, url, commit string, most Bounds, w io.Writer) (commits int, err error) {
	dir, err := m.ensure(ctx, url, commit)
	if err != nil {
		return 0, err
	}
	// A later fetch of one commit alone may cut the history that an earlier one had
	// brought. Under the lock there is none.
	unlock, err := m.lock(ctx, mirrorName(url))
	if err != nil {
		return 0, err
	}
	defer unlock()
	reached, err := m.whole(ctx, dir, url, commit, most)
	if err != nil {
		return 0, err
	}
	tmp := dir + ".history"
	if err := os.RemoveAll(tmp); err != nil { // of a master that was killed
		return 0, albs.Errorf(albs.Unavailable, "clear half a history: %w", err)
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return 0, albs.Errorf(albs.Unavailable, "pack a history: %w", err)
	}
	defer os.RemoveAll(tmp)
	pack := filepath.Join(tmp, "history.pack")
	if err := m.pack(ctx, dir, commit, most.Bytes, pack); err != nil {
		return 0, fmt.Errorf("pack the history of %s of %s: %w", commit, url, err)
	}
	return len(reached), writeGitDir(w, commit, pack, filepath.Join(tmp, "history.idx"))
}

// whole returns all commits that are reached from commit, and fetches what the mirror
// lacks of them. The caller holds the mirror's lock.
func (m *Mirrors) whole(ctx context.Context, dir, url, commit string, most Bounds) ([]string, error) {
	reached, whole, err := m.reach(ctx, dir, commit, most.Commits)
	if err != nil || whole {
		return reached, err
	}
	if err := m.deepen(ctx, dir, url, commit, most.Bytes); err != nil {
		return nil, err
	}
	if reached, whole, err = m.reach(ctx, dir, commit, most.Commits); err != nil {
		return nil, err
	}
	if !whole {
		return nil, albs.Errorf(albs.Invalid, "%s is a shallow repository: it doesn't have all that came before commit %s", url, commit)
	}
	return reached, nil
}

// reach lists the commits that are reached from commit in the mirror, and tells
// whether that is all there are. More than most of them is TooLarge.
func (m *Mirrors) reach(ctx context.Context, dir, commit string, most int) (reached []string, whole bool, err error) {
	var out bytes.Buffer
	args := []string{"rev-list", fmt.Sprintf("--max-count=%d", most+1), "--end-of-options", commit}
	if err := m.local(ctx, dir, command{args: args, stdout: &out, limit: maxListing}); err != nil {
		return nil, false, fmt.Errorf("list the history of %s: %w", commit, err)
	}
	reached = strings.Fields(out.String())
	if len(reached) > most {
		return nil, false, albs.Errorf(albs.TooLarge, "commit %s has more than %d commits before it: a longer history isn't taken", commit, most)
	}
	shallow, err := os.ReadFile(filepath.Join(dir, "shallow")) // gitrepository-layout(5): whose parents aren't there
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, albs.Errorf(albs.Unavailable, "read what the mirror lacks: %w", err)
	}
	cut := strings.Fields(string(shallow))
	return reached, !slices.ContainsFunc(reached, func(c string) bool { return slices.Contains(cut, c) }), nil
}

// deepen fetches all that came before a commit. The caller holds the mirror's lock.
func (m *Mirrors) deepen(ctx context.Context, dir, url, commit string, maxBytes int64) error {
	if err := clearDebris(dir); err != nil {
		return err
	}
	err := m.remote(ctx, url, fetchTimeout, maxBytes, command{dir: dir, args: []string{
		"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance", "--force",
		"--depth=2147483647", "--end-of-options", url, commit + ":" + mark(commit),
	}})
	if errors.Is(err, albs.TooLarge) {
		return albs.Errorf(albs.TooLarge, "the history of %s takes more than %d bytes", url, maxBytes)
	}
	if exit, ok := errors.AsType[*exitError](err); ok {
		return albs.Errorf(albs.Unavailable, "fetch the history of %s: %w", url, exit)
	}
	return err
}

// pack writes the history of a commit as a pack, and its index beside it. What earlier
// fetches have made of it doesn't show: nothing is reused, and one thread has one order.
func (m *Mirrors) pack(ctx context.Context, dir, commit string, maxBytes int64, to string) error {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return albs.Errorf(albs.Unavailable, "make a pack: %w", err)
	}
	err = m.local(ctx, dir, command{
		args:  []string{"pack-objects", "--revs", "--stdout", "--quiet", "--no-reuse-delta", "--no-reuse-object", "--delta-base-offset", "--threads=1", "--window-memory=64m"},
		stdin: strings.NewReader(commit + "\n"), stdout: f, limit: maxBytes,
	})
	if errors.Is(err, albs.TooLarge) {
		err = albs.Errorf(albs.TooLarge, "it has more than %d bytes", maxBytes)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return m.local(ctx, "", command{args: []string{"index-pack", "--threads=1", to}, limit: 1 << 10})
}

// writeGitDir writes a repository around a pack.
func writeGitDir(w io.Writer, commit, pack, index string) error {
	name, err := packName(pack)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	for _, e := range []struct{ name, text, file string }{
		{name: "HEAD", text: "ref: refs/heads/main\n"},
		{name: "config", text: "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"},
		{name: "info/"},
		// What lies in the tree is the commit's bytes, as of Export, and so unchanged.
		{name: "info/attributes", text: exactly},
		{name: "objects/"},
		{name: "objects/pack/"},
		{name: "objects/pack/" + name + ".pack", file: pack},
		{name: "objects/pack/" + name + ".idx", file: index},
		{name: "refs/"},
		{name: "refs/heads/"},
		{name: "refs/heads/main", text: commit + "\n"},
	} {
		if err := writeEntry(tw, ".git/"+e.name, e.text, e.file); err != nil {
			return fmt.Errorf("write .git/%s: %w", e.name, err)
		}
	}
	return tw.Close()
}

// writeEntry writes a folder, whose name ends in a slash, or a file with text or what
// file holds.
func writeEntry(tw *tar.Writer, name, text, file string) error {
	h := &tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(text)), Format: tar.FormatGNU}
	content := io.Reader(strings.NewReader(text))
	if strings.HasSuffix(name, "/") {
		h.Mode, h.Typeflag = 0o755, tar.TypeDir
	}
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		h.Size, content = info.Size(), f
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(tw, content)
	return err
}

// packName returns what git calls a pack: by the checksum at its end.
func packName(pack string) (string, error) {
	f, err := os.Open(pack)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	sum := make([]byte, 20)
	if _, err := f.ReadAt(sum, info.Size()-int64(len(sum))); err != nil {
		return "", fmt.Errorf("read the checksum of a pack: %w", err)
	}
	return "pack-" + hex.EncodeToString(sum), nil
}
