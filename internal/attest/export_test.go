package attest_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
)

func (w *world) export(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := attest.WriteExport(t.Context(), &b, w.signer.SignState(w.state(t), time.Now()), w.ledger.Transaction); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestCheckExport: an export is checked by nothing but the trust file, and what is
// wrong with single entries is told beside.
func TestCheckExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	right := w.export(t)
	var seen uint64
	tally, state, err := attest.CheckExport(t.Context(), bytes.NewReader(right), w.trust, func(id uint64) { seen = id })
	if err != nil || tally.Wrong != 0 || tally.Statements == 0 || tally.Transactions != seen || state.State != w.state(t) {
		t.Fatalf("CheckExport = %+v, %+v, %v", tally, state, err)
	}

	lines := strings.SplitAfter(string(right), "\n")
	join := func(parts ...[]string) string {
		var b strings.Builder
		for _, p := range parts {
			b.WriteString(strings.Join(p, ""))
		}
		return b.String()
	}
	n := len(lines) - 2 // the state's
	for name, c := range map[string]struct {
		export string
		trust  func(attest.Trust) attest.Trust
	}{
		"nothing":                     {"", nil},
		"no first line":               {join(lines[1:]), nil},
		"a transaction less":          {join(lines[:2], lines[3:]), nil},
		"the last transaction less":   {join(lines[:n-1], lines[n:]), nil},
		"a transaction twice":         {join(lines[:2], lines[1:]), nil},
		"two swapped":                 {join(lines[:2], lines[3:4], lines[2:3], lines[4:]), nil},
		"no state":                    {join(lines[:n]), nil},
		"something behind":            {join(lines, lines[n:]), nil},
		"a space behind":              {join(lines) + " ", nil},
		"cut in a line":               {string(right[:len(right)/2]), nil},
		"an unknown field":            {strings.Replace(string(right), `{"transaction"`, `{"more":1,"transaction"`, 1), nil},
		"an empty line":               {join(lines[:2], []string{"{}\n"}, lines[2:]), nil},
		"another time":                {strings.Replace(string(right), `"time":1`, `"time":2`, 1), nil},
		"another value":               {strings.Replace(string(right), `"value":"e`, `"value":"f`, 1), nil},
		"a transaction without items": {strings.Replace(string(right), `"items":[`, `"items":[],"x":[`, 1), nil},
		"another ledger trusted":      {string(right), func(t attest.Trust) attest.Trust { t.Ledger += "0"; return t }},
		"another master trusted": {string(right), func(tr attest.Trust) attest.Trust {
			tr.MasterKeys = []string{attest.PublicKey(master(t, 77).Public())}
			return tr
		}},
	} {
		trust := w.trust
		if c.trust != nil {
			trust = c.trust(trust)
		}
		if tally, _, err := attest.CheckExport(t.Context(), strings.NewReader(c.export), trust, nil); err == nil {
			t.Errorf("%s: accepted, with %+v", name, tally)
		}
	}

	srpm := attest.Subject{Name: "hello.src.rpm", Digest: map[string]string{attest.SHA256: string(w.srpm)}}
	stray := w.sayAs(t, master(t, 78), srpm, attest.Source, attest.SourceBody{Uploader: "mallory"})
	w.append(t, string(w.srpm))
	value, err := stray.Envelope.Encode()
	if err != nil {
		t.Fatal(err)
	}
	misfiled := attest.StatementKey(w.srpm, attest.Build, 9)
	if _, err := w.ledger.Append(t.Context(), []ledger.Entry{{Key: []byte(misfiled), Value: value}}); err != nil {
		t.Fatal(err)
	}
	tally, _, err = attest.CheckExport(t.Context(), bytes.NewReader(w.export(t)), w.trust, nil)
	var keys []string
	for _, f := range tally.Faults {
		keys = append(keys, f.Key)
	}
	if err != nil || tally.Wrong != 3 || strings.Join(keys, " ") != stray.Key+" "+string(w.srpm)+" "+misfiled {
		t.Errorf("with three wrong entries: %+v, %v", tally, err)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := attest.CheckExport(ended, bytes.NewReader(right), w.trust, nil); err == nil {
		t.Error("an ended context doesn't end the check")
	}
}

func FuzzCheckExport(f *testing.F) {
	w := newWorld(f)
	right := w.export(f)
	f.Add(right)
	f.Add(right[:len(right)/3])
	f.Fuzz(func(t *testing.T, b []byte) {
		_, state, err := attest.CheckExport(t.Context(), bytes.NewReader(b), w.trust, nil)
		if err == nil && state.State.Ledger != w.trust.Ledger {
			t.Errorf("accepted an export of %+v", state)
		}
		if err != nil && albs.KindOf(err) == albs.Internal {
			t.Errorf("CheckExport: %v", err)
		}
	})
}
