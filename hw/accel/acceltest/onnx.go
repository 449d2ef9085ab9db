package acceltest

import (
	"encoding/binary"
	"math"
)

// Element types, as onnx.proto numbers them (TensorProto.DataType).
const (
	Float32 = 1
	Uint8   = 2
	Int64   = 7
	String  = 8
	Float16 = 10
)

// Value is a graph's input or output. A dimension below 1 is left open.
type Value struct {
	Name string
	Type int
	Dims []int64
}

// Node is one operator; Attr holds its integer attributes.
type Node struct {
	Op      string
	In, Out []string
	Attr    map[string]int64
}

// Constant is a float32 initializer.
type Constant struct {
	Name string
	Dims []int64
	Data []float32
}

// Graph is an ONNX model in the making.
type Graph struct {
	Inputs, Outputs []Value
	Nodes           []Node
	Constants       []Constant
}

// Detector is a model with one picture input (1x3xHxW, float32) that always
// answers with the constants, one output each.
func Detector(w, h int, outputs ...Constant) []byte {
	g := Graph{Inputs: []Value{{"images", Float32, []int64{1, 3, int64(h), int64(w)}}}}
	for _, c := range outputs {
		name := c.Name
		c.Name += "_value"
		g.Constants = append(g.Constants, c)
		g.Nodes = append(g.Nodes, Node{Op: "Identity", In: []string{c.Name}, Out: []string{name}})
		g.Outputs = append(g.Outputs, Value{name, Float32, c.Dims})
	}
	return g.Bytes()
}

// message collects the fields of one protobuf message.
type message []byte

func (m *message) number(field int, v int64) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3)
	*m = binary.AppendUvarint(*m, uint64(v))
}

func (m *message) bytes(field int, b []byte) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3|2)
	*m = binary.AppendUvarint(*m, uint64(len(b)))
	*m = append(*m, b...)
}

// Bytes encodes the model; field numbers are those of onnx.proto (IR version 8,
// operator set 13).
func (g Graph) Bytes() []byte {
	var graph message
	for _, n := range g.Nodes {
		graph.bytes(1, n.encode())
	}
	graph.bytes(2, []byte("test"))
	for _, c := range g.Constants {
		graph.bytes(5, c.encode())
	}
	for _, v := range g.Inputs {
		graph.bytes(11, v.encode())
	}
	for _, v := range g.Outputs {
		graph.bytes(12, v.encode())
	}
	var opset, model message
	opset.bytes(1, nil)
	opset.number(2, 13)
	model.number(1, 8)
	model.bytes(7, graph)
	model.bytes(8, opset)
	return model
}

func (n Node) encode() []byte {
	var m message
	for _, s := range n.In {
		m.bytes(1, []byte(s))
	}
	for _, s := range n.Out {
		m.bytes(2, []byte(s))
	}
	m.bytes(4, []byte(n.Op))
	for name, v := range n.Attr {
		var a message
		a.bytes(1, []byte(name))
		a.number(3, v)
		a.number(20, 2) // AttributeProto.INT
		m.bytes(5, a)
	}
	return m
}

func (v Value) encode() []byte {
	var shape, tensor, typ, m message
	for _, d := range v.Dims {
		var dim message
		if d > 0 {
			dim.number(1, d)
		} else {
			dim.bytes(2, []byte("open"))
		}
		shape.bytes(1, dim)
	}
	tensor.number(1, int64(v.Type))
	tensor.bytes(2, shape)
	typ.bytes(1, tensor)
	m.bytes(1, []byte(v.Name))
	m.bytes(2, typ)
	return m
}

func (c Constant) encode() []byte {
	var m message
	for _, d := range c.Dims {
		m.number(1, d)
	}
	m.number(2, Float32)
	m.bytes(8, []byte(c.Name))
	raw := make([]byte, 0, 4*len(c.Data))
	for _, f := range c.Data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	m.bytes(9, raw)
	return m
}
