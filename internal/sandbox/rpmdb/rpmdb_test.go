package rpmdb

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

func TestPackages(t *testing.T) {
	t.Parallel()
	header, file := albs.DigestOf([]byte("header")), albs.DigestOf([]byte("file"))
	files := map[string]albs.Digest{"vim-9.1-2.el9.x86_64.rpm": file}
	tests := []struct {
		name, out string
		want      []Package
	}{
		{"none", "", nil},
		{
			"sorted, with what is known of the file",
			"zsh\t0\t5.9\t1.el9\tx86_64\t" + string(header) + "\t(none)\nvim\t2\t9.1\t2.el9\tx86_64\t" + string(header) + "\tEdDSA/SHA256, Fri 27 Nov 2026 12:00:00 PM UTC, Key ID aeecc3a140f64874\n",
			[]Package{
				{Name: "vim", Epoch: 2, Version: "9.1", Release: "2.el9", Arch: "x86_64", Header: header, File: file, KeyID: "aeecc3a140f64874"},
				{Name: "zsh", Version: "5.9", Release: "1.el9", Arch: "x86_64", Header: header},
			},
		},
		{"a key is no package", "gpg-pubkey\t0\t1\t2\t(none)\t(none)\t(none)\n", nil},
		{"no digest of the header", "a\t0\t1\t1\tnoarch\t(none)\t, Key ID (none)\n", []Package{{Name: "a", Version: "1", Release: "1", Arch: "noarch"}}},
		{"another line", "warning: x\n", nil},
		{"the last without its end", "a\t0\t1\t1\tnoarch\t(none)\t(none)", []Package{{Name: "a", Version: "1", Release: "1", Arch: "noarch"}}},
	}
	for _, tt := range tests {
		got, err := Packages(tt.out, files)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if got, err := Packages("a\tx\t1\t1\tnoarch\t(none)\t(none)\n", nil); err == nil {
		t.Errorf("an epoch that is no number: %v, want an error", got)
	}
}

func TestNEVRA(t *testing.T) {
	t.Parallel()
	p := Package{Name: "vim", Version: "9.1", Release: "2.el9", Arch: "x86_64"}
	if got := p.NEVRA(); got != "vim-9.1-2.el9.x86_64" {
		t.Errorf("without an epoch: %s", got)
	}
	p.Epoch = 2
	if got := p.NEVRA(); got != "vim-2:9.1-2.el9.x86_64" {
		t.Errorf("with an epoch: %s", got)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff([]string{"/bin/sh", "bash", "libc.so.6()(64bit)"}, Names("libc.so.6()(64bit)\nbash\n/bin/sh\nbash\n")); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// FuzzPackages: whatever a database holds, what is read is sorted and as much as there
// are lines.
func FuzzPackages(f *testing.F) {
	f.Add("a\t0\t1\t1\tnoarch\t(none)\t(none)\n")
	f.Add("b\t1\t1\t1\tnoarch\t" + string(albs.DigestOf(nil)) + "\tRSA/SHA256, Fri, Key ID 0123456789abcdef\na\t-1\t\t\t\t\t\n\t\t\t\t\t\t\n")
	f.Fuzz(func(t *testing.T, out string) {
		got, err := Packages(out, nil)
		if err != nil {
			return
		}
		if len(got) > strings.Count(out, "\n")+1 {
			t.Errorf("%d packages in %q", len(got), out)
		}
		if !slices.IsSortedFunc(got, func(a, b Package) int { return strings.Compare(a.NEVRA(), b.NEVRA()) }) {
			t.Errorf("not sorted: %v", got)
		}
		for _, p := range got {
			if p.Header != "" && !p.Header.Valid() {
				t.Errorf("%q is taken for a digest", p.Header)
			}
			if p.KeyID != "" && (len(p.KeyID) != 16 || strings.Trim(p.KeyID, "0123456789abcdef") != "") {
				t.Errorf("%q is taken for the id of a key", p.KeyID)
			}
		}
	})
}
