package record

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/rpm"
)

func TestStreams(t *testing.T) {
	t.Parallel()
	const text = `---
document: modulemd
version: 2
data:
  name: nodejs
  stream: 1.10 # no number
  version: 8090020231010
  context: 1e10
  artifacts:
    rpms:
    - nodejs-1:18.2-1.module+el8.x86_64
    - not a package
---
document: modulemd-defaults
version: 1
data:
  module: nodejs
  stream: "18"
---
document: modulemd
version: 2
data: {name: empty, stream: "1"}
`
	want := []Stream{
		{Name: "nodejs", Stream: "1.10", Version: "8090020231010", Context: "1e10", Packages: []rpm.NEVRA{{Name: "nodejs", Epoch: 1, Version: "18.2", Release: "1.module+el8", Arch: "x86_64"}}},
		{Name: "empty", Stream: "1"},
	}
	files, err := Make("modules", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{text, string(files[0].Bytes)} {
		got, err := Streams(strings.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("streams (-want +got):\n%s", diff)
		}
	}
	if _, err := Streams(strings.NewReader("--- x")); albs.KindOf(err) != albs.Invalid {
		t.Errorf("Streams of what is none = %v", err)
	}
}

func FuzzStreams(f *testing.F) {
	f.Add("---\ndocument: modulemd\nversion: 2\ndata: {name: a, stream: 1, artifacts: {rpms: [a-0:1-1.noarch]}}\n")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := Streams(strings.NewReader(s)); err != nil && albs.KindOf(err) != albs.Invalid && albs.KindOf(err) != albs.TooLarge {
			t.Fatalf("kind %q: %v", albs.KindOf(err), err)
		}
	})
}
