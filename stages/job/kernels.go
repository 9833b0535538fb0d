package job

import (
	"quern/convert/gguf"
	"quern/quantize/kernel"
	"quern/quantize/llamacpp"
)

// Quantizer gives the kernels of the run: the native one named by Kernel, beside llama.cpp's for what it does not write. With
// Kernel "llamacpp" it is the library alone. It fails if one of the types needs the library and that is not there.
func (s *State) Quantizer(types ...gguf.Type) (kernel.Quantizer, error) {
	if s.kernels == nil {
		open := func() (kernel.Quantizer, error) {
			rt, err := s.Runtime()
			if err != nil {
				return nil, err
			}
			return llamacpp.OpenKernels(rt)
		}
		if s.Kernel == LibraryKernel {
			k, err := open()
			if err != nil {
				return nil, err
			}
			s.kernels = k
			return k, nil
		}
		native, err := kernel.New(s.nativeKernel())
		if err != nil {
			return nil, err
		}
		s.kernels = kernel.NewPair(native, open)
	}
	if p, ok := s.kernels.(*kernel.Pair); ok {
		return p, p.Ready(types...)
	}
	return s.kernels, nil
}

// LibraryKernel is the name of llama.cpp's own kernels.
const LibraryKernel = "llamacpp"

func (s *State) nativeKernel() string {
	if s.Kernel == "" {
		return "auto"
	}
	return s.Kernel
}

// NeedsLibrary tells whether making the files needs llama.cpp's kernels: for types that the native ones do not write.
func (s *State) NeedsLibrary() bool {
	for _, a := range s.Files {
		if a.Copies != nil || a.Policy == nil {
			continue
		}
		for _, o := range a.Outputs() {
			if o.Type.Quantized() && (s.Kernel == LibraryKernel || !kernel.Go().Supports(o.Type)) {
				return true
			}
		}
	}
	return false
}
