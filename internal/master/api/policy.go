package api

import (
	"albs/internal/master/api/rest"
	"albs/internal/master/auth"
)

const (
	get    = rest.Get
	post   = rest.Post
	put    = rest.Put
	patch  = rest.Patch
	remove = rest.Delete
)

func allow(method, path string, need auth.Verb) rest.Policy {
	return rest.Policy{Method: method, Path: path, Need: need}
}

// policies is every route that there is.
var policies = []rest.Policy{
	allow(get, rest.DocumentPath, rest.Open),

	allow(get, "/api/v1/builds/", rest.Open),
	allow(post, "/api/v1/builds/", auth.BuildCreate),
	allow(get, "/api/v1/builds/{build_id}/", rest.Open),
	allow(patch, "/api/v1/builds/{build_id}/cancel", auth.BuildCancel),
	allow(patch, "/api/v1/builds/{build_id}/restart-failed", auth.BuildRetry),
	allow(patch, "/api/v1/builds/{build_id}/parallel-restart-failed", auth.BuildRetry),
	allow(post, "/api/v1/builds/{build_id}/clone", auth.BuildCreate),
	allow(remove, "/api/v1/builds/{build_id}/remove", auth.BuildDelete),
	allow(patch, "/api/v1/builds/{build_id}/items/{item_id}/cancel", auth.BuildCancel),
	allow(patch, "/api/v1/builds/{build_id}/items/{item_id}/fresh", auth.BuildRetry),
	allow(get, "/api/v1/builds/{build_id}/graph", rest.Open),
	allow(get, "/api/v1/builds/{build_id}/schedule", rest.Open),
	allow(get, "/api/v1/builds/{build_id}/tasks/{task_id}/", rest.Open),
	allow(post, "/api/v1/builds/{build_id}/tasks/{task_id}/retry", auth.BuildRetry),
	allow(get, "/api/v1/builds/{build_id}/tasks/{task_id}/logs/", rest.Open),
	allow(get, "/api/v1/builds/{build_id}/tasks/{task_id}/logs/{stream}", rest.Open),
	allow(get, "/api/v1/builds/{build_id}/tasks/{task_id}/logs/{stream}/events", rest.Open),
	allow(get, "/api/v1/queue/", rest.Open),
	allow(get, "/api/v1/queue/{task_id}/", rest.Open),
	allow(post, "/api/v1/uploads/srpm", auth.BuildCreate),

	allow(get, "/api/v1/tests/build/{build_id}/", rest.Open),
	allow(put, "/api/v1/tests/build/{build_id}/restart", auth.BuildRetry),
	allow(get, "/api/v1/tests/{build_task_id}/latest", rest.Open),
	allow(get, "/api/v1/tests/{build_task_id}/logs", rest.Open),
	allow(get, "/api/v1/tests/{build_task_id}/{revision}", rest.Open),

	allow(get, "/api/v1/platforms/", rest.Open),
	allow(post, "/api/v1/platforms/", auth.PlatformApply),
	allow(put, "/api/v1/platforms/", auth.PlatformApply),
	allow(get, "/api/v1/platforms/{name}/", rest.Open),
	allow(get, "/api/v1/platforms/{name}/references/", rest.Open),
	allow(post, "/api/v1/platforms/{name}/references/refresh", auth.PlatformApply),
	allow(get, "/api/v1/platform_flavors/", rest.Open),
	allow(post, "/api/v1/platform_flavors/", auth.PlatformApply),
	allow(patch, "/api/v1/platform_flavors/", auth.PlatformApply),
	allow(get, "/api/v1/platform_flavors/{name}/", rest.Open),
	allow(get, "/api/v1/products/", rest.Open),
	allow(post, "/api/v1/products/", auth.ProductApply),
	allow(get, "/api/v1/products/{name}/", rest.Open),
	allow(post, "/api/v1/products/{name}/rollback", auth.ReleaseRollback),
	allow(get, "/api/v1/products/{name}/metadata/", rest.Open),
	allow(post, "/api/v1/products/{name}/metadata/{type}", auth.ReleasePlan),
	allow(remove, "/api/v1/products/{name}/metadata/{type}", auth.ReleasePlan),
	allow(post, "/api/v1/uploads/upload_repometada/", auth.ReleasePlan),
	allow(get, "/api/v1/repositories/show", rest.Open),
	allow(get, "/api/v1/repositories/diff", rest.Open),

	allow(get, "/api/v1/sign-keys/", rest.Open),
	allow(post, "/api/v1/sign-keys/generate", auth.KeyGenerate),
	allow(get, "/api/v1/sign-keys/generate/{task_id}/", rest.Open),
	allow(get, "/api/v1/sign-keys/{key}/", rest.Open),
	allow(get, "/api/v1/sign-keys/{key}/public", rest.Open),
	allow(patch, "/api/v1/sign-keys/{key}/deactivate", auth.KeyGenerate),
	allow(post, "/api/v1/sign-keys/{key}/revoke", auth.KeyGenerate),
	allow(get, "/api/v1/sign-keys/{key}/revocation", rest.Open),
	allow(get, "/api/v1/sign-keys/{key}/packages", rest.Open),
	allow(get, "/api/v1/sign-tasks/", rest.Open),
	allow(post, "/api/v1/sign-tasks/", auth.SignRequest),
	allow(get, "/api/v1/sign-tasks/{sign_task_id}/", rest.Open),
	allow(get, "/api/v1/sign-tasks/{sign_task_id}/effects/", rest.Open),
	allow(post, "/api/v1/sign-tasks/{sign_task_id}/approve/", auth.ReleaseApprove),
	allow(get, "/api/v1/sign-files/", rest.Open),
	allow(post, "/api/v1/sign-files/", auth.SignRequest),
	allow(get, "/api/v1/sign-files/{task_id}/", rest.Open),
	allow(get, "/api/v1/sign-files/{task_id}/signature", auth.ReadPrivate),
	allow(get, "/api/v1/sign-files/{task_id}/content", auth.ReadPrivate),
	allow(get, "/api/v1/sign-files/{task_id}/effects/", rest.Open),
	allow(post, "/api/v1/sign-files/{task_id}/approve/", auth.ReleaseApprove),
	allow(post, "/api/v1/sign", auth.SignRequest),
	allow(get, "/api/v1/products/{name}/sign-allowed/", rest.Open),
	allow(post, "/api/v1/products/{name}/sign-allowed/", auth.SignAllow),
	allow(remove, "/api/v1/products/{name}/sign-allowed/{sha256}/", auth.SignAllow),

	allow(get, "/api/v1/releases/", rest.Open),
	allow(post, "/api/v1/releases/new/", auth.ReleasePlan),
	allow(get, "/api/v1/releases/{release_id}/", rest.Open),
	allow(put, "/api/v1/releases/{release_id}/", auth.ReleasePlan),
	allow(post, "/api/v1/releases/{release_id}/decide/", auth.ReleasePlan),
	allow(get, "/api/v1/releases/{release_id}/effects/", rest.Open),
	allow(post, "/api/v1/releases/{release_id}/approve/", auth.ReleaseApprove),
	allow(post, "/api/v1/releases/{release_id}/commit/", auth.ReleasePublish),
	allow(post, "/api/v1/releases/{release_id}/cancel/", auth.ReleasePublish),
	allow(post, "/api/v1/releases/{release_id}/revert/", auth.ReleaseRollback),

	allow(get, "/api/v1/artifacts/{sha256}/", rest.Open),
	allow(get, "/api/v1/artifacts/{sha256}/download", rest.Open),
	allow(get, "/api/v1/artifacts/{sha256}/history", rest.Open),
	allow(get, "/api/v1/artifacts/{sha256}/bundle", rest.Open),
	allow(get, "/api/v1/artifacts/{sha256}/ledger-proof", rest.Open),
	allow(get, "/api/v1/trace", rest.Open),
	allow(get, "/api/v1/sbom/package/{sha256}", rest.Open),
	allow(get, "/api/v1/sbom/build/{build_id}", rest.Open),
	allow(get, "/api/v1/sbom/release/{release_id}", rest.Open),
	allow(get, "/api/v1/trust", rest.Open),
	allow(get, "/api/v1/sources/", rest.Open),
	allow(post, "/api/v1/sources/notarize/", auth.SourceNotarize),
	allow(get, "/api/v1/sources/notarize/{task_id}/", rest.Open),
	allow(get, "/api/v1/sources/commits/", rest.Open),
	allow(get, "/api/v1/sources/commits/{commit}/", rest.Open),
	allow(get, "/api/v1/sources/refs/", rest.Open),

	allow(get, "/api/v1/whoami", rest.Self),
	allow(get, "/api/v1/users/", auth.UserManage),
	allow(get, "/api/v1/users/all_users", auth.UserManage),
	allow(post, "/api/v1/users/", auth.UserManage),
	allow(patch, "/api/v1/users/{user_id}/disable", auth.UserManage),
	allow(patch, "/api/v1/users/{user_id}/roles/add", auth.UserManage),
	allow(patch, "/api/v1/users/{user_id}/roles/remove", auth.UserManage),
	allow(get, "/api/v1/users/{user_id}/keys/", rest.Self),
	allow(post, "/api/v1/users/{user_id}/keys/", rest.Self),
	allow(remove, "/api/v1/user-keys/{key_id}/", rest.Self),
	allow(get, "/api/v1/roles/", rest.Open),
	allow(get, "/api/v1/teams/", rest.Open),
	allow(get, "/api/v1/tokens/", rest.Self),
	allow(post, "/api/v1/tokens/", rest.Self),
	allow(remove, "/api/v1/tokens/{token_id}/", rest.Self),
	allow(get, "/api/v1/workers/", rest.Open),
	allow(post, "/api/v1/workers/", auth.WorkerManage),
	allow(get, "/api/v1/workers/{worker_id}/", rest.Open),
	allow(patch, "/api/v1/workers/{worker_id}/disable", auth.WorkerManage),
	allow(patch, "/api/v1/workers/{worker_id}/drain", auth.WorkerManage),
	allow(patch, "/api/v1/workers/{worker_id}/undrain", auth.WorkerManage),
	allow(patch, "/api/v1/workers/{worker_id}/lift", auth.WorkerManage),
	allow(put, "/api/v1/workers/{worker_id}/exclude", auth.WorkerManage),

	allow(get, "/api/v1/gc/", auth.StoreCollect),
	allow(post, "/api/v1/gc/", auth.StoreCollect),

	allow(get, "/api/v1/events", rest.Open),

	allow(post, "/worker/v1/claim", rest.Wire),
	allow(post, "/worker/v1/task/{task}/{fence}/renew", rest.Wire),
	allow(post, "/worker/v1/task/{task}/{fence}/complete", rest.Wire),
	allow(post, "/worker/v1/task/{task}/{fence}/log/{stream}", rest.Wire),
	allow(get, "/worker/v1/task/{task}/{fence}/blob/{digest}", rest.Wire),
	allow(get, "/worker/v1/task/{task}/{fence}/upload/{digest}", rest.Wire),
	allow(put, "/worker/v1/task/{task}/{fence}/upload/{digest}", rest.Wire),
}
