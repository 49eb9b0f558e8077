package tap

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Write writes cases as a TAP 14 stream with its plan first, numbered as they stand;
// the detail of a case is the message of its YAML block. Line ends within names become
// spaces.
func Write(w io.Writer, cases []Case) error {
	var b strings.Builder
	fmt.Fprintf(&b, "TAP version 14\n1..%d\n", len(cases))
	for i, c := range cases {
		if c.Status == Failed {
			b.WriteString("not ")
		}
		fmt.Fprintf(&b, "ok %d", i+1)
		if c.Name != "" {
			b.WriteString(" - " + escaper.Replace(c.Name))
		}
		switch c.Status {
		case Skipped:
			b.WriteString(" # SKIP " + oneLine.Replace(c.Reason))
		case Todo:
			b.WriteString(" # TODO " + oneLine.Replace(c.Reason))
		}
		b.WriteString("\n")
		if c.Detail != "" {
			text, err := json.Marshal(c.Detail) // a string of JSON is one of YAML
			if err != nil {
				return fmt.Errorf("write TAP: %w", err)
			}
			fmt.Fprintf(&b, "  ---\n  message: %s\n  ...\n", text)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

var (
	oneLine = strings.NewReplacer("\n", " ", "\r", " ")
	escaper = strings.NewReplacer(`\`, `\\`, "#", `\#`, "\n", " ", "\r", " ")
)
