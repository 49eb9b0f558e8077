package rebuild

import (
	"errors"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/build/statement"
	"albs/internal/master/db"
	"albs/internal/master/fleet"
	"albs/internal/master/queue"
)

// TestAgree: what package build states of a spec agrees with it, and with no other.
func TestAgree(t *testing.T) {
	t.Parallel()
	d := func(s string) albs.Digest { return albs.DigestOf([]byte(s)) }
	spec := func(change func(*albs.BuildSpec)) albs.BuildSpec {
		s := albs.BuildSpec{
			SRPM: albs.File{Name: "a.src.rpm", Digest: d("srpm")}, Arch: albs.X8664,
			Switches: albs.Switches{With: []string{"x"}, Without: []string{"y"}, Define: map[string]string{"z": "1"}},
			Root:     albs.Root{Macros: map[string]string{"dist": ".el9"}, Excludes: []string{"e"}, Modules: []string{"m:1"}, Repos: []albs.Repo{{ID: "build", Snapshot: d("snapshot"), Own: true}, {ID: "base", Mirror: "https://m", Repomd: d("repomd")}}},
		}
		change(&s)
		return s
	}
	said := statement.Run{Origin: statement.Origin{SRPM: d("srpm"), SRPMName: "a.src.rpm"}, Spec: spec(func(*albs.BuildSpec) {}), Record: d("record")}.Build()
	if record, err := agree(spec(func(*albs.BuildSpec) {}), said); err != nil || record != d("record") {
		t.Errorf("agree = %s, %v", record, err)
	}
	for what, change := range map[string]func(*albs.BuildSpec){
		"the source package":  func(s *albs.BuildSpec) { s.SRPM.Digest = d("other") },
		"the arch":            func(s *albs.BuildSpec) { s.Arch = albs.I686 },
		"the options":         func(s *albs.BuildSpec) { s.With = nil },
		"the root's packages": func(s *albs.BuildSpec) { s.Root.Modules = nil },
		"the macros":          func(s *albs.BuildSpec) { s.Root.Macros = map[string]string{"dist": ".el8"} },
		"the network":         func(s *albs.BuildSpec) { s.Root.Network = true },
		"repository base":     func(s *albs.BuildSpec) { s.Root.Repos[1].Repomd = d("later") },
		"repository build":    func(s *albs.BuildSpec) { s.Root.Repos[0].Snapshot = d("later") },
		"repository more": func(s *albs.BuildSpec) {
			s.Root.Repos = append(s.Root.Repos, albs.Repo{ID: "more", Snapshot: d("more")})
		},
	} {
		if _, err := agree(spec(change), said); !errors.Is(err, albs.Conflict) || !strings.HasSuffix(err.Error(), what) {
			t.Errorf("with another %s: %v", what, err)
		}
	}
	define := spec(func(s *albs.BuildSpec) { s.Define = map[string]string{"z": "2"} })
	if _, err := agree(define, said); !errors.Is(err, albs.Conflict) {
		t.Errorf("with another macro: %v", err)
	}
	if _, err := agree(spec(func(*albs.BuildSpec) {}), attest.BuildBody{}); !errors.Is(err, albs.Conflict) {
		t.Errorf("without a record: %v", err)
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	needs := []string{"arch:x86_64", "kind:rebuild"}
	node := func(name string, change func(*queue.Worker)) queue.Worker {
		w := queue.Worker{Alive: true, Worker: fleet.Worker{Name: name, Labels: []string{"arch:aarch64", "arch:x86_64", "kind:rebuild"}}}
		change(&w)
		return w
	}
	fine := func(*queue.Worker) {}
	now := db.At(time.Now())
	for name, c := range map[string]struct {
		r       Request
		workers []queue.Worker
		want    string
		kind    albs.Kind
	}{
		"another is there":        {Request{}, []queue.Worker{node("east", fine), node("west", fine)}, "worker!=east", ""},
		"the one alone":           {Request{}, []queue.Worker{node("east", fine)}, "", ""},
		"nobody":                  {Request{}, nil, "", ""},
		"another is away":         {Request{}, []queue.Worker{node("east", fine), node("west", func(w *queue.Worker) { w.Alive = false })}, "", ""},
		"another is drained":      {Request{}, []queue.Worker{node("west", func(w *queue.Worker) { w.Drained = now })}, "", ""},
		"another is barred":       {Request{}, []queue.Worker{node("west", func(w *queue.Worker) { w.Quarantined = now })}, "", ""},
		"another can't":           {Request{}, []queue.Worker{node("west", func(w *queue.Worker) { w.Labels = []string{"arch:aarch64", "kind:rebuild"} })}, "", ""},
		"a named one":             {Request{Node: "east"}, []queue.Worker{node("east", fine), node("west", fine)}, "worker=east", ""},
		"a named one that's away": {Request{Node: "west"}, []queue.Worker{node("west", func(w *queue.Worker) { w.Alive = false })}, "worker=west", ""},
		"a named one that can't":  {Request{Node: "west"}, []queue.Worker{node("west", func(w *queue.Worker) { w.Labels = nil })}, "", albs.Invalid},
		"an unheard one":          {Request{Node: "north"}, []queue.Worker{node("west", fine)}, "", albs.NotFound},
		"not a named one":         {Request{NotNode: "west"}, []queue.Worker{node("west", fine)}, "worker!=west", ""},
	} {
		got, err := place(c.r, "east", needs, c.workers)
		if got != c.want || albs.KindOf(err) != c.kind {
			t.Errorf("%s: %q, %v; want %q, kind %q", name, got, err, c.want, c.kind)
		}
	}
}
