package publish

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/errata"
	"albs/internal/repodata"
)

// BenchmarkShare is what all outputs cost after one new advisory, beside 500 and 5,000 that
// are shown.
func BenchmarkShare(b *testing.B) {
	for _, n := range []int{500, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := openWith(b, dbtest.Open(b, dbtest.SQLite(b)))
			o := f.outcome(b.Context(), f.tree)
			r := rand.New(rand.NewPCG(1, 2))
			for i := range n {
				a := advisorytest.Random(r, i)
				a.Platform, a.Version, a.Withdrawn = "el9", 1, nil
				for j := range a.Packages {
					a.Packages[j].Repository = []string{os9, weak9}[j%2]
				}
				text := a.Normal().Encode()
				f.tree.Files = append(f.tree.Files, o.keep("errata/el9/advisories/"+advisory.FileName(a.ID)+".json", text))
			}
			f.must(o.stored())
			s, err := f.Share(b.Context(), f.ask())
			f.must(err)
			f.tree.Files = nil
			for _, file := range s.Files {
				f.tree.Files = append(f.tree.Files, file.TreeFile)
				if file.Sign {
					f.tree.Files = append(f.tree.Files, repodata.TreeFile{Path: file.Signature(), Digest: file.Digest})
				}
			}
			hello := f.hold("hello.x86_64", os9)
			keys := make([]errata.Key, 0, 100)
			for i := range 100 {
				keys = append(keys, errata.Key{ID: fmt.Sprintf("ALSA-2026:9%03d", i), Platform: "el9"})
				f.advise(keys[i], hello)
			}
			used := cpu(b)
			i := 0
			for b.Loop() {
				f.at = f.at.Add(time.Second)
				s, err := f.Share(b.Context(), f.ask(want(keys[i%len(keys)])...))
				f.must(err)
				if len(s.Items) != 1 {
					b.Fatalf("%d items, refused: %v", len(s.Items), s.Refusals)
				}
				i++
			}
			b.ReportMetric((cpu(b)-used).Seconds()*1000/float64(i), "cpu-ms/op")
		})
	}
}

// cpu is how long this process has been computing.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
