package osv

import (
	"slices"
	"testing"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"

	"github.com/google/go-cmp/cmp"
)

// TestScanner: osv-scanner, with no database but our files, finds the source packages that
// are older by rpm's order, and no others.
func TestScanner(t *testing.T) {
	t.Parallel()
	scan := advisorytest.OSVScanner(t)
	withdrawn := sample()
	withdrawn.ID, withdrawn.Withdrawn = "ALSA-2026:9999", &advisory.Withdrawal{At: sample().Updated, Reason: "It was wrong."}
	var got []string
	for _, v := range scan("AlmaLinux", [][]byte{file(t, sample()), file(t, withdrawn)}, []advisorytest.Installed{
		{Name: "perl", Version: "4:5.32.1-8.el9", Ecosystem: "AlmaLinux:9"},
		{Name: "perl", Version: "4:5.32.1-10.el9", Ecosystem: "AlmaLinux:9"}, // older by strings
		{Name: "perl", Version: "4:5.32.1-1.el8", Ecosystem: "AlmaLinux:8"},
		{Name: "qemu-kvm", Version: "17:9.0.0-2.module+el9", Ecosystem: "AlmaLinux:9"},
		{Name: "qemu-kvm", Version: "17:9.0.0-3.module+el9", Ecosystem: "AlmaLinux:9"},
		{Name: "zlib", Version: "1-1", Ecosystem: "AlmaLinux:9"},
	}...) {
		if !slices.Equal(v.Upstream, sample().AllCVEs()) || v.Severity != "9.8" {
			t.Errorf("of %s it tells %v %s", v.Name, v.Upstream, v.Severity)
		}
		got = append(got, v.Name+" "+v.Version+" "+v.ID)
	}
	if d := cmp.Diff([]string{"perl 4:5.32.1-8.el9 ALSA-2026:1234", "qemu-kvm 17:9.0.0-2.module+el9 ALSA-2026:1234"}, got); d != "" {
		t.Error(d)
	}
}
