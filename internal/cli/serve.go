package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	urfave "github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/cli/terminal"
	"albs/internal/config"
	"albs/internal/disk"
	"albs/internal/egress"
	"albs/internal/master"
	"albs/internal/telemetry"
	"albs/internal/worker"
	"albs/internal/worker/depot"
	"albs/internal/worker/node"
	"albs/internal/worker/releaser"
	"albs/internal/worker/signer"
	"albs/internal/worker/tester"
)

// role is a part that the binary plays, as a process starts it.
type role struct {
	name albs.Role
	// run plays a worker's role by m until ctx is done; the worker's identity acts
	// in ctx where m is the master in the same process.
	run func(ctx context.Context, c *config.Config, m worker.Master, log zerolog.Logger) error
	// arches returns what the role's identity is bound to, where it is to arches: the
	// host's own, and those that it emulates.
	arches func(c *config.Config) (own, emulated []albs.Arch)
	// labels returns what else the role offers.
	labels func(c *config.Config) []string
}

// workers are the roles beside the master, in the order in which they start.
var workers = []role{
	{name: albs.RoleNode, run: runNode, arches: func(c *config.Config) (own, emulated []albs.Arch) { return []albs.Arch{c.Node.Arch}, c.Node.Emulate }},
	{name: albs.RoleTester, run: runTester, arches: func(c *config.Config) (own, emulated []albs.Arch) {
		return []albs.Arch{c.Tester.Arch}, c.Tester.Emulate
	}, labels: func(c *config.Config) []string { return c.Tester.Labels() }},
	{name: albs.RoleSigner, run: func(ctx context.Context, c *config.Config, m worker.Master, log zerolog.Logger) error {
		return signer.Run(ctx, c.Signer, version, m, log)
	}},
	{name: albs.RoleReleaser, run: func(ctx context.Context, c *config.Config, m worker.Master, log zerolog.Logger) error {
		return releaser.Run(ctx, c.Releaser, version, m, log)
	}},
}

func runNode(ctx context.Context, c *config.Config, m worker.Master, log zerolog.Logger) error {
	d, err := openDepot(c.Node.Depot, c.Node.Egress)
	if err != nil {
		return err
	}
	return node.Run(ctx, c.Node.Config, version, m, d, log)
}

func runTester(ctx context.Context, c *config.Config, m worker.Master, log zerolog.Logger) error {
	d, err := openDepot(c.Tester.Depot, c.Tester.Egress)
	if err != nil {
		return err
	}
	return tester.Run(ctx, c.Tester.Config, version, m, d, log)
}

func openDepot(c depot.Config, p egress.Policy) (*depot.Depot, error) {
	e, err := egress.New(p)
	if err != nil {
		return nil, err
	}
	return depot.New(c, e)
}

func (a *app) serveCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "serve",
		Usage:     "run the server: every role, or some of them",
		ArgsUsage: "[--role ROLES] [--data DIR] [--listen ADDRESS] [--config FILE]",
		Description: "With --role=all everything runs in one process on embedded defaults. Roles apart reach the master over HTTP:\n" +
			"connect.master and connect.token_file in the configuration say where and as whom.\n" +
			"For example: albs serve --role node,tester --config /etc/albs/albs.yaml",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "role", Value: "all", Usage: "all, or `ROLES` of master, node, tester, signer, releaser with commas between them"},
			&urfave.StringFlag{Name: "data", Value: a.defaultData(), Usage: "`DIR` in which each role has a folder of its own"},
			&urfave.StringFlag{Name: "listen", Value: "127.0.0.1:8080", Usage: "`ADDRESS` of pages and API; port 0 takes a free one"},
			&urfave.StringFlag{Name: "config", Usage: "YAML `FILE`; configs/albs.yaml explains every key"},
		},
		Action: terminal.Action(0, 0, func(c *urfave.Context) error {
			return a.serve(c, c.String("role"), c.String("data"), c.String("listen"), c.String("config"))
		}),
	}
}

// defaultData is where a service keeps its data, or a person who tries it out.
func (a *app) defaultData() string {
	if os.Geteuid() == 0 || a.Getenv("HOME") == "" {
		return "/var/lib/albs"
	}
	if dir := a.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "albs")
	}
	return filepath.Join(a.Getenv("HOME"), ".local", "share", "albs")
}

// load reads the configuration for a process that plays roles, and whether they can
// be played by it.
func load(c *urfave.Context, file, data, listen, names string) (config.Config, []albs.Role, error) {
	roles, err := config.ParseRoles(names)
	if err != nil {
		return config.Config{}, nil, terminal.Misused(c, "%v", err)
	}
	tree, err := config.Read(file)
	if err != nil {
		return tree, nil, err
	}
	if err := tree.Check(roles); err != nil {
		return tree, nil, err
	}
	if !slices.Contains(roles, albs.RoleMaster) {
		for _, r := range roles {
			if _, err := tree.Token(r); err != nil {
				return tree, nil, err
			}
		}
		if _, err := httpClient(tree.Connect.CAFile); err != nil {
			return tree, nil, err
		}
	}
	return tree, roles, tree.Place(data, listen, version, roles)
}

func (a *app) serve(c *urfave.Context, names, data, listen, file string) (err error) {
	ctx := c.Context
	tree, roles, err := load(c, file, data, listen, names)
	if err != nil {
		return err
	}
	out, ok := a.Stderr.(*os.File)
	if !ok {
		out = os.Stderr
	}
	log, err := telemetry.NewLogger(out, tree.LogLevel)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(data, 0o755); err != nil {
		return albs.Errorf(albs.Invalid, "make the data directory: %w; --data names one that can be written", err)
	}
	for _, w := range tree.Warnings() {
		log.Warn().Msg(w)
	}
	var m *master.Master
	if slices.Contains(roles, albs.RoleMaster) {
		m, err = master.Open(ctx, tree.Master, log)
		if errors.Is(err, albs.NoSpace) || errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("%w; make room, or name a directory elsewhere with --data", err)
		}
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.Close()) }()
	}
	if err := a.welcome(&tree, roles, m); err != nil {
		return err
	}
	err = play(ctx, &tree, roles, m, log)
	if ctx.Err() != nil {
		log.Info().Msg("stopped")
		return nil
	}
	return err
}

// welcome prints where everything lies and, until one was used, the admin's token.
func (a *app) welcome(c *config.Config, roles []albs.Role, m *master.Master) error {
	var b strings.Builder
	fmt.Fprintf(&b, "albs %s plays %v\n", version, roles)
	line := func(r albs.Role, what, where string) {
		if slices.Contains(roles, r) {
			fmt.Fprintf(&b, "  %-13s %s\n", what+":", where)
		}
	}
	if m != nil {
		line(albs.RoleMaster, "pages and API", m.URL())
	} else {
		fmt.Fprintf(&b, "  %-13s %s\n", "master:", c.Connect.Master)
	}
	held := "database, blobs, ledger, logs"
	if s3 := c.Master.Blobs.S3; s3.Bucket != "" {
		held = "database, cache of blobs, ledger, logs"
		line(albs.RoleMaster, "blobs", fmt.Sprintf("%s, bucket %s", s3.Endpoint, path.Join(s3.Bucket, s3.Prefix)))
	}
	if s := c.Master.Ledger.Server; s.Address != "" {
		held = strings.Replace(held, " ledger,", "", 1)
		line(albs.RoleMaster, "ledger", fmt.Sprintf("%s, database %s", s.Address, s.Database))
	}
	line(albs.RoleMaster, "master", c.Master.Dir+" ("+held+")")
	line(albs.RoleNode, "build roots", c.Node.Sandbox.Dir)
	line(albs.RoleTester, "test roots", c.Tester.Sandbox.Dir)
	line(albs.RoleSigner, "keys", c.Signer.Dir)
	line(albs.RoleReleaser, "public", c.Releaser.Public)
	for _, p := range c.Releaser.Places {
		line(albs.RoleReleaser, "place", p.String())
	}
	if m != nil && m.AdminToken != "" {
		fmt.Fprintf(&b, "  admin token:  %s\n  It expires in a day, and until it is used each start shows a new one: export it as ALBS_TOKEN, then albs user add, albs token create.\n", m.AdminToken)
	}
	_, err := io.WriteString(a.Stdout, b.String())
	return err
}

// play runs the roles until ctx is done or one of them ends. The master starts
// first and stops last, so that workers can report their ends.
func play(ctx context.Context, c *config.Config, roles []albs.Role, m *master.Master, log zerolog.Logger) error {
	masterCtx, stopMaster := context.WithCancel(context.WithoutCancel(ctx))
	defer stopMaster()
	g, ctx := errgroup.WithContext(ctx)
	var masterDone chan error
	if m != nil {
		ready := make(chan struct{})
		masterDone = make(chan error, 1)
		go func() { masterDone <- m.Run(masterCtx, ready) }()
		select {
		case <-ready:
		case err := <-masterDone:
			return fmt.Errorf("master: %w", err)
		}
		trust, err := m.Trust(ctx, "", false)
		if err != nil {
			stopMaster()
			<-masterDone // what it uses is closed next
			return err
		}
		// Products come and go while the signer runs; each one's gate decides on tests.
		trust.RequireTest = false
		c.Signer.Trust = &trust
		c.Releaser.Trust = func(ctx context.Context, product string) (attest.Trust, error) {
			t, err := m.Trust(ctx, product, true)
			t.RequireTest, t.RequireRelease, t.RequireLog = false, true, true
			return t, err
		}
	}
	for _, r := range workers {
		if !slices.Contains(roles, r.name) {
			continue
		}
		g.Go(func() error {
			ctx, contract, err := contract(ctx, c, r, m)
			if err != nil {
				return err
			}
			if err := r.run(ctx, c, contract, log.With().Str("role", string(r.name)).Logger()); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			return ctx.Err()
		})
	}
	if m == nil {
		return g.Wait()
	}
	// The master's own end is the end of all.
	g.Go(func() error {
		select {
		case err := <-masterDone:
			masterDone <- err
			return fmt.Errorf("master: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	err := g.Wait()
	stopMaster()
	if e := <-masterDone; err == nil {
		err = e
	}
	return err
}

// contract returns how a worker's role reaches the master: in process, or over
// HTTP with a token of its own.
func contract(ctx context.Context, c *config.Config, r role, m *master.Master) (context.Context, worker.Master, error) {
	if m != nil {
		if r.arches == nil {
			return m.Local(ctx, r.name, nil, nil)
		}
		var labels []string
		if r.labels != nil {
			labels = r.labels(c)
		}
		own, emulated := r.arches(c)
		return m.Local(ctx, r.name, own, emulated, labels...)
	}
	token, err := c.Token(r.name)
	if err != nil {
		return nil, nil, err
	}
	hc, err := httpClient(c.Connect.CAFile)
	if err != nil {
		return nil, nil, err
	}
	return ctx, worker.NewClient(c.Connect.Master, token, hc), nil
}

const maxCAFile = 1 << 20 // bytes

// httpClient returns the client of the worker's wire; it has no overall timeout,
// for long polls and transfers have their own.
func httpClient(caFile string) (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.MaxIdleConnsPerHost, t.TLSHandshakeTimeout = nil, 16, 10*time.Second
	if caFile != "" {
		pem, err := disk.ReadFile(caFile, maxCAFile)
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "connect.ca_file: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("read the system's certificates: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, albs.Errorf(albs.Invalid, "connect.ca_file %s holds no certificate", caFile)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: t, CheckRedirect: stay}, nil
}

// stay refuses redirects, with which http.Client would take the token along to
// subdomains and from https to http: the wire has none.
func stay(r *http.Request, via []*http.Request) error {
	return albs.Errorf(albs.Invalid, "%s redirects to %s: connect.master must name where the master itself answers", via[0].URL.Host, r.URL.Redacted())
}

func (a *app) configCommand() *urfave.Command {
	return &urfave.Command{
		Name: "config", Usage: "look at a server's configuration",
		Description: "The configuration is one YAML file of which configs/albs.yaml explains every key. Without one all roles run on defaults.",
		Subcommands: []*urfave.Command{{
			Name: "check", Usage: "say what is wrong with a configuration, without starting anything",
			ArgsUsage: "[--role ROLES] [--data DIR] [--config FILE]",
			Description: "What albs serve with the same flags would refuse is said here; what it would only warn of is a line each.\n" +
				"For example: albs config check --role node --config /etc/albs/albs.yaml",
			Flags: []urfave.Flag{
				&urfave.StringFlag{Name: "role", Value: "all", Usage: "the `ROLES` that the process is to play"},
				&urfave.StringFlag{Name: "data", Value: a.defaultData(), Usage: "its data `DIR`"},
				&urfave.StringFlag{Name: "config", Usage: "the YAML `FILE`"},
			},
			Action: terminal.Action(0, 0, a.checkConfig),
		}},
	}
}

func (a *app) checkConfig(c *urfave.Context) error {
	tree, roles, err := load(c, c.String("config"), c.String("data"), "127.0.0.1:8080", c.String("role"))
	if err != nil {
		return err
	}
	warnings := tree.Warnings()
	if slices.Contains(roles, albs.RoleSigner) {
		more, err := tree.Signer.Check(!slices.Contains(roles, albs.RoleMaster))
		if err != nil {
			return err
		}
		warnings = append(warnings, more...)
	}
	if slices.Contains(roles, albs.RoleReleaser) && !slices.Contains(roles, albs.RoleMaster) {
		warnings = append(warnings, tree.Releaser.Warnings()...)
	}
	for _, w := range warnings {
		if err := a.Say("warning: %s", w); err != nil {
			return err
		}
	}
	return a.Say("the configuration is good for %v", roles)
}

func (a *app) dbCommand() *urfave.Command {
	return &urfave.Command{
		Name: "db", Usage: "keep the master's database",
		Description: "The database is SQLite in the master's directory, or PostgreSQL where the configuration names a DSN.",
		Subcommands: []*urfave.Command{{
			Name: "migrate", Usage: "bring the schema up to date; the master does so at every start",
			ArgsUsage:   "[--data DIR] [--config FILE]",
			Description: "It can be done before a start, while no master runs on the directory.",
			Flags: []urfave.Flag{
				&urfave.StringFlag{Name: "data", Value: a.defaultData(), Usage: "the master's data `DIR`"},
				&urfave.StringFlag{Name: "config", Usage: "the YAML `FILE`"},
			},
			Action: terminal.Action(0, 0, func(c *urfave.Context) error {
				tree, _, err := load(c, c.String("config"), c.String("data"), "127.0.0.1:0", string(albs.RoleMaster))
				if err != nil {
					return err
				}
				n, err := master.Migrate(c.Context, tree.Master)
				if err != nil {
					return err
				}
				return a.Say("the schema is at version %d", n)
			}),
		}},
	}
}
