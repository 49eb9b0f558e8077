package e2etest

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/client"
	"albs/internal/sandbox/emulator"
)

// TestEmulated has one process on this host build and test a package for an arch that no
// machine is there for: build.log says which arch it ran on, the package is of that
// arch, and the master's statement says that it was emulated.
func TestEmulated(t *testing.T) {
	if testing.Short() {
		t.Skip("a Seed Linux and roots of another arch take minutes: not with -short")
	}
	t.Parallel()
	if _, err := emulator.Find(t.Context(), albs.AArch64); err != nil {
		t.Skip(err)
	}
	s := newSite(t)
	foreign := foreignSeed(t, albs.AArch64)
	allow := []string{"file://" + s.seed, "file://" + foreign}
	worker := yes{"emulate": []string{"aarch64"}, "egress": yes{"allow": allow}}
	s.serve("albs", ordinary(t), allRoles, yes{
		"node": worker, "tester": worker,
		"master": yes{"egress": yes{"allow": append(allow, s.forge.host), "ca_files": []string{s.forge.ca}}},
	})
	s.people()
	s.platform("arm", yes{
		"arches": []string{"aarch64"}, "repositories": []yes{{"id": "seed", "url": "file://" + foreign}},
		"packages": tinyPackages, "test_packages": []string{"bash", "coreutils", "rpm", "system-release"},
	})
	s.run(s.admin, "product", "apply", s.file("product.yaml", `
name: demo
title: Packages
team: demo
platforms: [arm]
key: demo
repositories:
  - {path: arm/main/aarch64/os, platform: arm, arch: aarch64, kind: rpm}
  - {path: arm/main/source, platform: arm, arch: src, kind: source}
gate: {tests: required}
approvals: {count: 1, distinct: true}
`))
	spec := "%global debug_package %{nil}\n" + strings.Replace(specOf("archtest", "uname -m"), "BuildArch: noarch\n", "", 1)
	b := ask[client.Build](s, s.alice, "build", "create", "--platform", "arm", "--product", "demo", "--arch", "aarch64",
		"--git", s.forge.spec(t, "archtest", spec)).ID.String()
	done := s.built(b)
	var found client.BuildFile
	for _, task := range done.Tasks {
		if task.State != albs.TaskSucceeded {
			t.Errorf("the %s task is %s: %s", task.Kind, task.State, task.Reason)
		}
		for _, f := range task.Files {
			if f.Kind == "rpm" {
				found = f
			}
		}
	}
	if found.Name != "archtest-1.0-1.seed9.aarch64.rpm" {
		t.Fatalf("the build left the package %q", found.Name)
	}
	task := s.task(b, albs.KindBuild).ID.String()
	if log := s.run(s.alice, "build", "logs", b, task, "--stream", "build"); !regexp.MustCompile(`(?m)^aarch64$`).MatchString(log) {
		t.Errorf("build.log doesn't say aarch64:\n%s", log)
	}
	s.run("", "artifact", "bundle", string(found.Digest), "--output", s.dir)
	text, err := os.ReadFile(filepath.Join(s.dir, found.Name+attest.EnvelopesSuffix))
	if err != nil {
		t.Fatal(err)
	}
	emulated := false
	for _, m := range regexp.MustCompile(`"payload":"([A-Za-z0-9+/=]+)"`).FindAllSubmatch(text, -1) {
		payload, err := base64.StdEncoding.DecodeString(string(m[1]))
		emulated = emulated || err == nil && strings.Contains(string(payload), `"emulated":true`)
	}
	if !emulated {
		t.Errorf("no statement about %s says emulated:\n%s", found.Name, text)
	}
}
