package main

// packages are what the distribution is grown from; apt adds what they need. They
// suffice for rpmbuild with debuginfo and for upstream projects in C with a
// configure script.
var packages = []string{
	"base-passwd", "base-files", "bash", "coreutils", "sed", "grep", "gawk", "tar", "gzip", "bzip2", "xz-utils", "zstd",
	"findutils", "diffutils", "patch", "make", "gcc", "libc6-dev", "cpio", "file", "rpm", "debugedit", "elfutils", "dwz",
	"util-linux", "libc-bin", "debianutils", "hostname", "login", "passwd", "mount", "procps", "perl", "pkgconf", "m4",
	"autoconf", "automake", "zlib1g-dev", "ccache",
}

// testers are what tests of packages are run by, of the repository beside.
var testers = []string{"ansible-core", "python3-pytest"}

// arches are RPM's names for Debian's architectures.
var arches = map[string]string{"amd64": "x86_64", "arm64": "aarch64", "ppc64el": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}

// dropped packages are in the closure but have no place in an RPM distribution.
var dropped = map[string]bool{"dash": true, "dpkg": true, "apt": true, "debconf": true, "base-files": true, "base-passwd": true,
	"init-system-helpers": true, "usrmerge": true}

// provides says what specs written for Enterprise Linux call a package.
var provides = map[string][]string{
	"autoconf":    {"perl(Autom4te::General)"},
	"bash":        {"/bin/sh", "/usr/bin/sh", "/bin/bash"},
	"debianutils": {"which"},
	"gawk":        {"/usr/bin/awk", "/bin/awk"},
	"gcc":         {"/usr/bin/cc", "gcc(x86-64)"},
	"libc-bin":    {"glibc-common"},
	"libc6":       {"rtld(GNU_HASH)", "glibc = 2.36"},
	"libc6-dev":   {"glibc-devel", "glibc-headers"},
	"libelf1":     {"elfutils-libelf"},
	"libzstd1":    {"libzstd"},
	"passwd":      {"shadow-utils"},
	"perl":        {"perl = 4:5.36.0", "perl-interpreter", "perl-devel", "perl-generators"},
	"pkgconf":     {"pkgconfig", "/usr/bin/pkg-config", "pkgconf-pkg-config"},
	"procps":      {"procps-ng"},
	"rpm":         {"rpm-build", "/usr/bin/rpmbuild"},
	"xz-utils":    {"xz"},
	"zlib1g":      {"zlib"},
	"zlib1g-dev":  {"zlib-devel"},
}

// links are files that Debian makes when it configures a package: package → link →
// target.
var links = map[string]map[string]string{
	"automake":    {"usr/bin/aclocal": "aclocal-1.16", "usr/bin/automake": "automake-1.16"},
	"bash":        {"usr/bin/sh": "bash"},
	"ccache":      {"usr/lib64/ccache/cc": "../../bin/ccache", "usr/lib64/ccache/gcc": "../../bin/ccache"},
	"debianutils": {"usr/bin/which": "which.debianutils"},
	"gawk":        {"usr/bin/awk": "gawk"},
	"gcc":         {"usr/bin/cc": "gcc"},
}

// merged are the top directories that are links into /usr.
var merged = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}

// pruned are folders of no use in a buildroot; without them the RPMs are half as big.
var pruned = []string{
	"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian", "usr/share/bug",
	"usr/share/i18n", "usr/share/zoneinfo", "usr/share/gdb", "usr/share/bash-completion", "usr/share/gcc",
	"usr/lib/python3", "usr/share/python3",
}

// directories belong to the package filesystem.
var directories = []string{
	"usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "usr/lib32", "usr/libx32", "usr/include", "usr/share", "usr/libexec",
	"usr/lib64/pkgconfig", "usr/lib/pkgconfig", "usr/share/pkgconfig", "usr/local", "usr/local/bin", "usr/src", "etc", "etc/rpm",
	"etc/ld.so.conf.d", "var", "var/lib", "var/tmp", "var/cache", "var/log", "var/spool", "tmp", "proc", "sys", "dev", "run",
	"root", "home", "builddir", "opt", "mnt", "srv",
}

// files are what the recipe writes itself: package → path → content. A table of
// passwd and group stands in filesystem, as setup does in Enterprise Linux.
var files = map[string]map[string]string{
	"filesystem": {
		"etc/passwd": "root:x:0:0:root:/root:/bin/bash\nbin:x:1:1:bin:/bin:/sbin/nologin\ndaemon:x:2:2:daemon:/sbin:/sbin/nologin\n" +
			"mail:x:8:12:mail:/var/spool/mail:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n",
		"etc/group": "root:x:0:\nbin:x:1:\ndaemon:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nlp:x:7:\nmem:x:8:\nkmem:x:9:\n" +
			"wheel:x:10:\nmail:x:12:\nman:x:15:\nutmp:x:22:\nshadow:x:42:\nstaff:x:50:\nusers:x:100:\nnobody:x:65534:\n",
		"etc/hosts":         "127.0.0.1 localhost\n::1 localhost\n",
		"etc/ld.so.conf":    "include /etc/ld.so.conf.d/*.conf\n/usr/lib64\n",
		"etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	},
	"system-release": {
		"etc/os-release": "NAME=\"Seed Linux\"\nVERSION=\"9\"\nID=seed\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"9\"\n" +
			"PLATFORM_ID=\"platform:el9\"\nPRETTY_NAME=\"Seed Linux 9\"\n",
		"etc/system-release":               "Seed Linux release 9\n",
		"usr/lib/rpm/macros.d/macros.seed": "%_vendor redhat\n%_dbpath /usr/lib/sysimage/rpm\n%_host_vendor redhat\n",
	},
	"redhat-rpm-config": {"usr/lib/rpm/macros.d/macros.redhat": redhatMacros},
}

// redhatMacros is what redhat-rpm-config adds on Enterprise Linux, as far as
// -debuginfo and -debugsource packages need it.
const redhatMacros = `%_enable_debug_packages 1
%_debugsource_packages 1
%_debuginfo_subpackages 1
%_include_minidebuginfo 0
%_unique_build_ids 1
%_unique_debug_names 1
%_unique_debug_srcs 1
%_build_id_links compat
%__find_debuginfo /usr/bin/find-debuginfo
%install %{?_enable_debug_packages:%{?buildsubdir:%{debug_package}}}\
%%install\
%{nil}
%_smp_mflags -j%{_smp_build_ncpus}
%_binary_payload w2.zstdio
`
