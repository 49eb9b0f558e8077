package signer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"albs/internal/albs"
)

// pty returns a pseudo-terminal: the person's end and the path of the program's.
func pty(t *testing.T) (person *os.File, path string) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return person, fmt.Sprintf("/dev/pts/%d", n)
}

// reads reads from the terminal until it has shown want, and returns all of it.
func reads(t *testing.T, person *os.File, want string) string {
	t.Helper()
	var got strings.Builder
	for buf := make([]byte, 256); !strings.Contains(got.String(), want); {
		n, err := person.Read(buf)
		if err != nil {
			t.Fatalf("the terminal has shown %q: %v", got.String(), err)
		}
		got.Write(buf[:n])
	}
	return got.String()
}

func TestAsk(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fresh bool
		typed []string
		want  string
		kind  albs.Kind
	}{
		{"once", false, []string{passphrase}, passphrase, ""},
		{"twice for new keys", true, []string{passphrase, passphrase}, passphrase, ""},
		{"two different ones", true, []string{passphrase, passphrase + "x"}, "", albs.Invalid},
		{"nothing", false, []string{""}, "", albs.Invalid},
		{"the end of the input", false, []string{"\x04"}, "", albs.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			person, path := pty(t)
			tty, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0) // keeps the terminal as it is
			if err != nil {
				t.Fatal(err)
			}
			defer tty.Close()
			type answer struct {
				p   []byte
				err error
			}
			done := make(chan answer, 1)
			go func() {
				again := ""
				if tt.fresh {
					again = "The same passphrase again: "
				}
				p, err := (Config{}).passphraseSecret().ask(t.Context(), path, again)
				done <- answer{p, err}
			}()
			shown := ""
			for i, line := range tt.typed {
				shown += reads(t, person, []string{"signer's keys: ", "passphrase again: "}[i])
				if line != "\x04" {
					line += "\n"
				}
				if _, err := person.WriteString(line); err != nil {
					t.Fatal(err)
				}
			}
			got := <-done
			if string(got.p) != tt.want || albs.KindOf(got.err) != tt.kind {
				t.Errorf("ask = %q, %v", got.p, got.err)
			}
			if shown += reads(t, person, "\n"); strings.Contains(shown, passphrase) {
				t.Errorf("the terminal shows the passphrase: %q", shown)
			}
			if after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS); err != nil || after.Lflag&unix.ECHO == 0 {
				t.Errorf("the terminal stays silent: %+v, %v", after, err)
			}
		})
	}
}

func TestAskEnds(t *testing.T) {
	t.Parallel()
	person, path := pty(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := (Config{}).passphraseSecret().ask(ctx, path, "")
		done <- err
	}()
	reads(t, person, "signer's keys: ")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("ask = %v after its context has ended", err)
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "none"), os.DevNull} {
		if _, err := (Config{}).passphraseSecret().ask(t.Context(), path, ""); albs.KindOf(err) != albs.Invalid {
			t.Errorf("ask at %s = %v", path, err)
		}
	}
}

// TestCredential opens keys by the credential that systemd gives.
func TestCredential(t *testing.T) {
	w := newWorld(t)
	try := func(want albs.Kind, say string) {
		t.Helper()
		s, err := open(t.Context(), w.config, zerolog.Nop())
		if albs.KindOf(err) != want || err != nil && !strings.Contains(err.Error(), say) {
			t.Errorf("open = %v, want kind %q with %q", err, want, say)
		}
		if err == nil {
			s.journal.Close()
		}
	}
	w.config.PassphraseFrom = FromCredential
	try(albs.Invalid, "which is it?")
	w.config.PassphraseFile = ""
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	try(albs.Invalid, "no credentials here")
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	try(albs.Invalid, "can't be read")
	write(t, filepath.Join(dir, (Config{}).passphraseSecret().credential), passphrase+"\n", 0o440)
	try("", "")
	if got, err := w.config.Check(false); err != nil || strings.Contains(strings.Join(got, " "), "passphrase") {
		t.Errorf("Check = %q, %v", got, err)
	}
	if err := os.Chmod(filepath.Join(dir, (Config{}).passphraseSecret().credential), 0o444); err != nil {
		t.Fatal(err)
	}
	try(albs.Invalid, "open to others")
	w.config.PassphraseFrom = "somewhere"
	try(albs.Invalid, "none of file, credential and prompt")
	if _, err := w.config.Check(false); albs.KindOf(err) != albs.Invalid {
		t.Errorf("Check = %v", err)
	}
	if _, err := os.Stat(filepath.Join(w.config.Dir, passphraseName)); !os.IsNotExist(err) {
		t.Errorf("a passphrase was made beside the keys: %v", err)
	}
}
