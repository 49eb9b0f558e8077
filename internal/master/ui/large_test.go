package ui

import (
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/master/build"
)

// TestLargeBuild holds the page of a build of 400 tasks to its share of what a page of
// 1,000 may have.
func TestLargeBuild(t *testing.T) {
	t.Parallel()
	f := setup(t)
	one := f.create()
	f.create(slices.Repeat([]build.Package{{SRPM: one.Items[0].SRPM.Digest}}, 200)...)
	anon := f.browse("")
	anon.page("/build/2")
	r := anon.request(http.MethodGet, "/build/2", nil)
	r.Header.Set("Accept-Encoding", "gzip") // by hand: the client then doesn't unpack
	start := time.Now()
	a := anon.do(r)
	took := time.Since(start)
	if a.Header.Get("Content-Encoding") != "gzip" || len(a.text) > 40<<10 {
		t.Errorf("the page is %q and has %d bytes", a.Header.Get("Content-Encoding"), len(a.text))
	}
	z, err := gzip.NewReader(strings.NewReader(a.text))
	must(t, err)
	page, err := io.ReadAll(z)
	must(t, err)
	if n := strings.Count(string(page), "/build/2/task/"); n != 400 {
		t.Errorf("the page has %d tasks", n)
	}
	t.Logf("400 tasks: %v, %d bytes, %d unpacked", took, len(a.text), len(page))
}
