package signer

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
)

// quota freezes keys whose signatures within an hour are all made. It may be used
// concurrently.
type quota struct {
	journal *journal
	log     zerolog.Logger

	mu     sync.Mutex
	frozen map[string]int // by key, how many signatures it must have room for to thaw
}

// errQuota says that a key has to wait.
var errQuota = albs.Errorf(albs.Unavailable, "not now")

// take returns nil if a key may make n signatures now. Else it freezes the key until
// it may, and returns an errQuota that says when that is.
func (q *quota) take(r rule, key string, n int) error {
	at := r.room(q.journal.uses(key), n)
	if at.IsZero() {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.frozen[key] = n
	why := full(r, key, at)
	q.log.Warn().Str("key", key).Int("quota", r.Quota).Time("until", at).Msg("a key's quota is used up: nothing is signed with it")
	return fmt.Errorf("%w: %s", errQuota, why)
}

// rest returns those of the keys that may be used, and why the others may not, ""
// if all may.
func (q *quota) rest(p policy, held []keyFile) (usable []string, why string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var said []string
	for _, f := range held {
		r := p.of(f)
		at := r.room(q.journal.uses(f.Fingerprint), max(q.frozen[f.Fingerprint], 1))
		if at.IsZero() {
			delete(q.frozen, f.Fingerprint)
			usable = append(usable, f.Fingerprint)
			continue
		}
		said = append(said, full(r, f.Fingerprint, at))
	}
	return usable, strings.Join(said, "; ")
}

func full(r rule, key string, at time.Time) string {
	return fmt.Sprintf("key %s has used its quota of %d signatures in an hour and waits until %s", key, r.Quota, day(at))
}
