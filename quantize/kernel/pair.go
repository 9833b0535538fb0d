package kernel

import (
	"strings"
	"sync"
	"sync/atomic"

	"quern/convert/gguf"
)

// Pair quantizes with a native kernel what that writes, and with a library the rest. The library is opened when first needed.
type Pair struct {
	native *Native
	open   func() (Quantizer, error)

	once    sync.Once
	library Quantizer
	err     error

	byNative, byLibrary atomic.Bool // who has written something
}

// NewPair joins a native kernel with the library that open gives; open is called at most once.
func NewPair(native *Native, open func() (Quantizer, error)) *Pair {
	return &Pair{native: native, open: open}
}

// Ready opens the library if one of the types needs it, and tells why it cannot be opened.
func (p *Pair) Ready(types ...gguf.Type) error {
	for _, t := range types {
		if !p.native.Supports(t) {
			_, err := p.opened()
			return err
		}
	}
	return nil
}

func (p *Pair) opened() (Quantizer, error) {
	p.once.Do(func() { p.library, p.err = p.open() })
	return p.library, p.err
}

// Name names who wrote: "avx2", "llamacpp", or "avx2+llamacpp"; the native kernel before anything was written.
func (p *Pair) Name() string {
	var names []string
	if p.byNative.Load() || !p.byLibrary.Load() {
		name := p.native.Name()
		for _, t := range p.Unsound() {
			name += " (" + t.String() + ": go)"
		}
		names = append(names, name)
	}
	if p.byLibrary.Load() {
		names = append(names, p.library.Name())
	}
	return strings.Join(names, "+")
}

// Supports is true for what either of the two writes.
func (p *Pair) Supports(t gguf.Type) bool {
	if p.native.Supports(t) {
		return true
	}
	l, err := p.opened()
	return err == nil && l.Supports(t)
}

// Quantize writes rows of rowLen values as blocks.
func (p *Pair) Quantize(dst []byte, src []float32, t gguf.Type, rowLen int, importance []float32) error {
	if p.native.Supports(t) {
		p.byNative.Store(true)
		return p.native.Quantize(dst, src, t, rowLen, importance)
	}
	l, err := p.opened()
	if err != nil {
		return err
	}
	p.byLibrary.Store(true)
	return l.Quantize(dst, src, t, rowLen, importance)
}

// Dequantize widens whole blocks.
func (p *Pair) Dequantize(dst []float32, src []byte, t gguf.Type) error {
	if widen[t] != nil {
		return p.native.Dequantize(dst, src, t)
	}
	l, err := p.opened()
	if err != nil {
		return err
	}
	return l.Dequantize(dst, src, t)
}

// Native is the name of the native kernel.
func (p *Pair) Native() string { return p.native.Name() }

// Unsound are the types that the native kernel's scalar code wrote, because the vector code failed its self-test.
func (p *Pair) Unsound() []gguf.Type { return p.native.Unsound() }
