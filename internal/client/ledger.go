package client

import (
	"context"
	"io"
	"net/url"
	"time"
)

// LedgerCheck is where the check of the ledger stands.
type LedgerCheck struct {
	Runs   int            `json:"runs"` // that have ended
	Step   string         `json:"step"` // "" if none runs
	Done   uint64         `json:"done"`
	Of     uint64         `json:"of"` // 0 if unknown
	Queued bool           `json:"queued"`
	Last   *LedgerChecked `json:"last"`
}

// LedgerChecked is what a check found.
type LedgerChecked struct {
	From  uint64 `json:"from"`
	State struct {
		TxID uint64 `json:"tx"`
	} `json:"state"`
	Finished     time.Time     `json:"finished"`
	Transactions uint64        `json:"transactions"`
	Statements   int           `json:"statements"`
	Records      int           `json:"records"`
	Others       int           `json:"others"`
	Rows         int           `json:"rows"`
	Pending      int           `json:"pending"`
	Artifacts    int           `json:"artifacts"`
	Wrong        int           `json:"wrong"`
	Faults       []LedgerFault `json:"faults"`
	Error        string        `json:"error"`
}

// LedgerFault is something wrong in the ledger.
type LedgerFault struct {
	TxID uint64 `json:"tx"`
	Key  string `json:"key"`
	What string `json:"what"`
}

// CheckLedger begins a check, anew or where the last one had come, and returns how many
// had ended before.
func (c *Client) CheckLedger(ctx context.Context, anew bool) (runs int, err error) {
	q := url.Values{"from": {"place"}}
	if anew {
		q.Set("from", "start")
	}
	doc, err := send[struct {
		Runs int `json:"runs"`
	}](ctx, c, "POST", "/ledger/check/?"+q.Encode(), nil)
	return doc.Value.Runs, err
}

// LedgerCheck says where the check of the ledger stands.
func (c *Client) LedgerCheck(ctx context.Context) (Doc[LedgerCheck], error) {
	return get[LedgerCheck](ctx, c, "/ledger/check/")
}

// ExportLedger downloads the whole ledger.
func (c *Client) ExportLedger(ctx context.Context) (io.ReadCloser, error) {
	return c.Open(ctx, "/ledger/export")
}
