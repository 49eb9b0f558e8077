package platform

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

const good = `
name: el
dist: .el9
releasever: "9"
arches: [x86_64, aarch64, s390x]
weak_arches: [{name: s390x, depends_on: aarch64}]
multilib: [{from: aarch64, into: x86_64, packages: ["*-devel", glibc]}]
repositories:
  - {id: base, url: "https://mirror.example/$arch/os/", priority: 10}
  - {id: extra, arch: x86_64, url: "https://mirror.example/extra"}
macros: {vendor: Example, optflags: "-O2 %{?extra:-g}"}
packages: [bash, "gcc >= 11", "pkgconfig(foo)", /usr/bin/make, "@build"]
test_packages: [bash]
rpmdb: {path: /var/lib/rpm, backend: sqlite}
module_id: platform:el9
references:
  - {place: BaseOS, url: "https://up.example/$arch/os/", priority: 5}
  - {place: BaseOS, arch: src, url: "https://up.example/source"}
lookaside: ["https://sources.example/{name}/{file}/{hashtype}/{hash}/{file}"]
timeout: 12h
rpmautospec: true
os: {id: example, name: Example Linux, version: "9"}
errata:
  team: core
  ids: {security: "EXSA-{year}:{serial}", bugfix: "EXBA-{year}-{serial}"}
  own: X
  upstream: ["cpe:/o:upstream:linux:9"]
  url: https://errata.example/9
  page: https://errata.example/9/{id}.html
  vendor: Acme Inc
  namespace: https://example.org
  contact: security@example.org
  from: errata@example.org
  rights: Copyright {year} Example
  solution: Update.
  ecosystem: Example Linux:9
  cpe: cpe:/o:example:linux:9
  repository_cpes: {9/AppStream: "cpe:/a:example:linux:9::appstream"}
  release_file: /etc/example-release
  release_package: example-release
  rewrite:
    - {in: [id, text], pattern: "^RH([SBE])A-", with: "EX${1}A-"}
    - {in: [reference], find: "https://upstream.example/", with: ""}
`

func TestParse(t *testing.T) {
	t.Parallel()
	s, err := Parse(strings.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	if s.Repositories[0].at(albs.AArch64) != "https://mirror.example/aarch64/os" || s.Timeout.text() != "12h0m0s" || !s.Autospec {
		t.Errorf("Parse = %+v", s)
	}
	thereAndBack(t, s)
}

// thereAndBack brings s to JSON, which is what is stored and what people may write too, and back.
func thereAndBack(t *testing.T, s Spec) {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back Spec
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, back); diff != "" {
		t.Errorf("through JSON (-want +got):\n%s", diff)
	}
	if back, err = Parse(strings.NewReader(string(b))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, back); diff != "" {
		t.Errorf("JSON read as YAML (-want +got):\n%s", diff)
	}
}

func (d Duration) text() string {
	b, _ := d.MarshalText()
	return string(b)
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	// Each case changes one line of good.
	tests := []struct {
		name, old, new string
		want           string // a part of the message
	}{
		{"unknown key", "dist: .el9", "dist: .el9\ncolour: red", "line 4: there is no key colour"},
		{"unknown key inside", "{path: /var/lib/rpm, backend: sqlite}", "{path: /var/lib/rpm, backend: sqlite, size: 1}", "there is no key size"},
		{"key twice", "dist: .el9", "dist: .el9\ndist: .el8", `"dist" already defined`},
		{"second document", "timeout: 12h", "timeout: 12h\n---\nname: other", "a second document"},
		{"wrong type", "arches: [x86_64, aarch64, s390x]", "arches: x86_64", "is not what this key takes"},
		{"no YAML", "dist: .el9", "\t{{", "line"},
		{"name missing", "name: el", "name: ''", "a platform's name"},
		{"name with a slash", "name: el", "name: ../el", "a platform's name"},
		{"name in capitals", "name: el", "name: EL", "a platform's name"},
		{"name of two lines", "name: el", `name: "el\nx"`, "a platform's name"},
		{"dist without dot", "dist: .el9", "dist: el9", "is not a dist tag"},
		{"dist with a hyphen", "dist: .el9", "dist: .el-9", "is not a dist tag"},
		{"dist with a macro", "dist: .el9", `dist: ".%(id)"`, "is not a dist tag"},
		{"releasever as an option", `releasever: "9"`, `releasever: "--9"`, "releasever"},
		{"system without an id", "id: example, ", "", "os.id"},
		{"system in capitals", "id: example", "id: Example", "os.id"},
		{"system with a line break", "name: Example Linux", `name: "Example\nLinux"`, "os.name"},
		{"system of an odd version", `version: "9"}`, `version: "9 or so"}`, "os.version"},
		{"arch unknown", "[x86_64, aarch64, s390x]", "[x86_64, aarch64, s390x, mips]", "arch \"mips\" is not one of"},
		{"arch of packages only", "[x86_64, aarch64, s390x]", "[x86_64, aarch64, s390x, noarch]", "is not one of"},
		{"arch twice", "[x86_64, aarch64, s390x]", "[x86_64, aarch64, s390x, x86_64]", "names x86_64 twice"},
		{"no arch", "[x86_64, aarch64, s390x]", "[]", "arches is empty"},
		{"weak on itself", "{name: s390x, depends_on: aarch64}", "{name: s390x, depends_on: s390x}", "weak itself"},
		{"weak on nothing", "{name: s390x, depends_on: aarch64}", "{name: s390x, depends_on: ppc64le}", "both have to be among arches"},
		{"weak twice", "[{name: s390x, depends_on: aarch64}]", "[{name: s390x, depends_on: aarch64}, {name: s390x, depends_on: x86_64}]", "names s390x twice"},
		{"root of an arch that isn't there", "timeout: 12h", "root_arches: {i686: x86_64}", "root_arches: \"i686\" is not among arches"},
		{"root of its own", "timeout: 12h", "root_arches: {x86_64: x86_64}", "can't be built in a root of"},
		{"root of another sort", "timeout: 12h", "root_arches: {s390x: x86_64}", "packages of s390x can't be built in a root of"},
		{"multilib of one arch", "from: aarch64", "from: x86_64", "are not two of arches"},
		{"multilib of an arch that isn't there", "from: aarch64", "from: i686", "are not two of arches"},
		{"multilib of nothing", `["*-devel", glibc]`, "[]", "packages names none"},
		{"multilib by a set", `["*-devel", glibc]`, `["[a-z]"]`, "a pattern of names with *"},
		{"signing while building", "timeout: 12h", "secure_boot_macros: {modsign_os: el}", "there is none yet"},
		{"signing of modules", "timeout: 12h", "secure_boot_macros: {with_modsign: '1'}", "there is none yet"},
		{"secure boot macro", "timeout: 12h", "secure_boot_macros: {vendor: ''}", "secure_boot_macros: macro vendor"},
		{"secure boot package", "timeout: 12h", "secure_boot_packages: ['[k]ernel']", "secure_boot_packages: "},
		{"repository id", "id: base", `id: "base]\nfoo"`, "repository id"},
		{"repository twice", "id: extra", "id: base", "repository base is there twice for x86_64"},
		{"repository's arch", "arch: x86_64", "arch: riscv64", "is not among arches"},
		{"repository for one arch only", `{id: base, url:`, `{id: base, arch: x86_64, url:`, "no repository for aarch64"},
		{"advisories of nobody", "team: core", "team: ''", "names no team"},
		{"advisories without a system", `os: {id: example, name: Example Linux, version: "9"}`, "", "errata wants os"},
		{"advisories without ids", `{security: "EXSA-{year}:{serial}", bugfix: "EXBA-{year}-{serial}"}`, "{}", "errata.ids is empty"},
		{"advisories of a type that is none", "bugfix: \"EXBA", "bug: \"EXBA", "is no type of advisory"},
		{"ids without a year", "EXSA-{year}:{serial}", "EXSA-{serial}", "is not the form of ids"},
		{"ids as a path", "EXSA-{year}:{serial}", "../{year}:{serial}", "is not the form of ids"},
		{"ids of two types alike", "EXBA-{year}-{serial}", "EXSA-{year}:{serial}", "have one form"},
		{"own series of digits", "own: X", "own: '1'", "errata.own"},
		{"advisories nowhere", "url: https://errata.example/9\n", "url: errata\n", "errata.url"},
		{"advisories at a secret", "url: https://errata.example/9\n", "url: https://a:b@errata.example/9\n", "errata.url"},
		{"page without an id", "9/{id}.html", "9/x.html", "errata.page"},
		{"vendor without a name", "vendor: Acme Inc", "vendor: ''", "errata.vendor"},
		{"namespace that is no URL", "namespace: https://example.org", "namespace: example", "errata.namespace"},
		{"contact of nobody", "contact: security@example.org", "contact: nobody", "errata.contact"},
		{"sender of nobody", "from: errata@example.org", "from: nobody", "errata.from"},
		{"rights of two lines", "rights: Copyright {year} Example", `rights: "a\nb"`, "errata.rights"},
		{"ecosystem without a name", "ecosystem: Example Linux:9", "ecosystem: ':9'", "errata.ecosystem"},
		{"CPE of another form", "cpe: cpe:/o:example:linux:9", "cpe: cpe:2.3:o:example", "errata.cpe"},
		{"repository's CPE", "cpe:/a:example:linux:9::appstream", "appstream", "errata.repository_cpes"},
		{"CPE of what it follows", "cpe:/o:upstream:linux:9", "linux", "errata.upstream"},
		{"release file elsewhere", "/etc/example-release", "/etc/../root", "errata.release_file"},
		{"release file of no package", "release_package: example-release", "release_package: ''", "errata.release_package"},
		{"rule for nothing", "in: [reference]", "in: []", "rule 2: in says nowhere"},
		{"rule elsewhere", "in: [reference]", "in: [cve]", "rule 2: in takes"},
		{"rule that finds nothing", `find: "https://upstream.example/"`, "find: ''", "either find or pattern"},
		{"rule by no pattern", "^RH([SBE])A-", "^RH([SBE]A-", "rule 1: "},
		{"compatible with itself", "timeout: 12h", "compatible: [el]", "compatible names el itself"},
		{"compatible twice", "timeout: 12h", "compatible: [fc, fc]", "compatible names fc twice"},
		{"compatible with a path", "timeout: 12h", "compatible: [../fc]", "is not a platform's name"},
		{"reference without a place", "place: BaseOS, url", "place: '', url", "place \"\""},
		{"reference's place as a path", "place: BaseOS, url", "place: ../x, url", "a place has up to 64"},
		{"reference's arch", "arch: src", "arch: i686", "is neither src nor among arches"},
		{"reference's priority", "priority: 5", "priority: -1", "priority -1"},
		{"reference's URL", "https://up.example/source", "ftp://up.example/source", "reference BaseOS: the URL"},
		{"reference as two places", "{place: BaseOS, arch: src", "{place: CRB, url: \"https://up.example/$arch/os\"}\n  - {place: BaseOS, arch: src", "a repository is one place"},
		{"priority", "priority: 10", "priority: 100", "priority 100"},
		{"URL scheme", "https://mirror.example/extra", "ftp://mirror.example/extra", "neither https"},
		{"URL without host", "https://mirror.example/extra", "https:///extra", "lacks its host"},
		{"file URL of a host", "https://mirror.example/extra", "file://host/extra", "lacks its host"},
		{"URL with a password", "https://mirror.example/extra", "https://u:pw@mirror.example/extra", "secrets don't belong"},
		{"URL with a query", "https://mirror.example/extra", "https://mirror.example/extra?token=1", "secrets don't belong"},
		{"URL with a variable", "https://mirror.example/extra", "https://mirror.example/$releasever", "only $arch"},
		{"URL of two lines", "https://mirror.example/extra", `https://mirror.example/\nenabled=0`, "not"},
		{"URL with a quote", "https://mirror.example/extra", `https://mirror.example/'`, "not allowed"},
		{"macro name with percent", "vendor: Example", `"%vendor": Example`, "no % and no parameters"},
		{"macro name with parameters", "vendor: Example", `"vendor()": Example`, "no % and no parameters"},
		{"macro dist", "vendor: Example", "dist: .x", "say it once"},
		{"macro body of two lines", "vendor: Example", `vendor: "a\nb"`, "one line of text"},
		{"macro body with a return", "vendor: Example", `vendor: "a\rb"`, "one line of text"},
		{"macro body goes on", "vendor: Example", `vendor: 'a\'`, "backslash"},
		{"macro body empty", "vendor: Example", `vendor: ""`, "between 1 and"},
		{"macro runs a command", "vendor: Example", `vendor: "%(touch /canary)"`, "runs no command"},
		{"macro runs Lua", "vendor: Example", `vendor: "%{lua:os.remove('/x')}"`, "runs no command"},
		{"macro runs Lua if defined", "vendor: Example", `vendor: "%{?lua:x}"`, "runs no command"},
		{"package as an option", "test_packages: [bash]", "test_packages: [--installroot=/]", "not the name of a package"},
		{"package with shell", "test_packages: [bash]", "test_packages: [\"$(id)\"]", "not the name of a package"},
		{"package by URL", "test_packages: [bash]", "test_packages: [\"https://evil.example/x\"]", "not the name of a package"},
		{"package as a file of the host", "test_packages: [bash]", "test_packages: [/tmp/x.rpm]", "not the name of a package"},
		{"package of two lines", "test_packages: [bash]", `test_packages: ["bash\nx"]`, "not the name of a package"},
		{"package twice", "test_packages: [bash]", "test_packages: [bash, bash]", "names bash twice"},
		{"no packages", "test_packages: [bash]", "test_packages: []", "between 1 and"},
		{"a test engine that is none", "test_packages: [bash]", "test_packages: [bash]\ntest_engine: docker", "test_engine: \"docker\" is no engine of tests; there are native, podman"},
		{"rpmdb relative", "/var/lib/rpm", "var/lib/rpm", "rpmdb.path"},
		{"rpmdb upwards", "/var/lib/rpm", "/var/../../etc", "rpmdb.path"},
		{"rpmdb backend", "backend: sqlite", "backend: lmdb", "rpmdb.backend"},
		{"module id", "platform:el9", "el9", "module_id"},
		{"lookaside without digest", "{hashtype}/{hash}/", "{hashtype}/", "lacks {hash}"},
		{"lookaside placeholder", "{hashtype}", "{digest}", "not allowed"},
		{"timeout negative", "timeout: 12h", "timeout: -1h", "timeout"},
		{"timeout without unit", "timeout: 12h", "timeout: 12", "not a duration"},
		{"timeout of a year", "timeout: 12h", "timeout: 8760h", "timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if strings.Count(good, tt.old) != 1 {
				t.Fatalf("%q is not in the good platform once", tt.old)
			}
			_, err := Parse(strings.NewReader(strings.Replace(good, tt.old, tt.new, 1)))
			if albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse = %v, want an Invalid error with %q", err, tt.want)
			}
		})
	}
}

func TestParseBounds(t *testing.T) {
	t.Parallel()
	if _, err := Parse(strings.NewReader("")); albs.KindOf(err) != albs.Invalid {
		t.Errorf("nothing: %v, want Invalid", err)
	}
	if _, err := Parse(strings.NewReader(good + "#" + strings.Repeat("x", maxSpec))); albs.KindOf(err) != albs.TooLarge {
		t.Errorf("too long: %v, want TooLarge", err)
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'l'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 10) + "]\n"
	}
	if _, err := Parse(strings.NewReader(bomb)); albs.KindOf(err) != albs.Invalid {
		t.Errorf("a bomb of aliases: %v, want Invalid", err)
	}
	if _, err := Parse(strings.NewReader(strings.Repeat("[", 100_000))); albs.KindOf(err) != albs.Invalid {
		t.Errorf("deep nesting: %v, want Invalid", err)
	}
}

func TestShippedPlatforms(t *testing.T) {
	t.Parallel()
	const dir = "../../../configs/platforms/"
	left := map[string]bool{}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		left[f.Name()] = true
	}
	for file, want := range map[string]struct {
		dist string
		url  string
		n    int
	}{
		"almalinux-8":         {".el8", "https://repo.almalinux.org/almalinux/8/BaseOS/x86_64/os", 21},
		"almalinux-9":         {".el9", "https://repo.almalinux.org/almalinux/9/BaseOS/x86_64/os", 21},
		"almalinux-10":        {".el10", "https://repo.almalinux.org/almalinux/10/BaseOS/x86_64/os", 16},
		"almalinux-kitten-10": {".el10", "https://kitten.repo.almalinux.org/10-kitten/BaseOS/x86_64/os", 16},
		"seed":                {".seed9", "file:///var/lib/albs/seed/repo", 1},
	} {
		f, err := os.Open(dir + file + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(f)
		f.Close()
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		backend := "sqlite"
		if s.Releasever == "8" {
			backend = "bdb"
		}
		if s.Name != file || s.Dist != want.dist || s.Repositories[0].at(albs.X8664) != want.url || s.RPMDB.Backend != backend || len(s.urls()) != want.n {
			t.Errorf("%s = %+v, URLs %v", file, s, s.urls())
		}
		delete(left, file+".yaml")
	}
	for file := range left {
		t.Errorf("%s is looked at by no test", file)
	}
}

// FuzzParse holds what is accepted to the rule that nothing in it can end a line
// or begin an option in a configuration made of it.
func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("name: a\n<<: {name: b}\n")
	f.Fuzz(func(t *testing.T, in string) {
		s, err := Parse(strings.NewReader(in))
		if err != nil {
			if k := albs.KindOf(err); k != albs.Invalid && k != albs.TooLarge {
				t.Fatalf("kind %q: %v", k, err)
			}
			return
		}
		lines := append([]string{s.Name, s.Dist, s.Releasever, s.ModuleID, s.RPMDB.Path}, s.urls()...)
		lines = append(append(lines, s.Packages...), s.TestPackages...)
		for name, body := range s.Macros {
			if strings.ContainsAny(body, "\r\n") {
				t.Fatalf("macro %s has the body %q", name, body)
			}
			lines = append(lines, name)
		}
		for _, l := range lines {
			if strings.HasPrefix(l, "-") || strings.ContainsAny(l, "\r\n\x00\"'`$\\") {
				t.Fatalf("%q was accepted", l)
			}
		}
	})
}
