package announce

import (
	"context"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/brutella/dnssd"
)

// inside marks the copy of this test that runs in a network of its own.
const inside = "WATCHPOST_TEST_NETWORK"

// Two boxes announce themselves in a network that nobody else is in; both are
// found, under their names, and not any more once they have said good-bye.
func TestFindAnnounced(t *testing.T) {
	if os.Getenv(inside) == "" {
		outside(t)
		return
	}
	network(t)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	for _, s := range []Service{{Name: "Yard box", Port: 8080, Version: "v1"}, {Name: "attic", Port: 8081, Version: "v2"}} {
		go func() { ended <- Run(ctx, s) }()
	}
	var boxes []Box
	for range 10 {
		var err error
		if boxes, err = Find(context.Background(), 2*time.Second, ""); err != nil {
			t.Fatal(err)
		}
		if len(boxes) == 2 && boxes[0].Version != "" && boxes[1].Version != "" {
			break
		}
	}
	want := []Box{{"Yard box", "http://192.0.2.1:8080", "v1"}, {"attic", "http://192.0.2.1:8081", "v2"}}
	if !slices.Equal(boxes, want) {
		t.Fatalf("found %+v, want %+v", boxes, want)
	}
	began := time.Now()
	if one, err := Find(context.Background(), time.Minute, "ATTIC"); err != nil || len(one) != 1 || one[0].URL != want[1].URL || time.Since(began) > 30*time.Second {
		t.Errorf("found %+v, %v after %v", one, err, time.Since(began))
	}
	stop()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if boxes, err := Find(context.Background(), 2*time.Second, ""); err != nil || len(boxes) != 0 {
		t.Errorf("after their end: %+v, %v", boxes, err)
	}
}

// outside starts this test again in a network namespace of its own.
func outside(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestFindAnnounced$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), inside+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil && len(out) == 0:
		t.Skipf("a network namespace needs a privilege: %v", err)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	}
}

// network gives the namespace an interface that knows multicast.
func network(t *testing.T) {
	// The other end of the pair would be a second interface with an address.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0o644); err != nil {
		t.Skipf("no network without IPv6 can be made: %v", err)
	}
	for _, args := range []string{
		"link add v0 type veth peer name v1", "addr add 192.0.2.1/24 dev v0", "link set v0 up", "link set v1 up", "link set lo up",
		"route add 224.0.0.0/4 dev v0",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("ip %s: %v: %s", args, err, out)
		}
	}
}

func TestBoxOf(t *testing.T) {
	for _, c := range []struct {
		ips  []string
		port int
		want string
	}{
		{[]string{"fe80::1", "2001:db8::5", "192.0.2.7"}, 80, "http://192.0.2.7:80"},
		{[]string{"2001:db8::5"}, 8080, "http://[2001:db8::5]:8080"},
		{[]string{"fe80::1"}, 8080, "http://[fe80::1%25eth7]:8080"},
		{nil, 80, ""},
		{[]string{"192.0.2.7"}, 0, ""},
		{[]string{"192.0.2.7"}, 70000, ""},
	} {
		e := dnssd.BrowseEntry{Name: "b", Port: c.port, IfaceName: "eth7"}
		for _, s := range c.ips {
			e.IPs = append(e.IPs, net.ParseIP(s))
		}
		if b, ok := boxOf(e); b.URL != c.want || ok != (c.want != "") {
			t.Errorf("%v: %q, %v; want %q", c.ips, b.URL, ok, c.want)
		}
	}
}
