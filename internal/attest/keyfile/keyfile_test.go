package keyfile

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"albs/internal/albs"
)

func TestLoadOrCreate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "statement.key")
	made := make([][]byte, 8)
	var wg sync.WaitGroup
	for i := range made {
		wg.Go(func() {
			key, err := LoadOrCreate(path)
			if err != nil {
				t.Error(err)
			}
			made[i] = key
		})
	}
	wg.Wait()
	for _, k := range made {
		if len(k) == 0 || !bytes.Equal(k, made[0]) {
			t.Fatal("concurrent calls got several keys")
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("the directory holds %v, %v, want the key alone", left, err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the key's file is %v, %v, want mode 0600", fi, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreate(path); albs.KindOf(err) != albs.Forbidden {
		t.Errorf("LoadOrCreate of a file open to others = %v, want forbidden", err)
	}
	for name, content := range map[string]string{
		"empty": "", "text": "hello", "another type": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"no key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		bad := filepath.Join(dir, name)
		if err := os.WriteFile(bad, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadOrCreate(bad); albs.KindOf(err) != albs.Invalid {
			t.Errorf("LoadOrCreate of %s = %v, want invalid", name, err)
		}
		if b, err := os.ReadFile(bad); err != nil || string(b) != content {
			t.Errorf("the file of %s was changed", name)
		}
	}
	if _, err := LoadOrCreate(filepath.Join(dir, "absent", "key")); err == nil {
		t.Error("LoadOrCreate in an absent directory succeeded")
	}
}
