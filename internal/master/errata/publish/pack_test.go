package publish

import (
	"bytes"
	stdgzip "compress/gzip"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// TestGzipped: what is packed part by part is one member of gzip, for whoever reads it.
func TestGzipped(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 5))
	noise := make([]byte, 200_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	text := bytes.Repeat([]byte("<definition class=\"patch\"/>\n"), 10_000)
	for name, parts := range map[string][][]byte{
		"nothing": nil, "an empty part": {{}}, "one": {text}, "several": {text, text[:7], nil, noise, text, {0}}, "many": slices.Repeat([][]byte{text[:100]}, 500),
	} {
		want, packed := slices.Concat(parts...), gzipped(parts, deflated)
		if !bytes.Equal(packed, gzipped(parts, deflated)) {
			t.Errorf("%s: packed twice it is two things", name)
		}
		for by, open := range map[string]func(io.Reader) (io.Reader, error){
			"klauspost": func(r io.Reader) (io.Reader, error) {
				z, err := gzip.NewReader(r)
				z.Multistream(false)
				return z, err
			},
			"Go": func(r io.Reader) (io.Reader, error) {
				z, err := stdgzip.NewReader(r)
				z.Multistream(false)
				return z, err
			},
		} {
			from := bytes.NewReader(packed)
			z, err := open(from)
			if err != nil {
				t.Fatalf("%s: %s: %v", name, by, err)
			}
			if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, want) || from.Len() != 0 {
				t.Errorf("%s: the first member has %d bytes for %s, want %d; %d follow it: %v", name, len(got), by, len(want), from.Len(), err)
			}
		}
		cmd := exec.CommandContext(t.Context(), "gzip", "-dc")
		cmd.Stdin = bytes.NewReader(packed)
		if got, err := cmd.Output(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: gzip reads %d bytes, want %d: %v", name, len(got), len(want), err)
		}
	}
	if n := len(gzipped([][]byte{text, text}, deflated)); n > 4096 {
		t.Errorf("it is hardly smaller: %d bytes", n)
	}
}
