package api

import (
	"context"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/auth"
)

func (s *Server) routeTokens() {
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/tokens/", "List one's tokens"), s.listTokens)
	rest.Handle(s.Server, rest.Created(rest.Operation(post, "/api/v1/tokens/", "Make a token; its secret is shown this once")), s.createToken)
	rest.Handle(s.Server, rest.Operation(remove, "/api/v1/tokens/{token_id}/", "End a token and the sessions begun with it"), s.revokeToken)
}

const defaultTokenDays = 30

type tokensInput struct {
	User albs.UserID `query:"user_id" doc:"Another person's, for admins"`
}

type tokenView struct {
	ID        int64       `json:"id"`
	User      albs.UserID `json:"user_id"`
	Prefix    string      `json:"prefix" doc:"How the secret begins"`
	Note      string      `json:"note"`
	CreatedAt time.Time   `json:"created_at"`
	ExpiresAt time.Time   `json:"expires_at"`
	UsedAt    *time.Time  `json:"used_at" doc:"To the hour"`
	RevokedAt *time.Time  `json:"revoked_at"`
	Secret    string      `json:"secret,omitempty" doc:"The token itself, in the answer that makes it and never again"`
}

func viewToken(t auth.Token) tokenView {
	return tokenView{
		ID: t.ID, User: t.User, Prefix: t.Prefix, Note: t.Note, CreatedAt: t.CreatedAt.Time, ExpiresAt: t.ExpiresAt.Time,
		UsedAt: rest.TimeOf(t.UsedAt.Time), RevokedAt: rest.TimeOf(t.RevokedAt.Time),
	}
}

// whose returns the given person, or who asks.
func whose(ctx context.Context, id albs.UserID) albs.UserID {
	if id == 0 {
		return auth.From(ctx).User
	}
	return id
}

func (s *Server) listTokens(ctx context.Context, in *tokensInput) (*rest.Body[[]tokenView], error) {
	tokens, err := s.Auth.Tokens(ctx, whose(ctx, in.User))
	if err != nil {
		return nil, err
	}
	out := make([]tokenView, len(tokens))
	for i, t := range tokens {
		out[i] = viewToken(t)
	}
	return rest.Answer(out), nil
}

type createTokenInput struct {
	Body struct {
		User albs.UserID `json:"user_id,omitempty" doc:"Another person, for admins"`
		Note string      `json:"note,omitempty" doc:"What it is for"`
		Days int         `json:"days,omitempty" minimum:"1" maximum:"366" default:"30" doc:"How long it is good for"`
	}
}

func (s *Server) createToken(ctx context.Context, in *createTokenInput) (*rest.Body[tokenView], error) {
	days := in.Body.Days
	if days == 0 {
		days = defaultTokenDays
	}
	secret, t, err := s.Auth.CreateToken(ctx, whose(ctx, in.Body.User), in.Body.Note, time.Duration(days)*24*time.Hour)
	if err != nil {
		return nil, err
	}
	out := viewToken(t)
	out.Secret = secret
	return rest.Answer(out), nil
}

type tokenInput struct {
	Token int64 `path:"token_id" minimum:"1"`
}

func (s *Server) revokeToken(ctx context.Context, in *tokenInput) (*struct{}, error) {
	return nil, s.Auth.RevokeToken(ctx, in.Token)
}
