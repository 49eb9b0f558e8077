package workertest

import "testing"

func TestFakeInProcess(t *testing.T) {
	t.Parallel()
	Run(t, InProcess)
}

func TestFakeOverHTTP(t *testing.T) {
	t.Parallel()
	Run(t, OverHTTP)
}
