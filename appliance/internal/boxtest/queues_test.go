package boxtest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/queue"
)

// queues are all of the control process's, with what becomes of an item that finds one
// full. README.md says of each who fills and who empties it.
var queues = map[string][]queue.Policy{
	"boxes to viewers bytes":             {queue.DropNewest},
	"camera detections":                  {queue.DropOldest},
	"camera states to readers":           {queue.Latest},
	"data channel bytes":                 {queue.Block},
	"detections to readers":              {queue.DropOldest},
	"event streams":                      {queue.Refuse},
	"http connections":                   {queue.Refuse},
	"job intake":                         {queue.Latest},
	"job news to readers":                {queue.Latest},
	"jobs":                               {queue.Refuse},
	"log lines":                          {queue.DropNewest},
	"live boxes":                         {queue.DropOldest},
	"live frames":                        {queue.DropOldest},
	"published pictures before a worker": {queue.DropNewest},
	"readers of results":                 {queue.Refuse},
	"session bytes":                      {queue.Refuse},
	"session camera":                     {queue.DropNewest},
	"session documents":                  {queue.Block, queue.DropNewest},
	"session events":                     {queue.Block},
	"session requests":                   {queue.Refuse},
	"session video":                      {queue.DropNewest},
	"state writes":                       {queue.Block},
	"udp burst bytes":                    {queue.DropNewest},
	"upload append buffers":              {queue.Block},
	"upload appends":                     {queue.Refuse},
	"upload bodies":                      {queue.Refuse},
	"upload chunk buffers":               {queue.Block},
	"upload express buffers":             {queue.Refuse},
	"upload news to readers":             {queue.Latest},
	"upload removals":                    {queue.Refuse},
	"upload syncs":                       {queue.Block},
	"upload writes":                      {queue.Block},
	"uploads open":                       {queue.Refuse},
	"worker commands":                    {queue.Latest},
	"worker media":                       {queue.Refuse},
}

// TestEveryQueueIsMetered walks the metrics of a real box: each queue is there by its
// name and policy, within its bound, and none is there that nobody described.
func TestEveryQueueIsMetered(t *testing.T) {
	b := start(t, demoCamera)
	await(t, b, "yard", 40*time.Second, "plays", playing)
	status, text := fetch(t, b.URL+"/metrics")
	if status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	line := regexp.MustCompile(`(?m)^watchpost_queue_(depth|capacity|fullest_ratio|instances|dropped_total)\{policy="([^"]+)",queue="([^"]+)"\} `)
	type key struct{ queue, policy string }
	seen := map[key][]string{}
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		k := key{m[3], m[2]}
		seen[k] = append(seen[k], m[1])
	}
	for name, policies := range queues {
		for _, p := range policies {
			k := key{name, string(p)}
			if got := seen[k]; len(got) != 5 {
				t.Errorf("the queue %q, policy %s, has the metrics %v, want all five", name, p, got)
			}
			delete(seen, k)
		}
	}
	for k := range seen {
		t.Errorf("the queue %q, policy %s, is not in the list of queues: add it there, and to README.md", k.queue, k.policy)
	}
	var now struct {
		Queues []struct {
			Name                       string
			Instances, Depth, Capacity int
			Fullest                    float64
		}
	}
	if err := b.Get(t.Context(), "/api/v1/system", &now); err != nil {
		t.Fatal(err)
	}
	for _, q := range now.Queues {
		if q.Instances > 0 && q.Capacity == 0 || q.Fullest < 0 || q.Fullest > 1 && q.Name != "data channel bytes" {
			t.Errorf("%+v", q)
		}
		if i := map[string]int{"worker commands": 1, "live frames": 2, "camera detections": 1, "http connections": 1}[q.Name]; q.Instances < i {
			t.Errorf("%+v, want %d of it with a camera that plays", q, i)
		}
	}
}

// TestQueuesAreDescribed holds README.md's table to the list.
func TestQueuesAreDescribed(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z ]+)` \\| [^|]+ \\| ([a-z, -]+) \\| [^|]+ \\| [^|]+ \\|$")
	var told []string
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		told = append(told, m[1])
		var policies []string
		for _, p := range queues[m[1]] {
			policies = append(policies, string(p))
		}
		if want := strings.Join(policies, ", "); m[2] != want {
			t.Errorf("README.md says that %q is %q when full, it is %q", m[1], m[2], want)
		}
	}
	for name := range queues {
		if !slices.Contains(told, name) {
			t.Errorf("README.md does not describe the queue %q", name)
		}
	}
}
