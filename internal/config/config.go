// Package config reads the one configuration tree, made of each package's own
// Config, and says what a process may have of it: a role refuses the settings of
// roles that it doesn't play.
//
// Defaults make every role run with no file at all. What comes from the command
// line (data directory, addresses) is put into the tree by Place.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"albs/internal/albs"
	"albs/internal/client"
	"albs/internal/disk"
	"albs/internal/egress"
	"albs/internal/master"
	"albs/internal/master/platform"
	"albs/internal/sandbox"
	"albs/internal/sandbox/emulator"
	"albs/internal/telemetry"
	"albs/internal/worker/depot"
	"albs/internal/worker/node"
	"albs/internal/worker/releaser"
	"albs/internal/worker/signer"
	"albs/internal/worker/tester"
)

// Config is the whole tree.
type Config struct {
	// LogLevel is trace, debug, info, warn or error.
	LogLevel string `yaml:"log_level"`
	// URL is how people and workers reach the master, behind a proxy for instance.
	URL string `yaml:"url"`
	// Connect is how workers apart from the master reach it.
	Connect Connect `yaml:"connect"`

	Master   master.Config   `yaml:"master"`
	Node     Node            `yaml:"node"`
	Tester   Tester          `yaml:"tester"`
	Signer   signer.Config   `yaml:"signer"`
	Releaser releaser.Config `yaml:"releaser"`
}

// Connect names the master for roles that run without it.
type Connect struct {
	// Master is the master's base URL.
	Master string `yaml:"master"`
	// TokenFile holds the worker's token; with several roles in one process, {role}
	// in it stands for each.
	TokenFile string `yaml:"token_file"`
	// CAFile is a PEM file of an authority trusted beside the system's.
	CAFile string `yaml:"ca_file"`
}

// Node is the node's part: its own settings, its depot and its way out to mirrors.
type Node struct {
	node.Config `yaml:",inline"`
	Depot       depot.Config  `yaml:"depot"`
	Egress      egress.Policy `yaml:"egress"`
}

// Tester is the tester's part, made like the node's.
type Tester struct {
	tester.Config `yaml:",inline"`
	Depot         depot.Config  `yaml:"depot"`
	Egress        egress.Policy `yaml:"egress"`
}

const (
	maxFile   = 256 << 10 // bytes
	maxSecret = 4096      // bytes
)

// Read returns the tree in the YAML file at path, over the defaults; "" is the
// defaults alone. A key that there isn't, or a malformed value, is Invalid and
// named with its line.
func Read(path string) (Config, error) {
	c := Config{LogLevel: "info"}
	if path == "" {
		return c, nil
	}
	b, err := disk.ReadFile(path, maxFile)
	if errors.Is(err, albs.TooLarge) {
		return c, err
	}
	if err != nil {
		return c, albs.Errorf(albs.Invalid, "read configuration: %w; --config names a YAML file, and configs/albs.yaml shows all that it may hold", err)
	}
	var none any
	if err := yaml.Unmarshal(b, &none); err == nil && none == nil {
		return c, nil // comments alone say nothing, and that is good
	}
	if err := platform.Decode(bytes.NewReader(b), &c); err != nil {
		return c, fmt.Errorf("%s: %w; configs/albs.yaml explains every key", path, err)
	}
	return c, nil
}

// Place puts what the command line says into the tree: the data directory, in
// which every role has a folder of its own, the address to listen on, and the
// program's version. Secrets that the tree names by file are read here.
func (c *Config) Place(data, listen, version string, roles []albs.Role) error {
	abs, err := filepath.Abs(data)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	under := func(r albs.Role, name string) string { return filepath.Join(abs, string(r), name) }
	set := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	c.Master.Dir, c.Master.Listen, c.Master.URL, c.Master.Version = filepath.Join(abs, string(albs.RoleMaster)), listen, c.URL, version

	arch := albs.HostArch(runtime.GOARCH)
	c.Node.Arch, c.Tester.Arch = arch, arch
	set(&c.Node.Sandbox.Dir, under(albs.RoleNode, "roots"))
	set(&c.Tester.Sandbox.Dir, under(albs.RoleTester, "roots"))
	c.Node.Spool, c.Tester.Spool = under(albs.RoleNode, "spool"), under(albs.RoleTester, "spool")
	c.Node.Work = under(albs.RoleNode, "work")
	c.Node.Depot.Dir, c.Tester.Depot.Dir = under(albs.RoleNode, "depot"), under(albs.RoleTester, "depot")
	set(&c.Signer.Dir, under(albs.RoleSigner, "keys"))
	set(&c.Signer.Spool, under(albs.RoleSigner, "spool"))
	set(&c.Releaser.Public, under(albs.RoleReleaser, "public"))
	set(&c.Releaser.Dir, under(albs.RoleReleaser, "keys"))
	set(&c.Releaser.Spool, under(albs.RoleReleaser, "spool"))

	// Roles in one process can read each other's folders, and what they hold of blobs is a copy.
	if slices.Contains(roles, albs.RoleMaster) {
		for r, dir := range map[albs.Role]string{albs.RoleReleaser: c.Releaser.Public, albs.RoleNode: c.Node.Depot.Dir, albs.RoleTester: c.Tester.Depot.Dir} {
			if slices.Contains(roles, r) {
				c.Master.Blobs.Copies = append(c.Master.Blobs.Copies, dir)
			}
		}
	}

	type secret struct {
		file string
		to   *string
	}
	var secrets []secret
	if slices.Contains(roles, albs.RoleMaster) {
		s3 := &c.Master.Blobs.S3
		secrets = append(secrets, secret{c.Master.Database.DSNFile, &c.Master.Database.DSN},
			secret{s3.AccessKeyFile, &s3.AccessKey}, secret{s3.SecretKeyFile, &s3.SecretKey},
			secret{c.Master.Ledger.Server.PasswordFile, &c.Master.Ledger.Server.Password},
			secret{c.Master.Notices.Mail.PasswordFile, &c.Master.Notices.Mail.Password})
	}
	if slices.Contains(roles, albs.RoleReleaser) {
		for i := range c.Releaser.Places {
			s3 := &c.Releaser.Places[i].S3
			secrets = append(secrets, secret{s3.AccessKeyFile, &s3.AccessKey}, secret{s3.SecretKeyFile, &s3.SecretKey})
		}
	}
	for _, secret := range secrets {
		if secret.file == "" {
			continue
		}
		s, err := Secret(secret.file)
		if err != nil {
			return err
		}
		*secret.to = s
	}
	return nil
}

// Warnings says what is allowed and yet may not be meant.
func (c *Config) Warnings() []string {
	var out []string
	if client.InClear(c.Connect.Master) {
		out = append(out, "connect.master "+c.Connect.Master+" is another host and spoken to by http: who listens on the way has the worker's token; use https")
	}
	if client.InClear(c.Master.Blobs.S3.Endpoint) {
		out = append(out, "master.blobs.s3.endpoint "+c.Master.Blobs.S3.Endpoint+" is another host and spoken to by http: who listens on the way reads all blobs; use https")
	}
	if c.Master.Ledger.Server.InClear() {
		out = append(out, "master.ledger.server.address "+c.Master.Ledger.Server.Address+" is another host and spoken to without tls: who listens on the way has the password; set tls: true")
	}
	for _, p := range c.Releaser.Places {
		if client.InClear(p.S3.Endpoint) {
			out = append(out, "place "+p.Name+": s3.endpoint "+p.S3.Endpoint+" is another host and spoken to by http: who sits on the way can change what is published before it is read back; use https")
		}
	}
	return out
}

// Token returns the token of the worker that plays role r apart from the master.
func (c *Config) Token(r albs.Role) (string, error) {
	if c.Connect.Master == "" || c.Connect.TokenFile == "" {
		return "", albs.Errorf(albs.Invalid, "the role %s runs without the master: connect.master must name its URL and connect.token_file a file with the token that albs worker add printed", r)
	}
	return Secret(strings.ReplaceAll(c.Connect.TokenFile, "{role}", string(r)))
}

// Secret reads a secret from a file that others can't read, without the newline at
// its end. The error never holds the secret.
func Secret(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", albs.Errorf(albs.Invalid, "read secret: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", albs.Errorf(albs.Invalid, "the secret %s can be read by others (mode %o): chmod 600 it", path, info.Mode().Perm())
	}
	b, err := disk.ReadFile(path, maxSecret)
	if err != nil {
		return "", albs.Errorf(albs.Invalid, "read secret: %w", err)
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", albs.Errorf(albs.Invalid, "the secret %s is empty", path)
	}
	return s, nil
}

// Check returns what is wrong with the tree for a process that plays roles: a part
// that belongs to a role which it doesn't play (the node has no business with the
// database's password or the signer's keys), or a value that no role could start by.
// It is asked before Place.
func (c *Config) Check(roles []albs.Role) error {
	parts := map[albs.Role]any{
		albs.RoleMaster: c.Master, albs.RoleNode: c.Node, albs.RoleTester: c.Tester, albs.RoleSigner: c.Signer, albs.RoleReleaser: c.Releaser,
	}
	for _, r := range albs.Roles {
		if !slices.Contains(roles, r) && !reflect.ValueOf(parts[r]).IsZero() {
			return albs.Errorf(albs.Invalid, "the configuration has a part %q, and this process doesn't play that role: take it out", r)
		}
	}
	if slices.Contains(roles, albs.RoleMaster) && c.Connect != (Connect{}) {
		return albs.Errorf(albs.Invalid, "the configuration has a part \"connect\", and this process is the master itself: take it out")
	}
	if _, err := telemetry.NewLogger(os.Stderr, c.LogLevel); err != nil {
		return fmt.Errorf("log_level: %w", err)
	}
	if err := c.Master.Blobs.Check(); err != nil {
		return fmt.Errorf("master.blobs: %w", err)
	}
	if err := c.Master.Notarize.Check(); err != nil {
		return fmt.Errorf("master.notarize: %w", err)
	}
	if err := c.Master.Ledger.Check(); err != nil {
		return fmt.Errorf("master.ledger: %w", err)
	}
	if err := c.Master.SBOM.Check(); err != nil {
		return fmt.Errorf("master.sbom: %w", err)
	}
	if err := c.Master.Transparency.Check(); err != nil {
		return fmt.Errorf("master.transparency: %w", err)
	}
	if err := c.Master.Errata.Check(); err != nil {
		return fmt.Errorf("master.errata: %w", err)
	}
	if err := c.Master.Notices.Check(); err != nil {
		return fmt.Errorf("master.notices.%w", err)
	}
	for part, p := range map[string]egress.Policy{"master": c.Master.Egress, "node": c.Node.Egress, "tester": c.Tester.Egress} {
		if _, err := egress.New(p); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	for part, s := range map[string]sandbox.Config{"node": c.Node.Sandbox, "tester": c.Tester.Sandbox} {
		if err := s.Check(); err != nil {
			return fmt.Errorf("%s.sandbox: %w", part, err)
		}
	}
	for part, arches := range map[string][]albs.Arch{"node": c.Node.Emulate, "tester": c.Tester.Emulate} {
		for i, a := range arches {
			err := emulator.Check(a)
			switch {
			case a == albs.HostArch(runtime.GOARCH):
				err = albs.Errorf(albs.Invalid, "%s is this host's own arch", a)
			case slices.Contains(arches[:i], a):
				err = albs.Errorf(albs.Invalid, "%s is there twice", a)
			}
			if err != nil {
				return fmt.Errorf("%s.emulate: %w", part, err)
			}
		}
	}
	for part, free := range map[string]int64{"node": c.Node.MinFree, "tester": c.Tester.MinFree} {
		if free < 0 {
			return albs.Errorf(albs.Invalid, "%s.min_free is below zero", part)
		}
	}
	if err := c.Tester.Config.Check(); err != nil {
		return err
	}
	if err := c.Node.Config.Check(); err != nil {
		return err
	}
	if err := c.Releaser.Check(); err != nil {
		return err
	}
	if c.Connect.Master != "" {
		if _, err := client.New(c.Connect.Master, "", nil); err != nil {
			return albs.Errorf(albs.Invalid, "connect.master: %w", err)
		}
	}
	return nil
}

// ParseRoles reads the value of --role: "all", or roles with commas between them.
func ParseRoles(s string) ([]albs.Role, error) {
	if s == "all" {
		return slices.Clone(albs.Roles), nil
	}
	var out []albs.Role
	for _, name := range strings.Split(s, ",") {
		r := albs.Role(strings.TrimSpace(name))
		if !slices.Contains(albs.Roles, r) || slices.Contains(out, r) {
			return nil, albs.Errorf(albs.Invalid, "--role %q: choose all or some of %v, each once", s, albs.Roles)
		}
		out = append(out, r)
	}
	// In the order in which they start.
	slices.SortFunc(out, func(a, b albs.Role) int { return slices.Index(albs.Roles, a) - slices.Index(albs.Roles, b) })
	return out, nil
}
