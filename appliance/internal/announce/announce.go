// Package announce makes boxes known in their network and finds them there: DNS
// service discovery (RFC 6763) over multicast DNS (RFC 6762), service type
// _watchpost._tcp.
package announce

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/brutella/dnssd"
	dnslog "github.com/brutella/dnssd/log"
)

// serviceType is what boxes are called in DNS service discovery.
const serviceType = "_watchpost._tcp"

// Service is what a box tells about itself.
type Service struct {
	// Name is what people call the box; two of one name get a number.
	Name string
	// Port of its web page and API.
	Port    int
	Version string
}

// Run announces s on all multicast interfaces until ctx ends, when it says good-bye.
func Run(ctx context.Context, s Service) error {
	service, err := dnssd.NewService(dnssd.Config{
		Name: s.Name, Type: serviceType, Port: s.Port,
		Text: map[string]string{"version": s.Version, "path": "/"},
	})
	if err != nil {
		return fmt.Errorf("announce the box: %w", err)
	}
	quiet()
	responder, err := dnssd.NewResponder()
	if err != nil {
		return fmt.Errorf("announce the box: %w", err)
	}
	if _, err := responder.Add(service); err != nil {
		return fmt.Errorf("announce the box: %w", err)
	}
	if err := responder.Respond(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("announce the box: %w", err)
	}
	return nil
}

// quiet keeps the library from writing into the log by itself.
func quiet() {
	dnslog.Info.Disable()
}

// Box is one that was found.
type Box struct {
	Name    string
	URL     string
	Version string
}

// ask is how often the question is put: multicast is lost now and then.
const ask = time.Second

// Find returns the boxes that answer within the time given, by name. With only
// set it returns as soon as one of that name answered.
func Find(ctx context.Context, within time.Duration, only string) ([]Box, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	quiet()
	found := make(chan Box)
	failed := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			once, stop := context.WithTimeout(ctx, ask)
			err := dnssd.LookupType(once, serviceType+".local.", func(e dnssd.BrowseEntry) {
				if b, ok := boxOf(e); ok {
					select {
					case found <- b:
					case <-ctx.Done():
					}
				}
			}, func(dnssd.BrowseEntry) {})
			early := once.Err() == nil
			stop()
			if err != nil && early {
				failed <- fmt.Errorf("look for boxes: %w", err)
				return
			}
		}
	}()
	boxes := map[string]Box{}
	for {
		select {
		case b := <-found:
			boxes[b.Name] = better(boxes[b.Name], b)
			if only != "" && strings.EqualFold(b.Name, only) {
				return []Box{b}, nil
			}
		case err := <-failed:
			return nil, err
		case <-ctx.Done():
			return sorted(boxes), nil
		}
	}
}

// better puts together what two answers of one box say, which come from each of
// its interfaces and in parts.
func better(a, b Box) Box {
	if a.URL == "" || strings.Contains(a.URL, "[") && !strings.Contains(b.URL, "[") {
		a.URL, b.URL = b.URL, a.URL
	}
	a.Name = b.Name
	if a.Version == "" {
		a.Version = b.Version
	}
	return a
}

func sorted(boxes map[string]Box) []Box {
	list := make([]Box, 0, len(boxes))
	for _, b := range boxes {
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b Box) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// boxOf is where an entry can be reached: IPv4 first, as boxes listen there
// always; a link-local IPv6 address needs its interface.
func boxOf(e dnssd.BrowseEntry) (Box, bool) {
	var best string
	for _, ip := range e.IPs {
		addr, ok := netip.AddrFromSlice(ip)
		if !ok {
			continue
		}
		addr = addr.Unmap()
		switch {
		case addr.Is4():
			best = addr.String()
		case best == "" && addr.IsLinkLocalUnicast():
			best = addr.String() + "%25" + e.IfaceName
		case best == "":
			best = addr.String()
		}
		if addr.Is4() {
			break
		}
	}
	if best == "" || e.Port < 1 || e.Port > 65535 {
		return Box{}, false
	}
	return Box{Name: e.Name, URL: "http://" + net.JoinHostPort(best, strconv.Itoa(e.Port)), Version: e.Text["version"]}, true
}
