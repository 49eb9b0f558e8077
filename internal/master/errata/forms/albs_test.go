package forms

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/advisory"
	"albs/internal/albs"
)

// sent is an advisory as ALBS's clients send it.
const sent = `{
	"id": "ALSA-2022:0123", "freezed": false, "platform_id": 1, "issued_date": "2022-10-22", "updated_date": "2022-10-23",
	"title": "Moderate: usbguard security update", "description": "Some words.\r\nMore.", "status": "final", "version": "1", "severity": "Moderate",
	"rights": "Copyright 2023", "definition_id": "oval:def:1", "affected_cpe": ["cpe:/a:x:y:8"], "module": null, "devel_module": null,
	"criteria": null, "tests": null, "objects": null, "states": null, "variables": null,
	"references": [
		{"href": "https://access.example/RHSA-2022:0123", "ref_id": "RHSA-2022:0123", "ref_type": "rhsa", "title": "RHSA-2022:0123",
		 "cve": {"id": "CVE-2022-21618", "cvss3": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:L/A:N", "cwe": "CWE-120->CWE-119", "impact": "Moderate", "public": "2022-10-18T20:00:00Z"}},
		{"href": "https://errata.example/8/ALSA-2022-0123.html", "ref_id": "ALSA-2022:0123", "ref_type": "self_ref"},
		{"href": "https://errata.example/8/ALSA-2022-0123.html", "ref_id": "ALSA-2022:0123", "ref_type": "self"},
		{"href": "https://bugs.example/1", "ref_id": "1", "ref_type": "bugzilla", "title": null},
		{"href": "javascript:alert(1)", "ref_id": "x", "ref_type": "cve"}
	],
	"packages": [
		{"name": "usbguard", "version": "1.0.0", "release": "8.el8_7.2", "epoch": 0, "arch": "x86_64", "reboot_suggested": true, "build_id": 7},
		{"name": "usbguard", "version": "1.0.0", "release": "8.el8_7.2", "epoch": 0, "arch": "src", "reboot_suggested": false, "build_id": 7},
		{"name": "chan", "version": "0.0.4", "release": "3.el8", "epoch": 1, "arch": "i686", "reboot_suggested": false}
	]
}`

func TestReadALBS(t *testing.T) {
	t.Parallel()
	g, err := ALBS([]byte(sent))
	if err != nil {
		t.Fatal(err)
	}
	a := g.Advisory
	var packages, refs []string
	for _, p := range a.Packages {
		packages = append(packages, fmt.Sprint(p.NEVRA, " ", p.Reboot))
	}
	for _, r := range a.References {
		refs = append(refs, fmt.Sprint(r.Kind, " ", r.ID))
	}
	if diff := cmp.Diff([]string{"chan-1:0.0.4-3.el8.i686 false", "usbguard-1.0.0-8.el8_7.2.src false", "usbguard-1.0.0-8.el8_7.2.x86_64 true"}, packages); diff != "" {
		t.Error(diff)
	}
	// A reference to its own page is one, by whichever of its names.
	if diff := cmp.Diff([]string{"self ALSA-2022:0123", "rhsa RHSA-2022:0123", "bugzilla 1"}, refs); diff != "" {
		t.Error(diff)
	}
	if a.Title != "usbguard security update" || a.Severity != advisory.Moderate || a.Description != "Some words.\nMore." || a.Upstream != "RHSA-2022:0123" ||
		a.Updated.Format("2006-01-02") != "2022-10-23" || g.Platform != "1" || g.Frozen || !cmp.Equal(g.Builds, []albs.BuildID{7}) {
		t.Errorf("it was read as %+v", g)
	}
	if len(g.Dropped) != 1 || !strings.Contains(g.Dropped[0], "javascript") {
		t.Errorf("dropped: %q", g.Dropped)
	}
	if len(a.CVEs) != 1 || a.CVEs[0].ID != "CVE-2022-21618" || len(a.CVEs[0].CWEs) != 2 || a.CVEs[0].Public.IsZero() || len(a.CVEs[0].Scores) != 1 {
		t.Errorf("CVEs: %+v", a.CVEs)
	}
}

// TestReadCriteria: packages and module of Red Hat's OVAL are read where they are told,
// and refused where not.
func TestReadCriteria(t *testing.T) {
	t.Parallel()
	body := func(change func(m map[string]any)) []byte {
		t.Helper()
		var m map[string]any
		if err := json.Unmarshal([]byte(sent), &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	parse := func(s string) any {
		t.Helper()
		var v any
		if err := json.Unmarshal([]byte(s), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	criteria := `{"operator": "OR", "criterion": [{"comment": "Red Hat Enterprise Linux must be installed", "test_ref": "tst:1"}],
		"criteria": [{"operator": "AND", "criterion": [{"comment": "Module virt:rhel is enabled", "test_ref": "tst:2"}, {"comment": "Module virt-devel:rhel is enabled", "test_ref": "tst:3"}],
			"criteria": [{"operator": "AND", "criterion": [
				{"comment": "qemu-kvm is earlier than 15:6.2.0-49.module+el8.10.0+22416+d85d0a2d", "test_ref": "tst:4"},
				{"comment": "qemu-kvm is signed with Red Hat redhatrelease2 key", "test_ref": "tst:5"}]}]}]}`
	tests := `[{"id": "tst:4", "comment": "qemu-kvm is earlier than", "object": {"object_ref": "obj:1"}, "state": [{"state_ref": "ste:1"}]}]`
	states := `[{"id": "ste:1", "arch": {"datatype": "string", "operation": "pattern match", "text": "aarch64|x86_64"}, "evr": {"text": "15:6.2.0-49"}}]`
	none := []any{}
	for name, tt := range map[string]struct {
		change func(m map[string]any)
		want   []string
		err    string
	}{
		"packages of the criteria": {func(m map[string]any) {
			m["packages"], m["criteria"], m["tests"], m["states"] = none, parse(criteria), parse(tests), parse(states)
		}, []string{"qemu-kvm-15:6.2.0-49.module+el8.10.0+22416+d85d0a2d.aarch64 virt:rhel", "qemu-kvm-15:6.2.0-49.module+el8.10.0+22416+d85d0a2d.x86_64 virt:rhel"}, ""},
		"no states":           {func(m map[string]any) { m["packages"], m["criteria"] = none, parse(criteria) }, nil, "don't tell for which arches qemu-kvm is"},
		"module by itself":    {func(m map[string]any) { m["module"] = "perl:5.26" }, []string{"chan-1:0.0.4-3.el8.i686 perl:5.26", "usbguard-1.0.0-8.el8_7.2.x86_64 perl:5.26", "usbguard-1.0.0-8.el8_7.2.src"}, ""},
		"module that is none": {func(m map[string]any) { m["module"] = "perl" }, nil, "body.module"},
		"several modules": {func(m map[string]any) {
			m["criteria"] = parse(strings.ReplaceAll(criteria, "virt-devel:rhel", "perl:5"))
		}, nil, "several modules"},
		"no packages at all":    {func(m map[string]any) { m["packages"] = none }, nil, ""},
		"a title of its id":     {func(m map[string]any) { m["title"], m["packages"] = "", none }, nil, ""},
		"no platform":           {func(m map[string]any) { delete(m, "platform_id") }, nil, "body.platform_id"},
		"an id as a path":       {func(m map[string]any) { m["id"] = "../../x" }, nil, "body.id"},
		"no day":                {func(m map[string]any) { m["issued_date"] = "" }, nil, "body.issued_date"},
		"a day that is none":    {func(m map[string]any) { m["updated_date"] = "2022-02-31" }, nil, "body.updated_date"},
		"a severity of its own": {func(m map[string]any) { m["severity"] = "awful" }, nil, "body.severity"},
		"a package as a path": {func(m map[string]any) {
			m["packages"] = parse(`[{"name":"../x","version":"1","release":"1","epoch":0,"arch":"noarch"}]`)
		}, nil, "body.packages"},
		"an epoch below zero": {func(m map[string]any) {
			m["packages"] = parse(`[{"name":"x","version":"1","release":"1","epoch":-1,"arch":"noarch"}]`)
		}, nil, "body.packages"},
		"a list": {func(m map[string]any) { m["references"] = "x" }, nil, "as ALBS has it"},
	} {
		g, err := ALBS(body(tt.change))
		if tt.err != "" {
			if albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v, want %q", name, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, p := range g.Advisory.Packages {
			s := p.NEVRA.String()
			if p.Module != nil {
				s += " " + p.Module.String()
			}
			got = append(got, s)
		}
		less := cmp.Transformer("set", func(l []string) map[string]bool {
			m := map[string]bool{}
			for _, s := range l {
				m[s] = true
			}
			return m
		})
		if diff := cmp.Diff(tt.want, got, less); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// FuzzReadALBS: whatever is sent is refused as Invalid or TooLarge, or is an advisory.
func FuzzReadALBS(f *testing.F) {
	f.Add([]byte(sent))
	f.Add([]byte(`{"id":"A-1:1","platform_id":"1","issued_date":"1","updated_date":"1","criteria":[[[{"comment":"a is earlier than 0:1-1","x":["y"]}]]],"tests":{"id":"y","z":"s"},"states":{"id":"s","arch":"noarch|x"}}`))
	f.Add([]byte(redHats))
	f.Fuzz(takes)
}

// takes wants a body to be refused as Invalid or TooLarge, or to be an advisory.
func takes(t *testing.T, b []byte) {
	g, err := ALBS(b)
	if err != nil {
		if k := albs.KindOf(err); k != albs.Invalid && k != albs.TooLarge {
			t.Fatalf("kind %q: %v", k, err)
		}
		return
	}
	a := g.Advisory
	a.Platform, a.Type = "p", advisory.Security
	if err := a.Check(); err != nil {
		t.Fatal(err)
	}
	if again := a.Normal().Encode(); !bytes.Equal(a.Encode(), again) {
		t.Fatalf("it isn't in order: %s", again)
	}
}

// redHats is a body in the shape of Red Hat's OVAL, without packages of its own.
const redHats = `{"id": "ALSA-2022:0124", "platform_id": 1, "issued_date": "2022-10-22", "updated_date": "2022-10-23", "title": "t", "description": "d", "severity": "Low", "references": [], "packages": [],
	"criteria": {"operator": "OR", "criterion": [{"comment": "Red Hat Enterprise Linux must be installed", "test_ref": "tst:1"}],
		"criteria": [{"operator": "AND", "criterion": [{"comment": "Module virt:rhel is enabled", "test_ref": "tst:2"}, {"comment": "qemu-kvm is earlier than 15:6.2.0-49.module+el8", "test_ref": "tst:4"}]}]},
	"tests": [{"id": "tst:4", "comment": "qemu-kvm is earlier than", "object": {"object_ref": "obj:1"}, "state": [{"state_ref": "ste:1"}]}],
	"states": [{"id": "ste:1", "arch": {"datatype": "string", "operation": "pattern match", "text": "aarch64|x86_64"}}]}`

// FuzzMembers is FuzzReadALBS within bodies of the right form.
func FuzzMembers(f *testing.F) {
	f.Add("ALSA-2022:1", "2022-10-22", "Moderate: t", "d\r\n", "virt:rhel", "Moderate", "https://a.example/1", "RHSA-2022:1", "rhsa", "CVE-2022-21618", "CVSS:3.1/AV:N", "CWE-120->CWE-119", "2022-10-18T20:00:00Z",
		"bash", "5.1", "2.el9", "x86_64", "bash-5.1-2.el9.src.rpm", "bash is earlier than 0:5.1-2.el9", "aarch64|x86_64", 0, true)
	f.Add("A", "1", "", "", "", "", "http://[::1]/", "", "ErrataReferenceType.self_ref", "", "", "", "", "a", "1", "1", "noarch", "../x", "Module a:b is enabled", "", -1, false)
	f.Fuzz(func(t *testing.T, id, day, title, text, module, severity, href, refID, refType, cve, vector, cwe, public, name, version, release, arch, source, comment, arches string, epoch int, packages bool) {
		body := map[string]any{
			"id": id, "platform_id": 1, "issued_date": day, "updated_date": day, "title": title, "description": text, "summary": text, "solution": text, "rights": title, "contact_mail": title,
			"module": module, "severity": severity,
			"references": []any{map[string]any{
				"href": href, "ref_id": refID, "ref_type": refType, "title": title, "cve": map[string]any{"id": cve, "cvss3": vector, "cwe": cwe, "impact": severity, "public": public},
			}, map[string]any{"href": href, "ref_id": cve, "ref_type": "cve"}},
			"criteria": map[string]any{"criterion": []any{map[string]any{"comment": comment, "test_ref": "t"}, map[string]any{"comment": name + " is earlier than 1:" + version + "-" + release, "test_ref": "t"}}},
			"tests":    []any{map[string]any{"id": "t", "state": map[string]any{"state_ref": "s"}}}, "states": []any{map[string]any{"id": "s", "arch": arches}},
		}
		if packages {
			body["packages"] = []any{map[string]any{"name": name, "version": version, "release": release, "epoch": epoch, "arch": arch, "source_srpm": source, "build_id": epoch, "reboot_suggested": true}}
		}
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		takes(t, b)
	})
}
