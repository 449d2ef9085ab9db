package accel

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// CPU is the execution provider that is always there, and always tried last.
const CPU = "CPU"

// Refusal is an execution provider that was tried and is not used.
type Refusal struct {
	Provider string
	Reason   string
}

// provider is one way of running a model and how to ask for it.
type provider struct {
	name string
	// auto: tried when Options.Providers is empty. The others are used when
	// they are asked for by name: TensorRT builds an engine for minutes at
	// first, XNNPACK brings a thread pool of its own.
	auto bool
	// file is the shared library that a provider lives in, beside ONNX
	// Runtime's own; empty when it is built in or not at all.
	file string
	add  func(*ort.SessionOptions) error
}

// providers in the order in which they are tried.
func providers() []provider {
	generic := func(name string) func(*ort.SessionOptions) error {
		return func(o *ort.SessionOptions) error { return o.AppendExecutionProvider(name, nil) }
	}
	return []provider{
		{"TensorRT", false, "libonnxruntime_providers_tensorrt.so", addTensorRT},
		{"CUDA", true, "libonnxruntime_providers_cuda.so", addCUDA},
		{"QNN", true, "", generic("QNN")},
		{"OpenVINO", true, "libonnxruntime_providers_openvino.so",
			func(o *ort.SessionOptions) error { return o.AppendExecutionProviderOpenVINO(nil) }},
		{"XNNPACK", false, "", generic("XNNPACK")},
		{CPU, true, "", func(*ort.SessionOptions) error { return nil }},
	}
}

func addCUDA(o *ort.SessionOptions) error {
	c, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer c.Destroy()
	return o.AppendExecutionProviderCUDA(c)
}

func addTensorRT(o *ort.SessionOptions) error {
	t, err := ort.NewTensorRTProviderOptions()
	if err != nil {
		return err
	}
	defer t.Destroy()
	return o.AppendExecutionProviderTensorRT(t)
}

// Providers lists the execution providers that this library can set up here,
// in the order in which they are tried. That one is listed does not say that it
// runs every model: Load tries, and Session.Provider tells.
func (r *Runtime) Providers() []string {
	available, _ := r.probe()
	return available
}

// Refusals lists the known execution providers that cannot be set up here, each
// with the reason.
func (r *Runtime) Refusals() []Refusal {
	_, refused := r.probe()
	return refused
}

func (r *Runtime) probe() (available []string, refused []Refusal) {
	if r.closed {
		return nil, nil
	}
	for _, p := range providers() {
		if err := r.probeOne(p); err != nil {
			refused = append(refused, Refusal{p.name, oneLine(err)})
			continue
		}
		available = append(available, p.name)
	}
	return available, refused
}

func (r *Runtime) probeOne(p provider) error {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return err
	}
	defer o.Destroy()
	return r.add(p, o)
}

// add asks for the provider, if what it needs is there: the library's own
// message does not say which file it missed.
func (r *Runtime) add(p provider, o *ort.SessionOptions) error {
	if p.file != "" {
		real, err := filepath.EvalSymlinks(r.library)
		if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(real), p.file)); err != nil {
			return fmt.Errorf("%s is not beside the ONNX Runtime library", p.file)
		}
	}
	return p.add(o)
}

// choose returns the providers to try for the names asked for, CPU last. A name
// that nobody knows is an error: a typing mistake must not end as "CPU".
func choose(names []string) ([]provider, error) {
	all := providers()
	cpu := all[len(all)-1]
	var chosen []provider
	if len(names) == 0 {
		for _, p := range all {
			if p.auto {
				chosen = append(chosen, p)
			}
		}
		return chosen, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(all, func(p provider) bool { return strings.EqualFold(p.name, name) })
		if i < 0 {
			var known []string
			for _, p := range all {
				known = append(known, p.name)
			}
			return nil, fmt.Errorf("unknown execution provider %q: known are %s", name, strings.Join(known, ", "))
		}
		if all[i].name != CPU {
			chosen = append(chosen, all[i])
		}
	}
	return append(chosen, cpu), nil
}

// oneLine makes a library's message fit for a log line.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
