package e2etest

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/client"
)

// chained is a spec whose build wants the word that the package before it brought, and
// hands it on; requires are its BuildRequires.
func chained(name, before, word, requires, more string) string {
	build := "echo " + word + " > value"
	if before != "" {
		build = "grep -q " + word + " /usr/share/" + before + "/value && cp /usr/share/" + before + "/value ."
	}
	return fmt.Sprintf(`Name: %[1]s
Version: 1.0
Release: 1%%{?dist}
Summary: %[1]s
License: MIT
BuildArch: noarch
%[4]s
%[3]s
%%description
%[1]s
%%package devel
Summary: %[1]s for builds
%%description devel
%[1]s for builds
%%prep
%%setup -q -c -T
%%build
%[2]s
%%install
install -D -m644 value %%{buildroot}/usr/share/%[1]s/value
%%files devel
/usr/share/%[1]s/value
`, name, build, requires, more)
}

// TestOrder: three packages that need each other by different words, submitted the wrong
// way round together with one that is for another arch, are built in the order in which
// they need each other, each against the new one; the printed schedule says so. One is
// made again from a fresh SRPM, and the build is done once more and deleted.
func TestOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serve("albs", ordinary(t), allRoles, nil)
	s.people()
	s.tiny()
	s.product("tiny")
	word := rand.Text()
	spec := func(name, before, requires, more string) string {
		return s.forge.spec(t, name, chained(name, before, word, requires, more))
	}
	id := s.build("tiny",
		spec("ordertop", "ordermid", "BuildRequires: ordermid-devel >= 1.0", ""),
		spec("ordernever", "", "BuildRequires: orderlow-devel", "ExclusiveArch: s390x"),
		spec("ordermid", "orderlow", "BuildRequires: /usr/share/orderlow/value", ""),
		spec("orderlow", "", "", ""))
	b := s.built(id)
	s.inOrder(id)

	for _, task := range b.Tasks {
		if excluded := task.Package == "ordernever" && task.Kind == albs.KindBuild; excluded != (task.State == albs.TaskExcluded) || excluded && (task.Attempts != 0 || !strings.Contains(task.Reason, "ExclusiveArch")) {
			t.Errorf("the %s of %s is %s after %d attempts: %s", task.Kind, task.Package, task.State, task.Attempts, task.Reason)
		}
	}
	graphs := ask[[]client.Graph](s, s.alice, "build", "graph", id)
	names := make(map[string]string)
	var edges []string
	for _, n := range graphs[0].Nodes {
		names[n.ID] = n.Package
	}
	for _, e := range graphs[0].Edges {
		edges = append(edges, names[e.From]+" needs "+names[e.To]+" for "+strings.Join(e.Requires, ", "))
	}
	want := []string{"ordertop needs ordermid for ordermid-devel >= 1.0", "ordermid needs orderlow for /usr/share/orderlow/value"}
	if len(graphs) != 1 || !slices.Equal(edges, want) {
		t.Errorf("the graph has %q, want %q", edges, want)
	}
	t.Logf("albs build graph\n%s", s.run(s.alice, "build", "graph", id))
	t.Logf("albs build schedule\n%s", s.run(s.alice, "build", "schedule", id))
	if dot := s.run(s.alice, "build", "graph", id, "--dot"); !strings.HasPrefix(dot, "digraph build_") || strings.Count(dot, "->") != 2 {
		t.Errorf("as Graphviz:\n%s", dot)
	}
	for _, it := range b.Items {
		if want := map[bool]string{true: "excluded", false: "succeeded"}[it.Package == "ordernever"]; it.State != want {
			t.Errorf("item %s is %s: %s", it.Package, it.State, it.Reason)
		}
	}

	// Once more from a fresh source package, by new tasks.
	mid := b.Items[slices.IndexFunc(b.Items, func(i client.BuildItem) bool { return i.Package == "ordermid" })]
	s.run(s.alice, "build", "retry", id, "--fresh", fmt.Sprint(int64(mid.ID)), "--wait")
	s.inOrder(id)
	again := s.show(id)
	for i, task := range again.Tasks {
		fresh := task.Package == "ordermid" && task.Kind != albs.KindImport
		if fresh == slices.ContainsFunc(b.Tasks, func(x client.Task) bool { return x.ID == task.ID }) {
			t.Errorf("task %d, the %s of %s, is new: %v", task.ID, task.Kind, again.Tasks[i].Package, !fresh)
		}
	}

	clone := ask[client.Build](s, s.alice, "build", "clone", id).ID.String()
	s.built(clone)
	s.inOrder(clone)
	s.run(s.alice, "build", "delete", clone)
	if a := s.try(s.alice, "build", "show", clone); a.code != 1 || !strings.Contains(a.stderr, "was deleted by alice at") {
		t.Errorf("show of a deleted build = %+v", a)
	}
	s.check("albs", "albs")
}

// inOrder wants that no step of a build was begun before all was done that it waited for,
// and that it succeeded.
func (s *site) inOrder(id string) {
	s.t.Helper()
	list := ask[[]client.Scheduled](s, s.alice, "build", "schedule", id)
	done := make(map[albs.TaskID]client.Scheduled)
	for _, x := range list {
		done[x.Task] = x
	}
	for _, x := range list {
		for _, before := range x.After {
			b := done[before]
			if x.Started.IsZero() && x.State == albs.TaskExcluded {
				continue
			}
			if x.Started.Before(b.Finished) || b.Finished.IsZero() || b.State != albs.TaskSucceeded && b.State != albs.TaskExcluded {
				s.t.Errorf("%s was begun at %v; %s, which it waited for, was %s at %v", x.Label, x.Started, b.Label, b.State, b.Finished)
			}
		}
	}
}
