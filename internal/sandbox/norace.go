//go:build !race

package sandbox

// helperEnv is the environment of the sandbox's helper; what it runs gets another.
var helperEnv = []string{}
