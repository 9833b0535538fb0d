package capi

import "github.com/ebitengine/purego"

// ThreadPool is a persistent pool of ggml threads. Without one the CPU backend starts its threads anew for every
// graph, which costs several-fold on small models.
type ThreadPool struct {
	handle uintptr
	free   func(uintptr)
}

// threadParams is more than sizeof(struct ggml_threadpool_params): 512 flags and five small fields (ggml.h).
type threadParams [1024]byte

// threads are the functions of thread pools; those of the pool itself belong to the CPU backend.
type threads struct {
	attach           func(c Context, pool, batch uintptr) `c:"llama_attach_threadpool"`
	DetachThreads    func(Context)                        `c:"llama_detach_threadpool"`
	initThreadParams func(p *threadParams, n int32)       `c:"ggml_threadpool_params_init"`
}

// NewThreadPool makes a pool of n threads, or an empty one where the CPU backend has no such function.
func (l *Library) NewThreadPool(n int) ThreadPool {
	cpu := l.RegistryOf(l.DeviceOf(DeviceCPU))
	create, free := l.procAddress(cpu, "ggml_threadpool_new"), l.procAddress(cpu, "ggml_threadpool_free")
	if create == 0 || free == 0 {
		return ThreadPool{}
	}
	var start func(*threadParams) uintptr
	var p ThreadPool
	purego.RegisterFunc(&start, create)
	purego.RegisterFunc(&p.free, free)
	params := new(threadParams)
	l.initThreadParams(params, int32(n))
	p.handle = start(params)
	return p
}

// AttachThreads makes a context compute on a pool; an empty pool leaves it as it is.
func (l *Library) AttachThreads(c Context, p ThreadPool) {
	if p.handle != 0 {
		l.attach(c, p.handle, 0)
	}
}

// Close joins the pool's threads. A context that still has the pool must be freed or detached before.
func (p ThreadPool) Close() {
	if p.handle != 0 {
		p.free(p.handle)
	}
}
