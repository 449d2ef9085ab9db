package peer

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// slowEnv tells this test's binary that it runs in a network of its own.
const slowEnv = "PEER_TEST_SLOW"

// TestFullSocket: while the send buffer is full, an error is all that the poller has to
// report of the socket, and it then refuses the reader, who goes on as soon as may be.
// A network slow enough for that is made in a namespace of its own.
func TestFullSocket(t *testing.T) {
	if os.Getenv(slowEnv) == "" {
		inNamespace(t)
		return
	}
	for _, command := range [][]string{
		{"ip", "link", "set", "lo", "up", "mtu", "1500"},
		{"tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "4mbit", "burst", "3000", "limit", "1000000"},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("no slow network: %v: %v: %s", command, err, out)
		}
	}
	f := port(t, "127.0.0.1:0")
	sender, _ := receiver(t)
	_ = f.udp.SetWriteBuffer(10_000)
	dead := closedPorts(t, net.IPv4(127, 0, 0, 1), 1)[0]
	var work sync.WaitGroup
	stop := make(chan struct{})
	work.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				f.Burst(func() {
					for range 20 {
						_, _ = f.udp.WriteToAddrPort(packet(1, 1000), dead)
					}
				})
			}
		}
	})
	b := make([]byte, 100)
	began := time.Now()
	for i := 0; i < 20 || time.Since(began) < time.Second; i++ {
		if _, err := sender.WriteTo([]byte{byte(i)}, f.udp.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		_ = f.udp.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, from, err := f.udp.ReadFromAddrPort(b)
		if err != nil || n != 1 || b[0] != byte(i) || from != bareOf(sender) {
			t.Fatalf("packet %d: %d bytes from %v: %v", i, n, from, err)
		}
	}
	close(stop)
	work.Wait()
	if c := f.Counters(); c.Dropped == 0 {
		t.Errorf("the send buffer was never full: %+v", c)
	}
}

func bareOf(c *net.UDPConn) netip.AddrPort { return bare(c.LocalAddr().(*net.UDPAddr).AddrPort()) }

// inNamespace runs the test that calls it in a network of its own.
func inNamespace(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), slowEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skip("no network namespace to be had:", err)
	}
	err = cmd.Wait()
	switch {
	case err != nil:
		t.Fatalf("%v\n%s", err, &out)
	case bytes.Contains(out.Bytes(), []byte("--- SKIP")):
		t.Skipf("%s", &out)
	}
	t.Logf("%s", &out)
}
