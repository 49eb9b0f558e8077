package record

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/repodata"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
)

// store is a Blobs for tests.
type store struct{ *blob.Dir }

func (s store) Open(ctx context.Context, d albs.Digest) (io.ReadCloser, error) {
	return s.Dir.Open(ctx, d)
}

// repository lays one package and a record of each type, as a snapshot has them, into a
// directory.
func repository(t *testing.T) string {
	t.Helper()
	made, err := rpmtest.Build("Name: tiny\nVersion: 1\nRelease: 1\nSummary: T\nLicense: MIT\nBuildArch: noarch\n%description\nT.\n%files\n")
	if err != nil {
		t.Fatal(err)
	}
	d, err := blob.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	blobs, dir, ctx := store{d}, t.TempDir(), t.Context()
	if err := os.MkdirAll(filepath.Join(dir, "repodata"), 0o755); err != nil {
		t.Fatal(err)
	}
	var c repodata.Change
	for name, b := range made {
		p, err := rpm.Read(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
		c.Add = append(c.Add, repodata.Package{RPM: p, Digest: albs.DigestOf(b), Size: int64(len(b)), Path: name, Time: 1})
	}
	for typ, text := range map[string]string{
		"group": plainComps, "modules": modules, "productid": certificate(t),
		"updateinfo": strings.ReplaceAll(advisories, `arch="x86_64"`, `arch="noarch"`),
	} {
		files, err := Make(typ, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if _, err := blobs.Put(ctx, f.Digest, bytes.NewReader(f.Bytes)); err != nil {
				t.Fatal(err)
			}
			c.Records = append(c.Records, f.Record)
		}
	}
	s, err := repodata.Extend(ctx, blobs, nil, c, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range s.Files() {
		r, err := blobs.Open(ctx, f.Digest)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f.Path), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tool runs a program, or skips the test where it isn't installed.
func tool(t *testing.T, argv ...string) string {
	t.Helper()
	if _, err := exec.LookPath(argv[0]); err != nil {
		t.Skipf("%s is not installed here: %v", argv[0], err)
	}
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "LC_ALL=C.UTF-8", "SOURCE_DATE_EPOCH=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return string(out)
}

// TestReadByDNF: dnf reads the group, the module and the advisory.
func TestReadByDNF(t *testing.T) {
	t.Parallel()
	dir, home := repository(t), t.TempDir()
	conf := "[main]\nreposdir=/dev/null\nplugins=0\ngpgcheck=0\nmodule_platform_id=platform:el9\n"
	for _, d := range []string{"cachedir", "logdir", "persistdir"} {
		conf += d + "=" + filepath.Join(home, d) + "\n"
	}
	file := filepath.Join(home, "dnf.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ ask, want string }{
		{"group list --ids", "(core)"},
		{"group info core", "tiny"},
		{"module list", "perl 5.30 [d]"},
		{"repoquery --advisory ALSA-1", "tiny-0:1-1.noarch"},
	} {
		argv := append([]string{
			"dnf", "-q", "-c", file, "--installroot", filepath.Join(home, "root"), "--releasever", "9", "--forcearch", "x86_64",
			"--repofrompath=x,file://" + dir, "--repo=x",
		}, strings.Fields(tc.ask)...)
		if out := strings.Join(strings.Fields(tool(t, argv...)), " "); !strings.Contains(out, tc.want) {
			t.Errorf("dnf %s doesn't say %q:\n%s", tc.ask, tc.want, out)
		}
	}
}

// TestReadByCreaterepo: createrepo_c takes the repository, records and all, for one of its
// own, and mergerepo_c reads it.
func TestReadByCreaterepo(t *testing.T) {
	t.Parallel()
	dir := repository(t)
	types := func(dir string) map[string]bool {
		f, err := os.Open(filepath.Join(dir, "repodata", "repomd.xml"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		md, err := repodata.ParseRepomd(f)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]bool{}
		for _, d := range md.Data {
			out[d.Type] = true
		}
		return out
	}
	merged := t.TempDir()
	tool(t, "mergerepo_c", "--no-database", "-o", merged, "-r", "file://"+dir)
	if got := types(merged); !got["primary"] || !got["group"] || !got["updateinfo"] {
		t.Errorf("mergerepo_c leaves %v", got)
	}
	out := tool(t, "createrepo_c", "--update", "--skip-stat", "--keep-all-metadata", "--no-database", "-v", dir)
	if !strings.Contains(out, "CACHE HIT") {
		t.Errorf("createrepo_c --update reads the package again:\n%s", out)
	}
	got := types(dir)
	for _, typ := range []string{"group", "group_gz", "modules", "updateinfo", "productid"} {
		if !got[typ] {
			t.Errorf("createrepo_c --update --keep-all-metadata loses %s, of %s", typ, fmt.Sprint(got))
		}
	}
}
