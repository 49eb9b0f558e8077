package internal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The groups that rows of the table share.
var (
	// modules of the master, lowest first; each may import those that its row names.
	modules = []string{
		"master/event", "master/auth", "master/artifact", "master/fleet", "master/queue", "master/provenance", "master/source", "master/source/notary", "master/repo",
		"master/platform", "master/platform/reference", "master/product", "master/build/status", "master/build/repository", "master/build/settle", "master/build", "master/testrun/suite", "master/testrun", "master/testrun/report", "master/rebuild", "master/sign", "master/record", "master/release/place", "master/release/plan", "master/release", "master/transparency", "master/trace", "master/errata", "master/errata/draft", "master/errata/matching", "master/errata/publish", "master/errata/monitor",
		"master/bill", "master/retention", "master/gc", "master/notice", "master/content",
	}
	roles = []string{"worker/node", "worker/tester", "worker/signer", "worker/releaser"}
)

// allowed is the architecture: for each package, by its path below internal/, the
// packages of this module that it may import. To change it is to change the
// design: in one commit, with the reason.
//
// A row that is a refusal ("everything but") begins with "!".
var allowed = map[string][]string{
	// outside internal/
	".":          {"cli"},
	"migrations": {},
	"web":        {},

	"albs": {},

	// tools; who keeps files of its own keeps, bounds and locks them as disk does
	"disk":             {"albs"},
	"telemetry":        {"albs"},
	"egress":           {"albs", "disk"},           // CA files, bounded
	"bucket":           {"albs", "disk"},           // a CA file, bounded
	"blob":             {"albs", "bucket", "disk"}, // synced folders, full disks
	"blob/scrub":       {"albs", "blob", "disk"},   // where it is, kept
	"git":              {"albs", "disk", "egress"}, // the CA bundle for git
	"pgp":              {"albs"},
	"tty":              {},               // a person at a terminal, unseen
	"sshkey":           {"albs", "disk"}, // people's own keys, in files of theirs
	"rpm":              {"albs", "pgp"},
	"rpm/depend":       {"rpm"}, // which provides meet which requirements: pure
	"repodata":         {"albs", "rpm", "rpm/depend", "repodata/intake"},
	"repodata/intake":  {"albs"},                                       // others' bytes within bounds: what every reader of them has in common
	"repodata/record":  {"albs", "repodata", "repodata/intake", "rpm"}, // what people give for a repository, checked: pure
	"sandbox":          {"albs", "sandbox/cargo", "sandbox/ccache", "sandbox/cgroup", "sandbox/dnf", "sandbox/emulator", "sandbox/examine", "sandbox/lent", "sandbox/loopback", "sandbox/rpmdb"},
	"sandbox/cargo":    {"albs"}, // files over the border of a root
	"sandbox/ccache":   {"albs"}, // folders that builds hand to later builds: whose, how many
	"sandbox/cgroup":   {},       // where the kernel limits a step: one idea each, and sandbox has enough of them
	"sandbox/dnf":      {"albs"}, // what dnf is told, and what its words mean: pure
	"sandbox/emulator": {"albs"}, // what runs programs of other arches here
	"sandbox/examine":  {"albs"}, // what lies in a root, looked at from inside
	"sandbox/lent":     {},       // whose the files of a root are on the host
	"sandbox/loopback": {},       // ports in a network without a way out
	"sandbox/rpmdb":    {"albs"}, // what rpm says of a root: pure
	"buildroot":        {"albs", "rpm", "sandbox", "sandbox/ccache", "sandbox/dnf", "sandbox/emulator"},
	"ledger":           {"albs", "disk"},                                 // its lock, ledger.json, full disks
	"tlog":             {"albs", "disk"},                                 // its lock and its key, full disks
	"attest":           {"albs", "attest/form", "ledger", "tlog", "rpm"}, // pure
	"attest/form":      {"albs"},                                         // documents that have one form: pure
	"attest/effect":    {"albs", "attest/form"},                          // what people approve: pure
	"attest/keyfile":   {"albs", "disk"},
	"purl":             {"albs"}, // how package URLs are spelt: pure
	"sbom":             {"albs", "purl", "rpm", "rpm/depend", "repodata"},
	"iso":              {"albs"},
	"sbom/image":       {"albs", "rpm", "sbom"}, // bills of installation images: what their .treeinfo says
	"advisory":         {"albs", "rpm", "repodata"},
	"advisory/cvss":    {"albs"}, // what a vector comes to: pure
	"advisory/csaf":    {"albs", "purl", "rpm", "advisory", "advisory/cvss"},
	"advisory/oval":    {"albs", "rpm", "advisory", "advisory/cvss"},
	"failure":          {"albs"}, // rules over logs, pure
	"tap":              {},       // what tests tell: pure

	// advisories in the forms in which others read and write them: pure
	"repodata/updateinfo": {"albs", "repodata", "repodata/intake", "repodata/record"}, // the form alone
	"advisory/erratajson": {"albs", "rpm", "advisory"},
	"advisory/osv":        {"albs", "rpm", "advisory"},
	"advisory/page":       {"advisory"},
	"advisory/update":     {"albs", "rpm", "repodata/updateinfo", "advisory"},

	// the master
	"master":           append([]string{"!", "worker/depot", "config", "cli", "cli/remote", "cli/verify", "cli/watch", "cli/terminal"}, roles...),
	"master/db":        {"albs", "migrations"},
	"master/failpoint": {}, // where a test has the master die
	"master/event":     {"albs", "master/db", "master/failpoint"},
	"master/auth":      {"albs", "master/db", "master/event", "egress", "attest", "sshkey"}, // sshkey: whose keys sign approvals
	"master/artifact":  {"albs", "master/db", "master/event", "master/auth", "blob", "rpm"},
	"master/queue": {"albs", "master/db", "master/event", "master/auth", "master/artifact", "worker", "master/fleet", "master/failpoint",
		"master/queue/keep", "master/queue/life", "master/queue/logfile", "master/queue/measure", "master/queue/schedule", "master/queue/spec", "master/queue/store"},
	"master/provenance": {"albs", "disk", "master/db", "master/event", "master/auth", "master/artifact", "rpm", "ledger", "tlog", "attest", "master/failpoint"}, // disk: what a check of the ledger came to
	"master/source":     {"albs", "master/db", "master/event", "master/auth", "master/artifact", "master/provenance", "attest", "git", "egress"},
	// whose commits are testified to: a task of the queue
	"master/source/notary": {"albs", "master/db", "master/event", "master/auth", "master/queue", "master/provenance", "attest", "git"},
	"master/repo":          {"albs", "master/db", "master/event", "master/auth", "master/artifact", "rpm", "repodata"},
	"master/repo/history":  {"albs", "master/repo", "repodata", "rpm"}, // what was shown when, for people
	"master/revision":      {"albs", "master/db", "master/auth"},       // what platform and product have in common, and nobody else's
	"master/platform": {"albs", "master/db", "master/event", "master/auth", "master/artifact", "master/provenance", "master/repo", "master/revision",
		"rpm", "repodata", "egress"}, // artifact: here and below, whoever names digests says so to the collection of blobs
	// what other repositories list, which is foreign and large: kept apart from what platforms are
	"master/platform/reference": {"albs", "master/db", "master/auth", "master/artifact", "master/platform", "rpm", "repodata"},                                              // artifact: what they provide is a blob
	"master/product":            {"albs", "master/db", "master/event", "master/auth", "master/provenance", "master/platform", "master/repo", "master/revision", "repodata"}, // repodata: the word for how metadata is compressed
	// build's rules, each an idea of its own that knows no tables, and what it keeps
	"master/build/option":     {"albs", "master/platform"},
	"master/build/plan":       {"albs", "master/queue/schedule", "master/build/graph"}, // schedule: how long a key may be
	"master/build/graph":      {"albs"},
	"master/build/admit":      {"albs", "rpm"},
	"master/build/status":     {"albs", "master/queue"}, // the faces' too
	"master/build/repository": {"albs", "master/db", "master/artifact", "master/platform", "master/repo", "master/build/option", "rpm"},
	"master/build/settle":     {"albs", "master/artifact", "master/platform", "master/build/repository", "rpm"},
	"master/build/store":      {"albs", "master/db", "master/build/option", "master/build/graph", "master/build/repository", "master/build/settle"}, // build's tables
	"master/build/statement":  {"albs", "attest"},
	"master/build/schedule":   {"albs", "master/queue"},
	"master/build/given":      {"albs", "master/db", "master/event", "master/auth", "master/artifact", "master/provenance", "attest", "master/source", "master/build/admit"},
	"master/build/keep":       {"albs", "master/db", "master/artifact", "master/build/repository", "master/build/settle"}, // what builds keep from being collected
	"master/build/cause":      {"albs", "blob", "failure", "master/db", "master/artifact", "master/queue"},
	"master/build": {"albs", "master/build/option", "master/build/plan", "master/build/graph", "master/build/admit", "master/build/status", "master/build/repository", "master/build/settle",
		"master/build/statement", "master/build/schedule", "master/build/store", "master/build/given", "master/build/cause", "master/build/keep",
		"master/db", "master/event", "master/auth", "master/queue", "master/artifact", "master/provenance", "attest",
		"master/source", "master/platform", "master/product", "master/repo", "rpm", "repodata", "sbom", "failure"},
	"master/stream": {"albs", "master/db", "master/event", "master/auth", "master/artifact", "master/queue", "master/provenance"}, // records of the logs that workers stream
	// tests that maintainers keep in git, and which of them a build is tested by
	"master/testrun/suite": {"albs", "master/db", "master/event", "master/auth", "master/queue", "master/artifact", "master/source", "master/build", "master/build/keep"},
	"master/testrun": {"master/testrun/suite", "albs", "master/db", "master/event", "master/auth", "master/queue", "master/artifact", "master/provenance", "attest",
		"master/source", "master/platform", "master/platform/reference", "master/product", "master/repo", "master/build", "master/build/keep", "repodata", "rpm", "failure"}, // reference, repodata: which versions readers have; failure: here and in sign and release, why what they ask for failed
	"master/testrun/report": {"albs", "master/build", "master/testrun"}, // tests as faces show them: pure
	// builds done once more, and compared with what there was
	"master/rebuild": {"albs", "master/db", "master/event", "master/auth", "master/queue", "master/queue/schedule", "master/artifact", "master/provenance", "attest",
		"master/repo", "master/build", "rpm"}, // schedule: how a need names a node
	"master/sign": {"albs", "master/db", "master/event", "master/auth", "master/queue", "master/artifact", "master/provenance", "attest", "attest/effect",
		"master/platform", "master/product", "master/build/status", "master/build/repository", "master/build/settle", "master/build", "master/testrun", "rpm", "pgp", "failure"},
	// what people give repositories beside packages; release takes it over
	"master/record":          {"albs", "master/db", "master/auth", "master/artifact", "master/provenance", "master/product", "repodata", "repodata/record"},
	"master/release/place":   {"albs", "master/platform/reference", "rpm"},                                                                                                                                       // where packages go: pure
	"master/release/closure": {"albs", "rpm", "rpm/depend"},                                                                                                                                                      // what a release would leave without a provider: pure
	"master/release/plan":    {"albs", "attest/effect", "master/release/closure", "repodata/record", "master/platform/reference", "master/product", "master/testrun", "master/release/place", "repodata", "rpm"}, // what a release comes to: pure; attest/effect: which people approve
	// what a plan is made of, found in the modules that know
	"master/release/gather": {"albs", "master/release/place", "master/release/plan", "master/release/closure", "master/platform/reference", "master/db", "master/artifact", "master/provenance",
		"master/platform", "master/product", "master/record", "master/repo", "master/build", "master/build/status", "master/testrun", "master/sign", "repodata", "repodata/record", "rpm"},
	"master/release": {"albs", "pgp", "master/release/place", "master/release/plan", "master/release/gather", "master/platform/reference", "master/db", "master/event", "master/auth", "master/queue", "master/artifact", "master/provenance", "attest", "attest/effect",
		"master/platform", "master/product", "master/record", "master/repo", "master/build", "master/build/status", "master/testrun", "master/sign", "rpm", "repodata", "sbom", "failure"}, // pgp: which keys a file of keys has
	// what all of it consists of, once it is there
	"master/bill": {"albs", "attest", "master/db", "master/event", "master/auth", "master/queue", "master/artifact", "master/provenance", "master/repo", "master/platform", "master/platform/reference",
		"master/product", "master/build", "master/build/keep", "master/release", "master/release/plan", "repodata", "rpm", "rpm/depend", "sbom"},
	// released packages in the public log, and what is told of them beside them; disk: evidence, kept
	"master/transparency": {"albs", "disk", "tlog", "attest", "master/db", "master/event", "master/auth", "master/queue", "master/artifact", "master/provenance", "master/repo", "master/release"},
	"master/trace":        {"albs", "ledger", "attest", "master/artifact", "master/provenance", "rpm"}, // ledger: where a statement stands in it
	"master/errata": {"albs", "master/db", "master/event", "master/auth", "master/artifact", "master/provenance", "attest", "master/source",
		"master/platform", "master/product", "master/repo", "master/build", "master/sign", "master/release", "rpm", "repodata", "advisory", "egress"},
	// how they are shown: a part of releases
	"master/errata/publish": {"albs", "disk", "master/db", "master/auth", "master/artifact", "master/platform", "master/product", "master/sign", "master/release", "master/release/plan",
		"master/errata", "master/errata/matching", "advisory", "advisory/csaf", "advisory/erratajson", "advisory/osv", "advisory/oval", "advisory/page", "advisory/update", "repodata", "repodata/updateinfo", "rpm"}, // disk: what was made and can be made again
	// what the public sees of them, read back
	"master/errata/monitor": {"albs", "master/db", "master/event", "master/auth", "master/artifact", "master/platform", "master/product", "master/repo",
		"master/errata", "master/errata/publish", "advisory", "repodata", "repodata/record", "repodata/updateinfo", "rpm"},
	"master/errata/match": {"albs", "rpm", "advisory"}, // which packages answer which advisories, and why: pure
	"master/errata/matching": {"albs", "master/db", "master/event", "master/auth", "master/artifact", "master/platform", "master/product", "master/repo", "master/build", "master/release", "master/release/plan",
		"master/errata", "master/errata/match", "rpm", "advisory"},
	// what others wrote of advisories, read: no state; intake: a file may be compressed
	"master/errata/forms": {"albs", "advisory", "advisory/csaf", "advisory/erratajson", "advisory/osv", "advisory/update", "repodata/intake", "rpm", "master/platform"},
	// what an advisory for a build might say, for people to edit
	"master/errata/draft": {"albs", "advisory", "master/auth", "master/artifact", "master/build", "master/platform", "master/product", "master/repo", "repodata", "rpm"},
	// what products keep of what they have shown: in the master and in the public place
	"master/retention": {"albs", "master/db", "master/queue", "master/product", "master/repo"},
	"master/gc":        {"albs", "master/db", "master/auth", "master/artifact", "master/queue/keep", "master/build/status", "master/build", "master/retention"}, // what is kept, and for how long
	"master/notice":    {"albs", "disk", "master/failpoint", "master/db", "master/event", "master/auth", "egress"},                                              // disk: the file of a key, a CA file, bounded
	"master/face":      {"albs", "master/auth"},                                                                                                                 // what api, ui and content have in common
	// what a worker is to people is known to two modules, of which neither knows the other's part
	"master/face/roster": {"albs", "master/auth", "master/queue"},
	"master/content":     {"albs", "master/face", "master/auth", "master/artifact", "master/provenance", "master/queue", "master/repo", "master/product"},
	"master/api":         append([]string{"albs", "failure", "rpm", "worker", "master/repo/history", "master/api/rest", "master/api/delivery", "master/api/advisories", "master/api/suites", "master/api/tests", "master/face", "master/face/roster"}, modules...),
	"master/ui":          append([]string{"albs", "master/face", "master/face/roster", "master/ui/page", "master/ui/words", "master/repo/history", "master/ui/advisories", "master/ui/builds", "master/ui/farm", "master/ui/keys", "master/ui/notices", "master/ui/products", "master/ui/releases", "master/ui/tests", "master/ui/trust"}, modules...),
	// what all pages have in common, and what says things the same way on all of them; the groups of pages know these and not each other
	"master/ui/words":    {},
	"master/ui/page":     {"albs", "failure", "web", "master/face", "master/auth", "master/event", "master/ui/words"}, // failure: why something failed, in words
	"master/ui/trust":    {"albs", "attest", "master/ui/page", "master/ui/words", "master/ui/picture", "master/auth", "master/build/statement", "master/provenance", "master/rebuild", "master/source/notary", "master/trace", "master/transparency"},
	"master/ui/builds":   append([]string{"albs", "failure", "master/build/statement", "master/ui/page", "master/ui/words", "master/ui/logs", "master/ui/order", "master/ui/picture"}, modules...),
	"master/ui/farm":     {"albs", "master/auth", "master/queue", "master/face/roster", "master/ui/page", "master/ui/words"},
	"master/ui/keys":     append([]string{"albs", "pgp", "master/ui/page", "master/ui/words"}, modules...),                                                               // pgp: what a public key says of itself
	"master/ui/products": append([]string{"albs", "repodata", "repodata/record", "master/face", "master/repo/history", "master/ui/page", "master/ui/words"}, modules...), // repodata: what a repository holds, and what may be given to it
	"master/ui/releases": append([]string{"albs", "master/release/closure", "master/ui/page", "master/ui/words", "master/ui/logs"}, modules...),
	"master/ui/logs":     {"albs", "failure", "master/queue", "master/ui/words"}, // failure: what a line of a log is as text
	// a graph as pages show it, and where its boxes and lines are drawn: pure
	"master/ui/order":   {"albs", "master/build", "master/build/status", "master/ui/picture"},
	"master/ui/picture": {},

	// what is said of an advisory is read, and shown as updateinfo has it; face: a file may be long on its way
	"master/ui/tests":      {"albs", "master/auth", "master/build", "master/platform", "master/product", "master/testrun", "master/testrun/suite", "master/ui/page", "master/ui/words"},
	"master/ui/notices":    {"master/ui/page", "master/auth", "master/notice"},
	"master/ui/advisories": append([]string{"albs", "advisory", "advisory/cvss", "advisory/update", "repodata/updateinfo", "rpm", "master/errata/forms", "master/errata/match", "master/face", "master/ui/page", "master/ui/words"}, modules...),

	// queue's parts, one idea each, and a farm of which nothing is real but the rules of dispatch
	"master/queue/life":     {"albs"},                                                                              // the table of a task's states
	"master/queue/spec":     {"albs"},                                                                              // what a spec names
	"master/queue/keep":     {"albs", "master/db", "master/artifact", "master/queue/logfile", "master/queue/spec"}, // what tasks keep from being collected
	"master/queue/logfile":  {"albs", "disk", "worker"},                                                            // disk: synced folders, full disks; worker: the contract's bounds
	"master/queue/schedule": {"albs"},                                                                              // the rules of dispatch, which know no database
	"master/queue/measure":  {"albs", "master/db", "master/queue/schedule"},
	"master/queue/store":    {"albs", "master/db", "master/fleet", "master/queue/life", "master/queue/measure", "master/queue/schedule"}, // fleet: who may have work is asked in the claim itself
	"master/fleet":          {"albs", "master/db", "master/event", "master/auth", "master/queue/schedule"},
	"master/queue/simulate": {"albs", "master/queue/schedule"},

	// the api's machinery, which knows no resource, and its resources of what goes out
	"master/api/rest":     {"albs", "master/auth", "master/face"},
	"master/api/delivery": append([]string{"albs", "attest", "disk", "failure", "repodata", "repodata/record", "sbom", "master/repo/history", "master/api/rest", "master/face"}, modules...), // attest: what lies beside a package; sbom: which formats there are; repodata: what a record's file is, and its bounds; disk: a full temporary folder

	// and those about advisories, of which ALBS has two forms here, too
	"master/api/suites":     {"albs", "master/api/rest", "master/build", "master/testrun/suite"},
	"master/api/tests":      {"albs", "master/api/delivery", "master/api/rest", "master/build", "master/testrun", "master/testrun/report"},
	"master/api/advisories": append([]string{"albs", "advisory", "advisory/oval", "advisory/update", "repodata/updateinfo", "rpm", "master/errata/forms", "master/api/rest", "master/face"}, modules...),

	// the workers
	"worker":        {"albs", "disk", "telemetry"}, // disk: the spool
	"worker/depot":  {"worker", "albs", "blob", "egress", "repodata"},
	"worker/guard":  {"worker", "albs"},
	"worker/node":   {"worker", "worker/depot", "worker/guard", "albs", "disk", "sandbox", "sandbox/emulator", "buildroot", "rpm"},
	"worker/tester": {"worker", "worker/depot", "worker/guard", "albs", "sandbox", "sandbox/emulator", "rpm", "repodata", "worker/tester/engine", "worker/tester/engine/native", "worker/tester/engine/podman", "worker/tester/engine/vm", "worker/tester/engine/vm/agent", "worker/tester/integrity", "worker/tester/suite", "worker/tester/survey", "sandbox/examine", "tap"},
	// what a tester asks of those that make its roots, and those
	"worker/tester/engine":          {"albs", "sandbox", "sandbox/examine"},
	"worker/tester/engine/native":   {"albs", "sandbox", "worker/tester/engine"},
	"worker/tester/engine/vm":       {"albs", "sandbox", "sandbox/cargo", "sandbox/examine", "worker/tester/engine", "worker/tester/engine/native", "worker/tester/engine/vm/agent"},
	"worker/tester/engine/vm/agent": {"albs", "sandbox/cargo", "sandbox/examine"}, // the inner side: this program as the first process of a guest
	"worker/tester/engine/podman":   {"albs", "sandbox", "worker/tester/engine", "worker/tester/engine/native"},
	// whether what was installed is what its header says: pure but for its view of the root
	"worker/tester/integrity": {"albs", "rpm", "sandbox/examine"},
	// which files are tests of packages, how they are run and what they came to: pure
	"worker/tester/suite": {"albs", "tap", "worker/tester/tmt"},
	"worker/tester/tmt":   {"albs"}, // one form in which people keep them, with rules of its own: pure
	// what it would do to others of its repositories
	"worker/tester/survey": {"albs", "repodata", "rpm", "rpm/depend"},
	"worker/signer":        {"worker", "albs", "disk", "sandbox", "rpm", "pgp", "sshkey", "tty", "attest", "attest/effect", "attest/keyfile", "worker/signer/token"},                                     // disk: keys, ledger state, the journal's lock; sshkey: whose approvals count
	"worker/signer/token":  {"albs"},                                                                                                                                                                     // PKCS#11, which needs C and a tag, apart from what is signed
	"worker/releaser":      {"worker", "worker/depot", "albs", "disk", "blob", "repodata", "pgp", "rpm", "attest", "attest/effect", "attest/keyfile", "worker/releaser/further", "worker/releaser/laid"}, // disk: a full place; rpm: which package lies there
	// what the directory shows, read; and what is made from it in buckets and on other hosts, of which the directory's own making knows nothing
	"worker/releaser/laid":    {"albs", "attest", "repodata"}, // attest: what lies beside a package
	"worker/releaser/further": {"albs", "attest", "bucket", "repodata", "worker/releaser/laid"},

	// the shell around them
	"client": {"albs"},
	"config": {"!", "cli", "cli/remote", "cli/verify", "cli/watch", "cli/terminal"},
	// What only asks a server must not be able to play a role: a command of cli/remote
	// knows what the API tells, and a role is started in cli alone.
	"cli/terminal":        {"albs", "disk"}, // files that a person names, bounded
	"cli/watch":           {"cli/terminal", "client", "albs"},
	"cli/remote/ask":      {"cli/watch", "cli/terminal", "client", "albs", "disk"}, // disk: the token file, bounded
	"cli/remote/catalog":  {"cli/remote/ask", "cli/terminal", "client", "albs"},
	"cli/remote/builds":   {"cli/remote/ask", "cli/watch", "cli/terminal", "client", "albs"},
	"cli/remote/tests":    {"cli/remote/ask", "cli/terminal", "client", "albs"},
	"cli/remote/releases": {"cli/remote/ask", "cli/watch", "cli/terminal", "client", "albs"},
	"cli/remote/errata":   {"cli/remote/ask", "cli/watch", "cli/terminal", "client", "albs"},
	"cli/remote/notice":   {"cli/remote/ask", "cli/terminal", "client"},
	"cli/remote/trust":    {"cli/remote/ask", "cli/watch", "cli/terminal", "client", "albs", "attest", "tlog"}, // tlog: the bound of a proof
	"cli/remote/farm":     {"cli/remote/ask", "cli/watch", "cli/terminal", "client", "albs"},
	"cli/remote/approval": {"cli/remote/ask", "cli/terminal", "client", "albs", "attest", "attest/effect", "sshkey", "tty"}, // what people sign with keys of their own
	"cli/remote":          {"cli/remote/approval", "cli/remote/ask", "cli/remote/catalog", "cli/remote/builds", "cli/remote/tests", "cli/remote/releases", "cli/remote/errata", "cli/remote/notice", "cli/remote/trust", "cli/remote/farm"},
	"cli/verify":          {"cli/terminal", "albs", "disk", "repodata", "egress", "attest", "tlog"}, // egress: the repository that a person names
	"cli": append([]string{"cli/terminal", "cli/remote", "cli/remote/ask", "cli/verify", "config", "telemetry", "master", "worker", "worker/depot",
		"albs", "disk", "rpm", "repodata", "egress", "attest", "sbom", "sbom/image", "iso", "advisory"}, roles...), // disk: a CA file, bounded
}

// confined says which packages alone may import a path or what lies below it. An
// entry that ends in "/" stands for every package below it, not for itself.
var confined = map[string][]string{
	"github.com/codenotary/immudb":      {"ledger"},
	"google.golang.org/grpc":            {"ledger"},
	"google.golang.org/protobuf":        {"ledger"},
	"github.com/ProtonMail/go-crypto":   {"pgp"},
	"github.com/miekg/pkcs11":           {"worker/signer/token"},
	"golang.org/x/crypto":               {"sshkey"},
	"github.com/jmoiron/sqlx":           {"master", "master/"},
	"github.com/minio/minio-go":         {"bucket"},
	"os/exec":                           {"git", "sandbox", "sandbox/emulator", "sandbox/lent", "buildroot", "worker/", "cli/verify"}, // verify: rpm, for what is installed
	"github.com/CycloneDX/cyclonedx-go": {"sbom"},
	"github.com/spdx/tools-golang":      {"sbom"},
	"github.com/github/go-spdx":         {"sbom"},
	"github.com/transparency-dev":       {"tlog"},
	"golang.org/x/mod":                  {"tlog"},
	"k8s.io/klog":                       {"tlog"}, // to be silenced
}

// pkg is what `go list` says of a package. Imports are those of its non-test files.
type pkg struct {
	ImportPath string
	Doc        string
	GoFiles    []string
	Imports    []string
}

const module = "albs"

// name returns how the table calls an import path of this module, or "" for one
// of another.
func name(importPath string) string {
	if importPath == module {
		return "."
	}
	p, ok := strings.CutPrefix(importPath, module+"/")
	if !ok {
		return ""
	}
	return strings.TrimPrefix(p, "internal/")
}

// forTests reports whether the package is one that only tests import: its name
// ends in "test" and the table doesn't have it (attest is none).
func forTests(n string) bool {
	_, row := allowed[n]
	return !row && strings.HasSuffix(path.Base(n), "test")
}

// violations returns a sentence for each rule that pkgs break.
func violations(pkgs []pkg) []string {
	var found []string
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for _, p := range pkgs {
		if len(p.GoFiles) == 0 {
			continue // nothing but _test files
		}
		n := name(p.ImportPath)
		if p.Doc == "" {
			say("%s has no package comment", n)
		}
		if forTests(n) {
			continue
		}
		row, ok := allowed[n]
		if !ok {
			say("%s has no row in the table", n)
			continue
		}
		for _, imp := range p.Imports {
			for outside, homes := range confined {
				if (imp == outside || strings.HasPrefix(imp, outside+"/")) && !slices.ContainsFunc(homes, func(h string) bool {
					return h == n || strings.HasSuffix(h, "/") && strings.HasPrefix(n, h)
				}) {
					say("%s imports %s, which only %v may", n, imp, homes)
				}
			}
			in := name(imp)
			refusal := len(row) > 0 && row[0] == "!"
			switch {
			case in == "":
			case forTests(in):
				say("%s imports %s, which is for tests", n, in)
			case slices.Contains(row, in) == refusal:
				say("%s imports %s, which its row doesn't allow", n, in)
			}
		}
	}
	return found
}

func TestImports(t *testing.T) {
	t.Parallel()
	// Reading the folders here tells the test cache what the result hangs on; it
	// doesn't see what the go command reads.
	err := filepath.WalkDir(".", func(string, fs.DirEntry, error) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	// -e: a package that doesn't compile is the compiler's to report.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Doc,GoFiles,Imports", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) < 5 {
		t.Fatalf("go list named %d packages", len(pkgs))
	}
	for _, v := range violations(pkgs) {
		t.Error(v)
	}
}

// TestTable checks the table itself: it names only packages that it has, and no
// package of the workers may reach the master.
func TestTable(t *testing.T) {
	t.Parallel()
	for n, row := range allowed {
		for _, in := range row {
			if _, ok := allowed[in]; !ok && in != "!" {
				t.Errorf("the row of %s names %s, which has no row", n, in)
			}
			if strings.HasPrefix(n, "worker") && strings.HasPrefix(in, "master") {
				t.Errorf("the row of %s lets it through the wall to %s", n, in)
			}
		}
	}
	for i, m := range modules {
		for _, in := range allowed[m] {
			if j := slices.Index(modules, in); j > i {
				t.Errorf("%s imports %s, which is above it", m, in)
			}
		}
	}
}

func TestViolations(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		pkg     string
		imports string
		noDoc   bool
		want    string // "" for none
	}{
		{name: "row kept", pkg: "internal/rpm", imports: "fmt albs/internal/albs albs/internal/pgp"},
		{name: "row broken", pkg: "internal/rpm", imports: "albs/internal/repodata", want: "rpm imports repodata, which its row doesn't allow"},
		{name: "through the wall", pkg: "internal/worker/node", imports: "albs/internal/master/db", want: "worker/node imports master/db, which its row doesn't allow"},
		{name: "words import nothing", pkg: "internal/albs", imports: "albs/internal/telemetry", want: "albs imports telemetry, which its row doesn't allow"},
		{name: "everything but: allowed", pkg: "internal/master", imports: "albs/internal/worker albs/internal/master/db albs/internal/ledger github.com/jmoiron/sqlx"},
		{name: "everything but: refused", pkg: "internal/master", imports: "albs/internal/worker/signer", want: "master imports worker/signer, which its row doesn't allow"},
		{name: "embedded folder", pkg: "internal/master/db", imports: "albs/migrations"},
		{name: "another's embedded folder", pkg: "internal/master/api", imports: "albs/web", want: "master/api imports web, which its row doesn't allow"},
		{name: "faces stay off the database", pkg: "internal/master/ui", imports: "albs/internal/master/db", want: "master/ui imports master/db, which its row doesn't allow"},
		{name: "main", pkg: "", imports: "albs/internal/cli"},
		{name: "main reaches deeper", pkg: "", imports: "albs/internal/master", want: ". imports master, which its row doesn't allow"},
		{name: "no row", pkg: "internal/util", want: "util has no row in the table"},
		{name: "no comment", pkg: "internal/rpm", noDoc: true, want: "rpm has no package comment"},
		{name: "test package imports anything", pkg: "internal/worker/workertest", imports: "albs/internal/master/db"},
		{name: "test package without comment", pkg: "internal/worker/workertest", noDoc: true, want: "worker/workertest has no package comment"},
		{name: "imports a test package", pkg: "internal/worker", imports: "albs/internal/worker/workertest", want: "worker imports worker/workertest, which is for tests"},
		{name: "attest is no test package", pkg: "internal/attest", imports: "albs/internal/egress", want: "attest imports egress, which its row doesn't allow"},
		{name: "immudb at home", pkg: "internal/ledger", imports: "github.com/codenotary/immudb/embedded/store"},
		{name: "immudb elsewhere", pkg: "internal/attest", imports: "github.com/codenotary/immudb/embedded/store", want: "attest imports github.com/codenotary/immudb/embedded/store, which only [ledger] may"},
		{name: "go-crypto elsewhere", pkg: "internal/rpm", imports: "github.com/ProtonMail/go-crypto/openpgp", want: "rpm imports github.com/ProtonMail/go-crypto/openpgp, which only [pgp] may"},
		{name: "sqlx in a module", pkg: "internal/master/repo", imports: "github.com/jmoiron/sqlx"},
		{name: "sqlx elsewhere", pkg: "internal/blob", imports: "github.com/jmoiron/sqlx", want: "blob imports github.com/jmoiron/sqlx, which only [master master/] may"},
		{name: "exec in a role", pkg: "internal/worker/signer", imports: "os/exec"},
		{name: "exec in the contract", pkg: "internal/worker", imports: "os/exec", want: "worker imports os/exec, which only [git sandbox sandbox/emulator sandbox/lent buildroot worker/ cli/verify] may"},
		{name: "exec in the master", pkg: "internal/master/source", imports: "os/exec", want: "master/source imports os/exec, which only [git sandbox sandbox/emulator sandbox/lent buildroot worker/ cli/verify] may"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := pkg{ImportPath: path.Join(module, tt.pkg), Doc: "Package x does.", GoFiles: []string{"x.go"}, Imports: strings.Fields(tt.imports)}
			if tt.noDoc {
				p.Doc = ""
			}
			var want []string
			if tt.want != "" {
				want = []string{tt.want}
			}
			if got := violations([]pkg{p}); !slices.Equal(got, want) {
				t.Errorf("violations = %q, want %q", got, want)
			}
			if got := violations([]pkg{{ImportPath: p.ImportPath}}); got != nil {
				t.Errorf("a folder of _test files only: %q", got)
			}
		})
	}
}
