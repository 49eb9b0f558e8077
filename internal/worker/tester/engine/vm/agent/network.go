package agent

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Addresses of the network that qemu makes for a guest ("user").
var (
	userAddress = netip.MustParseAddr("10.0.2.15")
	userMask    = netip.MustParseAddr("255.255.255.0")
	userRouter  = netip.MustParseAddr("10.0.2.2")
)

const userResolver = "nameserver 10.0.2.3\n"

// setUpNetwork brings up the loopback, and with outside the one other interface.
func setUpNetwork(outside bool) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("set up the network: %w", err)
	}
	defer unix.Close(s)
	if err := up(s, "lo"); err != nil {
		return err
	}
	if !outside {
		return nil
	}
	found, err := filepath.Glob("/sys/class/net/e*")
	if err != nil || len(found) != 1 {
		return fmt.Errorf("set up the network: %d interfaces where there has to be one (%v)", len(found), err)
	}
	name := filepath.Base(found[0])
	if err := address(s, name, unix.SIOCSIFADDR, userAddress); err != nil {
		return err
	}
	if err := address(s, name, unix.SIOCSIFNETMASK, userMask); err != nil {
		return err
	}
	if err := up(s, name); err != nil {
		return err
	}
	if err := route(s); err != nil {
		return err
	}
	return resolver()
}

// up switches an interface on.
func up(s int, name string) error {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r); err != nil {
		return fmt.Errorf("set up the network: switch on %s: %w", name, err)
	}
	return nil
}

func address(s int, name string, request uint, a netip.Addr) error {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	b := a.As4()
	if err := r.SetInet4Addr(b[:]); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(s, request, r); err != nil {
		return fmt.Errorf("set up the network: give %s an address: %w", name, err)
	}
	return nil
}

// rtentry is struct rtentry of route(7), for machines of 64 bits.
type rtentry struct {
	_       uint64
	dst     unix.RawSockaddrInet4
	gateway unix.RawSockaddrInet4
	genmask unix.RawSockaddrInet4
	flags   uint16
	_       [64]byte
}

// route leads everything to the router.
func route(s int) error {
	r := rtentry{flags: unix.RTF_UP | unix.RTF_GATEWAY}
	r.dst.Family, r.genmask.Family = unix.AF_INET, unix.AF_INET
	r.gateway = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: userRouter.As4()}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCADDRT, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return fmt.Errorf("set up the network: route: %w", errno)
	}
	return nil
}

// resolver lays the network's resolver over that of the root, where it has a file for it.
func resolver() error {
	const at = "/etc/resolv.conf"
	if info, err := os.Lstat(at); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	const file = "/dev/shm/resolv.conf"
	if err := os.WriteFile(file, []byte(userResolver), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(file, at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("set up the network: %w", err)
	}
	return nil
}
