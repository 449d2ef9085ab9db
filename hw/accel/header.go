package accel

import (
	"encoding/binary"
	"errors"
	"fmt"

	ort "github.com/yalue/onnxruntime_go"
)

// header reads the inputs and outputs out of an ONNX file. ONNX Runtime tells
// them too, but only after it has loaded the whole model, and the binding wants
// them before it loads: reading them here loads a model once instead of twice.
//
// Field numbers are those of onnx/onnx.proto; a dimension that is not a number
// is -1. Old files list weights among the inputs: those are left out.
func header(model []byte) (ins, outs []ort.InputOutputInfo, err error) {
	graph, err := message(model).sub(7) // ModelProto.graph
	if err != nil {
		return nil, nil, err
	}
	weights := map[string]bool{}
	err = graph.each(func(field int, _ uint64, body message) error {
		switch field {
		case 5, 11, 12: // GraphProto.initializer, input, output
		default:
			return nil
		}
		if field == 5 {
			name, err := body.sub(8) // TensorProto.name
			weights[string(name)] = true
			return err
		}
		info, err := valueInfo(body)
		if field == 11 {
			ins = append(ins, info)
		} else {
			outs = append(outs, info)
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	given := ins[:0]
	for _, i := range ins {
		if !weights[i.Name] {
			given = append(given, i)
		}
	}
	return given, outs, nil
}

// valueInfo reads a ValueInfoProto.
func valueInfo(m message) (ort.InputOutputInfo, error) {
	info := ort.InputOutputInfo{OrtValueType: ort.ONNXTypeUnknown}
	err := m.each(func(field int, _ uint64, body message) error {
		switch field {
		case 1: // name
			info.Name = string(body)
		case 2: // type
			return body.each(func(field int, _ uint64, body message) error {
				if field != 1 { // TypeProto.tensor_type; anything else is no tensor
					return nil
				}
				info.OrtValueType = ort.ONNXTypeTensor
				return tensorType(body, &info)
			})
		}
		return nil
	})
	return info, err
}

// tensorType reads a TypeProto.Tensor.
func tensorType(m message, info *ort.InputOutputInfo) error {
	return m.each(func(field int, number uint64, body message) error {
		switch field {
		case 1: // elem_type; ONNX and ONNX Runtime number the types alike
			if number > 64 {
				return fmt.Errorf("%q has the element type %d", info.Name, number)
			}
			info.DataType = ort.TensorElementDataType(number)
		case 2: // shape
			return body.each(func(field int, _ uint64, body message) error {
				if field != 1 { // TensorShapeProto.dim
					return nil
				}
				dim := int64(-1)
				err := body.each(func(field int, number uint64, _ message) error {
					if field == 1 { // dim_value
						dim = int64(number)
					}
					return nil
				})
				info.Dimensions = append(info.Dimensions, dim)
				return err
			})
		}
		return nil
	})
}

// message is an encoded protobuf message.
type message []byte

var errHeader = errors.New("this is no ONNX model, or a damaged one")

// each calls f with every field: its number, its value when that is a number,
// its bytes when it has some.
func (m message) each(f func(field int, number uint64, body message) error) error {
	for len(m) > 0 {
		tag, n := binary.Uvarint(m)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29 {
			return errHeader
		}
		m = m[n:]
		var number uint64
		var body message
		size := 0
		switch tag & 7 {
		case 0: // varint
			if number, size = binary.Uvarint(m); size <= 0 {
				return errHeader
			}
		case 1: // 64 bits
			size = 8
		case 2: // length and bytes
			length, n := binary.Uvarint(m)
			if n <= 0 || length > uint64(len(m)-n) {
				return errHeader
			}
			size = n + int(length)
			body = m[n:size]
		case 5: // 32 bits
			size = 4
		default:
			return errHeader
		}
		if size > len(m) {
			return errHeader
		}
		if err := f(int(tag>>3), number, body); err != nil {
			return err
		}
		m = m[size:]
	}
	return nil
}

// sub is the body of a field; empty when it is not there.
func (m message) sub(wanted int) (message, error) {
	var found message
	err := m.each(func(field int, _ uint64, body message) error {
		if field == wanted {
			found = body
		}
		return nil
	})
	return found, err
}
