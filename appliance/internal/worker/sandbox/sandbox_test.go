package sandbox

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv(prisonerEnv) != "" {
		if err := prisoner(); err != nil {
			fmt.Fprintln(os.Stderr, "prisoner:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// build makes what a prisoner may and may not reach.
func build(t *testing.T) cell {
	t.Helper()
	root := t.TempDir()
	c := cell{
		ABI: 1 << 10, Seccomp: true, Parent: os.Getpid(), Root: root,
		Source: root + "/uploads/u1", Neighbour: root + "/uploads/neighbour", Upload: root + "/uploads/u2",
		Database: root + "/state/watchpost.db", Password: root + "/password",
		Model: root + "/models/m", Results: root + "/jobs/j1", Unix: root + "/socket",
		Abstract: fmt.Sprintf("@watchpost-sandbox-test-%d-%d", os.Getpid(), time.Now().UnixNano()),
	}
	for _, dir := range []string{"uploads", "state", "models/m", "jobs/j1"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{
		c.Source, c.Source + ".2", c.Neighbour, c.Upload, c.Database, c.Password, c.Model + "/model.onnx", c.Model + "/card.yaml",
		root + "/victim", root + "/victim2", root + "/victim3", root + "/victim4",
	} {
		if err := os.WriteFile(f, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	serve := func(network, address string) string {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		}()
		return l.Addr().String()
	}
	c.TCP = serve("tcp", "127.0.0.1:0")
	serve("unix", c.Unix)
	serve("unix", c.Abstract)
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	c.UDP = udp.LocalAddr().String()
	return c
}

// imprison runs a prisoner to its end and returns what it says.
func imprison(t *testing.T, c cell) told {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), prisonerEnv+"=1")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var words strings.Builder
	cmd.Stdout, cmd.Stderr = &words, &words
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		cmd.Process.Kill()
		if err := <-ended; err != nil {
			t.Errorf("the prisoner: %v\n%s", err, words.String())
		}
	}()
	in, out := bufio.NewReader(conn), json.NewEncoder(conn)
	var ready string
	var answer told
	if err := out.Encode(c); err != nil {
		t.Fatal(err)
	}
	if err := readJSON(in, &ready); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(c.Source, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("grown"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := out.Encode("go"); err != nil {
		t.Fatal(err)
	}
	if err := readJSON(in, &answer); err != nil {
		t.Fatal(err)
	}
	err = <-ended
	ended <- err
	return answer
}

// judge compares what came of each try with what the locks in place refuse.
func judge(t *testing.T, got told, k kernel) {
	t.Helper()
	for _, try := range append(tries(), threadTries()...) {
		text, tried := got.Tries[try.name]
		refused := try.abi > 0 && k.abi >= try.abi || try.filter && k.seccomp
		switch {
		case !tried:
			t.Errorf("%s: not tried", try.name)
		case refused && text == "":
			t.Errorf("%s: it could", try.name)
		case refused && !refusal(text):
			t.Errorf("%s: failed for another reason: %s", try.name, text)
		case refused, try.rare:
			t.Logf("%s: %s", try.name, text)
		case text != "":
			t.Errorf("%s: it could not: %s", try.name, text)
		}
	}
}

// Everything that is refused in the sandbox works without it, so that each refusal
// is the sandbox's; and what a worker needs works in both.
func TestSandbox(t *testing.T) {
	t.Run("without", func(t *testing.T) {
		c := build(t)
		c.Free = true
		judge(t, imprison(t, c), kernel{})
	})
	have := look()
	kernels := []kernel{have, {abi: 1, seccomp: true}, {abi: 0, seccomp: true}, {abi: have.abi}, {abi: 1}, {}}
	for i, k := range kernels {
		if slices.Contains(kernels[:i], k) {
			continue // this machine has no more
		}
		t.Run(fmt.Sprintf("Landlock %d, filter %v", k.abi, k.seccomp), func(t *testing.T) {
			if k.abi > have.abi || k.seccomp && !have.seccomp {
				t.Skipf("this kernel has Landlock %d, filter %v", have.abi, have.seccomp)
			}
			c := build(t)
			c.ABI, c.Seccomp = k.abi, k.seccomp
			got := imprison(t, c)
			judge(t, got, k)
			if got.Report.LandlockABI != k.abi || got.Report.Seccomp != k.seccomp {
				t.Errorf("it reports %+v", got.Report)
			}
			t.Log(strings.Join(got.Report.Missing, "\n"))
		})
	}
}
