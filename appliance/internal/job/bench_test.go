package job

import (
	"context"
	"testing"
)

// BenchmarkReader reads a log of 100 000 lines from its start.
func BenchmarkReader(b *testing.B) {
	const lines = 100_000
	dir, ends := logOf(b, lines)
	book := newLogbook(dir)
	book.commit(lines, ends[lines])
	b.SetBytes(ends[lines])
	b.ReportAllocs()
	for b.Loop() {
		r := readerOf(book, 1)
		n := 0
		for {
			_, ok, err := r.Next(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			if !ok {
				break
			}
			n++
		}
		if n != lines {
			b.Fatal(n)
		}
	}
}

// BenchmarkPage reads a page of 100 lines at the end of that log, as a client does
// that asks again and again.
func BenchmarkPage(b *testing.B) {
	const lines = 100_000
	dir, ends := logOf(b, lines)
	book := newLogbook(dir)
	for n := uint64(64); n <= lines; n += 64 {
		book.commit(n, ends[n])
	}
	book.commit(lines, ends[lines])
	b.ReportAllocs()
	for b.Loop() {
		r := readerOf(book, lines-99)
		n := 0
		for {
			_, ok, err := r.Next(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			if !ok {
				break
			}
			n++
		}
		if n != 100 {
			b.Fatal(n)
		}
	}
}
