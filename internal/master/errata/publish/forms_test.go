package publish

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/advisory/update"
	"albs/internal/albs"
	intake "albs/internal/master/errata/forms"
	"albs/internal/master/platform"
	"albs/internal/repodata/updateinfo"
)

// TestZones: an advisory whose times came with another zone than UTC is the same in all forms.
func TestZones(t *testing.T) {
	t.Parallel()
	d := advisorytest.Distribution()
	far := time.FixedZone("far", 13*3600+45*60)
	for n := range advisorytest.Rounds(40) {
		a := advisorytest.Random(rand.New(rand.NewPCG(23, uint64(n))), n)
		b := a
		b.Issued, b.Updated = a.Issued.In(far), a.Updated.In(far)
		b.CVEs = append([]advisory.CVE(nil), a.CVEs...)
		for i, c := range b.CVEs {
			if !c.Public.IsZero() {
				b.CVEs[i].Public = c.Public.In(far)
			}
		}
		b.VEX = append([]advisory.VEX(nil), a.VEX...)
		for i := range b.VEX {
			b.VEX[i].At = b.VEX[i].At.In(far)
		}
		if a.Withdrawn != nil {
			b.Withdrawn = &advisory.Withdrawal{At: a.Withdrawn.At.In(far), Reason: a.Withdrawn.Reason}
		}
		var before, beforeFar []earlier
		for i := range a.Version - 1 {
			at := a.Issued.Add(-time.Duration(a.Version-i) * time.Hour)
			before, beforeFar = append(before, earlier{at}), append(beforeFar, earlier{at.In(far)})
		}
		for _, f := range forms {
			files, piece, err := f.make(a, d, before)
			if err != nil {
				t.Fatal(err)
			}
			filesFar, pieceFar, err := f.make(b, d, beforeFar)
			if err != nil {
				t.Fatal(err)
			}
			if len(files) != len(filesFar) || !bytes.Equal(piece.Bytes, pieceFar.Bytes) || !piece.Updated.Equal(pieceFar.Updated) {
				t.Fatalf("%s of %s is\n%s\nand\n%s", f.name, a.ID, piece.Bytes, pieceFar.Bytes)
			}
			for i := range files {
				if files[i].Path != filesFar[i].Path || !bytes.Equal(files[i].Bytes, filesFar[i].Bytes) {
					t.Fatalf("%s of %s is\n%s\nand\n%s", files[i].Path, a.ID, files[i].Bytes, filesFar[i].Bytes)
				}
			}
		}
		u, ok := update.Whole(a)
		v, okFar := update.Whole(b)
		if !ok && !okFar {
			continue // it is withdrawn
		}
		p, err := updateinfo.Make(u)
		if err != nil {
			t.Fatal(err)
		}
		q, err := updateinfo.Make(v)
		if err != nil || !bytes.Equal(p.Plain, q.Plain) {
			t.Fatalf("updateinfo of %s is\n%s\nand\n%s (%v)", a.ID, p.Plain, q.Plain, err)
		}
	}
}

// odd are values that stand where others are looked for.
var odd = []any{
	nil, true, "", "0", -1, 1e300, "../x", "CVE-2026-20001", "CVE-1", "9999-12-31T23:59:59Z", "0001-01-01", "javascript:x", "\x00", "\xff", "\u2028", "\uffff", "a:b:c:d:e", "src",
	"1:1-1", "ALSA-2026:1", "Important: x", ": ", "]]>", "pkg:rpm/a/b@1-1?arch=x86_64", []any{}, map[string]any{},
}

// spoil returns a JSON value in which here and there something else stands, is gone, or is
// there twice; seen are the values that may stand elsewhere.
func spoil(r *rand.Rand, v any, seen *[]any) any {
	if r.IntN(60) == 0 {
		from := odd
		if len(*seen) > 0 && r.IntN(2) == 0 {
			from = *seen
		}
		return from[r.IntN(len(from))]
	}
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if r.IntN(80) > 0 {
				out[k] = spoil(r, v[k], seen)
			}
		}
		return out
	case []any:
		var out []any
		for _, x := range v {
			for range 1 + r.IntN(30)/29 {
				out = append(out, spoil(r, x, seen))
			}
		}
		return out
	}
	*seen = append(*seen, v)
	return v
}

// TestWhateverCameIn: an advisory that was read of a file, however broken that is, can be
// told in every form; what can't be is not read.
func TestWhateverCameIn(t *testing.T) {
	t.Parallel()
	p := platform.Platform{}
	p.Name, p.Errata.CPE, p.Errata.Upstream = advisorytest.Platform, "cpe:/o:almalinux:almalinux:9", []string{"cpe:/a:redhat:enterprise_linux:8", "cpe:/o:redhat:enterprise_linux:8", "cpe:/o:suse:sle-module-basesystem:15"}
	d := advisorytest.Distribution()
	for name, files := range map[string][]string{
		"csaf": {"csaf/testdata/rhsa.json", "csaf/testdata/vex.json", "csaf/testdata/suse.json", "csaf/testdata/alsa-2026_1234.json"},
		"osv":  {"osv/testdata/alma.json", "osv/testdata/rocky.json", "osv/testdata/ALSA-2026-1234.json"}, "errata.json": {"erratajson/testdata/alma.json", "erratajson/testdata/alma.full.json"},
	} {
		r := rand.New(rand.NewPCG(29, 31))
		taken := 0
		for n := range advisorytest.Rounds(400) {
			b, err := os.ReadFile("../../../advisory/" + files[n%len(files)])
			if err != nil {
				t.Fatal(err)
			}
			var doc any
			in := json.NewDecoder(bytes.NewReader(b))
			in.UseNumber() // versions of modules are long
			if err := in.Decode(&doc); err != nil {
				t.Fatal(err)
			}
			if b, err = json.Marshal(spoil(r, doc, &[]any{})); err != nil {
				t.Fatal(err)
			}
			as, _, err := intake.Read(bytes.NewReader(b), name, p)
			if k := albs.KindOf(err); err != nil && k != albs.Invalid && k != albs.TooLarge {
				t.Fatalf("%s: %v of %s", name, err, b)
			}
			for _, a := range as {
				taken++
				if a.Version = 1; !bytes.Equal(a.Encode(), a.Normal().Encode()) || a.Check() != nil {
					t.Fatalf("%s: %s isn't in order, %v, of %s", name, a.Encode(), a.Check(), b)
				}
				for _, f := range forms {
					if _, _, err := f.make(a, d, nil); err != nil {
						t.Fatalf("%s: as %s: %v of %s, of %s", name, f.name, err, a.Encode(), b)
					}
				}
				if u, ok := update.Whole(a); ok {
					if _, err := updateinfo.Make(u); err != nil {
						t.Fatalf("%s: as updateinfo: %v of %s, of %s", name, err, a.Encode(), b)
					}
				}
			}
		}
		if taken < 5 {
			t.Errorf("of %s only %d advisories were read", name, taken)
		}
	}
}
