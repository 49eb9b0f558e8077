package trust

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/ledger"
	"albs/internal/master/build/statement"
	"albs/internal/master/provenance"
	"albs/internal/master/source/notary"
	"albs/internal/master/trace"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/page/pagetest"
)

func sample(name string) trace.Trace {
	d, e := albs.DigestOf([]byte("a")), albs.DigestOf([]byte("b"))
	return trace.Trace{
		Asked: name, Cut: true,
		Nodes: []trace.Node{
			{ID: name, Kind: trace.Commit, Name: name},
			{ID: string(d), Kind: trace.SRPM, Name: name, SHA256: d, NEVRA: name, Record: provenance.Verified},
			{ID: string(e), Kind: trace.Package, Name: name, SHA256: e, Record: provenance.Failed, Trouble: name, Asked: true},
		},
		Links: []trace.Link{
			{To: string(d), Says: "sbom", Standing: provenance.Verified, Text: name},
			{From: name, To: string(d), Says: "source", Standing: provenance.Verified, Text: name, At: time.Now(), Receipt: &ledger.Receipt{TxID: 7}},
			{From: string(d), To: string(e), Says: "build", Standing: provenance.Failed, Trouble: name, Text: name},
			{To: string(e), Says: "test", Standing: provenance.Missing, Text: "nothing says that it was tested"},
			{To: string(e), Says: "test", Standing: provenance.Pending},
		},
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	offered := viewOf(sample(pagetest.Bad))
	offered.Things[1].Logged, offered.Things[1].Summarized = true, true
	offered.Actions = []page.Action{{URL: "/x", Label: "Rebuild", Sure: "Really", Leads: true}, {Label: "Rebuild", Why: pagetest.Bad}}
	all := statement.Builders(pagetest.Bad)
	offered.Things[1].Links[0].Builder = &all[0]
	builders := []any{builderView{}, builderView{All: all}}
	for _, b := range all {
		builders = append(builders, builderView{One: &b, All: all})
	}
	pagetest.Execute(t, Group(), map[string][]any{"builder": builders, "source": {
		sourceView{}, sourceView{Repositories: []notary.Repository{{URL: pagetest.Bad, Commits: 3, Last: time.Now()}}, More: "/source?after=x"},
		sourceView{URL: pagetest.Bad}, sourceView{URL: pagetest.Bad, More: "/source?before=1", Commits: []commit{{notary.Commit{Commit: pagetest.Bad, Ref: pagetest.Bad, Author: pagetest.Bad, Title: pagetest.Bad}, provenance.Pending}},
			Refs: []notary.RefState{{Ref: pagetest.Bad, Commit: pagetest.Bad, Previous: pagetest.Bad, Rewritten: true, Actor: pagetest.Bad}, {Ref: "refs/heads/a9"}}},
	}, "trace": {traceView{}, offered, viewOf(sample(pagetest.Bad)), viewOf(trace.Trace{Asked: "x", Whole: true})}})
}

func TestViewOf(t *testing.T) {
	t.Parallel()
	v := viewOf(sample("hello"))
	if v.Width == 0 || len(v.Lines) != 2 || v.Lines[1].Class != "bad" || v.Things[0].Box.Column != 0 || v.Things[2].Box.Column != 2 {
		t.Errorf("the picture is %+v", v)
	}
	if v.Things[1].Worst != provenance.Verified || v.Things[2].Worst != provenance.Failed || len(v.Things[2].Links) != 3 {
		t.Errorf("the things are %+v", v.Things)
	}
	if got := fmt.Sprint(v.Counts); got != "[{verified 2} {pending 1} {missing 1} {failed 1}]" {
		t.Errorf("the counts are %s", got)
	}
	many := sample("hello")
	for i := range maxPictured {
		many.Nodes = append(many.Nodes, trace.Node{ID: fmt.Sprint(i)})
	}
	if v := viewOf(many); v.Width != 0 || len(v.Things) != maxPictured+3 {
		t.Errorf("a trace of %d things has a picture", len(v.Things))
	}
}

// TestAsked: a rebuild is offered of the one package that a trace is of.
func TestAsked(t *testing.T) {
	t.Parallel()
	one := sample("hello")
	if got := asked(one); got != albs.DigestOf([]byte("b")) {
		t.Errorf("asked of a package = %s", got)
	}
	one.Nodes[2].Kind = trace.SRPM
	if got := asked(one); got != "" {
		t.Errorf("asked of a source package = %s", got)
	}
	one.Nodes[2].Kind = trace.Signed
	one.Nodes = append(one.Nodes, trace.Node{Kind: trace.Package, SHA256: albs.DigestOf([]byte("c")), Asked: true})
	if got := asked(one); got != "" {
		t.Errorf("asked of two packages = %s", got)
	}
}

// TestBuilderRoutes: a builder whose id is a URL has its page at that path, beside the one
// that every master has.
func TestBuilderRoutes(t *testing.T) {
	t.Parallel()
	r := chi.NewRouter()
	(&Pages{Server: &page.Server{}, Builders: statement.Builders("https://example.org/slsa")}).routeBuilders(r)
	var got []string
	if err := chi.Walk(r, func(_, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		got = append(got, route)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"apart", "together", "cached", "networked"} {
		for _, want := range []string{"/slsa/" + mode + "/v1", "/builder/" + mode + "/v1"} {
			if !slices.Contains(got, want) {
				t.Errorf("there is no page %s, only %v", want, got)
			}
		}
	}
}
