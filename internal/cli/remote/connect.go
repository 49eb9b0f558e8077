package remote

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

const maxToken = 4 << 10 // bytes

// connect returns a client of the server that the environment names.
func (a *App) connect() (*client.Client, error) {
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
	c.Patience.Pause = a.retry
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
	b, err := io.ReadAll(io.LimitReader(f, maxToken))
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

// onNumbered is an action on the thing, a what, whose number the first argument is.
func onNumbered[N ~int64](a *App, what string, do func(*urfave.Context, *client.Client, N) error) func(*urfave.Context) error {
	return func(c *urfave.Context) error {
		n, err := terminal.Number(c, what, c.Args().First())
		if err != nil {
			return err
		}
		cl, err := a.connect()
		if err != nil {
			return err
		}
		return do(c, cl, N(n))
	}
}
