package terminal

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	urfave "github.com/urfave/cli/v2"
)

func TestFlagsFirst(t *testing.T) {
	t.Parallel()
	leaf := &urfave.Command{Name: "grant", Flags: []urfave.Flag{
		&urfave.StringFlag{Name: "team", Aliases: []string{"t"}}, &urfave.StringSliceFlag{Name: "git"}, &urfave.BoolFlag{Name: "json"}, &urfave.DurationFlag{Name: "for"},
	}}
	root := &urfave.App{Commands: []*urfave.Command{{Name: "user", Subcommands: []*urfave.Command{leaf}}, {Name: "sign"}}}
	prepare(root.Commands, "albs")
	for _, tc := range []struct{ in, want string }{
		{"albs user grant alice contributor --team demo", "albs user grant --team demo -- alice contributor"},
		{"albs user grant --json alice -t demo contributor", "albs user grant --json -t demo -- alice contributor"},
		{"albs user grant alice --team=demo --git a --git b x", "albs user grant --team=demo --git a --git b -- alice x"},
		{"albs user grant alice -- --team demo", "albs user grant -- alice --team demo"},
		{"albs user grant - --for 2h", "albs user grant --for 2h -- -"},
		{"albs user grant alice --unknown x", "albs user grant --unknown -- alice x"},
		{"albs user grant alice --team", "albs user grant --team"},
		{"albs user grant alice --team demo --help", "albs user grant --team demo --help"},
		{"albs user grant", "albs user grant"},
		{"albs user nothing --team x", "albs user nothing --team x"},
		{"albs user --help", "albs user --help"},
		{"albs --help user", "albs --help user"},
		{"albs", "albs"},
	} {
		got := strings.Join(flagsFirst(root, strings.Fields(tc.in)), " ")
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("flagsFirst(%s) (-want +got):\n%s", tc.in, d)
		}
	}
}
