package artifact_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
)

// packages builds a small RPM and its SRPM with the real rpmbuild, once.
var packages = sync.OnceValues(func() (map[artifact.Kind][]byte, error) {
	made, err := rpmtest.Build(`Name: hello
Version: 1.0
Release: 2
Epoch: 3
Summary: A greeting
License: MIT
BuildArch: noarch
%description
A greeting.
%install
mkdir -p %{buildroot}/usr/share/hello
echo hello > %{buildroot}/usr/share/hello/text
%files
/usr/share/hello
`)
	return map[artifact.Kind][]byte{
		artifact.RPM: made["hello-1.0-2.noarch.rpm"], artifact.SRPM: made["hello-1.0-2.src.rpm"],
	}, err
})

func built(t *testing.T) map[artifact.Kind][]byte {
	t.Helper()
	made, err := packages()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("rpmbuild is not installed here")
	}
	if err != nil {
		t.Fatal(err)
	}
	return made
}

const (
	rpmName  = "hello-1.0-2.noarch.rpm"
	srpmName = "hello-1.0-2.src.rpm"
	lease    = "7.1"
)

func setup(t *testing.T, d *db.DB) (*artifact.Artifacts, blob.Store) {
	t.Helper()
	return setupIn(t, d, t.TempDir())
}

func setupIn(t *testing.T, d *db.DB, dir string) (*artifact.Artifacts, blob.Store) {
	t.Helper()
	blobs, err := blob.NewDir(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	staging, err := blob.NewStaging(filepath.Join(dir, "staging"))
	if err != nil {
		t.Fatal(err)
	}
	return artifact.New(d, blobs, staging), blobs
}

func stage(t *testing.T, s *artifact.Artifacts, d albs.Digest, b []byte) {
	t.Helper()
	if _, err := s.Stage(t.Context(), lease, d, 0, bytes.NewReader(b), 1<<30); err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, d *db.DB, s *artifact.Artifacts, as ...artifact.Artifact) {
	t.Helper()
	if err := d.InTx(t.Context(), func(tx db.Tx) error { return s.Add(t.Context(), tx, as...) }); err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, what string, err error, want albs.Kind) {
	t.Helper()
	if albs.KindOf(err) != want {
		t.Errorf("%s = %v, want kind %q", what, err, want)
	}
}

func TestAdmit(t *testing.T) {
	t.Parallel()
	made := built(t)
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, blobs := setup(t, d)
		var all []artifact.Artifact
		for kind, name := range map[artifact.Kind]string{artifact.RPM: rpmName, artifact.SRPM: srpmName} {
			b := made[kind]
			f := albs.File{Name: name, Digest: albs.DigestOf(b), Size: int64(len(b))}
			_, err := s.Admit(t.Context(), lease, f, kind)
			wantKind(t, "Admit of nothing", err, albs.NotFound)
			stage(t, s, f.Digest, b)
			a, err := s.Admit(t.Context(), lease, f, kind)
			if err != nil {
				t.Fatal(err)
			}
			want := artifact.Artifact{Digest: f.Digest, Size: f.Size, Kind: kind, Name: name,
				NEVRA: rpm.NEVRA{Name: "hello", Epoch: 3, Version: "1.0", Release: "2", Arch: "noarch"}, SourceRPM: srpmName}
			if kind == artifact.SRPM {
				want.NEVRA.Arch, want.SourceRPM = "src", ""
			}
			if diff := cmp.Diff(want, a, cmpopts.IgnoreFields(artifact.Artifact{}, "HeaderSHA256", "PayloadSHA256")); diff != "" {
				t.Error(diff)
			}
			if again, err := s.Admit(t.Context(), lease, f, kind); err != nil || again != a {
				t.Errorf("Admit again = %+v, %v", again, err)
			}
			_, err = s.Open(t.Context(), f.Digest, 0, -1)
			wantKind(t, "Open before Add", err, albs.NotFound)
			all = append(all, a)
		}
		add(t, d, s, all...)
		for _, a := range all {
			got, err := s.Get(t.Context(), d, a.Digest)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(a, got, cmpopts.IgnoreFields(artifact.Artifact{}, "ID", "At")); diff != "" {
				t.Error(diff)
			}
			p, err := s.Package(t.Context(), a.Digest)
			if err != nil || p.NEVRA != a.NEVRA || p.Summary != "A greeting" {
				t.Errorf("Package(%s) = %+v, %v", a.Name, p, err)
			}
			r, err := s.Open(t.Context(), a.Digest, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, made[a.Kind]) {
				t.Errorf("Open(%s) gave %d bytes, %v", a.Name, len(b), err)
			}
			r.Close()
			if r, err = s.Open(t.Context(), a.Digest, 1, 3); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, made[a.Kind][1:4]) {
				t.Errorf("Open(%s, 1, 3) = %x, %v", a.Name, b, err)
			}
			r.Close()
		}
		if n, err := blobs.Stat(t.Context(), all[0].Digest); err != nil || n != all[0].Size {
			t.Errorf("Stat = %d, %v", n, err)
		}
	})
}

func TestAdmitRefuses(t *testing.T) {
	t.Parallel()
	made := built(t)
	s, blobs := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	good := made[artifact.RPM]
	lastByte := bytes.Clone(good)
	lastByte[len(lastByte)-1] ^= 1
	for _, c := range []struct {
		what   string
		bytes  []byte
		kind   artifact.Kind
		change func(*albs.File)
	}{
		{"another digest", good, artifact.RPM, func(f *albs.File) { f.Digest = albs.DigestOf([]byte("other")) }},
		{"no digest", good, artifact.RPM, func(f *albs.File) { f.Digest = "" }},
		{"another size", good, artifact.RPM, func(f *albs.File) { f.Size++ }},
		{"the name of another package", good, artifact.RPM, func(f *albs.File) { f.Name = "bash-5.1-1.noarch.rpm" }},
		{"a path", good, artifact.RPM, func(f *albs.File) { f.Name = "../" + rpmName }},
		{"a path for a log", good, artifact.Log, func(f *albs.File) { f.Name = "../build.log" }},
		{"the wrong kind", good, artifact.SRPM, func(*albs.File) {}},
		{"a source package as a binary one", made[artifact.SRPM], artifact.RPM, func(f *albs.File) { f.Name = srpmName }},
		{"an unknown kind", good, "deb", func(*albs.File) {}},
		{"a truncated header", good[:200], artifact.RPM, func(*albs.File) {}},
		{"a truncated payload", good[:len(good)-1], artifact.RPM, func(*albs.File) {}},
		{"a changed payload", lastByte, artifact.RPM, func(*albs.File) {}},
		{"an empty file", nil, artifact.RPM, func(*albs.File) {}},
	} {
		f := albs.File{Name: rpmName, Digest: albs.DigestOf(c.bytes), Size: int64(len(c.bytes))}
		c.change(&f)
		if f.Digest.Valid() {
			stage(t, s, f.Digest, c.bytes)
		}
		a, err := s.Admit(t.Context(), lease, f, c.kind)
		wantKind(t, "Admit of "+c.what, err, albs.Invalid)
		if a != (artifact.Artifact{}) {
			t.Errorf("Admit of %s returned %+v", c.what, a)
		}
		if err := s.DropStaged(t.Context(), lease); err != nil {
			t.Fatal(err)
		}
	}
	_, err := blobs.Stat(t.Context(), albs.DigestOf([]byte("other")))
	wantKind(t, "Stat of a blob whose bytes were others", err, albs.NotFound)
}

func TestAdmitLogs(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	var files []albs.File
	for i := range 17 {
		b := fmt.Append(nil, "log ", i)
		d := albs.DigestOf(b)
		stage(t, s, d, b)
		files = append(files, albs.File{Name: fmt.Sprint("log-", i), Digest: d, Size: int64(len(b))})
	}
	logs, err := s.AdmitLogs(t.Context(), lease, files[:16])
	if err != nil || len(logs) != 16 {
		t.Fatalf("AdmitLogs of 16 = %d logs, %v", len(logs), err)
	}
	for i, l := range logs {
		if l.Kind != artifact.Log || l.File() != files[i] {
			t.Errorf("log %d is %+v, want %+v", i, l, files[i])
		}
	}
	_, err = s.AdmitLogs(t.Context(), lease, files)
	wantKind(t, "AdmitLogs of 17", err, albs.TooLarge)
	_, err = s.AdmitLogs(t.Context(), "8.1", files[:1])
	wantKind(t, "AdmitLogs of another lease's", err, albs.NotFound)
}

func TestSaveAndAdd(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := setup(t, d)
		_, err := s.Save(t.Context(), strings.NewReader("four"), 3, "a.log", artifact.Log)
		wantKind(t, "Save beyond the limit", err, albs.TooLarge)
		_, err = s.Save(t.Context(), strings.NewReader("four"), 4, "../a.log", artifact.Log)
		wantKind(t, "Save under a path", err, albs.Invalid)
		var made []artifact.Artifact
		for i := range 5 {
			kind := artifact.Log
			if i%2 == 1 {
				kind = artifact.Record
			}
			a, err := s.Save(t.Context(), strings.NewReader(fmt.Sprint("line ", i)), 100, fmt.Sprint(i, ".txt"), kind)
			if err != nil {
				t.Fatal(err)
			}
			made = append(made, a)
		}
		add(t, d, s, made...)
		again := made[0]
		again.Kind, again.Name = artifact.Document, "other"
		add(t, d, s, again)
		if got, err := s.Get(t.Context(), d, again.Digest); err != nil || got.Kind != artifact.Log || got.Name != "0.txt" {
			t.Errorf("Get after a second Add = %+v, %v, want the first", got, err)
		}
		_, err = s.Package(t.Context(), made[0].Digest)
		wantKind(t, "Package of a log", err, albs.Invalid)

		for what, bad := range map[string]artifact.Artifact{
			"no digest": {Name: "x", Kind: artifact.Log}, "no key": {Digest: albs.DigestOf([]byte("x")), Kind: artifact.RPM, Unsigned: made[0].Digest},
			"nothing unsigned": {Digest: albs.DigestOf([]byte("x")), Kind: artifact.RPM, SignedBy: "AB"},
		} {
			err := d.InTx(t.Context(), func(tx db.Tx) error { return s.Add(t.Context(), tx, bad) })
			wantKind(t, "Add with "+what, err, albs.Internal)
			_, err = s.Find(t.Context(), bad.Digest)
			wantKind(t, "Find after it", err, albs.NotFound)
		}
		copied := made[1]
		copied.Digest, copied.Unsigned, copied.SignedBy = albs.DigestOf([]byte("signed")), made[1].Digest, strings.Repeat("AB", 20)
		add(t, d, s, copied)
		if got, err := s.Copies(t.Context(), made[1].Digest); err != nil || len(got) != 1 || got[0].Digest != copied.Digest {
			t.Errorf("Copies = %+v, %v", got, err)
		}
	})
}

// TestPackageThatWasALog adds a package's bytes as something else, as the package
// and as something else again.
func TestPackageThatWasALog(t *testing.T) {
	t.Parallel()
	made := built(t)
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, _ := setup(t, d)
		for kind, name := range map[artifact.Kind]string{artifact.RPM: rpmName, artifact.SRPM: srpmName} {
			save := func(name string, k artifact.Kind) artifact.Artifact {
				a, err := s.Save(t.Context(), bytes.NewReader(made[kind]), 1<<20, name, k)
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			get := func(d2 albs.Digest) artifact.Artifact {
				a, err := s.Get(t.Context(), d, d2)
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			add(t, d, s, save("build.log", artifact.Log))
			a := save(name, kind)
			first := get(a.Digest)
			if kind == artifact.RPM {
				a.Unsigned, a.SignedBy = albs.DigestOf([]byte("unsigned")), strings.Repeat("AB", 20)
			}
			add(t, d, s, a)
			a.ID, a.At = first.ID, first.At
			if diff := cmp.Diff(a, get(a.Digest)); diff != "" {
				t.Errorf("%s after a log of the same bytes: %s", kind, diff)
			}
			if _, err := s.Package(t.Context(), a.Digest); err != nil {
				t.Errorf("Package = %v", err)
			}
			another := a
			another.Name, another.NEVRA, another.Unsigned, another.SignedBy = "other-1-1.noarch.rpm", rpm.NEVRA{Name: "other"}, "", ""
			add(t, d, s, save("again.log", artifact.Log), save("a.json", artifact.Record), another)
			if diff := cmp.Diff(a, get(a.Digest)); diff != "" {
				t.Errorf("%s before others of the same bytes: %s", kind, diff)
			}
		}
	})
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "build.log", "libstdc++-1.0~rc1^2-3.x86_64.rpm", "Größe 1.patch", ".bash.metadata", strings.Repeat("a", 255)} {
		wantKind(t, fmt.Sprintf("CheckName(%q)", good), artifact.CheckName(good), "")
	}
	for _, bad := range []string{"", ".", "..", "a/b", "/a", `a\b`, "-rf", "a\nb", "a\x00", "a\x1b[0m", "\xff", "a\u202eb", strings.Repeat("a", 256)} {
		wantKind(t, fmt.Sprintf("CheckName(%q)", bad), artifact.CheckName(bad), albs.Invalid)
	}
}
