package effect_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest/effect"
)

func sample() effect.Effects {
	d := albs.DigestOf([]byte("x"))
	return effect.Effects{
		Product: "demo", Key: "K", Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Repositories: []effect.Repository{{
			Path: "x86_64", Changes: []effect.Package{{File: "a.rpm", Digest: d, Tests: "passed"}, {File: "b.rpm", Digest: d, Removed: true}},
			Records: []effect.Record{{Action: "add", Type: "group", Name: "comps.xml", Digest: d, Size: 7}},
		}},
		Dropped: []string{"old"}, Decisions: []effect.Decision{{Action: "move", Package: "a", To: "b", Reason: "c"}},
		Items: []effect.Item{{Part: "errata", Name: "ALSA-2026:1/el", Version: 2, Digest: d, Withdraws: true, Force: "because", Missing: []string{"a-1-1.noarch"}}},
		Tree:  []effect.Tree{{Action: "add", Path: "errata/el/osv/ALSA-2026-1.json", Digest: d, Size: 7, Signed: true, Before: d}},
		Files: []effect.File{{Name: "SHA256SUMS", Digest: d}}, Clear: true,
	}
}

func TestEffects(t *testing.T) {
	t.Parallel()
	want := sample()
	got, err := effect.Parse(want.Encode())
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Parse: %v\n%s", err, diff)
	}
	if !got.Signs(want.Files[0].Digest) || got.Signs(albs.DigestOf(nil)) {
		t.Error("Signs names another file")
	}
	abroad := want
	abroad.Expires = want.Expires.In(time.FixedZone("x", 3600))
	if abroad.Digest() != want.Digest() {
		t.Error("the same time has another digest in another zone")
	}
	hidden := bytes.Replace(want.Encode(), []byte(`{"product"`), []byte(`{"more":1,"product"`), 1)
	for name, b := range map[string][]byte{
		"nothing": nil, "a member that nobody shows": hidden, "no product": effect.Effects{Expires: want.Expires}.Encode(),
		"no end": effect.Effects{Product: "demo"}.Encode(), "a space more": append(want.Encode(), ' '),
	} {
		if _, err := effect.Parse(b); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample().Encode())
	f.Add([]byte(`{"product":"demo","key":"","expires":"2026-01-02T03:04:05Z","repositories":null,"dropped":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := effect.Parse(b)
		if err == nil && e.Digest() != albs.DigestOf(b) {
			// What a person is shown would be other than what is signed.
			t.Errorf("%q is read as %+v, which has another digest", b, e)
		}
	})
}
