package place

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/platform"
	"albs/internal/master/platform/reference"
	"albs/internal/rpm"
)

func nevra(t *testing.T, s string) rpm.NEVRA {
	t.Helper()
	n, err := rpm.ParseNEVRA(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestMatchOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		asked, listed string
		want          Match
	}{
		{"1.0-5.el9", "1.0-5.el9", Exact},
		{"0:1.0-5.el9", "1.0-5.el9", Exact},
		{"1.0-5.el9.alma.1", "1.0-5.el9_2", Closest},
		{"1.0-5", "1.0-5.el9", Closest},
		{"1.0-6.el9", "1.0-5.el9", NameVersion},
		{"1.1-5.el9", "1.0-5.el9", Name},
		{"1:1.0-5.el9", "1.0-5.el9", Name},
		{"1.0~rc1-5.el9", "1.0-5.el9", Name},
	} {
		asked, listed := nevra(t, "a-"+tt.asked+".x86_64").EVR(), nevra(t, "a-"+tt.listed+".x86_64").EVR()
		if got := MatchOf(asked, listed); got != tt.want {
			t.Errorf("MatchOf(%s, %s) = %s, want %s", tt.asked, tt.listed, got, tt.want)
		}
	}
}

// listings reads "place arch priority nevra source", one a line.
func listings(t *testing.T, lines ...string) []reference.Listing {
	t.Helper()
	var out []reference.Listing
	for _, l := range lines {
		f := strings.Fields(l + " ")
		listing := reference.Listing{Reference: platform.Reference{Place: f[0], Arch: albs.Arch(f[1])}, NEVRA: nevra(t, f[3])}
		listing.Reference.Priority = int(f[2][0] - '0')
		if len(f) > 4 {
			listing.Source = f[4]
		}
		out = append(out, listing)
	}
	return out
}

func TestFind(t *testing.T) {
	t.Parallel()
	all := listings(t,
		"BaseOS x86_64 0 a-1-1.x86_64 a", "AppStream x86_64 0 a-2-1.x86_64 a",
		"BaseOS x86_64 0 moved-1-1.x86_64 moved", "AppStream aarch64 0 moved-2-1.aarch64 moved",
		"BaseOS x86_64 0 multi-1-1.x86_64 multi", "CRB x86_64 0 multi-1-1.i686 multi",
		"BaseOS x86_64 0 both-1-1.noarch both", "CRB x86_64 0 both-1-1.noarch both",
		"BaseOS x86_64 0 prio-1-1.x86_64 prio", "CRB x86_64 5 prio-1-2.x86_64 prio", "Extras x86_64 5 prio-3-1.x86_64 prio",
		"CRB s390x 0 strong-1-1.s390x strong", "BaseOS x86_64 0 strong-1-1.x86_64 strong",
		"AppStream x86_64 0 lib-1-1.x86_64 tool",
		"CRB src 0 tool-1-1.src", "BaseOS x86_64 0 tool-1-1.x86_64 tool",
		"Debug x86_64 0 own-debuginfo-1-1.x86_64 own", "BaseOS x86_64 0 own-1-1.x86_64 own",
	)
	for _, tt := range []struct {
		name, ask    string
		arch, strong albs.Arch
		want         string // places, match and by whom
	}{
		{"the same version", "a-1-1.x86_64", albs.X8664, "", "BaseOS exact a-1-1.x86_64"},
		{"the other one", "a-2-1.x86_64", albs.X8664, "", "AppStream exact a-2-1.x86_64"},
		{"another version: the newest", "a-3-1.x86_64", albs.X8664, "", "AppStream name a-2-1.x86_64"},
		{"a better match of another arch", "moved-2-1.x86_64", albs.X8664, "", "AppStream exact moved-2-1.aarch64"},
		{"its own arch of two", "multi-1-1.i686", albs.X8664, "", "CRB exact multi-1-1.i686"},
		{"and the other", "multi-1-1.x86_64", albs.X8664, "", "BaseOS exact multi-1-1.x86_64"},
		{"in two places", "both-1-1.noarch", albs.X8664, "", "BaseOS,CRB exact both-1-1.noarch"},
		{"a lower priority before a newer version", "prio-9-1.x86_64", albs.X8664, "", "BaseOS name prio-1-1.x86_64"},
		{"a better match before a lower priority", "prio-1-2.x86_64", albs.X8664, "", "CRB exact prio-1-2.x86_64"},
		{"an arch that another one follows", "strong-1-1.x86_64_v2", albs.X8664v2, albs.X8664, "BaseOS exact strong-1-1.x86_64"},
		{"a source package", "tool-1-1.src", albs.Src, "", "CRB exact tool-1-1.src"},
		{"a source package by its packages", "own-1-2.src", albs.Src, "", "BaseOS,Debug name and version own-1-1.x86_64"},
		{"a package that has the name of a source package only", "CRB-1-1.x86_64", albs.X8664, "", ""},
		{"debug data by its package", "lib-debuginfo-1-1.x86_64", albs.X8664, "", "AppStream exact lib-1-1.x86_64"},
		{"debug data that is listed", "own-debuginfo-1-1.x86_64", albs.X8664, "", "Debug exact own-debuginfo-1-1.x86_64"},
		{"debug source by its source package", "tool-debugsource-1-1.x86_64", albs.X8664, "", "BaseOS exact tool-1-1.x86_64"},
		{"nothing", "other-1-1.x86_64", albs.X8664, "", ""},
	} {
		for _, order := range []string{"", " backwards"} {
			in := append([]reference.Listing(nil), all...)
			if order != "" {
				for i := range in {
					in[i] = all[len(all)-1-i]
				}
			}
			f := NewIndex(in).Find(Package{NEVRA: nevra(t, tt.ask), Arch: tt.arch, Strong: tt.strong})
			got := ""
			if len(f.Places) > 0 {
				got = strings.Join(f.Places, ",") + " " + f.Match.String() + " " + f.By.String()
			}
			if got != tt.want {
				t.Errorf("%s%s: found %q, want %q", tt.name, order, got, tt.want)
			}
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"a": {"a"}, "a-debuginfo": {"a-debuginfo", "a"}, "a-debugsource": {"a-debugsource", "a"},
		"a-debuginfo-common": {"a-debuginfo-common", "a-common"}, "a-debuginfos": {"a-debuginfos"},
	} {
		if diff := cmp.Diff(want, Names(rpm.NEVRA{Name: name})); diff != "" {
			t.Errorf("Names(%s) (-want +got):\n%s", name, diff)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	decide := func(action Action, pkg, to string) Decision {
		return Decision{Action: action, Package: pkg, To: to, Reason: "it belongs there"}
	}
	const a, b = "a-1-1.x86_64", "b-1:2-1.noarch"
	for _, tt := range []struct {
		name string
		all  []Decision
		want string // a part of the error, "" for none
	}{
		{"none", nil, ""},
		{"each", []Decision{decide(Move, a, "CRB"), decide(Add, a, "os/x86_64"), decide(Add, a, "BaseOS"), decide(Exclude, b, "")}, ""},
		{"added and then moved", []Decision{decide(Add, a, "BaseOS"), decide(Move, a, "CRB")}, ""},
		{"moved twice", []Decision{decide(Move, a, "CRB"), decide(Move, a, "BaseOS")}, "can't both be"},
		{"moved and added to one place", []Decision{decide(Move, a, "CRB"), decide(Add, a, "CRB")}, "can't both be"},
		{"added twice", []Decision{decide(Add, a, "CRB"), decide(Add, a, "CRB")}, "can't both be"},
		{"excluded and added", []Decision{decide(Exclude, a, ""), decide(Add, a, "CRB")}, "to exclude and to add CRB can't both be"},
		{"moved and excluded", []Decision{decide(Move, a, "CRB"), decide(Exclude, a, "")}, "can't both be"},
		{"no package", []Decision{decide(Move, "a", "CRB")}, "is not name-[epoch:]version"},
		{"an epoch of 0", []Decision{decide(Move, "a-0:1-1.x86_64", "CRB")}, "write it as the plan does, a-1-1.x86_64"},
		{"no such action", []Decision{decide("burn", a, "CRB")}, "is none of"},
		{"moved nowhere", []Decision{decide(Move, a, "")}, "takes a repository or a place"},
		{"excluded to somewhere", []Decision{decide(Exclude, a, "CRB")}, "takes a repository or a place"},
		{"to two lines", []Decision{decide(Move, a, "CRB\nx")}, "neither the path"},
		{"no reason", []Decision{{Action: Exclude, Package: a}}, "give the reason"},
		{"a reason of two lines", []Decision{{Action: Exclude, Package: a, Reason: "a\nb"}}, "give the reason"},
		{"too many", make([]Decision, MaxDecisions+1), "at most 1000"},
	} {
		err := Check(tt.all)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Check = %v, want %q", tt.name, err, tt.want)
		}
	}
}
