//go:build race

package sbom

const racing = true
