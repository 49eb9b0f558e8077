package worker

import (
	"runtime"
	"syscall"
)

// Machine returns an offer that tells the machine's cores and memory. What can't be told
// stays 0.
func Machine() Offer {
	o := Offer{Cores: runtime.NumCPU()}
	var s syscall.Sysinfo_t
	if syscall.Sysinfo(&s) == nil {
		o.Memory = int64(s.Totalram) * int64(s.Unit)
	}
	return o
}
