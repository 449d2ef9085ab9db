package app

import (
	"fmt"
	"net"
	"os"

	"github.com/watchpost/watchpost/gst/plan"
)

// greet tells the person at the terminal where to look.
func (b *box) greet() {
	url := "http://" + b.listener.Addr().String()
	if host, port, err := net.SplitHostPort(b.listener.Addr().String()); err == nil {
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			url = "http://" + net.JoinHostPort(hostName(), port)
		}
	}
	fmt.Printf("Watchpost %s: %s\n", b.p.Version, url)
	for _, c := range b.cfg.Cameras {
		fmt.Printf("  %-20s %s\n", c.ID, plan.Redact(c.Source))
	}
	b.greetModels()
	if !b.cfg.Loopback() {
		path, _ := b.cfg.PasswordFile()
		fmt.Printf("  sign in with the password in %s\n", path)
	}
}

// greetModels says which cameras do without their model, and why.
func (b *box) greetModels() {
	told := map[string]bool{}
	for _, c := range b.cfg.Cameras {
		name := b.cfg.ModelOf(c)
		if _, err := b.p.findModel(b.cfg.ModelsDir(), name); err != nil && !told[name] {
			told[name] = true
			fmt.Printf("  analysing motion only: %v (in %s)\n", err, b.cfg.ModelsDir())
		}
	}
}

func hostName() string {
	if name, err := os.Hostname(); err == nil {
		return name
	}
	return "localhost"
}
