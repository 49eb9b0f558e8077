package buildroot

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/ccache"
	"albs/internal/sandbox/dnf"
)

// What is here writes the configuration of one run of mock; no I/O. mock executes its
// configuration as Python and then expands each string as a Jinja template, so that
// nothing may reach it but a value of a fixed type under a fixed name, and every string
// goes through pyString. What rpm is told of a package, macros and options, doesn't go
// this way at all: it is rpm's own file in the root.

// Where mock works, below the workshop.
const (
	mockName    = "albs"
	mockBase    = "mock"
	mockRoot    = mockBase + "/" + mockName + "/root"
	mockInit    = mockBase + "/" + mockName + "/init"   // logs of the base
	mockResult  = mockBase + "/" + mockName + "/result" // logs and packages of the job
	mockCache   = mockBase + "/cache"
	mockMacros  = mockRoot + "/etc/rpm/macros" // read after all that packages bring
	mockIn      = "in"
	mockTree    = mockIn + "/tree"
	mockConf    = mockName + ".cfg"
	mockLogging = "logging.ini"
)

// mockConfig is all that a run of mock is told.
type mockConfig struct {
	root    albs.Root
	target  albs.Arch
	dnf     string        // dnf's configuration with the repositories
	manager string        // "dnf4" or "dnf5", which of them the host has
	rounds  int           // of the search for dynamic BuildRequires
	cache   *ccache.Cache // the compilers'; nil for none
	// autospec: mock's plugin has rpmautospec fill in the spec.
	autospec bool
}

// setting is one value of mock's configuration: its names from the outside in, and a
// bool, an int, a string, a []string or a map[string]string.
type setting struct {
	names []string
	value any
}

// options returns the configuration in the order in which it is written.
func (c mockConfig) options() []setting {
	set := func(name string, value any) setting { return setting{[]string{name}, value} }
	plugin := func(name string, on bool) setting { return setting{[]string{"plugin_conf", name + "_enable"}, on} }
	all := []setting{
		set("root", mockName),
		set("basedir", path.Join(sandbox.WorkshopDir, mockBase)),
		set("cache_topdir", path.Join(sandbox.WorkshopDir, mockCache)),
		set("chroothome", home),
		set("chrootuid", 1000),
		set("chrootgid", 1000),
		set("chrootuser", "mockbuild"),
		set("chrootgroup", "mock"),
		set("target_arch", string(c.root.Arch)),
		set("rpmbuild_arch", string(c.target)),
		set("legal_host_arches", legalHosts(c.root.Arch)),
		set("releasever", c.root.Releasever),

		// All isolation is the workshop's; mock brings the root and its order of steps.
		set("isolation", "simple"),
		set("rpmbuild_networking", c.root.Network),
		set("use_host_resolv", c.root.Network),
		set("use_container_host_hostname", false),
		set("use_bootstrap", false),
		set("use_bootstrap_image", false),
		set("use_buildroot_image", false),
		set("internal_dev_setup", true),
		set("dev_loop_count", 0),
		set("nosync", false),
		set("ssl_copied_ca_trust_dirs", []string{}),
		set("dynamic_buildrequires", true),
		set("dynamic_buildrequires_max_loops", c.rounds),
		set("external_buildrequires", false),
		set("update_before_build", false),
		set("no_root_shells", true),
		set("print_main_output", false),
		// mock puts this before rpmbuild's arguments in a shell's line. It stops reading both
		// outputs when one of the two ends, and loses what the other still has: so all
		// goes to one, and the other stays open as long.
		set("rpmbuild_command", "exec 3>&2 2>&1; /usr/bin/rpmbuild"),
		set("rpmbuild_timeout", mockSeconds(c.root)),
		// The folder goes with the workshop, and until then the record is read from it.
		set("cleanup_on_success", false),
		set("cleanup_on_failure", false),

		set("package_manager", c.manager),
		set("dnf_warning", false),
		set("dnf4_common_opts", []string{"--setopt=plugins=1"}),
		set("dnf4_disable_plugins", []string{"local", "spacewalk", "versionlock"}),
		set("dnf5_common_opts", []string{"--setopt=plugins=1"}),
		set("dnf.conf", c.dnf),
		set("module_enable", append([]string{}, c.root.Modules...)), // before chroot_setup_cmd, and kept in the root
		set("chroot_setup_cmd", append([]string{"install"}, dnf.Apart(c.root.Packages)...)),
		set("macros", map[string]string{
			"%_topdir":      topDir,
			"%_rpmfilename": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
			"%_buildhost":   "albs",
		}),
		set("environment", mockEnvironment()),
		plugin("ccache", c.cache != nil),
	}
	if c.cache != nil {
		all = append(all, setting{[]string{"plugin_conf", "ccache_opts"}, map[string]string{
			"max_cache_size": c.cache.Bound(), "dir": sandbox.WorkshopCache,
		}})
	}
	for _, name := range []string{
		"bind_mount", "chroot_scan", "compress_logs", "export_buildroot_image", "lvm_root", "mount", "overlayfs", "pm_request",
		"procenv", "root_cache", "rpkg_preprocessor", "selinux", "showrc", "sign", "tmpfs", "yum_cache",
	} {
		all = append(all, plugin(name, false))
	}
	return append(all, plugin("rpmautospec", c.autospec), plugin("hw_info", true), plugin("package_state", true))
}

// mockEnvironment returns the variables of every command that mock runs in the root.
func mockEnvironment() map[string]string {
	env := map[string]string{"HOME": home}
	for _, v := range sandbox.Environment() {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	return env
}

// mockCCache are the variables that mock's plugin gives to what it runs in a root with a
// compiler cache; PATH is the package ccache's own, by the login shell's profile.
var mockCCache = []string{"CCACHE_DIR=/var/tmp/ccache", "CCACHE_UMASK=002"}

// mockSeconds returns the time that rpmbuild has, in mock's unit; 0 is no limit.
func mockSeconds(root albs.Root) int {
	if root.Timeout <= 0 {
		return 0
	}
	return max(1, int(root.Timeout.Seconds()))
}

// legalHosts returns the hosts, by uname, whose processor runs programs of arch; on
// others mock tells dnf and counts on an emulator.
func legalHosts(arch albs.Arch) []string {
	switch arch {
	case albs.I686:
		return []string{"i386", "i586", "i686", "x86_64"}
	case albs.X8664v2:
		return []string{"x86_64"}
	}
	return []string{string(arch)}
}

// text returns the configuration as mock reads it. A value that mock could read as
// anything else is an Invalid error.
func (c mockConfig) text() (string, error) {
	var b strings.Builder
	for _, o := range c.options() {
		value, err := pyLiteral(o.value)
		if err != nil {
			return "", albs.Errorf(albs.Invalid, "mock can't be told %s: %w", strings.Join(o.names, "."), err)
		}
		b.WriteString("config_opts")
		for _, n := range o.names {
			name, err := pyString(n)
			if err != nil {
				return "", err
			}
			b.WriteString("[" + name + "]")
		}
		b.WriteString(" = " + value + "\n")
	}
	return b.String(), nil
}

// pyLiteral returns a value as a Python literal on one line of ASCII.
func pyLiteral(value any) (string, error) {
	switch v := value.(type) {
	case bool:
		return map[bool]string{true: "True", false: "False"}[v], nil
	case int:
		return strconv.Itoa(v), nil
	case string:
		return pyString(v)
	case []string:
		parts := make([]string, len(v))
		for i, s := range v {
			var err error
			if parts[i], err = pyString(s); err != nil {
				return "", err
			}
		}
		return "[" + strings.Join(parts, ", ") + "]", nil
	case map[string]string:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			name, err := pyString(k)
			if err != nil {
				return "", err
			}
			body, err := pyString(v[k])
			if err != nil {
				return "", err
			}
			parts = append(parts, name+": "+body)
		}
		return "{" + strings.Join(parts, ", ") + "}", nil
	}
	return "", albs.Errorf(albs.Internal, "mock has no values of type %T", value)
}

// maxMockString bounds a string of the configuration in bytes.
const maxMockString = 1 << 20

// pyString returns s as a Python string literal of printable ASCII on one line. What
// mock would not hand on as it stands is Invalid: a NUL, which Python refuses, what
// begins a tag of Jinja, which has no escape that survives being expanded again and
// again, and a carriage return, which Jinja makes a newline.
func pyString(s string) (string, error) {
	switch {
	case len(s) > maxMockString:
		return "", albs.Errorf(albs.Invalid, "a string is longer than %d bytes", maxMockString)
	case !utf8.ValidString(s):
		return "", albs.Errorf(albs.Invalid, "%.60q is not UTF-8", s)
	case strings.ContainsAny(s, "\x00\r"):
		return "", albs.Errorf(albs.Invalid, "%.60q holds a character that can't be handed on", s)
	}
	for _, tag := range []string{"{{", "{%", "{#"} {
		if strings.Contains(s, tag) {
			return "", albs.Errorf(albs.Invalid, "%.60q holds %s, which begins a template", s, tag)
		}
	}
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range s {
		switch {
		case r == '\'' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r >= ' ' && r < 0x7f:
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte('\'')
	return b.String(), nil
}

// mockMacroFile returns what rpm is told in the root: the platform's macros and over
// them the package's options.
func mockMacroFile(root albs.Root, s albs.Switches) ([]byte, error) {
	all := maps.Clone(root.Macros)
	if all == nil {
		all = map[string]string{}
	}
	for what, names := range map[string][]string{"with": s.With, "without": s.Without} {
		for _, n := range names {
			if strings.ContainsAny(n, "+.") {
				return nil, albs.Errorf(albs.Invalid, "build option %.60q is no name of a macro", n)
			}
			all["_"+what+"_"+strings.ReplaceAll(n, "-", "_")] = "--" + what + "-" + n
		}
	}
	maps.Copy(all, s.Define)
	return albs.MacroFile(all)
}

// mockLog sends what mock says of itself to its standard error; the logs of the steps
// are files of their own.
const mockLog = `[formatters]
keys: detailed,simple,unadorned,state

[handlers]
keys: console

[loggers]
keys: root,build,state,mockbuild

[formatter_detailed]
format: %(levelname)s %(filename)s:%(lineno)d:  %(message)s

[formatter_simple]
format: %(levelname)s: %(message)s

[formatter_unadorned]
format: %(message)s

[formatter_state]
format: %(asctime)s - %(message)s

[handler_console]
class: StreamHandler
args: []
formatter: simple
level: INFO

[logger_root]
level: NOTSET
handlers: console

[logger_mockbuild]
level: NOTSET
handlers:
qualname: mockbuild
propagate: 1

[logger_state]
level: NOTSET
handlers:
qualname: mockbuild.Root.state
propagate: 0

[logger_build]
level: NOTSET
handlers:
qualname: mockbuild.Root.build
propagate: 0
`
