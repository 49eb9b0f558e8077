package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/repodata/record"
)

func TestModules(t *testing.T) {
	t.Parallel()
	const x86, src, label = albs.X8664, albs.Src, "nodejs:18:8090:abcd"
	modular := func(s, label string, arch albs.Arch) Candidate {
		c := candidate(t, s, arch)
		c.Module = label
		return c
	}
	stream := func(s, version string, packages ...string) record.Stream {
		name, stream, _ := strings.Cut(s, ":")
		out := record.Stream{Name: name, Stream: stream, Version: version, Context: "abcd"}
		for _, p := range packages {
			out.Packages = append(out.Packages, nevra(t, p))
		}
		return out
	}
	node := []Candidate{modular("nodejs-1:18-1.x86_64", label, x86), modular("nodejs-debuginfo-1:18-1.x86_64", label, x86), modular("nodejs-1:18-1.src", label, src)}
	for _, tt := range []struct {
		name     string
		packages []Candidate
		have     []record.Stream // what os/x86_64 is to have
		shown    []record.Stream
		want     []string // streams: action, name, stream, version and packages
		refused  string   // a part of the only refusal
	}{
		{name: "with its stream", packages: node, have: []record.Stream{stream("nodejs:18", "8090", "nodejs-1:18-1.x86_64")}, want: []string{"add nodejs:18 8090 1"}},
		{
			name: "with a new version of it, beside others", packages: node, have: []record.Stream{stream("nodejs:18", "8080"), stream("nodejs:18", "8090", "nodejs-1:18-1.x86_64"), stream("php:8", "1")},
			shown: []record.Stream{stream("nodejs:18", "8080"), stream("php:8", "1"), stream("old:1", "1")}, want: []string{"add nodejs:18 8090 1", "remove old:1 1 0"},
		},
		{
			name: "of a stream that is shown", packages: node, have: []record.Stream{stream("nodejs:18", "8080", "nodejs-1:18-1.x86_64")}, shown: []record.Stream{stream("nodejs:18", "8080")},
			want: []string{" nodejs:18 8080 1"},
		},
		{name: "without modules", packages: node, refused: "it is of the module nodejs:18, and the modules of os/x86_64 don't have that stream"},
		{
			name: "without its stream", packages: node, have: []record.Stream{stream("nodejs:20", "1", "nodejs-1:18-1.x86_64")}, want: []string{"add nodejs:20 1 1"},
			refused: "don't have that stream",
		},
		{
			name: "not in its stream", packages: node, have: []record.Stream{stream("nodejs:18", "1", "nodejs-1:18-2.x86_64")}, want: []string{"add nodejs:18 1 0"},
			refused: "have that stream and don't list it",
		},
		{name: "with a label that is none", packages: []Candidate{modular("a-1-1.x86_64", "a", x86)}, refused: "not name:stream:version:context"},
		{name: "of no module", packages: []Candidate{candidate(t, "a-1-1.x86_64", x86)}, have: []record.Stream{stream("nodejs:18", "1")}, shown: []record.Stream{stream("nodejs:18", "1")}},
	} {
		f := facts(tt.packages...)
		f.Streams = map[string][]record.Stream{"os/x86_64": tt.have}
		f.Shown = map[string]Shown{"os/x86_64": {Streams: tt.shown}}
		p := Make(f)
		var got []string
		for _, r := range p.Repositories {
			for _, m := range r.Modules {
				got = append(got, fmt.Sprintf("%s %s:%s %s %d", m.Action, m.Name, m.Stream, m.Version, m.Packages))
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if (tt.refused == "") != (len(p.Refusals) == 0) || len(p.Refusals) > 1 || tt.refused != "" && !strings.Contains(p.Refusals[0].Reason, tt.refused) {
			t.Errorf("%s: refused with %v, want %q", tt.name, p.Refusals, tt.refused)
		}
	}
}
