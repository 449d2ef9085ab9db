package accel

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"

	ort "github.com/yalue/onnxruntime_go"
)

// Options says how a model is to be run. The zero value is good.
type Options struct {
	// Threads that one run may use; 0: one for each processor.
	Threads int
	// Providers to try, in this order, CPU last in any case; empty: those
	// that start without delay (CUDA, QNN, OpenVINO), then CPU.
	Providers []string
	// InputSize is the width and height of a picture input whose model leaves
	// them open; {0, 0}: such a model is refused.
	InputSize [2]int
	// Spin lets idle worker threads wait actively. Measured with YOLOX-nano and
	// two threads: a run on an idle box takes 11 ms instead of 14, for twice
	// the processor time; on a busy one, where decoder and encoder want the
	// processor too, it takes up to twice as long.
	Spin bool
	// Log receives one line with the choice of provider; nil: nobody.
	Log *slog.Logger
}

// Session is a loaded model with its tensors. It is not safe for concurrent use.
type Session struct {
	session  *ort.DynamicAdvancedSession
	inputs   []port
	outputs  []port
	in, out  []ort.Value
	provider string
	refused  []Refusal
	// convert: some input is not float32 and is converted before a run.
	convert bool
}

// Load makes a session of an ONNX model. Providers are tried in order; the
// reason for each that does not work is kept (Refused) and logged. The error
// names an input or output that cannot be served.
func (r *Runtime) Load(model []byte, o Options) (*Session, error) {
	if r.closed {
		return nil, ErrClosed
	}
	if len(model) == 0 {
		return nil, errors.New("load model: the file is empty")
	}
	if o.Threads < 0 {
		return nil, fmt.Errorf("load model: %d threads", o.Threads)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	try, err := choose(o.Providers)
	if err != nil {
		return nil, fmt.Errorf("load model: %w", err)
	}
	ins, outs, err := header(model)
	if err != nil {
		return nil, fmt.Errorf("load model: %s", oneLine(err))
	}
	s := &Session{}
	if err := s.allocate(ins, outs, o.InputSize); err != nil {
		s.free()
		return nil, fmt.Errorf("load model: %w", err)
	}
	for _, p := range try {
		s.session, err = r.create(model, s, p, o)
		if err == nil {
			s.provider = p.name
			break
		}
		s.refused = append(s.refused, Refusal{p.name, oneLine(err)})
	}
	if s.session == nil {
		s.free()
		return nil, fmt.Errorf("load model: no execution provider takes it: %s", s.refused[len(s.refused)-1].Reason)
	}
	attrs := []any{"provider", s.provider, "threads", threads(o), "runtime", r.version}
	for _, f := range s.refused {
		attrs = append(attrs, slog.String("refused_"+f.Provider, f.Reason))
	}
	o.Log.Info("model loaded", attrs...)
	return s, nil
}

func threads(o Options) int {
	if o.Threads > 0 {
		return o.Threads
	}
	return runtime.NumCPU()
}

// create asks one provider for a session.
func (r *Runtime) create(model []byte, s *Session, p provider, o Options) (*ort.DynamicAdvancedSession, error) {
	so, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer so.Destroy()
	spin := "0"
	if o.Spin {
		spin = "1"
	}
	if err := errors.Join(
		so.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll),
		so.SetExecutionMode(ort.ExecutionModeSequential),
		so.SetIntraOpNumThreads(threads(o)),
		so.SetInterOpNumThreads(1),
		so.AddSessionConfigEntry("session.intra_op.allow_spinning", spin),
		so.AddSessionConfigEntry("session.inter_op.allow_spinning", "0"),
		// With the arena the memory of the first run serves all others:
		// measured with YOLOX-nano, 70 to 80 MB resident at first and as many
		// after 60 runs. Without it each run allocates anew, from whatever
		// thread it is on, and malloc keeps what that scatters: 79 MB grow to
		// 87, with the memory pattern to 150. The pattern's one block gains no
		// time either.
		so.SetCpuMemArena(true),
		so.SetMemPattern(false),
		r.add(p, so),
	); err != nil {
		return nil, err
	}
	return ort.NewDynamicAdvancedSessionWithONNXData(model, names(s.inputs), names(s.outputs), so)
}

func names(ports []port) []string {
	var n []string
	for _, p := range ports {
		n = append(n, p.Name)
	}
	return n
}

// allocate makes the ports and the tensors whose shapes are known.
func (s *Session) allocate(ins, outs []ort.InputOutputInfo, size [2]int) error {
	var err error
	if s.inputs, err = ports(ins); err != nil {
		return fmt.Errorf("input %w", err)
	}
	if s.outputs, err = ports(outs); err != nil {
		return fmt.Errorf("output %w", err)
	}
	if len(s.inputs) == 0 || len(s.outputs) == 0 {
		return fmt.Errorf("the model has %d inputs and %d outputs", len(s.inputs), len(s.outputs))
	}
	for i := range s.inputs {
		p := &s.inputs[i]
		if p.Shape, err = settle(p.Shape, size); err != nil {
			return fmt.Errorf("input %q: %w", p.Name, err)
		}
		if err := p.allocate(p.Shape); err != nil {
			return err
		}
		s.convert = s.convert || p.kind.typ != ort.TensorElementDataTypeFloat
		s.in = append(s.in, p.value)
	}
	for i := range s.outputs {
		p := &s.outputs[i]
		if known(p.Shape) {
			if err := p.allocate(p.Shape); err != nil {
				return err
			}
		} else if p.kind.typ == ort.TensorElementDataTypeFloat16 {
			return fmt.Errorf("output %q is float16 of open shape %v: export the model with a fixed input size, or as float32",
				p.Name, p.Shape)
		}
		s.out = append(s.out, p.value)
	}
	return nil
}

func ports(infos []ort.InputOutputInfo) ([]port, error) {
	var ps []port
	for _, info := range infos {
		if info.OrtValueType != ort.ONNXTypeTensor {
			return nil, fmt.Errorf("%q is a %s, not a tensor", info.Name, info.OrtValueType)
		}
		k, err := kindOf(info.DataType)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", info.Name, err)
		}
		ps = append(ps, port{Tensor: Tensor{info.Name, info.Dimensions, k.name}, kind: k})
	}
	return ps, nil
}

func known(shape []int64) bool {
	for _, d := range shape {
		if d < 1 {
			return false
		}
	}
	return len(shape) > 0
}

// settle fills the open dimensions of an input: height and width of a picture
// (rank 4, channels first unless the last dimension is 1 or 3) from size, every
// other one, the batch, with 1.
func settle(shape []int64, size [2]int) ([]int64, error) {
	out := append([]int64(nil), shape...)
	if len(out) == 4 {
		h, w := 2, 3
		if out[3] == 3 || out[3] == 1 {
			h, w = 1, 2
		}
		if out[h] < 1 || out[w] < 1 {
			if size[0] < 1 || size[1] < 1 {
				return nil, fmt.Errorf("the model leaves its picture size open (%v): give one", shape)
			}
		}
		if out[h] < 1 {
			out[h] = int64(size[1])
		}
		if out[w] < 1 {
			out[w] = int64(size[0])
		}
	}
	for i := range out {
		if out[i] < 1 {
			out[i] = 1
		}
	}
	return out, nil
}

// Inputs describes the inputs; shapes are as allocated.
func (s *Session) Inputs() []Tensor { return tensors(s.inputs) }

// Outputs describes the outputs; -1 is a dimension known only after a run.
func (s *Session) Outputs() []Tensor { return tensors(s.outputs) }

func tensors(ports []port) []Tensor {
	var t []Tensor
	for _, p := range ports {
		t = append(t, p.Tensor)
	}
	return t
}

// Input is the memory of input i, to be filled in place. The runtime only reads
// it, so what was written once stays.
func (s *Session) Input(i int) []float32 { return s.inputs[i].view }

// Output is the memory and the shape of output i after a Run. Both belong to
// the session and are valid until the next Run.
func (s *Session) Output(i int) ([]float32, []int64) { return s.outputs[i].view, s.outputs[i].shape }

// Provider names the execution provider that runs the model.
func (s *Session) Provider() string { return s.provider }

// Refused lists the providers that were tried before it.
func (s *Session) Refused() []Refusal { return s.refused }

// Run runs the model on what the inputs hold.
func (s *Session) Run() error {
	if s.session == nil {
		return ErrClosed
	}
	if s.convert {
		for i := range s.inputs {
			s.inputs[i].store()
		}
	}
	for i := range s.outputs {
		if p := &s.outputs[i]; !known(p.Shape) {
			if p.value != nil {
				p.value.Destroy()
				p.value = nil
			}
			s.out[i] = nil
		}
	}
	if err := s.session.Run(s.in, s.out); err != nil {
		return fmt.Errorf("run model: %s", oneLine(err))
	}
	for i := range s.outputs {
		p := &s.outputs[i]
		if p.value == nil {
			p.value = s.out[i]
			p.shape = p.value.GetShape()
		}
		if err := p.fetch(); err != nil {
			return fmt.Errorf("run model: %w", err)
		}
	}
	return nil
}

// Close releases the model and its tensors. It may be called more than once.
func (s *Session) Close() error {
	if s.session == nil {
		return nil
	}
	err := s.session.Destroy()
	s.session = nil
	s.free()
	if err != nil {
		return fmt.Errorf("close model: %w", err)
	}
	return nil
}

func (s *Session) free() {
	for i := range s.inputs {
		s.inputs[i].free()
	}
	for i := range s.outputs {
		s.outputs[i].free()
	}
}
