package e2etest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/albs"
	"albs/internal/pgp"
	"albs/internal/rpm"
)

// machine is a root of an arch whose packages dnf has from the public place.
type machine struct {
	*site
	arch albs.Arch
	dir  string
	who  identity
	oval func(env string, args ...string) (string, error) // nil where nothing scans
}

// machine makes one that follows a platform as url shows it; packages and metadata have to be
// signed.
func (s *site) machine(url, ca, platform string, arch albs.Arch) *machine {
	t := s.t
	t.Helper()
	m := &machine{site: s, arch: arch, who: ordinary(t)}
	m.dir = folder(t, m.who, t.Name(), "machine-"+platform+"-"+string(arch))
	home := folder(t, m.who, t.Name(), "machine-"+platform+"-"+string(arch), "home")
	conf := fmt.Sprintf(`[main]
reposdir=/dev/null
plugins=0
assumeyes=1
gpgcheck=1
install_weak_deps=0
metadata_expire=0
cachedir=%[1]s/cache
logdir=%[1]s/log
persistdir=%[1]s/persist
varsdir=/dev/null
module_platform_id=platform:el9
sslcacert=%[5]s
[demo]
name=demo
baseurl=%[2]s/demo/current/%[3]s/%[4]s/os
gpgkey=%[2]s/demo/current/RPM-GPG-KEY-demo
repo_gpgcheck=1
`, m.dir, url, platform, arch, ca)
	for path, text := range map[string]string{filepath.Join(m.dir, "dnf.conf"): conf, filepath.Join(home, ".rpmmacros"): "%_dbpath /var/lib/rpm\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := exec.LookPath("oscap"); err != nil {
		t.Logf("no definition of OVAL is held against the machine of %s: %v", arch, err)
	} else {
		m.oval = advisorytest.Oscap(t)
	}
	return m
}

func (m *machine) root() string { return filepath.Join(m.dir, "root") }

// begin gives the machine packages, and the file by which scanners know its system.
func (m *machine) begin(packages ...string) {
	m.t.Helper()
	m.dnf(append([]string{"install"}, packages...)...)
	file := filepath.Join(m.root(), "etc/os-release")
	if err := os.WriteFile(file, []byte("NAME=\"AlmaLinux\"\nVERSION_ID=\"9\"\nCPE_NAME=\"cpe:/o:almalinux:almalinux:9\"\n"), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) dnf(args ...string) string {
	m.t.Helper()
	// Metadata of the same second is not read again by itself.
	argv := append([]string{"dnf", "--quiet", "--refresh", "-c", filepath.Join(m.dir, "dnf.conf"), "--installroot", m.root(), "--releasever", "9", "--forcearch", string(m.arch)}, args...)
	return output(m.t, asRoot(m.t, m.dir, argv...), m.who)
}

// needs wants dnf to list an advisory for packages of the machine, which it names as they are
// to become, and for no others; and OpenSCAP to find the advisory's definition true if it
// does for any.
func (m *machine) needs(p public, a advisory.Advisory, when string, want []rpm.NEVRA) {
	t := m.t
	t.Helper()
	var names []string
	for _, n := range want {
		names = append(names, n.String())
	}
	slices.Sort(names)
	var got []string
	for line := range strings.Lines(m.dnf("updateinfo", "list")) {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] != a.ID || f[1] != a.Severity.Title()+"/Sec." {
			t.Errorf("%s, %s: dnf updateinfo list says %q", m.arch, when, line)
			continue
		}
		got = append(got, f[2])
	}
	slices.Sort(got)
	if !slices.Equal(got, names) {
		t.Errorf("%s, %s: dnf updateinfo lists\n%q, want\n%q", m.arch, when, got, names)
	}
	t.Logf("on %s, %s, dnf updateinfo lists %d packages", m.arch, when, len(got))
	if m.oval == nil {
		return
	}
	file := filepath.Join(t.TempDir(), "definitions.xml")
	if err := os.WriteFile(file, p.ovalOf(a.Platform), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := m.oval("OSCAP_PROBE_ROOT="+m.root(), "oval", "eval", "--skip-validation", file)
	found := regexp.MustCompile(`(?m)^Definition \S+: (\w+)`).FindAllStringSubmatch(out, -1)
	if truth := fmt.Sprint(len(want) > 0); err != nil || len(found) != 1 || found[0][1] != truth {
		t.Errorf("%s, %s: oscap oval eval says, %v:\n%s, want one definition that is %s", m.arch, when, err, out, truth)
	}
}

// follow takes a machine, on which the old packages are and tool:5 is enabled, from the need of
// an advisory to having it, by way of another stream.
func (m *machine) follow(p public, a advisory.Advisory, libs, tools suite) {
	t := m.t
	t.Helper()
	parts := func(u suite) []rpm.NEVRA { // those that are installed
		all := u.on(m.arch)
		return []rpm.NEVRA{all[0], all[len(all)-1]}
	}
	stream := func(name string) { m.dnf("--setopt=module_stream_switch=1", "module", "enable", "tool:"+name) }
	m.needs(p, a, "with the old packages", slices.Concat(parts(libs), parts(tools)))
	if info := m.dnf("updateinfo", "info", a.ID); !strings.Contains(info, "CVE-2026-10002") || !strings.Contains(info, a.Description) || strings.Count(info, "Update ID:") != 1 {
		t.Errorf("dnf updateinfo info says\n%s", info)
	}
	stream("6")
	m.needs(p, a, "with another stream", parts(libs))
	m.dnf("upgrade", "suite*")
	m.needs(p, a, "with another stream and the new suite", nil)
	stream("5")
	m.needs(p, a, "with the stream and the old tools", parts(tools))
	m.dnf("upgrade")
	m.needs(p, a, "with all that is new", nil)
	m.has(a.ID, 4)
}

// has wants dnf to say of so many packages of the machine that they are there because of an
// advisory.
func (m *machine) has(id string, packages int) {
	m.t.Helper()
	if got := m.dnf("updateinfo", "list", "--installed"); strings.Count(got, id) != packages {
		m.t.Errorf("on %s dnf lists as installed\n%s, want %d packages", m.arch, got, packages)
	}
}

// readers has all programs that read advisories read those of a platform, which shows the
// one, as they read those of any distribution.
func (p public) readers(t *testing.T, a advisory.Advisory, tool suite) {
	t.Run("xmllint", func(t *testing.T) {
		lint := advisorytest.Xmllint(t)
		dir := t.TempDir()
		files := map[string][]byte{"oval.xml": p.ovalOf(a.Platform), "errata.rss": p.file("errata", a.Platform, "errata.rss")}
		for i, r := range p.repositories(a.Platform) {
			files[fmt.Sprintf("updateinfo-%d.xml", i)] = p.updateinfo(r)
		}
		for name, b := range files {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := lint(path); err != nil || out != "" {
				t.Errorf("%s: %v %s", name, err, out)
			}
		}
	})
	t.Run("createrepo_c", func(t *testing.T) {
		dump := advisorytest.Createrepo(t)
		for _, r := range p.repositories(a.Platform) {
			path := filepath.Join(t.TempDir(), "updateinfo.xml")
			b := p.updateinfo(r)
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
			if got, err := dump(path); err != nil || got != string(b) {
				t.Errorf("of %s: %v, and it writes\n%s\nof\n%s", r, err, got, b)
			}
		}
	})
	t.Run("OpenSCAP", func(t *testing.T) {
		run := advisorytest.Oscap(t)
		path := filepath.Join(t.TempDir(), "definitions.xml")
		if err := os.WriteFile(path, p.ovalOf(a.Platform), 0o644); err != nil {
			t.Fatal(err)
		}
		args := []string{"oval", "validate", path}
		if testing.Short() { // the rules beside the schema take it long
			args = []string{"oval", "validate", "--skip-schematron", path}
		}
		if out, err := run("LC_ALL=C", args...); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	documents := p.glob("errata/" + a.Platform + "/csaf/2*/*.json")
	t.Run("gocsaf", func(t *testing.T) {
		check := advisorytest.Gocsaf(t)
		all := slices.Concat(documents, p.glob("errata/"+a.Platform+"/csaf/csaf-feed-*.json"), p.glob("errata/"+a.Platform+"/csaf/provider-metadata.json"), p.glob(".well-known/csaf/provider-metadata.json"))
		if len(all) < 4 {
			t.Errorf("there are no more than %q", all)
		}
		if out, err := check(all...); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("CSAF's tests", func(t *testing.T) {
		check := advisorytest.Standard(t)
		for _, line := range check(documents...) {
			// See csaf.TestStandard.
			if !strings.Contains(line, ": optionalTest_6_2_19: ") {
				t.Error(line)
			}
		}
	})
	t.Run("signatures", func(t *testing.T) {
		kr, err := pgp.ReadKeyring(p.file("RPM-GPG-KEY-demo"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range documents {
			b, asc := []byte(read(t, path)), []byte(read(t, path+".asc"))
			if _, _, err := kr.VerifyArmored(bytes.NewReader(b), asc); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			if sum := read(t, path+".sha256"); !strings.HasPrefix(sum, string(albs.DigestOf(b))) {
				t.Errorf("%s.sha256 has %q", path, sum)
			}
		}
	})
	osvs := p.glob("errata/" + a.Platform + "/osv/*.json")
	t.Run("OSV's schema", func(t *testing.T) {
		faults := advisorytest.OSVSchema(t)
		for _, path := range osvs {
			for _, f := range faults([]byte(read(t, path))) {
				t.Errorf("%s: %s", path, f)
			}
		}
	})
	t.Run("osv-scanner", func(t *testing.T) {
		scan := advisorytest.OSVScanner(t)
		var files [][]byte
		for _, path := range osvs {
			files = append(files, []byte(read(t, path)))
		}
		var got []string
		for _, v := range scan("AlmaLinux", files, []advisorytest.Installed{
			{Name: "suite", Version: "1.0-9.el9", Ecosystem: "AlmaLinux:9"}, // newer by text
			{Name: "suite", Version: "1.0-10.el9", Ecosystem: "AlmaLinux:9"},
			{Name: "suite", Version: "0.1-1.el8", Ecosystem: "AlmaLinux:8"},
			{Name: "tool", Version: "5.0-9.module.el9", Ecosystem: "AlmaLinux:9"},
			{Name: "tool", Version: "5.0-10.module.el9", Ecosystem: "AlmaLinux:9"},
		}...) {
			got = append(got, v.ID+" "+v.Name+" "+v.Version+" "+strings.Join(v.Upstream, ","))
		}
		cves := strings.Join(a.AllCVEs(), ",")
		t.Logf("osv-scanner finds %q", got)
		if want := []string{a.ID + " suite 1.0-9.el9 " + cves, a.ID + " tool 5.0-9.module.el9 " + cves}; !slices.Equal(got, want) {
			t.Errorf("osv-scanner finds %q, want %q", got, want)
		}
	})
	t.Run("Trivy", func(t *testing.T) {
		find := advisorytest.Trivy(t)
		var ask, want []string
		for _, q := range a.Packages {
			name := q.Name
			if q.Module != nil {
				name = q.Module.Name + ":" + q.Module.Stream + "::" + q.Name
			}
			if slices.Contains(ask, name) {
				continue
			}
			ask = append(ask, name)
			for _, c := range a.AllCVEs() {
				want = append(want, name+" "+c+" "+q.EVR().String())
			}
		}
		got := find(p.file("errata", a.Platform, "errata.json"), append(ask, tool.name, "tool:6::"+tool.name)...)
		t.Logf("Trivy finds %d CVEs in %d packages, as %q", len(got), len(ask), got[:min(len(got), 1)])
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("Trivy finds\n%q, want\n%q", got, want)
		}
	})
}
