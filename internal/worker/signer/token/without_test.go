//go:build !pkcs11

package token

import (
	"strings"
	"testing"

	"albs/internal/albs"
)

// TestWithout: a program without PKCS#11 says what to use instead.
func TestWithout(t *testing.T) {
	t.Parallel()
	if tok, err := Open(Config{Module: "m.so", Label: "l"}, []byte("0000")); albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), "-tags pkcs11") || tok != nil {
		t.Errorf("Open = %v, %v", tok, err)
	}
}
