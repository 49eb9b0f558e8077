package api

import (
	"context"
	"net/http"

	"albs/internal/albs"
	"albs/internal/master/auth"
)

// Needs beside the verbs of auth.
const (
	open auth.Verb = "open"   // everyone, also without credentials; never for what changes something
	self auth.Verb = "self"   // any person; what is whose is for the module to say
	wire auth.Verb = "worker" // enrolled workers alone
)

// policy says who may use a route at all. A verb admits persons who may do it to
// something; whether to this very thing is for the module to say, once the request
// is read.
type policy struct {
	method, path string
	need         auth.Verb
}

func (p policy) key() string { return p.method + " " + p.path }

const (
	get    = http.MethodGet
	post   = http.MethodPost
	put    = http.MethodPut
	patch  = http.MethodPatch
	remove = http.MethodDelete
)

// policies is every route that there is.
var policies = []policy{
	{get, "/api/v1/openapi.json", open},

	{get, "/api/v1/builds/", open},
	{post, "/api/v1/builds/", auth.BuildCreate},
	{get, "/api/v1/builds/{build_id}/", open},
	{patch, "/api/v1/builds/{build_id}/cancel", auth.BuildCancel},
	{patch, "/api/v1/builds/{build_id}/restart-failed", auth.BuildRetry},
	{patch, "/api/v1/builds/{build_id}/parallel-restart-failed", auth.BuildRetry},
	{get, "/api/v1/builds/{build_id}/tasks/{task_id}/", open},
	{post, "/api/v1/builds/{build_id}/tasks/{task_id}/retry", auth.BuildRetry},
	{get, "/api/v1/builds/{build_id}/tasks/{task_id}/logs/", open},
	{get, "/api/v1/builds/{build_id}/tasks/{task_id}/logs/{stream}", open},
	{get, "/api/v1/builds/{build_id}/tasks/{task_id}/logs/{stream}/events", open},
	{get, "/api/v1/queue/", open},
	{post, "/api/v1/uploads/srpm", auth.BuildCreate},

	{get, "/api/v1/tests/build/{build_id}/", open},
	{put, "/api/v1/tests/build/{build_id}/restart", auth.BuildRetry},
	{get, "/api/v1/tests/{build_task_id}/latest", open},
	{get, "/api/v1/tests/{build_task_id}/logs", open},
	{get, "/api/v1/tests/{build_task_id}/{revision}", open},

	{get, "/api/v1/platforms/", open},
	{post, "/api/v1/platforms/", auth.PlatformApply},
	{put, "/api/v1/platforms/", auth.PlatformApply},
	{get, "/api/v1/platforms/{name}/", open},
	{get, "/api/v1/products/", open},
	{post, "/api/v1/products/", auth.ProductApply},
	{get, "/api/v1/products/{name}/", open},

	{get, "/api/v1/sign-keys/", open},
	{post, "/api/v1/sign-keys/generate", auth.KeyGenerate},
	{get, "/api/v1/sign-keys/generate/{task_id}/", open},
	{get, "/api/v1/sign-keys/{key}/", open},
	{get, "/api/v1/sign-keys/{key}/public", open},
	{patch, "/api/v1/sign-keys/{key}/deactivate", auth.KeyGenerate},
	{get, "/api/v1/sign-tasks/", open},
	{post, "/api/v1/sign-tasks/", auth.SignRequest},
	{get, "/api/v1/sign-tasks/{sign_task_id}/", open},

	{get, "/api/v1/releases/", open},
	{post, "/api/v1/releases/new/", auth.ReleasePlan},
	{get, "/api/v1/releases/{release_id}/", open},
	{put, "/api/v1/releases/{release_id}/", auth.ReleasePlan},
	{post, "/api/v1/releases/{release_id}/approve/", auth.ReleaseApprove},
	{post, "/api/v1/releases/{release_id}/commit/", auth.ReleasePublish},
	{post, "/api/v1/releases/{release_id}/cancel/", auth.ReleasePublish},
	{post, "/api/v1/releases/{release_id}/revert/", auth.ReleaseRollback},

	{get, "/api/v1/artifacts/{sha256}/", open},
	{get, "/api/v1/artifacts/{sha256}/download", open},
	{get, "/api/v1/artifacts/{sha256}/history", open},
	{get, "/api/v1/artifacts/{sha256}/bundle", open},
	{get, "/api/v1/trust", open},

	{get, "/api/v1/whoami", self},
	{get, "/api/v1/users/", auth.UserManage},
	{get, "/api/v1/users/all_users", auth.UserManage},
	{post, "/api/v1/users/", auth.UserManage},
	{patch, "/api/v1/users/{user_id}/disable", auth.UserManage},
	{patch, "/api/v1/users/{user_id}/roles/add", auth.UserManage},
	{patch, "/api/v1/users/{user_id}/roles/remove", auth.UserManage},
	{get, "/api/v1/roles/", open},
	{get, "/api/v1/teams/", open},
	{get, "/api/v1/tokens/", self},
	{post, "/api/v1/tokens/", self},
	{remove, "/api/v1/tokens/{token_id}/", self},
	{get, "/api/v1/workers/", open},
	{post, "/api/v1/workers/", auth.WorkerManage},
	{patch, "/api/v1/workers/{worker_id}/disable", auth.WorkerManage},

	{get, "/api/v1/events", open},

	{post, "/worker/v1/claim", wire},
	{post, "/worker/v1/task/{task}/{fence}/renew", wire},
	{post, "/worker/v1/task/{task}/{fence}/complete", wire},
	{post, "/worker/v1/task/{task}/{fence}/log/{stream}", wire},
	{get, "/worker/v1/task/{task}/{fence}/blob/{digest}", wire},
	{get, "/worker/v1/task/{task}/{fence}/upload/{digest}", wire},
	{put, "/worker/v1/task/{task}/{fence}/upload/{digest}", wire},
}

func policyOf(method, path string) (policy, bool) {
	for _, p := range policies {
		if p.method == method && p.path == path {
			return p, true
		}
	}
	return policy{}, false
}

// admit returns nil if the actor of ctx may use the route at all.
func (p policy) admit(ctx context.Context) error {
	a := auth.From(ctx)
	switch {
	case p.need == open:
		return nil
	case a.Kind != auth.KindPerson && a.Kind != auth.KindWorker:
		return albs.Errorf(albs.Unauthenticated, "%s needs a token: pass one made with albs token create as \"Authorization: Bearer …\"", p.path)
	case p.need == wire && a.Kind != auth.KindWorker:
		return albs.Errorf(albs.Forbidden, "%s is for workers: use the token that albs worker add gave", p.path)
	case p.need == wire:
		return nil
	case a.Kind != auth.KindPerson:
		return albs.Errorf(albs.Forbidden, "%s is a worker: %s is for people, use a person's token", a.Name, p.path)
	case p.need == self:
		return nil
	}
	if s := auth.ScopeOf(ctx, p.need); !s.All && len(s.Teams) == 0 && s.Owner == 0 {
		return albs.Errorf(albs.Forbidden, "%s may do %s nowhere: ask an admin for a role that may (albs user grant %s …)", a.Name, p.need, a.Name)
	}
	return nil
}
