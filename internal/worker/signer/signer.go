// Package signer is the role that holds package keys: it makes them, keeps them
// sealed in a directory of its own, and signs what the evidence of a lease allows.
//
// It takes no one's word for what it signs. The evidence must show, by the master's
// signed statements and proofs from the ledger, that a package was built and
// notarized as trusted builders do, or that a document is what an approved release
// comes to; and the ledger's state must continue the one that this signer
// remembers. A row changed in the master's database gets nothing signed. The
// package is then fetched, its digest checked, its header read here and held to its
// name and to the statement. After signing, the signed copy is checked by a second
// engine, rpmkeys or, of what is no package, gpgv, in a sandbox that doesn't see the
// directory of keys. Where the operator's policy wants it, people's own signatures decide:
// over exactly what is signed, by keys that the policy has and no part of the master.
//
// What was signed it states itself, by a key of its own that the master knows it by: which
// package has become which signed copy, by which key, and for whom.
//
// Config.Dir, mode 0700, holds
//
//	passphrase       the keys' passphrase, if it has no other place
//	keys/FPR.json    one key: public part, sealed private part or which one of the token
//	                 it is, products, the time of its use, whether it is revoked
//	statement.key    the key of this signer's own statements
//	policy.yaml      the operator's: what each key may sign, how often, and who approves
//	journal.jsonl    each intent to sign, its date, and how it ended; append-only, chained
//	state.json       the newest state of the ledger that was verified
//	tmp/             packages in work
//
// Invariants: an intent is on disk before its signature is made, and in the ledger
// before that; all attempts at a task make the same signatures; the ledger's state
// is on disk before anything is signed by it; nothing that is logged, journaled or
// returned holds a private key, the passphrase or a PIN; a key that is in a token is used
// there or not at all.
package signer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/keyfile"
	"albs/internal/disk"
	"albs/internal/worker"
	"albs/internal/worker/signer/token"
)

// PKCS11 says whether this program can keep keys in a token.
const PKCS11 = token.Built

// Config holds what an operator may set.
type Config struct {
	// Dir is the signer's own directory. Nobody else may read it; back it up.
	Dir string `yaml:"dir"`
	// PassphraseFile holds the passphrase that seals the keys; "" is a file in Dir,
	// made at the first start.
	PassphraseFile string `yaml:"passphrase_file"`
	// PassphraseFrom says where the passphrase is: FromFile, which "" is too,
	// FromCredential or FromPrompt.
	PassphraseFrom string `yaml:"passphrase_from"`
	// Token is the PKCS#11 token in which new keys are made, and used.
	Token Token `yaml:"token"`
	// TrustFile says which master, ledger and builders are trusted, as albs trust
	// prints it. A signer on a machine of its own needs one.
	TrustFile string `yaml:"trust_file"`
	// Spool keeps what could not be reported yet.
	Spool string `yaml:"spool"`

	// Trust is that of the master in the same process; TrustFile comes before it.
	Trust *attest.Trust `yaml:"-"`
}

// Token names a token and where its PIN is.
type Token struct {
	token.Config `yaml:",inline"`
	// PINFile holds the PIN.
	PINFile string `yaml:"pin_file"`
	// PINFrom says where the PIN is: FromFile, which "" is too, FromCredential or
	// FromPrompt.
	PINFrom string `yaml:"pin_from"`
}

// check is Invalid if t is neither none nor whole.
func (c Config) checkToken() error {
	if c.Token == (Token{}) {
		return nil
	}
	if err := c.Token.Config.Check(); err != nil {
		return err
	}
	s := c.pinSecret()
	switch err := s.check(); {
	case err != nil:
		return err
	case c.Token.Module == "":
		return albs.Errorf(albs.Invalid, "signer.token says where a PIN is, and of no token: it needs module and label")
	case s.file == "" && (s.from == "" || s.from == FromFile):
		return albs.Errorf(albs.Invalid, "signer.token needs the PIN: name its file in signer.token.pin_file, or say %s or %s in signer.token.pin_from", FromCredential, FromPrompt)
	case !token.Built:
		return albs.Errorf(albs.Invalid, "signer.token is set, and this program was built without PKCS#11 (albs version says so): use one built with CGO_ENABLED=1 go build -tags pkcs11")
	}
	return nil
}

// openToken opens the token, nil if the configuration names none.
func (c Config) openToken(ctx context.Context) (*token.Token, error) {
	if err := c.checkToken(); err != nil || c.Token == (Token{}) {
		return nil, err
	}
	pin, err := c.pinSecret().read(ctx, "")
	if err != nil {
		return nil, err
	}
	defer clear(pin)
	return token.Open(c.Token.Config, pin)
}

// Check returns what an operator should know of the configuration: sentences, none
// if all is well. It is Invalid if a signer apart from its master can't start by it,
// or the trust file is bad.
func (c Config) Check(apart bool) ([]string, error) {
	if apart || c.TrustFile != "" {
		if _, err := c.trust(); err != nil {
			return nil, err
		}
	}
	if err := c.passphraseSecret().check(); err != nil {
		return nil, err
	}
	if err := c.checkToken(); err != nil {
		return nil, err
	}
	var out []string
	if c.PassphraseFile == "" && c.PassphraseFrom != FromCredential && c.PassphraseFrom != FromPrompt {
		out = append(out, "signer.passphrase_file is not set: the passphrase lies beside the keys in "+filepath.Join(c.Dir, passphraseName)+
			", so that who copies the directory has both")
	}
	if c.TrustFile == "" {
		out = append(out, "signer.trust_file is not set: the signer believes the master in its own process")
	}
	return out, nil
}

// Run makes keys and signs until ctx is done. It fails with Invalid if the
// configuration, the passphrase, the PIN or a file of Dir is bad, with Conflict if another
// signer works in Dir, and with Unavailable if rpmkeys, gpgv, bubblewrap or the token is
// missing.
// A token that goes away later is waited for.
func Run(ctx context.Context, c Config, version string, m worker.Master, log zerolog.Logger) error {
	// A program that falls writes what it has in memory to a disk, keys among it.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		log.Warn().Err(err).Msg("a core file of the signer would have its keys in it, and can't be forbidden")
	}
	s, err := open(ctx, c, log)
	if err != nil {
		return err
	}
	defer s.close()
	if s.engines, err = findEngines(); err != nil {
		return err
	}
	return s.work(ctx, c.Spool, version, m)
}

// work does one lease at a time: the evidence of a second one could lead from a state
// that the first has gone beyond. The cores are used within a lease.
func (s *signer) work(ctx context.Context, spool, version string, m worker.Master) error {
	l := worker.Loop{
		Master: m, Offer: func() worker.Offer { return s.offer(version) }, Parallel: 1,
		Spool: spool, StopEarly: true, Log: s.log, Job: s.job,
	}
	return l.Run(ctx)
}

// signer is an open directory of keys.
type signer struct {
	dir     string
	trust   attest.Trust
	states  *attest.Signer // of its own statements
	keys    *keys
	journal *journal
	engines engines
	quota   *quota
	log     zerolog.Logger
	// operations counts the uses of private keys since the start, which the log tells
	// with each task: a refusal adds none.
	operations atomic.Int64

	mu    sync.Mutex
	known attest.SignedState // the zero one knows nothing yet
}

// open reads all that Dir holds and makes what isn't there yet. Until the journal is
// open, which keeps a second signer out, it changes nothing that another may use.
func open(ctx context.Context, c Config, log zerolog.Logger) (_ *signer, err error) {
	if c.Dir == "" || c.Spool == "" {
		return nil, albs.Errorf(albs.Invalid, "the signer needs the directories signer.dir and signer.spool")
	}
	s := &signer{dir: c.Dir, log: log}
	if s.trust, err = c.trust(); err != nil {
		return nil, err
	}
	for _, d := range []string{c.Dir, filepath.Join(c.Dir, "keys"), filepath.Join(c.Dir, "tmp")} {
		if err := privateDir(d); err != nil {
			return nil, err
		}
	}
	var unfinished []entry
	if s.journal, unfinished, err = openJournal(filepath.Join(c.Dir, "journal.jsonl")); err != nil {
		return nil, err
	}
	s.quota = &quota{journal: s.journal, log: log, frozen: map[string]int{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.journal.Close())
		}
	}()
	if err := clearDir(filepath.Join(c.Dir, "tmp")); err != nil {
		return nil, err
	}
	own, err := keyfile.LoadOrCreate(filepath.Join(c.Dir, statementKeyName))
	if err != nil {
		return nil, err
	}
	s.states = attest.NewSigner(own)
	passphrase, made, err := c.passphrase(ctx)
	if err != nil {
		return nil, err
	}
	defer clear(passphrase)
	tok, err := c.openToken(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && tok != nil {
			err = errors.Join(err, tok.Close())
		}
	}()
	if made {
		log.Warn().Str("file", filepath.Join(c.Dir, passphraseName)).Msg("a passphrase for the keys was made; keep it apart from the keys with signer.passphrase_file")
	}
	if s.keys, err = openKeys(c.Dir, passphrase, tok, c.Token.Label); err != nil {
		return nil, err
	}
	if s.known, err = readState(c.Dir); err != nil {
		return nil, err
	}
	if err := s.reconcile(unfinished); err != nil {
		return nil, err
	}
	return s, nil
}

// close lets another signer have the directory and the token.
func (s *signer) close() error {
	err := s.journal.Close()
	if s.keys.token != nil {
		err = errors.Join(err, s.keys.token.Close())
	}
	return err
}

// reconcile gives the intents that an earlier process left open their result, which is
// that nobody knows it. The master leases the task anew, and what is signed then is
// the same to the byte.
func (s *signer) reconcile(unfinished []entry) error {
	for i, e := range unfinished {
		s.log.Warn().Stringer("task_id", e.Task).Int("attempt", e.Attempt).Str("key", e.Key).Str("of", string(e.Of)).Str("name", e.Name).
			Msg("the signer ended between an intent and its result: a signature may exist that nobody has")
		unfinished[i].Event, unfinished[i].Error = resultEvent, "orphaned: the signer ended before it knew the result"
	}
	if len(unfinished) == 0 {
		return nil
	}
	return s.journal.add(unfinished...)
}

// trust returns whom the signer believes.
func (c Config) trust() (attest.Trust, error) {
	if c.TrustFile == "" {
		if c.Trust == nil {
			return attest.Trust{}, albs.Errorf(albs.Invalid, "a signer apart from its master needs signer.trust_file: albs trust export --signer writes it on the master")
		}
		return attest.ParseTrust(c.Trust.Encode())
	}
	b, err := disk.ReadFile(c.TrustFile, attest.MaxTrust)
	if err != nil {
		return attest.Trust{}, albs.Errorf(albs.Invalid, "read signer.trust_file: %w", err)
	}
	t, err := attest.ParseTrust(b)
	if err != nil {
		return t, fmt.Errorf("signer.trust_file: %w", err)
	}
	return t, nil
}

// offer says what the signer can do now: its labels grow with each key made, and lack
// a key that is revoked, one whose quota is used up, and those of a token that is away,
// in which none can be made either.
func (s *signer) offer(version string) worker.Offer {
	labels := []string{"kind:" + string(albs.KindSign)}
	away := s.keys.away()
	if away == "" {
		labels = append(labels, "kind:"+string(albs.KindKeygen))
	}
	// By a policy that can't be understood there is no quota; the refusal of the task
	// says what is wrong with it.
	p, err := readPolicy(s.dir)
	if err != nil {
		p = policy{}
	}
	held := slices.DeleteFunc(s.keys.files(), func(f keyFile) bool { return f.Revoked != nil || f.Token != nil && away != "" })
	usable, why := s.quota.rest(p, held)
	if away != "" {
		why = strings.Trim(why+"; "+away, "; ")
	}
	for _, fpr := range usable {
		labels = append(labels, "key:"+fpr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return worker.Offer{Version: version, Labels: labels, Pause: why, Ledger: s.known.State.TxID, Key: attest.PublicKey(s.states.Public())}
}

func (s *signer) job(ctx context.Context, w *worker.Session) (albs.Outcome, albs.Result, error) {
	switch spec := w.Lease.Spec; w.Lease.Kind {
	case albs.KindKeygen:
		if spec.Keygen == nil {
			break
		}
		var r albs.KeygenResult
		var err error
		if end := spec.Keygen.Revoke; end != nil {
			r, err = s.revoke(ctx, w, *end)
		} else {
			r, err = s.generate(ctx, w, *spec.Keygen)
		}
		switch {
		case errors.Is(err, albs.Forbidden):
			return albs.OutcomeFailed, albs.Result{Reason: err.Error()}, nil
		case errors.Is(err, token.ErrAway):
			return albs.OutcomeStopped, albs.Result{Reason: err.Error()}, nil
		case err != nil:
			return "", albs.Result{}, err
		}
		return albs.OutcomeOK, albs.Result{Keygen: &r}, nil
	case albs.KindSign:
		if spec.Sign == nil {
			break
		}
		r, err := s.sign(ctx, w, *spec.Sign)
		s.log.Info().Stringer("task_id", w.Lease.Token.Task).Int64("operations", s.operations.Load()).Err(err).Msg("sign task ended; operations are the uses of keys since the start")
		switch {
		case errors.Is(err, albs.Forbidden): // a refusal: no other attempt ends otherwise
			return albs.OutcomeFailed, albs.Result{Reason: err.Error()}, nil
		case errors.Is(err, errQuota), errors.Is(err, token.ErrAway): // given back: it costs the task no attempt to wait
			return albs.OutcomeStopped, albs.Result{Reason: err.Error()}, nil
		}
		if err != nil {
			return "", albs.Result{}, err
		}
		return albs.OutcomeOK, albs.Result{Sign: &r}, nil
	}
	return "", albs.Result{}, albs.Errorf(albs.Invalid, "a task of kind %q without its spec is nothing for a signer", w.Lease.Kind)
}

// say writes a line for people to the attempt's log, whose loss is no reason to
// stop.
func say(w *worker.Session, format string, args ...any) {
	fmt.Fprintf(w.Log("sign"), format+"\n", args...)
}

// remember makes the ledger's state durable and goes on from it.
func (s *signer) remember(st attest.SignedState) error {
	b, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("encode ledger state: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.State == s.known.State {
		return nil
	}
	if err := disk.WriteFile(filepath.Join(s.dir, stateName), b, 0o600); err != nil {
		return fmt.Errorf("remember ledger state: %w", err)
	}
	s.known = st
	return nil
}

const (
	stateName        = "state.json"
	statementKeyName = "statement.key"
)

// readState returns the remembered state, the zero one at the first start. A file
// that can't be read is an error: without it a rollback of the ledger would pass.
func readState(dir string) (attest.SignedState, error) {
	var st attest.SignedState
	path := filepath.Join(dir, stateName)
	b, err := disk.ReadFile(path, 64<<10)
	if errors.Is(err, os.ErrNotExist) {
		return st, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &st)
	}
	if err == nil && st.State.TxID == 0 {
		err = errors.New("it names no transaction")
	}
	if err != nil {
		return st, albs.Errorf(albs.Invalid, "the remembered state of the ledger, %s, can't be read; restore it from a backup: %w", path, err)
	}
	return st, nil
}

// privateDir makes a directory that its owner alone may enter, and refuses one
// that others may.
func privateDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("make the signer's directory: %w", err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("make the signer's directory: %w", err)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return albs.Errorf(albs.Invalid, "%s may be entered by others (mode %04o): chmod 700 it", path, fi.Mode().Perm())
	}
	return nil
}

// clearDir removes what an earlier process left.
func clearDir(path string) error {
	list, err := os.ReadDir(path)
	for _, e := range list {
		err = errors.Join(err, os.RemoveAll(filepath.Join(path, e.Name())))
	}
	if err != nil {
		return fmt.Errorf("clear %s: %w", path, err)
	}
	return nil
}
