package master

import (
	"slices"
	"strings"
	"testing"

	"albs/internal/master/db/dbtest"
)

// named says of every column of text who sees to it that the blobs it names are kept:
// "" for nobody, since it names none, or none that has to stay. A new column has to be
// put here, so that nobody forgets to think of it; a digest that no module tells of as
// its root is a blob that is going to be removed.
var named = map[string]map[string]string{
	"repo":         {"repository": "snapshot", "tree": "digest"},
	"queue":        {"task": "spec", "attempt": "spec"},
	"platform":     {"mirror_pin": "digest"},
	"build":        {"build": "linked", "build_item": "imported srpm noarch", "build_artifact": "digest"},
	"testrun":      {"test_log": "digest", "test_package": "digest", "test_waiver": "digest"},
	"suite":        {"test_pin": "tree"},
	"sign":         {"signed_package": "unsigned signed", "sign_package": "unsigned", "sign_document": "digest effects", "document_signature": "digest", "sign_request": "effects", "sign_allowed": "digest"},
	"rebuild":      {"rebuild_file": "digest"},
	"record":       {"product_record": "files"},
	"reference":    {"reference_repository": "provides"},
	"bill":         {"bill": "model", "bill_document": "digest"},
	"release":      {"release": "files tree", "release_repository": "snapshot repomd sealed", "released_package": "digest"},
	"transparency": {"transparency_leaf": "statements ledger_proof log_proof"},
	"": {
		"account":              "name created_at disabled_at",
		"account_key":          "keyid public created_at removed_at",
		"account_role":         "role",
		"advisory":             "name platform reason type severity title issued_at document original created_at changed_at",
		"advisory_change":      "kind actor reason differences at",
		"advisory_cve":         "cve",
		"advisory_shown":       "product",
		"advisory_version":     "document digest at",                                                                                                       // document: what it lists is in what is public, or isn't; digest: of document
		"approval":             "subject digest note at expires_at keyid envelope",                                                                         // digest: over effects, which release and sign keep
		"artifact":             "digest kind name rpm_name rpm_version rpm_release rpm_arch source_rpm header_sha256 payload_sha256 unsigned signed_by at", // it tells of what others name
		"attempt":              "worker evidence claimed_at ended_at ended outcome result reason",                                                          // evidence, result: statements, and over what was reported
		"bill":                 "kind subject name facts product created_at",                                                                               // subject: of a package, which its build or release keeps; facts: over what others keep
		"bill_document":        "format",
		"build":                "key owner team product options created_at ordering request deleted_at deleted_by flavours", // request: its SRPMs are the items'
		"build_artifact":       "kind name arch",
		"build_failure":        "kind cause",
		"build_graph":          "platform graph",
		"build_item":           "platform arches url ref ref_type commit_id package srpm_name facts options target srpm_url",
		"build_task":           "kind arch",
		"document_signature":   "key armored at",
		"errata_check":         "product document checked_at",
		"errata_matching":      "advisory platform document", // document: packages that builds keep
		"errata_name":          "name",
		"errata_package":       "platform name version release arch module source unsigned", // unsigned: the build keeps it
		"event":                "at kind topic actor data",
		"event_cursor":         "name",
		"file_record":          "digest value created_at", // records outlive what they are of
		"flavour":              "name digest spec actor at",
		"fleet_worker":         "name version labels pause seen_at exclude drained_at drain_reason drained_by quarantined_at quarantine_reason lifted_at",
		"ledger_state":         "ledger alh at",
		"mirror_pin":           "url at",
		"notice_delivery":      "cause message kind title document state reason created_at next_at give_up_at ended_at",
		"notice_subscription":  "team channel target note filter salt actor created_at changed_at stopped paused_until claimed_until",
		"outbox":               "digest",
		"platform":             "name digest spec actor at",
		"product":              "name digest spec actor at",
		"product_record":       "product path type digest actor at",                                                              // digest: of the file uncompressed; files name what is kept
		"rebuild":              "platform arch built_on built_in needs requester created_at ended_at node record verdict reason", // built_in: the build keeps it; record: among rebuild_file
		"rebuild_package":      "digest name rebuilt verdict differing ignored",                                                  // digest: the build keeps it; rebuilt: for a while, among rebuild_file
		"rebuild_file":         "name kind",
		"reference_package":    "name version release arch source",
		"reference_repository": "url repomd listed_at looked_at failure",                                        // repomd: read and not kept
		"release":              "kind product team planner reason plan digest expires_at created_at changed_at", // plan: it is computed anew
		"release_repository":   "path",
		"released_package":     "product path file",
		"repository":           "name at forgotten_at",
		"session":              "hash created_at expires_at",
		"sign_allowed":         "product name note actor at",
		"sign_document":        "name key product requester created_at expires_at",
		"sign_key":             "fingerprint name user_id algorithm products public created_at subkey kept not_before not_after revoked_at revoked_public",
		"sign_keygen":          "name user_id algorithm products requester created_at fingerprint not_before not_after",
		"sign_package":         "kind name",
		"sign_request":         "key product requester created_at expires_at",
		"sign_revocation":      "key reason text requester created_at",
		"signed_package":       "key at",
		"source_commit":        "repository commit_id subject ref author title committed_at notarized_at", // subject: of an object of git
		"source_file":          "algorithm hex digest added_at",                                           // a cache: builds name what they use
		"source_ref":           "repository ref commit_id previous actor at",
		"statement":            "subject predicate envelope created_at",
		"statement_commit":     "commit_id subject",
		"task":                 "kind lane class topic state reason worker lease_until not_before_at created_at started_at changed_at key forgotten_at",
		"task_history":         "kind key runs",
		"team":                 "name created_at",
		"test_case":            "digest stage name status detail", // digest: one of test_package
		"test_log":             "name",
		"test_package":         "nevra name inputs", // inputs: over a part of the task's spec
		"test_mapping":         "package folder",
		"test_pin":             "url ref commit_id created_at",
		"test_repository":      "name url ref tests_dir tests_prefix team actor created_at commit_id scanned_at failure",
		"test_run":             "platform arch signed_by created_at",
		"test_skip":            "platform package stage reason actor created_at",
		"test_stage":           "digest stage status reason started_at log", // digest: one of test_package
		"test_suite":           "package url ref dir files failure",         // its tree is in test_pin
		"test_waiver":          "nevra stage person reason created_at expires_at ended_at ended_by ended_reason",
		"token":                "hash prefix note created_at used_at expires_at revoked_at",
		"tombstone":            "digest at",
		"transparency_leaf":    "product package leaf changed_at", // package: release keeps it
		"transparency_log":     "origin vkey root checkpoint begun_at",
		"transparency_name":    "path file",
		"tree":                 "product at retired_at",
		"withdrawn_package":    "path file digest", // digest: released_package keeps it
		"worker":               "name role labels hash prefix created_at used_at disabled_at",
	},
}

// TestRoots: whoever names digests has registered roots, and every column is accounted for.
func TestRoots(t *testing.T) {
	t.Parallel()
	m := opened(t, t.TempDir())
	t.Cleanup(func() { _ = m.Close() })
	for module := range named {
		if module != "" && !slices.Contains(m.gc.Artifacts.Rooted(), module) {
			t.Errorf("module %s names digests and has registered no roots", module)
		}
	}
	for _, module := range m.gc.Artifacts.Rooted() {
		if named[module] == nil {
			t.Errorf("module %s has roots, and no column that names them", module)
		}
	}
	known := map[string]string{}
	for module, tables := range named {
		for table, columns := range tables {
			for c := range strings.FieldsSeq(columns) {
				if other, twice := known[table+"."+c]; twice {
					t.Errorf("%s.%s is said to be of %q and of %q", table, c, other, module)
				}
				known[table+"."+c] = module
			}
		}
	}
	var columns []string
	err := dbtest.Open(t, dbtest.SQLite(t)).SelectContext(t.Context(), &columns, `SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name <> 'goose_db_version' AND c.type = 'TEXT'`)
	if err != nil || len(columns) < 100 {
		t.Fatalf("the schema has %d columns of text, %v", len(columns), err)
	}
	for _, c := range columns {
		if _, ok := known[c]; !ok {
			t.Errorf("%s: does it name blobs that have to stay, and who tells of them as roots? Say so in named", c)
		}
		delete(known, c)
	}
	for c := range known {
		t.Errorf("%s isn't in the schema", c)
	}
}
