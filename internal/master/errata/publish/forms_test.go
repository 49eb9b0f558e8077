package publish

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/advisory/update"
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
