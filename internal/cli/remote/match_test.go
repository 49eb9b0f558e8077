package remote

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestErrataMatchCommands(t *testing.T) {
	t.Parallel()
	const (
		sum = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		doc = `{"errata_id":"ALSA-2024:1","platform":"el9","stage":"needs build","wanted":3,"lacking":1,"open":1,"settled":1,"revision":4,
			"packages":[{"package":"bash-5-1.x86_64"},{"package":"bash-doc-5-1.noarch","excluded":true,"decided_by":"mia","reason":"only words"},{"package":"zsh-5-1.x86_64","lack":"nothing of zsh was built for el9"}],
			"matches":[{"wanted":"bash-5-1.x86_64","package":"bash-5-1.alma.x86_64","build_id":7,"sha256":"` + sum + `","status":"approved","strength":"equal","because":"build 7 has it","decided_by":"mia","reason":"tested"},
				{"wanted":"bash-5-1.x86_64","package":"bash-5-1.x86_64","build_id":6,"status":"skipped","strength":"exact","because":"build 6 has it"},
				{"package":"sh-1-1.noarch","build_id":6,"sha256":"` + sum + `","status":"proposal","strength":"by hand","because":"chosen by hand"}]}`
		shown = `ALSA-2024:1 of el9 is at revision 4: needs build (1 of 3 packages are settled)
WANTED               PACKAGE               BUILD  STATUS           WHY
bash-doc-5-1.noarch  -                     -      excluded by mia  only words
zsh-5-1.x86_64       -                     -      missing          nothing of zsh was built for el9
bash-5-1.x86_64      bash-5-1.alma.x86_64  7      approved by mia  tested; equal: build 7 has it
bash-5-1.x86_64      bash-5-1.x86_64       6      skipped          build 6 hasn't got it now; exact: build 6 has it
(added)              sh-1-1.noarch         6      proposal         by hand: chosen by hand
`
		one    = "/errata/ALSA-2024:1/"
		of     = "?platform=el9"
		decide = "POST " + one + "decisions/" + of
		each   = "POST /errata/decisions/"
		queue  = `{"counts":{"needs build":2,"needs match":1,"ready":0},"advisories":[{"errata_id":"ALSA-2024:1","platform":"el9","stage":"needs build","wanted":3,"lacking":1,"open":1,"settled":1}],"more":true}`
	)
	on := func(args ...string) []string { return append(args, "--platform", "el9") }
	decided := func(body string) []string { return []string{decide + ` {"revision":0,"decisions":[` + body + `]}`} }
	for _, tc := range []struct {
		name    string
		args    []string
		answers map[string][]answer
		want    result
		saw     []string
	}{
		{"match", on("match", "ALSA-2024:1"), map[string][]answer{"GET " + one + "matches/" + of: ok(doc)}, result{0, shown, ""}, nil},
		{"match anew", on("match", "ALSA-2024:1", "--reset"), map[string][]answer{"POST /errata/reset-matched-packages/?platform_id=el9&record_id=ALSA-2024%3A1": ok(`{}`), "GET " + one + "matches/" + of: ok(doc)},
			result{0, shown, ""}, []string{"POST /errata/reset-matched-packages/?platform_id=el9&record_id=ALSA-2024%3A1 {}"}},
		{"match without packages", on("match", "ALSA-2024:1"), map[string][]answer{"GET " + one + "matches/" + of: ok(`{"errata_id":"ALSA-2024:1","platform":"el9","stage":"needs match","revision":1}`)},
			result{0, "ALSA-2024:1 of el9 is at revision 1: needs match (0 of 0 packages are settled)\nit wants no package: add some with albs errata add\n", ""}, nil},
		{"match as JSON", on("match", "ALSA-2024:1", "--json"), map[string][]answer{"GET " + one + "matches/" + of: ok(`{"errata_id":"x"}`)}, result{0, "{\n  \"errata_id\": \"x\"\n}\n", ""}, nil},
		{"approve", on("approve", "ALSA-2024:1", "--build", "7", "--source", "bash", "--reason", "tested"), map[string][]answer{decide: ok(doc)}, result{0, shown, ""},
			decided(`{"action":"approve","build_id":7,"source":"bash","reason":"tested"}`)},
		{"approve what is proposed", on("approve", "ALSA-2024:1"), map[string][]answer{decide: ok(doc)}, result{0, shown, ""}, decided(`{"action":"approve"}`)},
		{"skip", on("skip", "ALSA-2024:1", "--wanted", "bash-5-1.x86_64", "--package", "bash-5-1.alma.x86_64"), map[string][]answer{decide: ok(doc)}, result{0, shown, ""},
			decided(`{"action":"skip","wanted":"bash-5-1.x86_64","package":"bash-5-1.alma.x86_64"}`)},
		{"propose, refused", on("propose", "ALSA-2024:1", "--build", "9"), map[string][]answer{decide: problem(404, "not_found", "there is no such match of build 9")},
			result{1, "", "albs: there is no such match of build 9; albs errata list shows all\n"}, decided(`{"action":"propose","build_id":9}`)},
		{"approve of several", on("approve", "ALSA-2024:1", "ALSA-2024:2"), map[string][]answer{each: ok(`[{"errata_record_id":"ALSA-2024:1","platform":"el9","ok":true,"revision":5},{"errata_record_id":"ALSA-2024:2","platform":"el9","ok":false,"error":"it is in progress"}]`)},
			result{1, "ID           PLATFORM  REVISION  WHY NOT\nALSA-2024:1  el9       5         -\nALSA-2024:2  el9       -         it is in progress\n", "albs: nothing was decided on 1 of 2 advisories\n"},
			[]string{each + ` [{"errata_record_id":"ALSA-2024:1","platform":"el9","decisions":[{"action":"approve"}]},{"errata_record_id":"ALSA-2024:2","platform":"el9","decisions":[{"action":"approve"}]}]`}},
		{"replace", on("replace", "ALSA-2024:1", "bash-5-1.x86_64", "bash-6-1.x86_64", "--build", "8", "--reason", "newer"), map[string][]answer{decide: ok(doc)}, result{0, shown, ""},
			decided(`{"action":"replace","wanted":"bash-5-1.x86_64","package":"bash-6-1.x86_64","build_id":8,"reason":"newer"}`)},
		{"replace for no reason", on("replace", "ALSA-2024:1", "a", "b", "--build", "8"), nil,
			result{2, "", "albs: --reason is missing\nusage: albs errata replace ID WANTED PACKAGE --build N --platform PLATFORM --reason TEXT [--json]\n"}, nil},
		{"add", on("add", "ALSA-2024:1", "sh-1-1.noarch", "--build", "8", "--reason", "a copy"), map[string][]answer{decide: ok(doc)}, result{0, shown, ""},
			decided(`{"action":"add","package":"sh-1-1.noarch","build_id":8,"reason":"a copy"}`)},
		{"exclude", on("exclude", "ALSA-2024:1", "a-1-1.noarch", "b-1-1.noarch", "--reason", "words"), map[string][]answer{decide: ok(doc)}, result{0, shown, ""},
			decided(`{"action":"exclude","wanted":"a-1-1.noarch","reason":"words"},{"action":"exclude","wanted":"b-1-1.noarch","reason":"words"}`)},
		{"include", on("include", "ALSA-2024:1", "a-1-1.noarch"), map[string][]answer{decide: ok(doc)}, result{0, shown, ""}, decided(`{"action":"include","wanted":"a-1-1.noarch"}`)},
		{"candidates", on("candidates", "bash", "--build", "7"), map[string][]answer{"GET /errata/candidates/?build_id=7&name=bash&platform=el9": ok(`{"packages":[{"package":"bash-5-1.x86_64","build_id":7,"source":"bash-5-1.src.rpm","released":true},{"package":"bash-5-1.src","build_id":7,"module_label":"a:b:1:c"}],"more":true}`)},
			result{0, "PACKAGE          BUILD  SOURCE            MODULE   WHERE\nbash-5-1.x86_64  7      bash-5-1.src.rpm  -        in a repository\nbash-5-1.src     7      -                 a:b:1:c  built\n", "there are more: give their --build\n"}, nil},
		{"candidates of nothing", on("candidates"), nil,
			result{2, "", "albs: name the packages, or give their --build\nusage: albs errata candidates [NAME] --platform PLATFORM [--build N] [--json]\n"}, nil},
		{"queue", on("queue", "--stage", "needs build", "--after", "ALSA-2023:9/el9"), map[string][]answer{"GET /errata/queue/?after_id=ALSA-2023%3A9&after_platform=el9&platform=el9&stage=needs+build": ok(queue)},
			result{0, "2 need a build, 1 need a match, 0 are ready\nID           PLATFORM  STAGE        WANTED  LACKING  OPEN  SETTLED\nALSA-2024:1  el9       needs build  3       1        1     1\n", "there are more: --after ALSA-2024:1/el9\n"}, nil},
		{"queue after nothing", []string{"queue", "--after", "x"}, nil,
			result{2, "", "albs: --after x is not ID/PLATFORM\nusage: albs errata queue [--platform PLATFORM] [--stage STAGE] [--after ID/PLATFORM] [--json]\n"}, nil},
	} {
		f, url := newFake(t, tc.answers)
		if d := cmp.Diff(tc.want, command(t, url, append([]string{"errata"}, tc.args...)...), cmp.AllowUnexported(result{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, d)
		}
		if d := cmp.Diff(tc.saw, f.seen()); d != "" {
			t.Errorf("%s: requests (-want +got):\n%s", tc.name, d)
		}
	}
}
