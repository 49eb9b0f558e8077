package sign

import (
	"bytes"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/queue/queuetest"
	"albs/internal/pgp"
	"albs/internal/worker"
)

func TestHandlerContract(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)), "")
	f.deliver()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	me := auth.With(t.Context(), f.signer)
	claim := func(labels ...string) worker.Lease {
		t.Helper()
		l, err := f.queue.Claim(me, offer(labels...))
		if err != nil || l == nil {
			t.Fatalf("Claim = %v, %v", l, err)
		}
		return *l
	}
	const user = "Demo <demo@example.org>"
	k, err := pgp.Generate(user, pgp.Ed25519, time.Now())
	must(err)
	public, err := k.Public()
	must(err)
	other, err := pgp.Generate("Mallory <m@example.org>", pgp.Ed25519, time.Now())
	must(err)
	foreign, err := other.Public()
	must(err)
	_, err = f.GenerateKey(f.admin, NewKey{Name: "demo", UserID: user, Algorithm: pgp.Ed25519})
	must(err)
	c := queuetest.Case{
		DB: f.d, Queue: f.queue, Handler: keygenHandler{f.Signing}, Worker: me, Lease: claim("kind:keygen"),
		Good: albs.Result{Keygen: &albs.KeygenResult{Fingerprint: k.Fingerprint(), Public: public}},
		Garbage: map[string]albs.Result{
			"no key":             {Keygen: &albs.KeygenResult{Fingerprint: k.Fingerprint()}},
			"another's user id":  {Keygen: &albs.KeygenResult{Fingerprint: other.Fingerprint(), Public: foreign}},
			"another's bytes":    {Keygen: &albs.KeygenResult{Fingerprint: k.Fingerprint(), Public: foreign}},
			"two keys":           {Keygen: &albs.KeygenResult{Fingerprint: k.Fingerprint(), Public: append(bytes.Clone(public), foreign...)}},
			"another kind's":     {Sign: &albs.SignResult{}},
			"bytes of something": {Keygen: &albs.KeygenResult{Fingerprint: k.Fingerprint(), Public: []byte("something")}},
		},
		Foreign: []albs.Digest{f.rpms[0].Digest},
	}
	t.Run("keygen", func(t *testing.T) { queuetest.Run(t, c) })

	_, err = f.SignBuild(f.admin, f.build, "demo")
	must(err)
	l := claim("kind:sign", "key:"+k.Fingerprint())
	sign := func(key *pgp.Key) []albs.Signature { return report(t, l, key, same, states, nil).Sign.Signatures }
	result := func(s ...albs.Signature) albs.Result { return albs.Result{Sign: &albs.SignResult{Signatures: s}} }
	good := sign(k)
	exchanged := append([]albs.Signature{{Of: good[0].Of, Bytes: good[1].Bytes}, {Of: good[1].Of, Bytes: good[0].Bytes}}, good[2:]...)
	garbage := append([]albs.Signature{{Of: good[0].Of, Bytes: []byte("x")}}, good[1:]...)
	c = queuetest.Case{
		DB: f.d, Queue: f.queue, Handler: signHandler{f.Signing}, Worker: me, Lease: l, Good: result(good...),
		Garbage: map[string]albs.Result{
			"no signature":          result(),
			"one is missing":        result(good[1:]...),
			"one is there twice":    result(append(good[:len(good):len(good)], good[0])...),
			"one of something else": result(append(good[:len(good):len(good)], albs.Signature{Of: albs.DigestOf(nil), Bytes: good[0].Bytes})...),
			"by another key":        result(sign(other)...),
			"of one another":        result(exchanged...),
			"bytes of something":    result(garbage...),
			"another kind's":        c.Good,
		},
		Foreign: []albs.Digest{albs.DigestOf([]byte("kept"))},
	}
	for name, said := range misstated(t, k) {
		c.Garbage[name] = said(l)
	}
	t.Run("sign", func(t *testing.T) { queuetest.Run(t, c) })
}
