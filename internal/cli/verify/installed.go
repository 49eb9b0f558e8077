package verify

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"albs/internal/albs"
	"albs/internal/attest"
)

// query has rpm print, of each package, its name, the main header as it was signed, and
// the signatures over it. Marks begin with a character that base64 doesn't have.
const query = `#package %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}\n` +
	`#header\n%|HEADERIMMUTABLE?{%{HEADERIMMUTABLE:base64}}|\n` +
	`#signature\n%|RSAHEADER?{%{RSAHEADER:base64}}|\n` +
	`#signature\n%|DSAHEADER?{%{DSAHEADER:base64}}|\n` +
	`#end\n`

// headerMagic stands before a header in a package, and not in rpm's database.
var headerMagic = []byte{0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0}

const (
	maxLine      = 64 << 10
	maxHeader    = 400 << 20 // in base64; rpm's own bound is 256 MiB
	maxInstalled = 1 << 20
)

// databases are the places of rpm's database, the newer one first.
var databases = []string{"usr/lib/sysimage/rpm", "var/lib/rpm"}

// installed checks the installed packages of the names, all if there is none, with what
// lies anywhere below place.
func (a *app) installed(ctx context.Context, root, place string, names []string) error {
	beside, err := findBundles(ctx, place)
	if err != nil {
		return err
	}
	args := []string{"--query", "--nosignature", "--nodigest", "--queryformat", query} // what is signed is checked here
	if root != "" {
		db, err := database(root)
		if err != nil {
			return err
		}
		args = append(args, "--dbpath", db)
	}
	if len(names) == 0 {
		args = append(args, "--all")
	}
	for _, n := range names {
		if strings.HasPrefix(n, "-") {
			return albs.Errorf(albs.Invalid, "%q is no name of a package", n)
		}
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "rpm", append(append(args, "--"), names...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return albs.Errorf(albs.Unavailable, "run rpm: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return albs.Errorf(albs.Unavailable, "run rpm, which reads its database: %w", err)
	}
	var all []verdict
	meter := a.NewMeter()
	readErr := readInstalled(out, func(p installed) error {
		if len(all) == maxInstalled {
			return albs.Errorf(albs.TooLarge, "more than %d packages are installed", maxInstalled)
		}
		report, err := a.header(p, beside[p.name])
		all = append(all, a.judged(p.name, report, err))
		meter.Now(p.name)
		return nil
	})
	meter.End()
	if readErr != nil {
		_ = cmd.Process.Kill() // it would wait for its reader
	}
	waitErr := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case readErr != nil:
		return readErr
	case waitErr != nil: // with one name unknown it fails too; stdout says which
		return albs.Errorf(albs.NotFound, "rpm: %w: %s", waitErr, strings.TrimSpace(stderr.String()+" "+strings.Join(names, " ")))
	case len(all) == 0:
		return albs.Errorf(albs.NotFound, "no package is installed")
	}
	for _, v := range all {
		if !a.json {
			if err := a.line(v); err != nil {
				return err
			}
		}
	}
	return a.tell(all, "installed packages")
}

// header checks what rpm's database has of one package.
func (a *app) header(p installed, places []string) (attest.Report, error) {
	if len(places) == 0 {
		return attest.Report{}, link(attest.LinkInput, "nothing lies beside it: there is no %s.rpm%s", p.name, attest.EnvelopesSuffix)
	}
	var first error
	for _, base := range places { // products may have a package each signed its own way
		b, err := folder(base).bundle()
		if err == nil {
			var r attest.Report
			if r, err = attest.VerifyInstalled(p.header, p.signatures, b, a.trust); err == nil {
				return r, nil
			}
		}
		if first == nil {
			first = err
		}
	}
	return attest.Report{}, first
}

// database returns where rpm's database is below root.
func database(root string) (string, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return "", albs.Errorf(albs.Invalid, "%w", err)
	}
	for _, dir := range databases {
		for _, file := range []string{"rpmdb.sqlite", "Packages.db", "Packages"} {
			if _, err := os.Stat(filepath.Join(abs, dir, file)); err == nil {
				return filepath.Join(abs, dir), nil
			}
		}
	}
	return "", albs.Errorf(albs.NotFound, "there is no database of rpm below %s", root)
}

// findBundles returns, by name and version, where what lies beside packages is below dir.
func findBundles(ctx context.Context, dir string) (map[string][]string, error) {
	found := map[string][]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name, ok := strings.CutSuffix(e.Name(), ".rpm"+attest.EnvelopesSuffix); ok && !e.IsDir() {
			if len(found) == maxInstalled {
				return albs.Errorf(albs.TooLarge, "there are more than %d packages below %s", maxInstalled, dir)
			}
			found[name] = append(found[name], strings.TrimSuffix(path, attest.EnvelopesSuffix))
		}
		return ctx.Err()
	})
	if err != nil && albs.KindOf(err) == albs.Internal && ctx.Err() == nil {
		err = albs.Errorf(albs.Invalid, "look for what lies beside packages: %w", err)
	}
	return found, err
}

// installed is a package as rpm's database has it.
type installed struct {
	name       string // as its file's, without .rpm
	header     []byte
	signatures [][]byte
}

// readInstalled calls yield for each package that rpm printed by query. The keys that rpm
// keeps among the packages are left out. What is no such text is Invalid.
func readInstalled(r io.Reader, yield func(installed) error) error {
	in := bufio.NewReaderSize(r, maxLine)
	var p installed
	var part string
	var text []byte // of the part that is being read
	end := func() error {
		if part != "#header" && part != "#signature" || len(text) == 0 {
			return nil
		}
		b, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil {
			return albs.Errorf(albs.Invalid, "rpm printed what is no base64 about %.120q: %w", p.name, err)
		}
		if part == "#header" {
			p.header = append(bytes.Clone(headerMagic), b...)
		} else {
			p.signatures = append(p.signatures, b)
		}
		return nil
	}
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			if part != "" {
				return albs.Errorf(albs.Invalid, "rpm ended amid package %.120q", p.name)
			}
			return nil
		}
		if err != nil {
			return albs.Errorf(albs.Invalid, "read what rpm prints: %w", err)
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		if len(line) == 0 || line[0] != '#' {
			if part == "" { // a sentence about a name that isn't installed
				return albs.Errorf(albs.NotFound, "rpm: %.400s", line)
			}
			if text = append(text, line...); len(text) > maxHeader {
				return albs.Errorf(albs.TooLarge, "the header of package %.120q is larger than %d bytes", p.name, maxHeader)
			}
			continue
		}
		if err := end(); err != nil {
			return err
		}
		mark, name, _ := strings.Cut(string(line), " ")
		text = text[:0]
		switch mark {
		case "#package":
			p = installed{name: name}
		case "#header", "#signature":
		case "#end":
			part = ""
			if !strings.HasPrefix(p.name, "gpg-pubkey-") {
				if err := yield(p); err != nil {
					return err
				}
			}
			continue
		default:
			return albs.Errorf(albs.Invalid, "rpm printed %.80q", line)
		}
		part = mark
	}
}
