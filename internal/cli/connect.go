package cli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/client"
)

const (
	defaultURL = "http://127.0.0.1:8080"
	maxToken   = 4 << 10
)

// connect returns a client of the server that the environment names.
func (a *app) connect() (*client.Client, error) {
	base := a.getenv("ALBS_URL")
	if base == "" {
		base = defaultURL
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
func (a *app) token() (string, error) {
	if t := strings.TrimSpace(a.getenv("ALBS_TOKEN")); t != "" {
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
func (a *app) tokenFile() string {
	dir := a.getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := a.getenv("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "albs", "token")
}

// message puts err into one line that says what to do next.
func (a *app) message(ctx context.Context, err error) string {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return "broken off"
	}
	if away, ok := errors.AsType[*client.Unreached](err); ok && errors.Is(err, albs.Unavailable) {
		return "no server answers at " + away.URL + " (" + away.Err.Error() + "); start one with \"albs serve\", or set ALBS_URL to its address"
	}
	if albs.KindOf(err) == albs.Unauthenticated {
		if token, _ := a.token(); token == "" {
			return "the server wants to know who you are: set ALBS_TOKEN, or write a token to ~/.config/albs/token (mode 0600); " +
				"\"albs serve\" prints an admin's at its first start, \"albs token create\" makes others"
		}
		return "the server doesn't take the token (" + err.Error() + "); an admin makes a new one with \"albs token create --user NAME\""
	}
	return err.Error()
}

// onNumbered is an action on the thing, a what, whose number the first argument is.
func onNumbered[N ~int64](a *app, what string, do func(*urfave.Context, *client.Client, N) error) func(*urfave.Context) error {
	return func(c *urfave.Context) error {
		n, err := id(c, what, c.Args().First())
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
