package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// phases are where a rebuild's time goes, in the order in which it does; they are all of it.
var phases = []string{"begin", "fetch", "base", "overlay", "srpm", "BuildRequires", "rpmbuild", "collect", "close", "upload", "admit"}

// phaseOf names the phase of a step of the state log.
var phaseOf = map[string]string{
	"fetch": "fetch", "base": "base", "overlay": "overlay", "srpm": "srpm", "install srpm": "srpm", "BuildRequires": "BuildRequires",
	"rpmbuild -bb": "rpmbuild", "collect": "collect", "upload": "upload",
}

// split returns the seconds of each phase of a rebuild, by its state log. From the claim to the
// first step is begin; after collect the root is closed; after the last step the logs go
// up and the master admits the result.
func split(log []byte, started, finished time.Time) (map[string]float64, error) {
	out := make(map[string]float64)
	last, before := started, "begin"
	lines := bufio.NewScanner(bytes.NewReader(log))
	for lines.Scan() {
		stamp, rest, _ := strings.Cut(lines.Text(), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			continue // a step's words of more than a line
		}
		// What passes between two steps belongs to what goes on then.
		name := before
		if step, ok := strings.CutSuffix(rest, " begins"); ok {
			if before = phaseOf[step]; before == "" {
				return nil, fmt.Errorf("the state log has a step %q, of which no phase is known", step)
			}
		} else if before == "collect" {
			before = "close"
		} else if before == "upload" {
			before = "admit"
		}
		out[name] += at.Sub(last).Seconds()
		last = at
	}
	if before != "admit" {
		return nil, fmt.Errorf("the state log ends with %q: %s", before, log)
	}
	out["admit"] += finished.Sub(last).Seconds()
	return out, lines.Err()
}

// phases asks for the state log of a rebuild and splits its time.
func (s *server) phases(ctx context.Context, b *bench, build, task int64, started, finished time.Time) (map[string]float64, error) {
	log, err := s.cli(ctx, b, "build", "logs", strconv.FormatInt(build, 10), strconv.FormatInt(task, 10), "--stream", "state")
	if err != nil {
		return nil, err
	}
	return split(log, started, finished)
}

// printPhases prints the median of each phase over some rebuilds, beside bare rpmbuild's all.
func printPhases(name string, of []map[string]float64, bare float64) {
	fmt.Fprintf(os.Stderr, "bench: warm-build: %s, median seconds by phase; bare rpmbuild --rebuild takes %.3f:", name, bare)
	for _, p := range phases {
		var xs []float64
		for _, m := range of {
			xs = append(xs, m[p])
		}
		fmt.Fprintf(os.Stderr, " %s %.3f", p, median(xs))
	}
	fmt.Fprintln(os.Stderr)
}
