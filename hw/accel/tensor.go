package accel

import (
	"encoding/binary"
	"fmt"
	"math"

	ort "github.com/yalue/onnxruntime_go"
)

// Tensor describes one input or output of a session.
type Tensor struct {
	Name string
	// Shape of an input is as allocated; of an output as the model states it,
	// with -1 for what is known only after a run.
	Shape []int64
	// Type is the model's own element type ("float32", "float16", "uint8",
	// "int64", ...). Callers always see float32.
	Type string
}

// maxElements bounds what a model may make us allocate for one tensor: 256 MB
// of float32, many times what a camera's model needs.
const maxElements = 64 << 20

// kind is how an element type is carried between the caller's float32 and the
// tensor's own memory.
type kind struct {
	name string
	typ  ort.TensorElementDataType
}

// kindOf names a type, or says that it is not one we carry.
func kindOf(t ort.TensorElementDataType) (kind, error) {
	names := map[ort.TensorElementDataType]string{
		ort.TensorElementDataTypeFloat: "float32", ort.TensorElementDataTypeFloat16: "float16",
		ort.TensorElementDataTypeDouble: "float64", ort.TensorElementDataTypeUint8: "uint8",
		ort.TensorElementDataTypeInt8: "int8", ort.TensorElementDataTypeInt32: "int32",
		ort.TensorElementDataTypeInt64: "int64", ort.TensorElementDataTypeBool: "bool",
	}
	if n, ok := names[t]; ok {
		return kind{n, t}, nil
	}
	return kind{}, fmt.Errorf("element type %s is not supported", t)
}

// port is one input or output: its tensor in the model's type, and the float32
// view of it. Where the model's type is float32 both are the same memory.
type port struct {
	Tensor
	kind  kind
	value ort.Value
	view  []float32
	raw   []byte // of float16
	// shape is that of value.
	shape []int64
}

// allocate makes the tensor. All dimensions of shape must be known.
func (p *port) allocate(shape []int64) error {
	n := int64(1)
	for _, d := range shape {
		if d < 1 || d > maxElements || n*d > maxElements {
			return fmt.Errorf("tensor %q: shape %v is not one to allocate", p.Name, shape)
		}
		n *= d
	}
	p.shape = shape
	s := ort.NewShape(shape...)
	if len(shape) == 0 {
		// The binding has no rank 0; a scalar is one element to us.
		s = ort.NewShape(1)
	}
	var err error
	switch p.kind.typ {
	case ort.TensorElementDataTypeFloat:
		var t *ort.Tensor[float32]
		if t, err = ort.NewEmptyTensor[float32](s); err == nil {
			p.value, p.view = t, t.GetData()
			return nil
		}
	case ort.TensorElementDataTypeFloat16:
		p.raw = make([]byte, 2*n)
		p.value, err = ort.NewCustomDataTensor(s, p.raw, p.kind.typ)
	case ort.TensorElementDataTypeDouble:
		p.value, err = ort.NewEmptyTensor[float64](s)
	case ort.TensorElementDataTypeUint8:
		p.value, err = ort.NewEmptyTensor[uint8](s)
	case ort.TensorElementDataTypeInt8:
		p.value, err = ort.NewEmptyTensor[int8](s)
	case ort.TensorElementDataTypeInt32:
		p.value, err = ort.NewEmptyTensor[int32](s)
	case ort.TensorElementDataTypeInt64:
		p.value, err = ort.NewEmptyTensor[int64](s)
	case ort.TensorElementDataTypeBool:
		p.value, err = ort.NewEmptyTensor[bool](s)
	}
	if err != nil {
		return fmt.Errorf("tensor %q: %w", p.Name, err)
	}
	p.view = make([]float32, n)
	return nil
}

// store writes the view into the tensor, rounding and saturating integers.
func (p *port) store() {
	switch t := p.value.(type) {
	case *ort.CustomDataTensor:
		for i, v := range p.view {
			binary.NativeEndian.PutUint16(p.raw[2*i:], toHalf(v))
		}
	case *ort.Tensor[float64]:
		for i, v := range p.view {
			t.GetData()[i] = float64(v)
		}
	case *ort.Tensor[uint8]:
		storeInts(t.GetData(), p.view, 0, math.MaxUint8)
	case *ort.Tensor[int8]:
		storeInts(t.GetData(), p.view, math.MinInt8, math.MaxInt8)
	case *ort.Tensor[int32]:
		storeInts(t.GetData(), p.view, math.MinInt32, math.MaxInt32)
	case *ort.Tensor[int64]:
		storeInts(t.GetData(), p.view, -1<<53, 1<<53)
	case *ort.Tensor[bool]:
		for i, v := range p.view {
			t.GetData()[i] = v != 0
		}
	}
}

func storeInts[T uint8 | int8 | int32 | int64](dst []T, src []float32, low, high float64) {
	for i := range min(len(dst), len(src)) {
		v := math.RoundToEven(float64(src[i]))
		if v != v {
			v = 0
		}
		dst[i] = T(min(max(v, low), high))
	}
}

// fetch reads the tensor into the view, and its shape.
func (p *port) fetch() error {
	switch t := p.value.(type) {
	case *ort.Tensor[float32]:
		p.view = t.GetData()
	case *ort.CustomDataTensor:
		for i := range p.view {
			p.view[i] = fromHalf(binary.NativeEndian.Uint16(p.raw[2*i:]))
		}
	case *ort.Tensor[float64]:
		p.view = fetchNumbers(p.view, t.GetData())
	case *ort.Tensor[uint8]:
		p.view = fetchNumbers(p.view, t.GetData())
	case *ort.Tensor[int8]:
		p.view = fetchNumbers(p.view, t.GetData())
	case *ort.Tensor[int32]:
		p.view = fetchNumbers(p.view, t.GetData())
	case *ort.Tensor[int64]:
		p.view = fetchNumbers(p.view, t.GetData())
	case *ort.Tensor[bool]:
		p.view = p.view[:0]
		for _, v := range t.GetData() {
			var f float32
			if v {
				f = 1
			}
			p.view = append(p.view, f)
		}
	default:
		return fmt.Errorf("output %q: the run gave a %T, which cannot be read", p.Name, p.value)
	}
	return nil
}

func fetchNumbers[T float64 | uint8 | int8 | int32 | int64](dst []float32, src []T) []float32 {
	dst = dst[:0]
	for _, v := range src {
		dst = append(dst, float32(v))
	}
	return dst
}

// free releases the tensor.
func (p *port) free() {
	if p.value != nil {
		p.value.Destroy()
		p.value, p.view, p.raw = nil, nil, nil
	}
}
