package api

import (
	"context"
	"net/http"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/provenance"
)

func (s *Server) routeLedger() {
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/ledger/check/", "Show what the check of the ledger does and what the last one found"), s.getLedgerCheck)
	rest.Handle(s.Server, rest.Operation(post, "/api/v1/ledger/check/", "Begin a check of the ledger; the answer's runs grows once it has ended"), s.beginLedgerCheck)

	op := rest.Operation(get, "/api/v1/ledger/export", "Read the whole ledger, as lines of JSON that can be checked again")
	op.Description = "Each transaction is a line; the last line has the ledger's state, signed by the master. An answer without that line was cut off. albs ledger check FILE checks it."
	op.Responses = rest.Answers(http.StatusOK, "The ledger", exportType)
	s.Raw(op, s.exportLedger)
}

const exportType = "application/jsonl"

func (s *Server) getLedgerCheck(ctx context.Context, _ *struct{}) (*rest.Body[provenance.CheckState], error) {
	state, err := s.Checker.State(ctx)
	return &rest.Body[provenance.CheckState]{Body: state}, err
}

type ledgerCheckInput struct {
	From string `query:"from" enum:"place,start" default:"place" doc:"Where to begin: at the place where the last check had come, or anew at the ledger's start"`
}

type ledgerCheckView struct {
	Runs int `json:"runs" doc:"How many checks have ended before this one"`
}

func (s *Server) beginLedgerCheck(ctx context.Context, in *ledgerCheckInput) (*rest.Body[ledgerCheckView], error) {
	runs, err := s.Checker.Ask(ctx, in.From == "start")
	return &rest.Body[ledgerCheckView]{Body: ledgerCheckView{runs}}, err
}

func (s *Server) exportLedger(w http.ResponseWriter, r *http.Request) {
	out := &late{w: w}
	err := s.Checker.Export(r.Context(), out)
	switch {
	case err == nil:
	case !out.begun:
		s.Fail(w, r, err)
	default:
		// There is no other way to say that the rest is missing.
		s.Log.Error().Err(err).Str("kind", string(albs.KindOf(err))).Msg("export the ledger")
		panic(http.ErrAbortHandler)
	}
}

// late writes an answer whose header is sent with its first bytes.
type late struct {
	w     http.ResponseWriter
	begun bool
}

func (l *late) Write(b []byte) (int, error) {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", exportType)
		l.w.Header().Set("Cache-Control", "no-store")
	}
	return l.w.Write(b)
}
