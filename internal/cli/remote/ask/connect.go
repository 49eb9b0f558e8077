package ask

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"albs/internal/albs"
	"albs/internal/client"
	"albs/internal/disk"
)

// DefaultURL is the server where the environment names none: albs serve's own
// default.
const DefaultURL = "http://127.0.0.1:8080"

const maxToken = 4 << 10 // bytes

// Connect returns a client of the server that the environment names.
func (a *App) Connect() (*client.Client, error) {
	base := a.Getenv("ALBS_URL")
	if base == "" {
		base = DefaultURL
	}
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	c, err := client.New(base, token, nil)
	if errors.Is(err, albs.Invalid) {
		return nil, albs.Errorf(albs.Invalid, "%w; ALBS_URL and ALBS_TOKEN say where to go and as whom", err)
	}
	if err != nil {
		return nil, err
	}
	c.Patience.Pause = a.Retry
	if token != "" && client.InClear(base) {
		if err := a.Note("warning: the token goes to %s in clear; who listens on the way has it: use https", base); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// token returns ALBS_TOKEN, or what the person's token file holds, or "". A file
// that others may read is refused: its token is no secret.
func (a *App) token() (string, error) {
	if t := strings.TrimSpace(a.Getenv("ALBS_TOKEN")); t != "" {
		return t, nil
	}
	path := a.tokenFile()
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", albs.Errorf(albs.Invalid, "read the token: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", albs.Errorf(albs.Invalid, "read the token: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", albs.Errorf(albs.Invalid, "others may read the token in %s: chmod 600 %s", path, path)
	}
	b, err := disk.ReadAll(f, path, maxToken)
	if err != nil {
		return "", albs.Errorf(albs.Invalid, "read the token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// tokenFile is where a person's token may lie; "" without a home directory.
func (a *App) tokenFile() string {
	dir := a.Getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := a.Getenv("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "albs", "token")
}

// Explain puts err into words that say what to do next.
func (a *App) Explain(err error) string {
	if away, ok := errors.AsType[*client.Unreached](err); ok && errors.Is(err, albs.Unavailable) {
		return "no server answers at " + away.URL + " (" + away.Why() + "); start one with \"albs serve\", or set ALBS_URL to its address"
	}
	if other, ok := errors.AsType[*client.Stranger](err); ok {
		if errors.Is(err, albs.Unavailable) {
			return other.Error() + "; try again when albs is back behind it, or set ALBS_URL to albs's address"
		}
		return other.Error() + "; set ALBS_URL to albs's address"
	}
	if errors.Is(err, albs.Unauthenticated) {
		if token, _ := a.token(); token == "" { // a file that can't be read has been told of
			return "the server wants to know who you are: set ALBS_TOKEN, or write a token to ~/.config/albs/token (mode 0600); " +
				"\"albs serve\" prints an admin's until one was used, \"albs token create\" makes others"
		}
		return "the server doesn't take the token (" + err.Error() + "); an admin makes a new one with \"albs token create --user NAME\""
	}
	return err.Error()
}
