package advisorytest

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xeipuuv/gojsonschema"
)

// The programs here are others': what they say of our files is not what we think of them.
// Where one can't be had the test that asks for it is skipped, and says why.

// module returns the folder of this module, in or below which tests run.
func module(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no folder above has a go.mod")
		}
		dir = up
	}
}

// compiled returns the program of a package, made within a module of its own.
func compiled(t *testing.T, dir, pkg string) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("%s takes minutes to compile: not with -short", dir)
	}
	program := filepath.Join(t.TempDir(), "program")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", filepath.Join(module(t), dir), "-o", program, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("the program in %s can't be had here: %v\n%s", dir, err, out)
	}
	return program
}

// Gocsaf returns gocsaf's check of CSAF documents, feeds and providers' metadata, which it
// knows by the names of their files. The error tells that it found a fault, the text which.
func Gocsaf(t *testing.T) func(paths ...string) (string, error) {
	t.Helper()
	program := os.Getenv("ALBS_TEST_CSAF")
	if program == "" {
		t.Skip("ALBS_TEST_CSAF names no program that checks CSAF: run by testdata/csaf.sh")
	}
	return func(paths ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), program, paths...).CombinedOutput()
		return string(out), err
	}
}

// Standard has BSI's library hold CSAF documents to the standard's own tests, the mandatory
// ones (§6.1) and the optional ones (§6.2), and returns a line for each fault.
func Standard(t *testing.T) func(documents ...string) []string {
	t.Helper()
	dir := os.Getenv("ALBS_TEST_CSAF_LIB")
	if dir == "" {
		t.Skip("ALBS_TEST_CSAF_LIB names no folder of BSI's library: run by testdata/csaf.sh without -short")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node")
	}
	return func(documents ...string) []string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), node, append([]string{filepath.Join(dir, "validate.mjs")}, documents...)...).CombinedOutput()
		lines := slices.DeleteFunc(strings.Split(string(out), "\n"), func(s string) bool { return s == "" })
		if ended, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok || ok && (ended.ExitCode() != 1 || len(lines) == 0) {
			t.Fatalf("%v: %s", err, out)
		}
		return lines
	}
}

// OSVSchema returns OSV's own schema's check of a file: what it finds wrong.
func OSVSchema(t *testing.T) func(file []byte) []string {
	t.Helper()
	path := os.Getenv("ALBS_OSV_SCHEMA")
	if path == "" {
		t.Skip("ALBS_OSV_SCHEMA does not name validation/schema.json of OSV's schema 1.7.5")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The reader knows drafts up to 7, of which the schema uses nothing that means
	// something else.
	l := gojsonschema.NewSchemaLoader()
	l.AutoDetect, l.Draft = false, gojsonschema.Draft7
	schema, err := l.Compile(gojsonschema.NewBytesLoader(text))
	if err != nil {
		t.Fatal(err)
	}
	return func(file []byte) []string {
		t.Helper()
		got, err := schema.Validate(gojsonschema.NewBytesLoader(file))
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range got.Errors() {
			out = append(out, e.String())
		}
		return out
	}
}

// Installed is a package as osv-scanner is told of it.
type Installed struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	Ecosystem string `json:"ecosystem"`
}

// Vulnerable is what osv-scanner found of a package.
type Vulnerable struct {
	Installed
	ID       string
	Upstream []string
	Severity string // the highest of the group
}

// OSVScanner returns osv-scanner, which has no database but the OSV files that it is given,
// and looks for packages of one ecosystem, as "AlmaLinux".
func OSVScanner(t *testing.T) func(ecosystem string, files [][]byte, packages ...Installed) []Vulnerable {
	t.Helper()
	program := compiled(t, "internal/advisory/osv/testdata/osv-scanner", "github.com/google/osv-scanner/v2/cmd/osv-scanner")
	return func(ecosystem string, files [][]byte, packages ...Installed) []Vulnerable {
		t.Helper()
		dir := t.TempDir()
		var database bytes.Buffer
		z := zip.NewWriter(&database)
		for _, f := range files {
			var of struct{ ID string }
			if err := json.Unmarshal(f, &of); err != nil {
				t.Fatal(err)
			}
			w, err := z.Create(of.ID + ".json")
			if err == nil {
				_, err = w.Write(f)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "osv-scanner", ecosystem, "all.zip"), database.Bytes())
		var list []map[string]Installed
		for _, p := range packages {
			list = append(list, map[string]Installed{"package": p})
		}
		in, err := json.Marshal(map[string]any{"results": []any{map[string]any{"packages": list}}})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "osv-scanner-custom.json")
		write(t, file, in)
		scan := exec.CommandContext(t.Context(), program, "scan", "source", "--offline", "--local-db-path", dir, "--format", "json", "--lockfile", "osv-scanner:"+file)
		scan.Env = append(os.Environ(), "HOME="+dir)
		out, err := scan.Output()
		if ended, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok || ok && ended.ExitCode() != 1 { // 1: something was found
			t.Fatalf("%v: %s", err, out)
		}
		var said struct {
			Results []struct {
				Packages []struct {
					Package         Installed `json:"package"`
					Vulnerabilities []struct {
						ID       string   `json:"id"`
						Upstream []string `json:"upstream"`
					} `json:"vulnerabilities"`
					Groups []struct {
						MaxSeverity string `json:"max_severity"`
					} `json:"groups"`
				} `json:"packages"`
			} `json:"results"`
		}
		if err := json.Unmarshal(out, &said); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var found []Vulnerable
		for _, r := range said.Results {
			for _, p := range r.Packages {
				for _, v := range p.Vulnerabilities {
					one := Vulnerable{Installed: p.Package, ID: v.ID, Upstream: v.Upstream}
					if len(p.Groups) == 1 {
						one.Severity = p.Groups[0].MaxSeverity
					}
					found = append(found, one)
				}
			}
		}
		slices.SortFunc(found, func(a, b Vulnerable) int {
			return strings.Compare(a.Name+" "+a.Version+" "+a.ID, b.Name+" "+b.Version+" "+b.ID)
		})
		return found
	}
}

// Trivy returns Trivy's own code: it reads an errata.json of AlmaLinux 9, which is divided
// as vuln-list-update does that, and returns what it finds of packages by what it calls them, a
// line each: package, CVE, version that mends.
func Trivy(t *testing.T) func(errataJSON []byte, packages ...string) []string {
	t.Helper()
	program := compiled(t, "internal/advisory/erratajson/testdata/trivy", ".")
	return func(errataJSON []byte, packages ...string) []string {
		t.Helper()
		dir := t.TempDir()
		var entries []json.RawMessage
		if err := json.Unmarshal(errataJSON, &entries); err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			var of struct {
				ID string `json:"updateinfo_id"`
			}
			if err := json.Unmarshal(e, &of); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "vuln-list/alma/9/2026", of.ID+".json"), e)
		}
		out, err := exec.CommandContext(t.Context(), program, append([]string{dir}, packages...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var lines []string
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, " CVE-") { // the others are words of its log
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		return lines
	}
}

// Oscap returns the scanner, with a home of its own in which rpm's database is where EL has
// it: Debian's is elsewhere. The first argument is set in its environment.
func Oscap(t *testing.T) func(env string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("oscap")
	if err != nil {
		t.Skip("there is no oscap: install openscap-scanner")
	}
	home := t.TempDir()
	write(t, filepath.Join(home, ".rpmmacros"), []byte("%_dbpath /var/lib/rpm\n"))
	return func(env string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Env = append(os.Environ(), "HOME="+home, env)
		cmd.Dir = home
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Createrepo returns createrepo_c's library: what it writes of an updateinfo.xml that it has
// read without a warning.
func Createrepo(t *testing.T) func(path string) (string, error) {
	t.Helper()
	const python = "/usr/bin/python3" // the host's, which has no modules of a person's own
	if _, err := exec.LookPath(python); err != nil {
		t.Skip("the host has no python3, through which the library is called")
	}
	script := filepath.Join(module(t), "internal/repodata/updateinfo/testdata/dump.py")
	return func(path string) (string, error) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), python, script, path).Output()
		failed, ok := errors.AsType[*exec.ExitError](err)
		switch {
		case ok && failed.ExitCode() == 77:
			t.Skip("createrepo_c's library is not installed here")
		case ok:
			err = fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		// Old versions take an ampersand in an attribute for the reference by which libxml2
		// gives it to them.
		return strings.ReplaceAll(string(out), "&amp;#38;", "&amp;"), err
	}
}

// Xmllint returns xmllint's check of XML and HTML: whether it is well-formed.
func Xmllint(t *testing.T) func(options ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("there is no xmllint")
	}
	return func(options ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), path, append([]string{"--noout"}, options...)...).CombinedOutput()
		return string(out), err
	}
}
