package roster

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/queue"
)

var since = db.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))

// sample is a worker of each state, by name.
func sample() []Worker {
	var identities []auth.Worker
	var known []queue.Worker
	for i, name := range []string{"a-idle", "b-busy", "c-away", "d-draining", "e-drained", "f-quarantined", "g-unseen", "h-disabled"} {
		id := auth.Worker{ID: albs.WorkerID(i + 1), Name: name}
		k := queue.Worker{Alive: true}
		k.ID = id.ID
		what := name[2:]
		switch what {
		case "away":
			k.Alive = false
		case "draining", "drained":
			k.Drained = since
		case "quarantined":
			k.Quarantined, k.Drained, k.Alive = since, since, false // what is worst is told
		case "disabled":
			id.DisabledAt, k.Quarantined = since, since
		}
		if what == "busy" || what == "draining" || what == "quarantined" {
			k.Runs = []queue.Task{{ID: 7}}
		}
		identities = append([]auth.Worker{id}, identities...) // their order doesn't matter
		if what != "unseen" {
			known = append(known, k)
		}
	}
	return join(identities, known)
}

func names(ws []Worker) string {
	var out []string
	for _, w := range ws {
		out = append(out, w.Name)
	}
	return strings.Join(out, " ")
}

func TestState(t *testing.T) {
	t.Parallel()
	seen := map[State]bool{}
	for _, w := range sample() {
		if want := State(w.Name[2:]); w.State() != want {
			t.Errorf("%s is %s", w.Name, w.State())
		}
		seen[w.State()] = true
	}
	for _, s := range States {
		if !seen[s] {
			t.Errorf("no sample is %s", s)
		}
	}
	if len(States) != len(seen) {
		t.Errorf("States has %d of %d", len(States), len(seen))
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		f    Filter
		want string
		more bool
	}{
		{"all", Filter{Limit: 8}, "a-idle b-busy c-away d-draining e-drained f-quarantined g-unseen h-disabled", false},
		{"without a bound", Filter{Limit: -1}, "a-idle b-busy c-away d-draining e-drained f-quarantined g-unseen h-disabled", false},
		{"the first", Filter{Limit: 2}, "a-idle b-busy", true},
		{"the next", Filter{Limit: 2, After: "b-busy"}, "c-away d-draining", true},
		{"the last", Filter{Limit: 2, After: "f-quarantined"}, "g-unseen h-disabled", false},
		{"behind the last", Filter{Limit: 2, After: "z"}, "", false},
		{"of a state", Filter{Limit: 2, State: Away}, "c-away", false},
		{"by name", Filter{Limit: 2, Name: "e-drained"}, "e-drained", false},
		{"by no name", Filter{Limit: 2, Name: "nope"}, "", false},
	} {
		p := choose(sample(), test.f)
		if names(p.Workers) != test.want || p.More != test.more {
			t.Errorf("%s: %q, more %t", test.name, names(p.Workers), p.More)
		}
		for _, s := range States {
			if p.Counts[s] != 1 {
				t.Errorf("%s: counts %v", test.name, p.Counts)
				break
			}
		}
	}
}

func TestLoads(t *testing.T) {
	t.Parallel()
	k := queue.Worker{Taken: queue.Room{Cores: 2, Memory: 1 << 30}}
	k.Room = queue.Room{Cores: 8, Disk: 5 << 30}
	want := []Load{{"cores", 2, 8}, {"disk", 0, 5 << 30}} // it doesn't tell its memory
	if diff := cmp.Diff(want, Worker{Known: &k}.Loads()); diff != "" {
		t.Errorf("Loads (-want +got):\n%s", diff)
	}
	if ls := (Worker{}).Loads(); ls != nil {
		t.Errorf("Loads of one that never asked = %v", ls)
	}
}
