// Package capi is the part of llama.cpp v0.5.0's C interface that quern calls, bound without cgo: functions as fields
// of Library, structures as C lays them out. Declarations follow llama.h, ggml.h, ggml-backend.h and mtmd.h of that
// release, and of no other: ask llama_version before Open.
//
// purego alone stands below. A binding over libffi would end the whole program at its start, before any error can be
// handled, on a system that lacks that library; here nothing is looked for until Open.
package capi

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Library is a loaded libllama with the ggml libraries that it brings. Its functions may be called from one thread.
type Library struct {
	models
	vocabularies
	contexts
	devices
	adapters
	threads
	tensors
}

// Open loads libllama at path. The functions of the ggml libraries are found through it: a lookup in a library goes on
// in those that it was linked with. The error names the first function that is missing.
func Open(path string) (*Library, error) {
	l := new(Library)
	if err := bind(path, &l.models, &l.vocabularies, &l.contexts, &l.devices, &l.adapters, &l.threads, &l.tensors); err != nil {
		return nil, err
	}
	return l, nil
}

// bind sets every field of the given structures to the C function that its tag names. A library stays loaded: ggml
// keeps tables and threads that outlive any owner.
func bind(path string, groups ...any) error {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return err
	}
	for _, g := range groups {
		fields := reflect.ValueOf(g).Elem()
		for i := range fields.NumField() {
			field := fields.Field(i)
			name := fields.Type().Field(i).Tag.Get("c")
			at, err := purego.Dlsym(handle, name)
			if err != nil {
				return fmt.Errorf("there is no %s: %w", name, err)
			}
			// NewAt: reflection hands out the address of an unexported field in no other way.
			purego.RegisterFunc(reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Interface(), at)
		}
	}
	return nil
}

// filled lets a C function that works like snprintf write a string: it returns the length without the final NUL, or a
// negative number for none.
func filled(write func(buf *byte, size uint64) int32) (string, bool) {
	buf := make([]byte, 256)
	for {
		n := write(&buf[0], uint64(len(buf)))
		switch {
		case n < 0 || n > maxText:
			return "", false
		case int(n) < len(buf):
			return string(buf[:n]), true
		}
		buf = make([]byte, n+1)
	}
}

// maxText bounds a string that llama.cpp returns, in bytes.
const maxText = 1 << 26
