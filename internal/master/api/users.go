package api

import (
	"context"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/auth"
)

func (s *Server) routeUsers() {
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/whoami", "Show whose token this is"), s.whoami)
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/users/", "List accounts"), s.listUsers)
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/users/all_users", "The same as /users/"), s.listUsers)
	rest.Handle(s.Server, rest.Created(rest.Operation(post, "/api/v1/users/", "Add an account, without roles and tokens")), s.createUser)
	rest.Handle(s.Server, rest.Operation(patch, "/api/v1/users/{user_id}/disable", "Close an account for good"), s.disableUser)
	rest.Handle(s.Server, rest.Operation(patch, "/api/v1/users/{user_id}/roles/add", "Give a role"), s.changeRole(s.Auth.Grant))
	rest.Handle(s.Server, rest.Operation(patch, "/api/v1/users/{user_id}/roles/remove", "Take a role away"), s.changeRole(s.Auth.Revoke))
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/users/{user_id}/keys/", "List a person's keys for approvals, removed ones among them"), s.listUserKeys)
	rest.Handle(s.Server, rest.Created(rest.Operation(post, "/api/v1/users/{user_id}/keys/", "Register the public part of a key by which a person signs approvals")), s.addUserKey)
	rest.Handle(s.Server, rest.Operation(remove, "/api/v1/user-keys/{key_id}/", "End the use of such a key"), s.removeUserKey)
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/roles/", "List the roles that there are"), s.listRoles)
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/teams/", "List teams"), s.listTeams)
}

type userView struct {
	ID         albs.UserID  `json:"id"`
	Username   string       `json:"username"`
	IsActive   bool         `json:"is_active"`
	CreatedAt  time.Time    `json:"created_at"`
	DisabledAt *time.Time   `json:"disabled_at"`
	Roles      []auth.Grant `json:"roles"`
}

func viewUser(u auth.User) userView {
	return userView{
		ID: u.ID, Username: u.Name, IsActive: u.DisabledAt.IsZero(), CreatedAt: u.CreatedAt.Time,
		DisabledAt: rest.TimeOf(u.DisabledAt.Time), Roles: append([]auth.Grant{}, u.Grants...),
	}
}

func (s *Server) whoami(ctx context.Context, _ *struct{}) (*rest.Body[userView], error) {
	u, err := s.Auth.User(ctx, auth.From(ctx).Name)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewUser(u)), nil
}

func (s *Server) listUsers(ctx context.Context, _ *struct{}) (*rest.Body[[]userView], error) {
	users, err := s.Auth.Users(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]userView, len(users))
	for i, u := range users {
		out[i] = viewUser(u)
	}
	return rest.Answer(out), nil
}

type createUserInput struct {
	Body struct {
		Username string `json:"username" doc:"Lower-case letters, digits and ._-"`
	}
}

func (s *Server) createUser(ctx context.Context, in *createUserInput) (*rest.Body[userView], error) {
	u, err := s.Auth.CreateUser(ctx, in.Body.Username)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewUser(u)), nil
}

type userInput struct {
	User albs.UserID `path:"user_id" minimum:"1"`
}

// userByID returns an account as its id names it.
func (s *Server) userByID(ctx context.Context, id albs.UserID) (*rest.Body[userView], error) {
	users, err := s.Auth.Users(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		if u.ID == id {
			return rest.Answer(viewUser(u)), nil
		}
	}
	return nil, albs.Errorf(albs.NotFound, "there is no user with id %d", id)
}

func (s *Server) disableUser(ctx context.Context, in *userInput) (*rest.Body[userView], error) {
	if err := s.Auth.DisableUser(ctx, in.User); err != nil {
		return nil, err
	}
	return s.userByID(ctx, in.User)
}

type roleInput struct {
	User albs.UserID `path:"user_id" minimum:"1"`
	Body struct {
		Role string `json:"role"`
		Team string `json:"team,omitempty" doc:"For a role that is held for one team; it is made on its first use"`
	}
}

func (s *Server) changeRole(change func(context.Context, albs.UserID, auth.Role, string) error) func(context.Context, *roleInput) (*rest.Body[userView], error) {
	return func(ctx context.Context, in *roleInput) (*rest.Body[userView], error) {
		role, err := auth.ParseRole(in.Body.Role)
		if err != nil {
			return nil, err
		}
		if err := change(ctx, in.User, role, in.Body.Team); err != nil {
			return nil, err
		}
		return s.userByID(ctx, in.User)
	}
}

type userKeyView struct {
	ID          int64       `json:"id"`
	User        albs.UserID `json:"user_id"`
	KeyID       string      `json:"keyid" doc:"As envelopes name it"`
	Fingerprint string      `json:"fingerprint" doc:"As ssh-keygen -l prints it"`
	Public      string      `json:"public" doc:"As a file .pub has it"`
	CreatedAt   time.Time   `json:"created_at"`
	RemovedAt   *time.Time  `json:"removed_at" doc:"Its approvals count no more since"`
}

func viewUserKey(k auth.Key) userKeyView {
	return userKeyView{k.ID, k.User, k.KeyID, k.Fingerprint(), k.Public, k.CreatedAt.Time, rest.TimeOf(k.RemovedAt.Time)}
}

func (s *Server) listUserKeys(ctx context.Context, in *userInput) (*rest.Body[[]userKeyView], error) {
	keys, err := s.Auth.Keys(ctx, in.User)
	if err != nil {
		return nil, err
	}
	out := make([]userKeyView, len(keys))
	for i, k := range keys {
		out[i] = viewUserKey(k)
	}
	return rest.Answer(out), nil
}

type addUserKeyInput struct {
	User albs.UserID `path:"user_id" minimum:"1"`
	Body struct {
		Public string `json:"public" maxLength:"1024" doc:"The line of a file .pub, as ssh-keygen -t ed25519 writes it"`
	}
}

func (s *Server) addUserKey(ctx context.Context, in *addUserKeyInput) (*rest.Body[userKeyView], error) {
	k, err := s.Auth.AddKey(ctx, in.User, in.Body.Public)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewUserKey(k)), nil
}

type userKeyInput struct {
	Key int64 `path:"key_id" minimum:"1"`
}

func (s *Server) removeUserKey(ctx context.Context, in *userKeyInput) (*struct{}, error) {
	return nil, s.Auth.RemoveKey(ctx, in.Key)
}

type roleView struct {
	Name   auth.Role `json:"name"`
	Global bool      `json:"global" doc:"Held for the installation and not for a team"`
}

func (s *Server) listRoles(context.Context, *struct{}) (*rest.Body[[]roleView], error) {
	out := make([]roleView, len(auth.Roles))
	for i, r := range auth.Roles {
		out[i] = roleView{r, r.Global()}
	}
	return rest.Answer(out), nil
}

type teamsInput struct {
	Page int `query:"pageNumber" minimum:"1" maximum:"1000000" default:"1" doc:"Ten teams a page, by name"`
}

type teamView struct {
	ID        int64     `json:"id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

type teamsView struct {
	Teams       []teamView `json:"teams"`
	TotalTeams  int        `json:"total_teams"`
	CurrentPage int        `json:"current_page"`
}

func (s *Server) listTeams(ctx context.Context, in *teamsInput) (*rest.Body[teamsView], error) {
	teams, err := s.Auth.Teams(ctx)
	if err != nil {
		return nil, err
	}
	out := teamsView{Teams: []teamView{}, TotalTeams: len(teams), CurrentPage: in.Page}
	for i, t := range teams {
		if i/rest.PerPage == in.Page-1 {
			out.Teams = append(out.Teams, teamView{t.ID, t.Name, t.CreatedAt.Time})
		}
	}
	return rest.Answer(out), nil
}
