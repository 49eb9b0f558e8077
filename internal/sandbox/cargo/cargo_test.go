package cargo

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"albs/internal/albs"
)

// TestUnpack: whatever the other side sends, files come out under their base names,
// once each, and nowhere else.
func TestUnpack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		headers []tar.Header
		ok      bool
	}{
		{"plain", []tar.Header{{Name: "a.rpm"}, {Name: "b.rpm"}}, true},
		{"twice", []tar.Header{{Name: "a.rpm"}, {Name: "a.rpm"}}, false},
		{"above", []tar.Header{{Name: "../a.rpm"}}, false},
		{"below", []tar.Header{{Name: "x/a.rpm"}}, false},
		{"absolute", []tar.Header{{Name: "/tmp/a.rpm"}}, false},
		{"hidden", []tar.Header{{Name: ".a.rpm"}}, false},
		{"link", []tar.Header{{Name: "a.rpm", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}}, false},
	} {
		var b bytes.Buffer
		tw := tar.NewWriter(&b)
		for _, h := range tt.headers {
			h.Mode = 0o644
			if err := tw.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		if err := tw.Close(); err != nil {
			t.Fatal(err)
		}
		top := t.TempDir()
		to := filepath.Join(top, "x", "to")
		if err := os.MkdirAll(to, 0o700); err != nil {
			t.Fatal(err)
		}
		names, err := Unpack(&b, to)
		if tt.ok && (err != nil || len(names) != len(tt.headers)) || !tt.ok && albs.KindOf(err) != albs.Invalid {
			t.Errorf("%s: %v, %v", tt.name, names, err)
		}
		for _, dir := range []string{top, filepath.Join(top, "x")} {
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
				t.Errorf("%s: %s holds %v, %v", tt.name, dir, entries, err)
			}
		}
	}
}
