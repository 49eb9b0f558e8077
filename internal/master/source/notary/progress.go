package notary

import (
	"context"
	"errors"
	"io"
	"strings"

	"albs/internal/albs"
)

// maxLine bounds what is read of a log for its last line.
const maxLine = 1000

// progress returns the last whole line that the newest attempt at a task has logged, ""
// before there is one.
func (n *Notary) progress(ctx context.Context, task albs.TaskID) (string, error) {
	logs, err := n.Queue.Logs(ctx, task)
	if err != nil || len(logs) == 0 {
		return "", err
	}
	last := logs[len(logs)-1]
	body, _, err := n.Queue.ReadLog(ctx, task, last.Attempt, last.Stream, max(0, last.Size-maxLine), maxLine)
	if errors.Is(err, albs.NotFound) { // cleaned away
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	whole := strings.TrimRight(string(b[:strings.LastIndexByte(string(b), '\n')+1]), "\n")
	return short(whole[strings.LastIndexByte(whole, '\n')+1:]), err
}
