package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
	"golang.org/x/sys/unix"

	"github.com/watchpost/watchpost/appliance/internal/session/client"
)

// pionEnv makes this program a bare pion peer that takes files and throws them away.
const pionEnv = "WATCHPOST_BENCH_PION"

// servePion answers offers as the box does, with pion as it comes, and says "done"
// once the announced bytes have arrived.
func servePion(string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("pion: http://%s\n", l.Addr())
	var settings webrtc.SettingEngine
	settings.DetachDataChannels()
	settings.SetIncludeLoopbackCandidate(true)
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/channel", func(w http.ResponseWriter, r *http.Request) {
		answer, err := answerBare(api, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, answer) // a peer that hung up times out
	})
	// The same for an offer of the worker protocol.
	mux.HandleFunc("POST /initialise_webrtc_worker", func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			Offer webrtc.SessionDescription `json:"webrtc_offer"`
		}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer, err := answerBare(api, strings.NewReader(request.Offer.SDP))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "context": nil, "type": "answer", "sdp": answer})
	})
	return http.Serve(l, mux)
}

func answerBare(api *webrtc.API, offer io.Reader) (string, error) {
	sdp, err := io.ReadAll(offer)
	if err != nil {
		return "", err
	}
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", err
	}
	pc.OnDataChannel(func(dc *webrtc.DataChannel) {
		dc.OnOpen(func() {
			raw, err := dc.Detach()
			if err != nil {
				return
			}
			go takeBare(raw)
		})
	})
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateFailed {
			_ = pc.Close() // nobody is left to be told
		}
	})
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(sdp)}); err != nil {
		return "", err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return pc.LocalDescription().SDP, nil
}

// channelIO is a detached data channel.
type channelIO interface {
	ReadDataChannel(p []byte) (int, bool, error)
	WriteDataChannel(p []byte, text bool) (int, error)
}

// takeBare counts what comes; errors end it with its channel.
func takeBare(ch channelIO) {
	buf := make([]byte, 256<<10)
	left := int64(0)
	for {
		n, text, err := ch.ReadDataChannel(buf)
		if err != nil {
			return
		}
		if text {
			var m struct{ Upload struct{ Size int64 } }
			if json.Unmarshal(buf[:n], &m) != nil {
				return
			}
			left = m.Upload.Size
			_, err = ch.WriteDataChannel([]byte(`{"upload":{"id":"u","have":[]}}`), true)
		} else if left -= int64(n - 8); left <= 0 {
			_, err = ch.WriteDataChannel([]byte(`{"done":{"id":"u"}}`), true)
		}
		if err != nil {
			return
		}
	}
}

// uploadChannel measures a file over a data channel, safe on disk at the end,
// against a bare pion peer that throws it away, in turns.
func uploadChannel(ctx context.Context, b *bench) error {
	const size = 256 << 20
	const rounds = 5
	ours, err := b.startPushBox(ctx, "127.0.0.1:0", "")
	if err != nil {
		return err
	}
	defer ours.stop()
	bare, err := startBarePion(ctx)
	if err != nil {
		return err
	}
	defer bare.stop()
	sleep(ctx, 2*time.Second)
	file := &randomFile{block: make([]byte, 4<<20), size: size}
	_, _ = rand.Read(file.block) // never fails, says crypto/rand
	var rates [2][]float64
	var grown []float64
	for round := range rounds {
		for i, x := range []*box{ours, bare} {
			unix.Sync()
			memory := watchRSS(ctx, x.cmd.Process.Pid)
			rate, id, err := sendOver(ctx, x.url, file)
			growth := memory()
			if err != nil {
				return err
			}
			rates[i] = append(rates[i], rate)
			fmt.Fprintf(os.Stderr, "round %d: %s: %.1f MB/s\n", round+1, []string{"watchpost", "bare pion"}[i], rate)
			if x == ours {
				grown = append(grown, growth)
				if err := removeSoon(ctx, x.url+"/api/v1/tus/"+id); err != nil {
					return err
				}
			}
		}
	}
	b.report("watchpost, synced", median(rates[0]), "MB/s", told())
	b.report("bare pion, thrown away", median(rates[1]), "MB/s", told())
	b.report("ratio", median(rates[0])/median(rates[1]), "", atLeast(0.8))
	b.report("resident memory grows by", slices.Max(grown), "MiB", told())
	return nil
}

// sendOver sends a file over a connection of its own; the time counts from the
// announcement to "done".
func sendOver(ctx context.Context, url string, f *randomFile) (rate float64, id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	p, ch, err := client.Dial(ctx, url, "video_upload", client.Options{Loopback: true})
	if err != nil {
		return 0, "", err
	}
	defer p.Close()
	began := time.Now()
	done, err := ch.Upload(ctx, client.File{ReaderAt: f, Name: "noise", Size: f.size})
	if err != nil {
		return 0, "", err
	}
	return float64(f.size) / time.Since(began).Seconds() / 1e6, done.ID, nil
}

// randomFile is one random block again and again.
type randomFile struct {
	block []byte
	size  int64
}

func (f *randomFile) ReadAt(p []byte, at int64) (int, error) {
	n := 0
	for n < len(p) && at < f.size {
		k := copy(p[n:], f.block[at%int64(len(f.block)):])
		k = int(min(int64(k), f.size-at))
		n, at = n+k, at+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
