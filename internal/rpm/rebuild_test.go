package rpm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/pgp"
)

// rebuilt makes a package of a spec as if on another day by another host.
func rebuilt(t testing.TB, host string, day int, more ...string) []byte {
	t.Helper()
	spec := fmt.Sprintf("%%global _buildhost %s\n%%global use_source_date_epoch_as_buildtime 1\n%%global source_date_epoch_from_changelog 1\n%s\n%%changelog\n* %s 2024 A <a@example.org> - 1.0-1\n- x\n",
		host, smallSpec("albs-again"), []string{"Mon Jan 01", "Tue Jan 02"}[day])
	for i := 0; i < len(more); i += 2 {
		if !strings.Contains(spec, more[i]) {
			t.Fatalf("the spec has no %q", more[i])
		}
		spec = strings.Replace(spec, more[i], more[i+1], 1)
	}
	return build(t, spec)
}

// TestCompareBuilds: what rpmbuild makes of one spec again, and of specs that differ in one
// thing each.
func TestCompareBuilds(t *testing.T) {
	t.Parallel()
	clamp := []string{"%changelog", "%global clamp_mtime_to_source_date_epoch 1\n%changelog"}
	first := rebuilt(t, "a", 0, clamp...)
	for name, c := range map[string]struct {
		b         []byte
		match     Match
		differing []string // beginnings
		ignored   []string
	}{
		"the same": {first, BitIdentical, nil, nil},
		// But for the source package beside it, which has times of its own.
		"again":            {rebuilt(t, "a", 0, clamp...), "", nil, nil},
		"signed":           {sign(t, first, key(t, pgp.Ed25519)), BitIdentical, nil, nil},
		"by another host":  {rebuilt(t, "b", 0, clamp...), PayloadIdentical, nil, []string{"BUILDHOST", "COOKIE"}},
		"packed otherwise": {rebuilt(t, "b", 0, append([]string{"%description", "%define _binary_payload w3.gzdio\n%description"}, clamp...)...), PayloadIdentical, nil, []string{"BUILDHOST", "COOKIE"}},
		"other content": {rebuilt(t, "a", 0, append([]string{"echo albs-again", "echo other"}, clamp...)...), Different,
			[]string{"file /usr/share/albs-again/file: content"}, nil},
		"another mode": {rebuilt(t, "a", 0, append([]string{"%files", "%files\n%attr(600,-,-) /usr/share/albs-again/file"}, clamp...)...), Different,
			[]string{"file /usr/share/albs-again/file: mode"}, nil},
		"a file more": {rebuilt(t, "a", 0, append([]string{"%files", "touch %{buildroot}/usr/share/albs-again/more\n%files"}, clamp...)...), Different,
			[]string{"file /usr/share/albs-again/more is in the second only"}, nil},
		"a script":      {rebuilt(t, "a", 0, append([]string{"%files", "%post\n:\n%files"}, clamp...)...), Different, []string{"tag POSTIN"}, nil},
		"a requirement": {rebuilt(t, "a", 0, append([]string{"License:", "Requires: bash\nLicense:"}, clamp...)...), Different, []string{"tag REQUIREFLAGS", "tag REQUIRENAME"}, nil},
		"another day, so other times of files": {rebuilt(t, "a", 1, clamp...), Different,
			[]string{"file /usr/share/albs-again: mtime", "file /usr/share/albs-again/file: mtime", "tag CHANGELOGTIME"}, nil},
	} {
		got, err := CompareBuilds(bytes.NewReader(first), bytes.NewReader(c.b))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Match != c.match && (c.match != "" || got.Match == Different) {
			t.Errorf("%s: %s, want %s; %q", name, got.Match, c.match, got.Differing)
		}
		for _, want := range c.differing {
			if !slices.ContainsFunc(got.Differing, func(d string) bool { return strings.HasPrefix(d, want) }) {
				t.Errorf("%s: there is no %q in %q", name, want, got.Differing)
			}
		}
		if c.match != Different && len(got.Differing) > 0 {
			t.Errorf("%s: it differs in %q", name, got.Differing)
		}
		for _, want := range c.ignored {
			if !slices.Contains(got.Ignored, want) {
				t.Errorf("%s: %s isn't among the ignored %q", name, want, got.Ignored)
			}
		}
		back, err := CompareBuilds(bytes.NewReader(c.b), bytes.NewReader(first))
		if err != nil || back.Match != got.Match || len(back.Differing) != len(got.Differing) {
			t.Errorf("%s, the other way round: %+v, %v; want as %+v", name, back, err, got)
		}
	}
}

// TestCompareBounds: what is told stays short, however much differs and however long paths are.
func TestShort(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/usr/share/été 1": "/usr/share/été 1", "/a\x1b[2J\nb": "/a?[2J?b", "/\u202egnp": "/?gnp",
		strings.Repeat("é", 200): strings.Repeat("é", 100) + "…", "a" + strings.Repeat("é", 200): "a" + strings.Repeat("é", 99) + "…",
	} {
		if got := short(path); got != want {
			t.Errorf("short(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestCompareBounds(t *testing.T) {
	t.Parallel()
	files := func(n int, dir string) []byte {
		return withMain(t, []value{
			{tagPayloadDigest, typeStrings, 1, []byte(string(albs.DigestOf([]byte(dir))) + "\x00")}, {tagPayloadAlg, typeInt32, 1, []byte{0, 0, 0, algSHA256}},
			{tagBaseNames, typeStrings, uint32(n), numbered(n)}, {tagDirNames, typeStrings, 1, []byte(dir + "\x00")},
			{tagDirIndexes, typeInt32, uint32(n), make([]byte, 4*n)}, {tagFileModes, typeInt16, uint32(n), make([]byte, 2*n)}, {tagFileFlags, typeInt32, uint32(n), make([]byte, 4*n)},
		}...)
	}
	long := "/" + strings.Repeat("é", 1000) + "/"
	got, err := CompareBuilds(bytes.NewReader(files(500, "/a/")), bytes.NewReader(files(500, long)))
	if err != nil || got.Match != Different || len(got.Differing) != maxDifferences+1 || got.Differing[maxDifferences] != "980 more" {
		t.Errorf("%+v, %v", got, err)
	}
	other, err := CompareBuilds(bytes.NewReader(files(1, long)), bytes.NewReader(files(1, "/a/")))
	if err != nil || len(other.Differing) != 2 || len(other.Differing[0]) > maxDifference+40 {
		t.Errorf("of a long path: %q, %v", other.Differing, err)
	}
	none, err := CompareBuilds(bytes.NewReader(withMain(t)), bytes.NewReader(withMain(t)))
	if !errors.Is(err, albs.Invalid) {
		t.Errorf("without a digest of the payload: %+v, %v", none, err)
	}
	cause := errors.New("disk on fire")
	if _, err := CompareBuilds(bytes.NewReader(files(1, "/a/")), io.MultiReader(bytes.NewReader(files(1, "/a/")[:300]), brokenReader{cause})); !errors.Is(err, cause) || errors.Is(err, albs.Invalid) {
		t.Errorf("of a reader that fails: %v", err)
	}
}

func numbered(n int) (b []byte) {
	for i := range n {
		b = fmt.Appendf(b, "%06d\x00", i)
	}
	return b
}

// FuzzCompareBuilds: whatever the second package is, the comparison with a good one ends,
// with a bounded answer or an Invalid error, and a package equals itself.
func FuzzCompareBuilds(f *testing.F) {
	good := fixture(f, richRPM)
	f.Add(good)
	for _, m := range mutations {
		f.Add(m.spoil(bytes.Clone(good), 4504))
	}
	for _, at := range []int{5000, 6000, 7000, 7800} {
		b := bytes.Clone(good)
		b[at] ^= 1
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := CompareBuilds(bytes.NewReader(good), bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, albs.Invalid) {
				t.Fatalf("%v is not Invalid", err)
			}
			return
		}
		if (got.Match == Different) != (len(got.Differing) > 0) || len(got.Differing) > maxDifferences+1 {
			t.Fatalf("%s with %d differences", got.Match, len(got.Differing))
		}
		same, err := CompareBuilds(bytes.NewReader(b), bytes.NewReader(b))
		if diff := cmp.Diff(Comparison{Match: BitIdentical}, same); err != nil || diff != "" {
			t.Fatalf("with itself: %v\n%s", err, diff)
		}
	})
}
