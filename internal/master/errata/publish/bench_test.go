package publish

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/errata"
	"albs/internal/master/release/plan"
	"albs/internal/repodata"
)

// BenchmarkShare is what all outputs cost after one new advisory, beside none, 500 and 5,000
// that are shown. Beside it stands what it takes to hash and store the bytes alone that
// differ then, which are those of files over all for the most part.
func BenchmarkShare(b *testing.B) {
	for _, n := range []int{0, 500, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := openWith(b, dbtest.Open(b, dbtest.SQLite(b)))
			f.showMany(n)
			hello := f.hold("hello.x86_64", os9)
			var times, bare []time.Duration
			var stored int
			var used time.Duration
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				k := errata.Key{ID: fmt.Sprintf("ALSA-2026:%d", 90_000+i), Platform: "el9"}
				f.advise(k, hello)
				f.at = f.at.Add(time.Second)
				before := cpu(b)
				b.StartTimer()
				begun := time.Now()
				s, err := f.Share(b.Context(), f.ask(want(k)...))
				times = append(times, time.Since(begun))
				b.StopTimer()
				used += cpu(b) - before
				f.must(err)
				if len(s.Items) != 1 {
					b.Fatalf("%d items, refused: %v", len(s.Items), s.Refusals)
				}
				took, bytes := f.store(s)
				bare, stored = append(bare, took), stored+bytes
				b.StartTimer()
			}
			b.ReportMetric(used.Seconds()*1000/float64(len(times)), "cpu-ms")
			b.ReportMetric(median(times), "median-ms")
			b.ReportMetric(median(bare), "stored-ms")
			b.ReportMetric(float64(stored)/1e6/float64(len(bare)), "stored-MB")
		})
	}
}

// showMany has the tree show so many advisories.
func (f *fixture) showMany(n int) {
	f.t.Helper()
	o := f.outcome(f.t.Context(), f.tree)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		a := advisorytest.Random(r, i)
		a.Platform, a.Version, a.Withdrawn = "el9", 1, nil
		for j := range a.Packages {
			a.Packages[j].Repository = []string{os9, weak9}[j%2]
		}
		f.tree.Files = append(f.tree.Files, o.keep("errata/el9/advisories/"+advisory.FileName(a.ID)+".json", a.Normal().Encode()))
	}
	f.must(o.stored())
	s := f.share()
	f.records = s.Records
	f.tree.Files = nil
	for _, file := range s.Files {
		f.tree.Files = append(f.tree.Files, file.TreeFile)
		if file.Sign {
			f.tree.Files = append(f.tree.Files, repodata.TreeFile{Path: file.Signature(), Digest: file.Digest})
		}
	}
}

// store stores files as large as those that a share has more than what is shown, and returns
// how long that takes and how many bytes they have.
func (f *fixture) store(s plan.Share) (time.Duration, int) {
	f.t.Helper()
	var all [][]byte
	total := 0
	more := func(size int64) {
		b := make([]byte, size)
		for i := 0; i+8 <= len(b); i += 8 {
			binary.NativeEndian.PutUint64(b[i:], rand.Uint64())
		}
		all, total = append(all, b), total+len(b)
	}
	for _, c := range s.DiffFiles(f.tree.Files) {
		if c.Action == plan.Add {
			more(c.Size)
		}
	}
	for path, records := range s.Records {
		if !slices.Equal(records, f.records[path]) {
			more(records[0].Size)
		}
	}
	begun := time.Now()
	o := f.outcome(f.t.Context(), repodata.Tree{})
	for _, b := range all {
		o.keep("", b)
	}
	f.must(o.stored())
	return time.Since(begun), total
}

// median returns the median in milliseconds.
func median(of []time.Duration) float64 {
	s := slices.Sorted(slices.Values(of))
	return s[len(s)/2].Seconds() * 1000
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
