package purl

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

// TestParse: what others wrote, and how it is written here.
func TestParse(t *testing.T) {
	t.Parallel()
	for s, tt := range map[string]struct {
		want PURL
		text string // "" for the same
	}{
		"pkg:rpm/almalinux/zlib@1.2.11-10.el9?arch=x86_64&epoch=1": {
			want: PURL{Type: "rpm", Namespace: "almalinux", Name: "zlib", Version: "1.2.11-10.el9", Qualifiers: map[string]string{"arch": "x86_64", "epoch": "1"}},
		},
		"pkg:rpm/redhat/libstdc++@11.5-2.module+el9?arch=src&rpmmod=virt:rhel:810:48919": {
			want: PURL{Type: "rpm", Namespace: "redhat", Name: "libstdc++", Version: "11.5-2.module+el9", Qualifiers: map[string]string{"arch": "src", "rpmmod": "virt:rhel:810:48919"}},
			text: "pkg:rpm/redhat/libstdc%2B%2B@11.5-2.module%2Bel9?arch=src&rpmmod=virt:rhel:810:48919",
		},
		"pkg:rpmmod/redhat/virt@rhel:8100020240905091210:489197e6": {
			want: PURL{Type: "rpmmod", Namespace: "redhat", Name: "virt", Version: "rhel:8100020240905091210:489197e6"},
		},
		"pkg:NPM/%40angular/core@1.0#a/b":       {want: PURL{Type: "npm", Namespace: "@angular", Name: "core", Version: "1.0"}, text: "pkg:npm/%40angular/core@1.0"},
		"pkg:golang/a.b/@c/d":                   {want: PURL{Type: "golang", Namespace: "a.b/@c", Name: "d"}, text: "pkg:golang/a.b/%40c/d"},
		"pkg:rpm/zlib?arch=&distro=a%2db%c3%a9": {want: PURL{Type: "rpm", Name: "zlib", Qualifiers: map[string]string{"distro": "a-bé"}}, text: "pkg:rpm/zlib?distro=a-b%C3%A9"},
	} {
		got, err := Parse(s)
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", s, err, diff)
		}
		want := tt.text
		if want == "" {
			want = s
		}
		if got.String() != want {
			t.Errorf("%s is written %s", s, got)
		}
	}
	for _, s := range []string{"", "rpm/zlib", "pkg:", "pkg:rpm", "pkg:rpm/", "pkg:rpm/a@%g0", "pkg:rpm/%", "pkg:rpm/a?b=%1", "pkg:rpm/" + strings.Repeat("a", maxBytes)} {
		if p, err := Parse(s); albs.KindOf(err) != albs.Invalid {
			t.Errorf("%.40q is %+v, %v", s, p, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"pkg:rpm/almalinux/zlib@1.2.11-10.el9?arch=x86_64&epoch=1", "pkg:npm/%40a/b@1#c", "pkg:x/a?b=%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(p.String())
		if diff := cmp.Diff(p, again); len(p.String()) <= maxBytes && !strings.ContainsAny(p.Type+p.Namespace, "?#@/%") && plain(p) && (err != nil || diff != "") {
			t.Errorf("%q is written %q: %v\n%s", s, p, err, diff)
		}
	})
}

// plain reports whether the parts that are written as they are have nothing to escape.
func plain(p PURL) bool {
	for k := range p.Qualifiers {
		if strings.ContainsAny(k, "?#@/%&=") {
			return false
		}
	}
	return true
}
