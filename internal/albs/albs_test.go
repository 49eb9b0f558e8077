package albs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"albs/internal/albs"

	"github.com/google/go-cmp/cmp"
)

// empty is the sha256 of no bytes, by FIPS 180-4.
const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestDigest(t *testing.T) {
	t.Parallel()
	d := albs.DigestOf(nil)
	if d != empty || d.Short() != empty[:12] || fmt.Sprintf("%x", d.Bytes()) != empty {
		t.Errorf("the digest of nothing is %s, short %s, bytes %x", d, d.Short(), d.Bytes())
	}
	got, n, err := albs.DigestReader(strings.NewReader("abc"))
	if err != nil || n != 3 || got != albs.DigestOf([]byte("abc")) {
		t.Errorf("DigestReader = %s, %d, %v", got, n, err)
	}
	v, err := d.Value()
	if err != nil || v != empty {
		t.Errorf("Value = %v, %v", v, err)
	}
	if v, err := albs.Digest("").Value(); err != nil || v != nil {
		t.Errorf("Value of no digest = %v, %v, want NULL", v, err)
	}
	for _, src := range []any{empty, []byte(empty)} {
		var scanned albs.Digest
		if err := scanned.Scan(src); err != nil || scanned != d {
			t.Errorf("Scan(%T) = %s, %v", src, scanned, err)
		}
	}
	scanned := d
	if err := scanned.Scan(nil); err != nil || scanned != "" {
		t.Errorf("Scan of NULL = %q, %v", scanned, err)
	}
	if err := scanned.Scan(7); err == nil {
		t.Error("Scan of a number succeeded")
	}
}

func TestParseDigestRefuses(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "..", empty[:63], empty + "0", strings.ToUpper(empty), "g" + empty[1:], "/" + empty[1:], empty[:62] + "/.", empty[:63] + "\n",
	} {
		d, err := albs.ParseDigest(bad)
		if !errors.Is(err, albs.Invalid) || d != "" {
			t.Errorf("ParseDigest(%q) = %q, %v, want invalid", bad, d, err)
		}
		if albs.Digest(bad).Valid() {
			t.Errorf("Digest(%q) is valid", bad)
		}
		if b := albs.Digest(bad).Bytes(); b != nil {
			t.Errorf("Digest(%q).Bytes = %x", bad, b)
		}
		if bad == "" {
			continue
		}
		var f albs.File
		b, err := json.Marshal(map[string]string{"digest": bad})
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &f); !errors.Is(err, albs.Invalid) {
			t.Errorf("a file with the digest %q: %+v, %v, want invalid", bad, f, err)
		}
	}
	var f albs.File
	if err := json.Unmarshal([]byte(`{"digest":""}`), &f); err != nil || f.Digest != "" {
		t.Errorf("a file without a digest: %+v, %v", f, err)
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	cause := errors.New("open /secret: denied")
	invalid := albs.Errorf(albs.Invalid, "the name %q is taken", "x")
	for _, tt := range []struct {
		name string
		err  error
		kind albs.Kind
		user string // what a person outside reads
	}{
		{"none", nil, "", ""},
		{"plain", cause, albs.Internal, hidden},
		{"an Error", invalid, albs.Invalid, `the name "x" is taken`},
		{"wrapped", fmt.Errorf("create: %w", invalid), albs.Invalid, `create: the name "x" is taken`},
		{"a bare kind", fmt.Errorf("look: %w", albs.NotFound), albs.NotFound, "look: not_found"},
		{"the outermost counts", albs.Errorf(albs.Conflict, "no: %w", invalid), albs.Conflict, `no: the name "x" is taken`},
		{"internal hides a kind within", albs.Errorf(albs.Internal, "no: %w", invalid), albs.Internal, hidden},
		{"joined", errors.Join(cause, invalid), albs.Invalid, cause.Error() + "\n" + invalid.Error()},
	} {
		if got := albs.KindOf(tt.err); got != tt.kind {
			t.Errorf("%s: KindOf = %q, want %q", tt.name, got, tt.kind)
		}
		if tt.err == nil {
			continue
		}
		if !errors.Is(tt.err, tt.kind) && tt.kind != albs.Internal {
			t.Errorf("%s: errors.Is doesn't find the kind", tt.name)
		}
		if got := albs.UserMessage(tt.err); got != tt.user {
			t.Errorf("%s: UserMessage = %q, want %q", tt.name, got, tt.user)
		}
	}
	if err := albs.Errorf(albs.Unavailable, "away: %w", cause); !errors.Is(err, cause) || !errors.Is(err, albs.Unavailable) || errors.Is(err, albs.Conflict) {
		t.Errorf("the chain of %#v", err)
	}
}

const hidden = "an internal error happened; the server's log has it"

func TestArches(t *testing.T) {
	t.Parallel()
	for _, a := range albs.BuildArches {
		if got, err := albs.ParseArch(string(a)); err != nil || got != a {
			t.Errorf("ParseArch(%s) = %s, %v", a, got, err)
		}
	}
	for _, bad := range []string{"", "noarch", "src", "x86-64", "../x"} {
		if got, err := albs.ParseArch(bad); !errors.Is(err, albs.Invalid) || got != "" {
			t.Errorf("ParseArch(%q) = %q, %v, want invalid", bad, got, err)
		}
	}
	if a := albs.HostArch("arm64"); a != albs.AArch64 {
		t.Errorf("HostArch(arm64) = %q", a)
	}
	if a := albs.HostArch("mips"); a != "" {
		t.Errorf("HostArch(mips) = %q", a)
	}
}

func TestTaskWords(t *testing.T) {
	t.Parallel()
	for kind, want := range map[albs.TaskKind]albs.Role{
		albs.KindImport: albs.RoleMaster, albs.KindNotarize: albs.RoleMaster, albs.KindGraph: albs.RoleMaster, albs.KindSource: albs.RoleNode, albs.KindBuild: albs.RoleNode, albs.KindRebuild: albs.RoleNode, albs.KindTest: albs.RoleTester,
		albs.KindSign: albs.RoleSigner, albs.KindKeygen: albs.RoleSigner, albs.KindPublish: albs.RoleReleaser, "x": "",
	} {
		if got := kind.Role(); got != want || want != "" && !slices.Contains(albs.Roles, got) {
			t.Errorf("the role of %s is %q, want %q", kind, got, want)
		}
	}
	final := map[albs.TaskState]bool{}
	for _, s := range []albs.TaskState{albs.TaskBlocked, albs.TaskQueued, albs.TaskLeased, albs.TaskStopping,
		albs.TaskSucceeded, albs.TaskFailed, albs.TaskExcluded, albs.TaskCancelled} {
		if s.Final() {
			final[s] = true
		}
	}
	want := map[albs.TaskState]bool{albs.TaskSucceeded: true, albs.TaskFailed: true, albs.TaskExcluded: true, albs.TaskCancelled: true}
	if d := cmp.Diff(want, final); d != "" {
		t.Errorf("final states: %s", d)
	}
}

func TestRoot(t *testing.T) {
	t.Parallel()
	root := albs.Root{Platform: "el9", Repos: []albs.Repo{{ID: "base"}, {ID: "build", Own: true}, {ID: "extra"}}}
	for name, s := range map[string]albs.Spec{
		"source": {Source: &albs.SourceSpec{Root: root}}, "build": {Build: &albs.BuildSpec{Root: root}}, "test": {Test: &albs.TestSpec{Root: root}},
	} {
		if d := cmp.Diff(root, s.Root()); d != "" {
			t.Errorf("the root of a %s: %s", name, d)
		}
	}
	if d := cmp.Diff(albs.Root{}, albs.Spec{Sign: &albs.SignSpec{}}.Root()); d != "" {
		t.Errorf("the root of a sign: %s", d)
	}
	base := root.Base()
	if d := cmp.Diff([]albs.Repo{{ID: "base"}, {ID: "extra"}}, base.Repos); d != "" {
		t.Errorf("the base's repositories: %s", d)
	}
	if len(root.Repos) != 3 || root.Repos[1].ID != "build" {
		t.Errorf("Base changed its root: %v", root.Repos)
	}
}
