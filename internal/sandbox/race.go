//go:build race

package sandbox

// A program with the race detector sleeps for a second before it exits, unless it is
// told not to; every step in a root would.
var helperEnv = []string{"GORACE=atexit_sleep_ms=0"}
