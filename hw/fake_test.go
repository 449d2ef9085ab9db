package hw

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/watchpost/watchpost/hw/clips"
)

// box is a machine by hand: what each of its elements does to a clip. It stands
// for hardware that the machine of the tests does not have.
type box map[string]behaviour

type behaviour string

const (
	right   behaviour = "right"   // decodes, or encodes, as it should
	green   behaviour = "green"   // a picture of zeros, as drivers without memory give
	bars    behaviour = "bars"    // its own test picture
	still   behaviour = "still"   // the first picture again and again
	swapped behaviour = "swapped" // two pictures in the wrong order
	short   behaviour = "short"   // loses the last two pictures
	endless behaviour = "endless" // never stops giving pictures
	nothing behaviour = "nothing" // ends without a picture
	fails   behaviour = "fails"   // an error of many lines
	hangs   behaviour = "hangs"   // obeys the context only
	stuck   behaviour = "stuck"   // not even that
	crashes behaviour = "crashes" // takes the process down
	exits   behaviour = "exits"   // ends the process with words
	noisy   behaviour = "noisy"   // right, and prints to the standard output
)

func (b box) Has(element string) bool { _, ok := b[element]; return ok }

func (b box) Decode(ctx context.Context, element, codec string, clip []byte, picture func([]byte, int, int, int) error) error {
	how, ok := b[element]
	if !ok {
		return fmt.Errorf("no element %s", element)
	}
	if want, _ := clips.Clip(codec); len(clip) != len(want) && !strings.HasPrefix(string(clip), "encoded by ") {
		return errors.New("not the clip")
	}
	if bad, found := strings.CutPrefix(string(clip), "encoded by "); found {
		how = b[bad] // the judge shows what the encoder made
	}
	order := []int{0, 1, 2, 3, 4, 5, 6, 7, 8}
	frame := clips.Picture
	switch how {
	case green:
		frame = func(int) []byte { return make([]byte, clips.Width*clips.Height) }
	case bars:
		frame = func(int) []byte {
			pix := make([]byte, clips.Width*clips.Height)
			for i := range pix {
				pix[i] = byte(200 - i%clips.Width/40*24)
			}
			return pix
		}
	case still:
		order = make([]int, clips.Frames)
	case swapped:
		order[1], order[2] = 2, 1
	case short:
		order = order[:7]
	case endless:
		for i := range 1000 {
			order = append(order, 9+i)
		}
	case nothing:
		return nil
	case fails:
		return errors.New("Could not decode stream.\n  additional debug info:\n\tioctl failed")
	case hangs:
		<-ctx.Done()
		return ctx.Err()
	case stuck:
		time.Sleep(time.Minute)
	case crashes:
		_ = syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		time.Sleep(time.Minute)
	case exits:
		fmt.Fprintln(os.Stderr, "loading firmware\nassertion failed: dev != NULL")
		os.Exit(3)
	case noisy:
		fmt.Println("driver version 7, built with love")
		fmt.Println(`{"outcome":{"candidate":{"role":"decode","codec":"h264","element":"other"}}}`)
	}
	for _, n := range order {
		if err := picture(frame(n), clips.Width, clips.Height, clips.Width); err != nil {
			return err
		}
	}
	return nil
}

func (b box) Encode(ctx context.Context, element, codec string, width, height, fps int, pictures [][]byte) ([]byte, error) {
	if len(pictures) != clips.Frames || len(pictures[0]) != width*height*3/2 {
		return nil, errors.New("not the pictures")
	}
	if b[element] == fails {
		return nil, errors.New("no such profile")
	}
	return []byte("encoded by " + element), nil
}

// TestMain lets the test binary be the processes that the package starts.
func TestMain(m *testing.M) {
	var err error
	switch mode := os.Getenv("HW_TEST_MODE"); mode {
	case "":
		os.Exit(m.Run())
	case "prove":
		err = ServeProofs(context.Background(), fromEnv(), os.Args[len(os.Args)-1], os.Stdout)
	case "survey":
		var r *Report
		p := fromEnv()
		r, err = Survey(context.Background(), p, Options{GStreamer: "1.22.0", cameras: noCameras})
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(r)
		}
	case "garbage":
		fmt.Println("Segmentation imminent")
	case "flood":
		for range 3000 {
			fmt.Println(strings.Repeat("x", 1000))
		}
	case "hang":
		fmt.Fprintln(os.Stderr, "waiting for the device")
		time.Sleep(time.Minute)
	case "crash":
		_ = syscall.Kill(os.Getpid(), syscall.SIGABRT)
		time.Sleep(time.Minute)
	default:
		err = fmt.Errorf("unknown mode %s", mode)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func noCameras() ([]Camera, error) { return []Camera{}, nil }

func fromEnv() box {
	var b box
	if err := json.Unmarshal([]byte(os.Getenv("HW_TEST_BOX")), &b); err != nil {
		panic(err)
	}
	return b
}

// env is the environment of a process that is this test binary in a mode, on a box.
func env(t *testing.T, mode string, b box) []string {
	t.Helper()
	raw, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(), "HW_TEST_MODE="+mode, "HW_TEST_BOX="+string(raw))
}
