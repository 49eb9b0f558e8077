package tlog

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"albs/internal/albs"
)

// fixture is a log of a few leaves in memory, with the keys of those who sign.
type fixture struct {
	origin    string
	skey      string
	policy    Policy
	witnesses []string // secret keys
	leaves    [][]byte
}

func newFixture(t testing.TB, origin string, leaves, witnesses, quorum int) *fixture {
	t.Helper()
	f := &fixture{origin: origin}
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	f.skey, f.policy.Logs, f.policy.Quorum = skey, []string{vkey}, quorum
	for i := range witnesses {
		skey, vkey := newWitness(t, fmt.Sprintf("witness%d.example", i))
		f.witnesses = append(f.witnesses, skey)
		f.policy.Witnesses = append(f.policy.Witnesses, vkey)
	}
	for i := range leaves {
		f.leaves = append(f.leaves, testLeaf(i).Encode())
	}
	return f
}

// newWitness returns the secret and the public key of a witness.
func newWitness(t testing.TB, name string) (skey, vkey string) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	if vkey, err = fnote.VKeyToCosignatureV1(vkey); err != nil {
		t.Fatal(err)
	}
	return skey, vkey
}

func testLeaf(i int) Leaf {
	d := func(s string) albs.Digest { return albs.DigestOf(fmt.Appendf(nil, "%s %d", s, i)) }
	return Leaf{
		NEVRA: fmt.Sprintf("hello-0:%d-1.el9.x86_64", i), File: d("file"), Header: d("header"), Payload: d("payload"),
		Repositories: []string{"demo/9/x86_64/os", "demo/9/aarch64/os"}, Bundle: d("bundle"),
	}
}

// root and path are RFC 6962's, written down as it says them.
func root(leaves [][]byte) []byte {
	h := rfc6962.DefaultHasher
	switch n := len(leaves); n {
	case 0:
		return h.EmptyRoot()
	case 1:
		return h.HashLeaf(leaves[0])
	default:
		k := split(n)
		return h.HashChildren(root(leaves[:k]), root(leaves[k:]))
	}
}

func path(m int, leaves [][]byte) [][]byte {
	n := len(leaves)
	if n == 1 {
		return nil
	}
	if k := split(n); m < k {
		return append(path(m, leaves[:k]), root(leaves[k:]))
	} else {
		return append(path(m-k, leaves[k:]), root(leaves[:k]))
	}
}

func split(n int) int {
	k := 1
	for k*2 < n {
		k *= 2
	}
	return k
}

// sign returns the checkpoint of the log's leaves, signed by it and its witnesses.
func (f *fixture) sign(t testing.TB, text string) []byte {
	t.Helper()
	s, err := note.NewSigner(f.skey)
	if err != nil {
		t.Fatal(err)
	}
	signers := []note.Signer{s}
	for _, w := range f.witnesses {
		c, err := fnote.NewSignerForCosignatureV1(w)
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, c)
	}
	b, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (f *fixture) checkpoint(t testing.TB) []byte {
	t.Helper()
	return f.sign(t, string(log.Checkpoint{Origin: f.origin, Size: uint64(len(f.leaves)), Hash: root(f.leaves)}.Marshal()))
}

// proof returns the proof of leaf i.
func (f *fixture) proof(t testing.TB, i int) []byte {
	t.Helper()
	p := proof.TLogProof{Index: uint64(i), Checkpoint: f.checkpoint(t)}
	for _, h := range path(i, f.leaves) {
		p.Hashes = append(p.Hashes, [32]byte(h))
	}
	return p.Marshal()
}

func TestVerify(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 2, 3, 7, 8, 9} {
		f := newFixture(t, "log.example/one", size, 3, 2)
		for i := range size {
			got, err := Verify(f.proof(t, i), f.leaves[i], f.policy)
			if err != nil {
				t.Fatalf("leaf %d of %d: %v", i, size, err)
			}
			if want := (Inclusion{Origin: "log.example/one", Index: uint64(i), Size: uint64(size), Witnesses: 3}); got != want {
				t.Errorf("leaf %d of %d: %+v, want %+v", i, size, got, want)
			}
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "log.example/one", 9, 2, 2)
	other := newFixture(t, "log.example/two", 9, 0, 0)
	good, leaf := f.proof(t, 4), f.leaves[4]
	replace := func(old, new string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("the proof has no %q", old)
		}
		return bytes.Replace(good, []byte(old), []byte(new), 1)
	}
	policy := func(change func(*Policy)) Policy {
		p := Policy{Logs: f.policy.Logs, Witnesses: f.policy.Witnesses, Quorum: f.policy.Quorum}
		change(&p)
		return p
	}
	lines := strings.Split(string(good), "\n")
	// A log that is believed as well signs a checkpoint of the origin of this one.
	forged := *other
	forged.origin, forged.leaves = f.origin, f.leaves
	tests := []struct {
		name        string
		proof, leaf []byte
		policy      Policy
		want        string
	}{
		{"another leaf", good, f.leaves[3], f.policy, "doesn't lead from the leaf"},
		{"another index", replace("index 4", "index 5"), leaf, f.policy, "doesn't lead from the leaf"},
		{"an index beyond the log", replace("index 4", "index 9"), leaf, f.policy, "doesn't lead from the leaf"},
		{"an index with a zero before it", replace("index 4", "index 04"), leaf, f.policy, "not written"},
		{"another size", replace("\n9\n", "\n8\n"), leaf, f.policy, "not signed by its log"},
		{"a hash less", replace(lines[2]+"\n", ""), leaf, f.policy, "doesn't lead from the leaf"},
		{"a hash twice", replace(lines[2]+"\n", lines[2]+"\n"+lines[2]+"\n"), leaf, f.policy, "doesn't lead from the leaf"},
		{"data that nobody signed", replace("\nindex", "\nextra YQ==\nindex"), leaf, f.policy, "data of its own"},
		{"lines of another system", bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")), leaf, f.policy, "not written"},
		{"no last newline", good[:len(good)-1], leaf, f.policy, "not written"},
		{"nothing", nil, leaf, f.policy, "can't be read"},
		{"another log's key", good, leaf, policy(func(p *Policy) { p.Logs = other.policy.Logs }), "which the policy doesn't name"},
		{"another log's key of the same name", good, leaf, policy(func(p *Policy) { p.Logs = newFixture(t, f.origin, 0, 0, 0).policy.Logs }), "not signed by its log"},
		{"signed by another log that is believed", forged.proof(t, 4), leaf, policy(func(p *Policy) { p.Logs = append(other.policy.Logs, p.Logs...); p.Quorum = 0 }), "not signed by its log"},
		{"a witness less than asked for", f.without(t, 1).proof(t, 4), leaf, f.policy, "seen by 1 of the witnesses, and the policy asks for 2"},
		{"other witnesses", good, leaf, policy(func(p *Policy) { p.Witnesses = newFixture(t, "x.example", 0, 2, 2).policy.Witnesses }), "seen by 0"},
		{"too large", append(bytes.Clone(good), make([]byte, MaxProof)...), leaf, f.policy, "more than"},
		{"too large a leaf", good, make([]byte, MaxLeaf+1), f.policy, "more than"},
		{"no log", good, leaf, Policy{}, "names no log"},
		{"more witnesses than there are", good, leaf, policy(func(p *Policy) { p.Quorum = 3 }), "asks for 3 of 2"},
		{"a log's key as a witness's", good, leaf, policy(func(p *Policy) { p.Witnesses = other.policy.Logs; p.Quorum = 1 }), "no key of a witness"},
		{"a witness twice", good, leaf, policy(func(p *Policy) { p.Witnesses = append(p.Witnesses[:1:1], p.Witnesses[0]) }), "twice"},
		{"a log twice", good, leaf, policy(func(p *Policy) { p.Logs = append(p.Logs[:1:1], p.Logs[0]) }), "twice"},
		{"no key", good, leaf, policy(func(p *Policy) { p.Logs = []string{"log"} }), "no key of a log"},
		{"no witness's key", good, leaf, policy(func(p *Policy) { p.Witnesses = []string{"w", "x"} }), "no key of a witness"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Verify(tt.proof, tt.leaf, tt.policy)
			if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Verify = %+v, %v, want Invalid with %q", got, err, tt.want)
			}
		})
	}
}

// without returns f with the first n witnesses alone, under the same policy.
func (f *fixture) without(t testing.TB, n int) *fixture {
	t.Helper()
	g := *f
	g.witnesses = f.witnesses[:n]
	return &g
}

// TestVerifyEachBit turns each bit of a proof and of its leaf, with a quorum of all.
func TestVerifyEachBit(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "log.example/one", 6, 2, 2)
	good, leaf := f.proof(t, 2), f.leaves[2]
	k, err := f.policy.open()
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, b []byte, verify func() error) {
		for i := range b {
			for bit := range 8 {
				b[i] ^= 1 << bit
				if err := verify(); !errors.Is(err, albs.Invalid) {
					t.Errorf("bit %d of byte %d of the %s: %v, want Invalid\n%q", bit, i, what, err, b)
				}
				b[i] ^= 1 << bit
			}
		}
		if err := verify(); err != nil {
			t.Errorf("the %s as it was: %v", what, err)
		}
	}
	verify := func() error { _, err := k.verify(good, leaf); return err }
	try("proof", good, verify)
	try("leaf", leaf, verify)
}

// TestVerifyRotated holds that proofs of a log that was begun anew verify beside those
// before it, each under the key of its own log.
func TestVerifyRotated(t *testing.T) {
	t.Parallel()
	old, new := newFixture(t, "log.example/2025", 3, 0, 0), newFixture(t, "log.example/2026", 5, 0, 0)
	both := Policy{Logs: []string{old.policy.Logs[0], new.policy.Logs[0]}}
	for _, f := range []*fixture{old, new} {
		in, err := Verify(f.proof(t, 1), f.leaves[1], both)
		if err != nil || in.Origin != f.origin {
			t.Errorf("%s: %+v, %v", f.origin, in, err)
		}
	}
	if _, err := Verify(old.proof(t, 1), old.leaves[1], new.policy); !errors.Is(err, albs.Invalid) {
		t.Errorf("the old log's proof by the new key alone: %v, want Invalid", err)
	}
}

// TestVerifyMLDSA takes a witness with a key of the kind that new ones should have.
func TestVerifyMLDSA(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "log.example/one", 3, 0, 1)
	skey, vkey, err := fnote.GenerateMLDSAKey("pq.example")
	if err != nil {
		t.Fatal(err)
	}
	w, err := fnote.NewMLDSASigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	f.policy.Witnesses = []string{vkey}
	s, err := note.NewSigner(f.skey)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := note.Sign(&note.Note{Text: string(log.Checkpoint{Origin: f.origin, Size: 3, Hash: root(f.leaves)}.Marshal())}, s, w)
	if err != nil {
		t.Fatal(err)
	}
	p := proof.TLogProof{Index: 0, Checkpoint: cp}
	for _, h := range path(0, f.leaves) {
		p.Hashes = append(p.Hashes, [32]byte(h))
	}
	if in, err := Verify(p.Marshal(), f.leaves[0], f.policy); err != nil || in.Witnesses != 1 {
		t.Errorf("Verify = %+v, %v, want one witness", in, err)
	}
}

func TestParseLeaf(t *testing.T) {
	t.Parallel()
	l := testLeaf(1)
	want := "albs-release/v1\nnevra hello-0:1-1.el9.x86_64\nfile sha256:" + string(l.File) + "\nheader sha256:" + string(l.Header) +
		"\npayload sha256:" + string(l.Payload) + "\nrepo demo/9/aarch64/os\nrepo demo/9/x86_64/os\nbundle sha256:" + string(l.Bundle) + "\n"
	if got := string(l.Encode()); got != want {
		t.Fatalf("Encode = %q, want %q", got, want)
	}
	got, err := ParseLeaf([]byte(want))
	if err != nil || string(got.Encode()) != want {
		t.Errorf("ParseLeaf = %+v, %v", got, err)
	}
	for name, b := range map[string]string{
		"nothing":            "",
		"another format":     strings.Replace(want, "/v1", "/v2", 1),
		"more":               want + "x y\n",
		"a line twice":       want + "bundle sha256:" + string(l.Bundle) + "\n",
		"lines moved":        strings.Replace(strings.Replace(want, "repo demo/9/x86_64/os\n", "", 1), "nevra", "repo demo/9/x86_64/os\nnevra", 1),
		"unsorted":           strings.Replace(strings.Replace(want, "aarch64", "y", 1), "x86_64/os\nbundle", "a/os\nbundle", 1),
		"a repository twice": strings.Replace(want, "aarch64", "x86_64", 1),
		"no repository":      strings.NewReplacer("repo demo/9/aarch64/os\n", "", "repo demo/9/x86_64/os\n", "").Replace(want),
		"no package":         strings.Replace(want, "hello-0:1-1.el9.x86_64", "", 1),
		"a digest cut":       want[:len(want)-2] + "\n",
		"no newline":         want[:len(want)-1],
		"too large":          want + strings.Repeat("x", MaxLeaf),
	} {
		if got, err := ParseLeaf([]byte(b)); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: %+v, %v, want Invalid", name, got, err)
		}
	}
}

func FuzzParseLeaf(f *testing.F) {
	f.Add(testLeaf(1).Encode())
	f.Add([]byte("albs-release/v1\nnevra x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLeaf(b)
		if err != nil {
			if !errors.Is(err, albs.Invalid) {
				t.Fatalf("the error is %v, not Invalid", err)
			}
			return
		}
		if !bytes.Equal(l.Encode(), b) {
			t.Fatalf("%q was read and is written as %q", b, l.Encode())
		}
	})
}

func FuzzVerify(f *testing.F) {
	x := newFixture(f, "log.example/one", 5, 2, 1)
	good := x.proof(f, 3)
	f.Add(good, x.leaves[3])
	f.Add(x.checkpoint(f), x.leaves[3])
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 18446744073709551615\n"+base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n\nx\n1\n\n"), []byte{})
	k, err := x.policy.open()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b, leaf []byte) {
		in, err := k.verify(b, leaf)
		if err != nil {
			if !errors.Is(err, albs.Invalid) {
				t.Fatalf("the error is %v, not Invalid", err)
			}
			return
		}
		// Only what the fixture signed verifies: its checkpoint has five leaves.
		if in.Size != 5 || in.Index >= 5 || !bytes.Equal(leaf, x.leaves[in.Index]) {
			t.Fatalf("%q was accepted as %+v", leaf, in)
		}
	})
}
