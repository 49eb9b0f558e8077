package further

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"albs/internal/albs"
	"albs/internal/repodata"
	"albs/internal/worker/releaser/laid"
)

// Rsync says where a mirror master is and who comes. The zero value is none.
type Rsync struct {
	// Host and Port are where its sshd listens; port 0 is 22.
	Host string `yaml:"host"`
	Port int    `yaml:"port"`
	// User is whom the releaser logs in as.
	User string `yaml:"user"`
	// Path is the folder there in which products are published, which has to be there.
	Path string `yaml:"path"`
	// KeyFile is the private key of ssh, without a passphrase, and KnownHostsFile holds
	// the host's own key: no other host is spoken to.
	KeyFile        string `yaml:"key_file"`
	KnownHostsFile string `yaml:"known_hosts_file"`
}

// check returns what is wrong with the configuration as it is written, as Invalid. All
// of it ends up in argument vectors that rsync splits at spaces or that the other side
// may give to a shell, so little is let through.
func (r Rsync) check() error {
	plain := func(s, more string) bool {
		return s != "" && s[0] != '-' && !strings.ContainsFunc(s, func(c rune) bool {
			return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune(more, c)
		})
	}
	switch {
	case !plain(r.Host, ".-"):
		return albs.Errorf(albs.Invalid, "host is %.80q: give a name or an IPv4 address", r.Host)
	case r.Port < 0 || r.Port > 65535:
		return albs.Errorf(albs.Invalid, "port is %d", r.Port)
	case !plain(r.User, "._-"):
		return albs.Errorf(albs.Invalid, "user is %.80q: give letters, digits, ., _ and -", r.User)
	case !plain(r.Path, "/._-") || len(r.Path) > 500:
		return albs.Errorf(albs.Invalid, "path is %.80q: give a folder's path of letters, digits, /, ., _ and -", r.Path)
	}
	for key, file := range map[string]string{"key_file": r.KeyFile, "known_hosts_file": r.KnownHostsFile} {
		if !plain(file, "/._-") || file[0] != '/' {
			return albs.Errorf(albs.Invalid, "%s is %.80q: give an absolute path of letters, digits, /, ., _ and -", key, file)
		}
	}
	return nil
}

// OnHost is a product's place on a mirror master, by rsync over ssh: what the directory
// has, but for files of the releaser's own and with the place's own addresses.
// Packages go first, then the tree, both to names that nobody reads yet; they are read
// back there and compared by checksum; then the link is sent, which rsync makes beside
// the old one and renames, so that readers see one or the other. rsync can't compare and
// set: the link is read right before, and a releaser that is halted for as long as
// another one's release takes, between that and the rename, could still move it back.
// That one's next look, or the other's, says so. It is a Remote.
type OnHost struct {
	c     Rsync
	url   laid.Readers
	spool string
	from  *laid.Product
	log   io.Writer
	// Run runs rsync in a folder, with an input, and returns what it prints.
	Run func(ctx context.Context, dir, input string, args ...string) (string, error)
}

func newOnHost(p Place, spool string, from *laid.Product, log io.Writer) *OnHost {
	return &OnHost{c: p.Rsync, url: laid.Readers(p.URL), spool: spool, from: from, log: log, Run: p.Rsync.rsync}
}

// ssh is the command that rsync reaches the host by: nothing of the account's or the
// system's configuration, no question, no other host.
func (r Rsync) ssh() string {
	port := r.Port
	if port == 0 {
		port = 22
	}
	argv := []string{"ssh", "-F", "none", "-T", "-x", "-a", "-p", strconv.Itoa(port), "-i", r.KeyFile}
	for _, o := range []string{
		"BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "PreferredAuthentications=publickey",
		"StrictHostKeyChecking=yes", "UserKnownHostsFile=" + r.KnownHostsFile, "GlobalKnownHostsFile=none", "UpdateHostKeys=no", "CheckHostIP=no",
		"ClearAllForwardings=yes", "PermitLocalCommand=no", "ConnectTimeout=30", "ServerAliveInterval=15", "ServerAliveCountMax=4",
	} {
		argv = append(argv, "-o", o)
	}
	return strings.Join(argv, " ")
}

const (
	maxSaid  = 4 << 10  // bytes of rsync's complaints that are kept
	maxList  = 64 << 20 // and of what it prints
	rsyncOut = "--timeout=120"
)

func (r Rsync) rsync(ctx context.Context, dir, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "rsync", append([]string{"-e", r.ssh(), rsyncOut}, args...)...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=/nonexistent"}
	cmd.Stdin = strings.NewReader(input)
	out, said := &bounded{most: maxList}, &bounded{most: maxSaid}
	cmd.Stdout, cmd.Stderr = out, said
	// ssh is its child and ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return "", albs.Errorf(albs.Unavailable, "rsync isn't installed on this host: install it")
	case err == nil && out.over:
		return "", albs.Errorf(albs.TooLarge, "rsync printed more than %d bytes", maxList)
	case err == nil:
		return out.String(), nil
	}
	words := strings.TrimSpace(said.String())
	kind := albs.Unavailable
	if strings.Contains(words, "No space left on device") || strings.Contains(words, "Disk quota exceeded") {
		kind = albs.NoSpace
	}
	return "", albs.Errorf(kind, "rsync to %s: %w: %s", r.Host, err, words)
}

// bounded keeps the first bytes that are written.
type bounded struct {
	bytes.Buffer
	most int
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.most-b.Len())
	b.over = b.over || n < len(p)
	b.Buffer.Write(p[:n])
	return len(p), nil
}

// at is the argument that names a file of the place there.
func (h *OnHost) at(elem ...string) string {
	return h.c.User + "@" + h.c.Host + ":" + strings.TrimSuffix(h.c.Path, "/") + "/" + path.Join(elem...)
}

// home is the product's folder there.
func (h *OnHost) home() string { return h.at(h.from.Tree.Product) + "/" }

// staging calls f with an empty folder on this host.
func (h *OnHost) staging(f func(dir string) error) error {
	if err := os.MkdirAll(h.spool, 0o700); err != nil {
		return fmt.Errorf("make staging folder: %w", err)
	}
	dir, err := os.MkdirTemp(h.spool, "rsync-")
	if err != nil {
		return fmt.Errorf("make staging folder: %w", err)
	}
	return errors.Join(f(dir), os.RemoveAll(dir))
}

func (h *OnHost) Shown(ctx context.Context) (serial int64, tree albs.Digest, err error) {
	err = h.staging(func(dir string) (err error) {
		if serial, err = h.link(ctx, dir); err != nil || serial == 0 {
			return err
		}
		b, err := h.fetch(ctx, dir, path.Join(laid.TreeName(serial), laid.TreeFile), os.ReadFile)
		if err != nil {
			return fmt.Errorf("read the tree that is shown on %s: %w", h.c.Host, err)
		}
		tree = albs.DigestOf(b)
		return nil
	})
	return serial, tree, err
}

// link returns the serial that the link leads to, 0 if there is none, by way of a folder.
func (h *OnHost) link(ctx context.Context, dir string) (int64, error) {
	b, err := h.fetch(ctx, dir, "current", func(name string) ([]byte, error) { s, err := os.Readlink(name); return []byte(s), err })
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	target := string(b)
	serial, err := strconv.ParseInt(path.Base(target), 10, 64)
	if err != nil || target != laid.TreeName(serial) {
		return 0, fmt.Errorf("current on %s points to %q, which no releaser made", h.c.Host, target)
	}
	return serial, nil
}

// fetch brings a file of the product into a folder and reads it there. Where it isn't,
// and be it for the product's folder, read says so.
func (h *OnHost) fetch(ctx context.Context, dir, name string, read func(string) ([]byte, error)) ([]byte, error) {
	name = path.Join(h.from.Tree.Product, name)
	from := h.c.User + "@" + h.c.Host + ":" + strings.TrimSuffix(h.c.Path, "/") + "/./" + name
	if _, err := h.Run(ctx, dir, "", "-lR", "--ignore-missing-args", from, "./"); err != nil {
		return nil, err
	}
	return read(filepath.Join(dir, name))
}

// modes are those of what readers get there, whatever the account's umask.
const modes = "--chmod=D755,F644"

func (h *OnHost) Lay(ctx context.Context, shown int64) error {
	t := h.from.Tree
	known := h.from.Known(shown)
	var all, fresh strings.Builder
	all.WriteString("trees\x00") // the folder
	packages := 0
	for _, r := range t.Repositories {
		all.WriteString(path.Join("pool", r.Path, "Packages") + "\x00") // which may be empty
		err := h.from.Packages(t.Serial, r.Path, func(p repodata.Listed) error {
			name := path.Join("pool", r.Path, p.Path) + "\x00"
			all.WriteString(name)
			if !known[p.Digest] {
				packages++
				fresh.WriteString(name)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if _, err := h.Run(ctx, h.from.Dir, all.String(), "-tp", modes, "--from0", "--files-from=-", "./", h.home()); err != nil {
		return fmt.Errorf("send packages: %w", err)
	}
	if packages > 0 {
		if err := h.same(ctx, fresh.String(), "--from0", "--files-from=-", "./", h.home()); err != nil {
			return err
		}
	}
	fmt.Fprintf(h.log, "%d new packages are on %s\n", packages, h.c.Host)
	return h.staging(func(dir string) error {
		args := []string{"--exclude=/" + laid.PooledFile, "--exclude=/" + laid.LeftFile}
		for _, r := range t.Repositories {
			invitation, err := h.url.Invitation(t.Tree, r, t.Serial)
			if err != nil {
				return err
			}
			for name, text := range invitation {
				file := filepath.Join(dir, r.Path, name)
				err := os.MkdirAll(filepath.Dir(file), laid.FolderMode)
				if err == nil {
					err = os.WriteFile(file, []byte(text), laid.FileMode)
				}
				if err != nil {
					return fmt.Errorf("stage files for readers: %w", err)
				}
			}
			if len(invitation) == 0 { // nor has the place those of the directory
				for _, name := range []string{laid.MirrorList, laid.RepoFile(t.Product)} {
					args = append(args, "--exclude=/"+strings.ReplaceAll(path.Join(r.Path, name), "[", `\[`))
				}
			}
		}
		// Of a name that two folders have, rsync takes the first one's.
		tree := laid.TreeName(t.Serial)
		args = append(args, dir+"/", tree+"/", h.at(t.Product, tree)+"/")
		send := []string{"-rltpc", modes}
		if shown > 0 { // what it has already becomes a further name there
			send = append(send, "--link-dest=../"+strconv.FormatInt(shown, 10))
		}
		send = append(send, args...)
		if _, err := h.Run(ctx, h.from.Dir, "", send...); err != nil {
			return fmt.Errorf("send the tree: %w", err)
		}
		return h.same(ctx, "", append([]string{"-rl"}, args...)...)
	})
}

// same fails unless the files there have the same content, which both sides read.
func (h *OnHost) same(ctx context.Context, input string, args ...string) error {
	differ, err := h.Run(ctx, h.from.Dir, input, append([]string{"-cn", "--out-format=%i %n"}, args...)...)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	for line := range strings.Lines(differ) {
		// Folders and times don't matter: < and c stand before what would be sent or made.
		if line[0] == '<' || line[0] == 'c' {
			return albs.Errorf(albs.Unavailable, "what was sent to %s reads back otherwise there: %.200s", h.c.Host, strings.TrimSpace(line))
		}
	}
	return nil
}

func (h *OnHost) Show(ctx context.Context) error {
	t := h.from.Tree
	return h.staging(func(dir string) error {
		shown, err := h.link(ctx, dir)
		if err != nil {
			return err
		}
		if shown >= t.Serial {
			return StepBack(shown, t.Serial)
		}
		staged := filepath.Join(dir, ".staged")
		if err := errors.Join(os.Mkdir(staged, 0o700), os.Symlink(laid.TreeName(t.Serial), filepath.Join(staged, "current"))); err != nil {
			return fmt.Errorf("stage link: %w", err)
		}
		if _, err := h.Run(ctx, staged, "", "-l", "current", h.home()); err != nil {
			return fmt.Errorf("move the link on %s: %w", h.c.Host, err)
		}
		if shown, err = h.link(ctx, dir); err == nil && shown != t.Serial {
			err = albs.Errorf(albs.Unavailable, "%s shows serial %d after it was led to %d: another releaser works there", h.c.Host, shown, t.Serial)
		}
		return err
	})
}

// Settle has nothing to do: rsync's rename of the link was the last step.
func (h *OnHost) Settle(context.Context) error { return nil }

// Prune removes there what the directory has no more of trees and of packages.
func (h *OnHost) Prune(ctx context.Context) error {
	if _, err := h.Run(ctx, h.from.Dir, "", "-d", "--delete", "--existing", "--ignore-existing", "trees/", h.at(h.from.Tree.Product, "trees")+"/"); err != nil {
		return fmt.Errorf("remove trees: %w", err)
	}
	_, err := h.Run(ctx, h.from.Dir, "", "-r", "--delete", "--existing", "--ignore-existing", "--exclude=/.digest", "pool/", h.at(h.from.Tree.Product, "pool")+"/")
	if err != nil {
		return fmt.Errorf("remove packages: %w", err)
	}
	return nil
}
