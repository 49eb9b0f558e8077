package notice

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
)

// TestSignature has a signature that openssl made: dgst -sha256 -mac HMAC.
func TestSignature(t *testing.T) {
	t.Parallel()
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if got := signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`)); got != want {
		t.Errorf("signature = %s, want %s", got, want)
	}
	if got := spelt(key); got != "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" {
		t.Errorf("spelt = %s", got)
	}
}

func TestLoadOrCreateKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notice.key")
	k, err := LoadOrCreateKey(path)
	if err != nil || k == (Key{}) {
		t.Fatalf("LoadOrCreateKey = %v, %v", k, err)
	}
	if same, err := LoadOrCreateKey(path); same != k || err != nil {
		t.Errorf("the second time it is another key, %v", err)
	}
	if bytes.Equal(k.of("a"), k.of("b")) || len(k.of("a")) != 32 {
		t.Error("two salts make the same key")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateKey(path); !errors.Is(err, albs.Forbidden) {
		t.Errorf("a key that others may read: %v", err)
	}
	for _, content := range []string{"", "abc", strings.Repeat("ab", 31), strings.Repeat("ab", 33), strings.Repeat("zz", 32)} {
		if err := errors.Join(os.WriteFile(path, []byte(content), 0o600), os.Chmod(path, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadOrCreateKey(path); !errors.Is(err, albs.Invalid) {
			t.Errorf("%q as the key: %v", content, err)
		}
		if b, err := os.ReadFile(path); string(b) != content || err != nil {
			t.Errorf("%q became %q, %v", content, b, err)
		}
	}
}
