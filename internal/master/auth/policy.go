package auth

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
)

// Role is what a person is to a team, or to the whole installation.
type Role string

// The roles. The first three are held for one team each, the others globally.
const (
	Contributor       Role = "contributor"        // builds
	ProductMaintainer Role = "product_maintainer" // shapes a team's products and releases them
	Signer            Role = "signer"             // has keys made and packages signed
	Operator          Role = "operator"           // keeps the farm running; neither signs nor releases
	Admin             Role = "admin"              // everything, people among it
)

// Roles lists every role.
var Roles = []Role{Contributor, ProductMaintainer, Signer, Operator, Admin}

// Global reports whether r is held for the installation and not for a team.
func (r Role) Global() bool { return r == Operator || r == Admin }

// ParseRole returns s as a Role, or an Invalid error that lists the choices.
func ParseRole(s string) (Role, error) {
	if r := Role(s); slices.Contains(Roles, r) {
		return r, nil
	}
	return "", albs.Errorf(albs.Invalid, "role %.40q is not one of %v", s, Roles)
}

// Grant is one role of one person. Team is empty exactly for a global role.
type Grant struct {
	Role Role   `json:"role"`
	Team string `json:"team,omitempty"`
}

// Verb is something that not everybody may do. What has no verb is open to all:
// builds, logs, products, platforms and releases may be read by anyone.
type Verb string

// The verbs.
const (
	BuildCreate     Verb = "build.create"
	BuildCancel     Verb = "build.cancel"
	BuildRetry      Verb = "build.retry"
	BuildDelete     Verb = "build.delete"
	BuildSecureBoot Verb = "build.secureboot"
	SourceNotarize  Verb = "source.notarize"
	PlatformApply   Verb = "platform.apply"
	ProductApply    Verb = "product.apply"
	SignRequest     Verb = "sign.request"
	KeyGenerate     Verb = "key.generate"
	ReleasePlan     Verb = "release.plan"
	ReleaseApprove  Verb = "release.approve"
	ReleasePublish  Verb = "release.publish"
	ReleaseRollback Verb = "release.rollback"
	WorkerManage    Verb = "worker.manage"
	StoreCollect    Verb = "store.collect"
	LedgerCheck     Verb = "ledger.check"
	UserManage      Verb = "user.manage"
	TokenManage     Verb = "token.manage"
	UserKey         Verb = "user.key"
	SignAllow       Verb = "sign.allow"
	TestWaive       Verb = "test.waive"
	TestRepository  Verb = "test.repository"
	ErrataCreate    Verb = "errata.create"
	ErrataApprove   Verb = "errata.approve"
	ErrataRelease   Verb = "errata.release"
	ErrataForce     Verb = "errata.force"
	NoticeManage    Verb = "notice.manage"
	ReadPrivate     Verb = "read.private"
)

// Object is what a verb is about: the team that it belongs to and the person who
// made it, each empty where there is none.
type Object struct {
	Team  string
	Owner albs.UserID
}

type rule struct {
	verb  Verb
	roles []Role
	owner bool // the object's owner may, whatever the roles
	loose bool // on an object of no team, the role in any team is enough
}

// policy is the whole of what people may do; Admin may do all of it. A role of a
// team counts for objects of that team only. Read it as the table:
//
//	verb              contributor  product_maintainer  signer  operator  owner
//	build.create           x               x                      x            (in any team for a build of no team)
//	build.cancel                           x                      x        x
//	build.retry            x               x                      x        x
//	build.delete                           x                      x        x
//	build.secureboot                       x
//	source.notarize                        x                                   (of any team)
//	platform.apply                                                x
//	product.apply                          x                      x
//	sign.request                                         x
//	key.generate                                         x
//	release.plan                           x
//	release.approve                        x             x
//	release.publish                        x
//	release.rollback                       x
//	worker.manage                                                 x
//	store.collect                                                 x
//	user.manage
//	token.manage                                                           x
//	user.key                                                               x
//	sign.allow                             x
//	test.waive                             x
//	test.repository                        x                      x
//	errata.create          x               x
//	errata.approve                         x
//	errata.release                         x
//	errata.force                           x
//	notice.manage                          x                      x
//	read.private           x               x             x        x        x
//
// An operator neither signs nor releases, and a person who keeps keys does not
// shape what is signed: taking over one of them is not enough to ship a package.
var policy = []rule{
	{verb: BuildCreate, roles: []Role{Contributor, ProductMaintainer, Operator}, loose: true},
	{verb: BuildCancel, roles: []Role{ProductMaintainer, Operator}, owner: true},
	{verb: BuildRetry, roles: []Role{Contributor, ProductMaintainer, Operator}, owner: true},
	{verb: BuildDelete, roles: []Role{ProductMaintainer, Operator}, owner: true},
	{verb: BuildSecureBoot, roles: []Role{ProductMaintainer}},
	{verb: SourceNotarize, roles: []Role{ProductMaintainer}, loose: true},
	{verb: PlatformApply, roles: []Role{Operator}},
	{verb: ProductApply, roles: []Role{ProductMaintainer, Operator}},
	{verb: SignRequest, roles: []Role{Signer}},
	{verb: KeyGenerate, roles: []Role{Signer}},
	{verb: ReleasePlan, roles: []Role{ProductMaintainer}},
	{verb: ReleaseApprove, roles: []Role{ProductMaintainer, Signer}},
	{verb: ReleasePublish, roles: []Role{ProductMaintainer}},
	{verb: ReleaseRollback, roles: []Role{ProductMaintainer}},
	{verb: WorkerManage, roles: []Role{Operator}},
	{verb: StoreCollect, roles: []Role{Operator}},
	{verb: LedgerCheck, roles: []Role{Operator}},
	{verb: UserManage},
	{verb: TokenManage, owner: true},
	{verb: UserKey, owner: true},
	{verb: SignAllow, roles: []Role{ProductMaintainer}},
	{verb: TestWaive, roles: []Role{ProductMaintainer}},
	{verb: TestRepository, roles: []Role{ProductMaintainer, Operator}},
	{verb: ErrataCreate, roles: []Role{Contributor, ProductMaintainer}},
	{verb: ErrataApprove, roles: []Role{ProductMaintainer}},
	{verb: ErrataRelease, roles: []Role{ProductMaintainer}},
	{verb: ErrataForce, roles: []Role{ProductMaintainer}},
	{verb: NoticeManage, roles: []Role{ProductMaintainer, Operator}},
	{verb: ReadPrivate, roles: []Role{Contributor, ProductMaintainer, Signer, Operator}, owner: true},
}

func ruleOf(v Verb) (rule, bool) {
	i := slices.IndexFunc(policy, func(r rule) bool { return r.verb == v })
	if i < 0 {
		return rule{}, false
	}
	return policy[i], true
}

// Can returns nil if the actor of ctx may do v to o. Otherwise it is Forbidden
// with a sentence that names the missing role and who can grant it, or
// Unauthenticated for the anonymous actor. It does no I/O: the answer rests on
// the roles that the person held when the request began.
func Can(ctx context.Context, v Verb, o Object) error {
	a := From(ctx)
	r, ok := ruleOf(v)
	if !ok {
		return albs.Errorf(albs.Forbidden, "%s has no policy, so nobody may do it", v)
	}
	switch a.Kind {
	case KindSystem:
		return nil
	case KindPerson:
	case KindWorker:
		return albs.Errorf(albs.Forbidden, "%s is a worker: %s is for people, use a person's token", a.Name, v)
	default:
		return albs.Errorf(albs.Unauthenticated, "%s needs a person's token: log in, or pass one made with albs token create", v)
	}
	if r.owner && o.Owner != 0 && o.Owner == a.User || a.has(Admin, "") {
		return nil
	}
	for _, g := range a.Grants {
		if slices.Contains(r.roles, g.Role) && (g.Role.Global() || o.Team != "" && g.Team == o.Team || o.Team == "" && r.loose) {
			return nil
		}
	}
	return albs.Errorf(albs.Forbidden, "%s may not do %s: %s is needed, which an admin can grant (albs user grant %s …)",
		a.Name, v, r.wanted(o), a.Name)
}

// wanted spells the roles that would do, the weakest first.
func (r rule) wanted(o Object) string {
	var names []string
	for _, role := range append(slices.Clone(r.roles), Admin) {
		switch {
		case role.Global():
			names = append(names, string(role))
		case o.Team != "":
			names = append(names, fmt.Sprintf("%s of team %s", role, o.Team))
		case r.loose:
			names = append(names, fmt.Sprintf("%s of any team", role))
		}
	}
	return "the role " + strings.Join(names, " or ")
}

// Scope is the part of all objects for which an actor may do a verb, for stores
// to filter lists by: All, or those of Teams and those that Owner made.
type Scope struct {
	All   bool
	Teams []string
	Owner albs.UserID // 0: nothing by ownership
}

// ScopeOf returns the objects to which the actor of ctx may do v. It agrees with
// Can on every object: one is within the scope if and only if Can returns nil.
func ScopeOf(ctx context.Context, v Verb) Scope {
	a := From(ctx)
	r, ok := ruleOf(v)
	if !ok || a.Kind != KindPerson {
		return Scope{All: ok && a.Kind == KindSystem}
	}
	var s Scope
	if r.owner {
		s.Owner = a.User
	}
	for _, g := range a.Grants {
		switch {
		case g.Role == Admin, g.Role.Global() && slices.Contains(r.roles, g.Role):
			return Scope{All: true}
		case slices.Contains(r.roles, g.Role) && !slices.Contains(s.Teams, g.Team):
			s.Teams = append(s.Teams, g.Team)
			if r.loose && !slices.Contains(s.Teams, "") {
				s.Teams = append(s.Teams, "") // objects of no team
			}
		}
	}
	return s
}
