package tlog

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"albs/internal/albs"
)

func testWithdrawal() Withdrawal {
	return Withdrawal{
		NEVRA: "hello-0:1-1.el9.x86_64", File: albs.DigestOf([]byte("hello")), Repositories: []string{"demo/9/x86_64/os", "demo/9/aarch64/os"}, Release: 12,
	}
}

func TestParseWithdrawal(t *testing.T) {
	t.Parallel()
	w := testWithdrawal()
	want := "albs-withdrawal/v1\nnevra hello-0:1-1.el9.x86_64\nfile sha256:" + string(w.File) + "\nrepo demo/9/aarch64/os\nrepo demo/9/x86_64/os\nrelease 12\n"
	if got := string(w.Encode()); got != want {
		t.Fatalf("Encode = %q, want %q", got, want)
	}
	got, err := ParseWithdrawal([]byte(want))
	if err != nil || string(got.Encode()) != want || !IsWithdrawal([]byte(want)) {
		t.Errorf("ParseWithdrawal = %+v, %v", got, err)
	}
	// Neither sort of leaf is taken for the other.
	release := testLeaf(1).Encode()
	if _, err := ParseLeaf([]byte(want)); !errors.Is(err, albs.Invalid) || IsWithdrawal(release) {
		t.Errorf("a withdrawal is read as a release: %v", err)
	}
	for name, b := range map[string]string{
		"nothing":            "",
		"a release":          string(release),
		"another format":     strings.Replace(want, "/v1", "/v2", 1),
		"more":               want + "x y\n",
		"a line twice":       want + "release 12\n",
		"unsorted":           strings.Replace(want, "aarch64", "z", 1),
		"a repository twice": strings.Replace(want, "aarch64", "x86_64", 1),
		"no repository":      strings.NewReplacer("repo demo/9/aarch64/os\n", "", "repo demo/9/x86_64/os\n", "").Replace(want),
		"no package":         strings.Replace(want, "hello-0:1-1.el9.x86_64", "", 1),
		"no digest":          strings.Replace(want, string(w.File), "", 1),
		"no release":         strings.Replace(want, "release 12\n", "", 1),
		"release 0":          strings.Replace(want, "release 12", "release 0", 1),
		"release 012":        strings.Replace(want, "release 12", "release 012", 1),
		"a name for one":     strings.Replace(want, "release 12", "release x", 1),
		"no newline":         want[:len(want)-1],
		"too large":          want + strings.Repeat("x", MaxLeaf),
	} {
		if got, err := ParseWithdrawal([]byte(b)); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: %+v, %v, want Invalid", name, got, err)
		}
	}
}

func FuzzParseWithdrawal(f *testing.F) {
	f.Add(testWithdrawal().Encode())
	f.Add([]byte("albs-withdrawal/v1\nnevra x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := ParseWithdrawal(b)
		if err != nil {
			if !errors.Is(err, albs.Invalid) {
				t.Fatalf("the error is %v, not Invalid", err)
			}
			return
		}
		if !bytes.Equal(w.Encode(), b) {
			t.Fatalf("%q was read and is written as %q", b, w.Encode())
		}
	})
}
