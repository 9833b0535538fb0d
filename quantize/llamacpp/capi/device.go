package capi

import "unsafe"

// Device is a ggml_backend_dev_t; 0 is none.
type Device uintptr

// Registry is a ggml_backend_reg_t, the backend that a device belongs to.
type Registry uintptr

// DeviceKind is enum ggml_backend_dev_type.
type DeviceKind int32

// Kinds of devices.
const (
	DeviceCPU DeviceKind = iota
	DeviceGPU
	DeviceIGPU
	DeviceAccel
	DeviceMeta
)

// devices are the functions of ggml's device registry.
type devices struct {
	LoadBackends     func()                                `c:"ggml_backend_load_all"`
	LoadBackendsFrom func(dir string)                      `c:"ggml_backend_load_all_from_path"`
	DeviceCount      func() uint64                         `c:"ggml_backend_dev_count"`
	DeviceAt         func(i uint64) Device                 `c:"ggml_backend_dev_get"`
	DeviceOf         func(DeviceKind) Device               `c:"ggml_backend_dev_by_type"`
	DeviceName       func(Device) string                   `c:"ggml_backend_dev_name"`
	DeviceText       func(Device) string                   `c:"ggml_backend_dev_description"`
	DeviceKind       func(Device) DeviceKind               `c:"ggml_backend_dev_type"`
	DeviceMemory     func(d Device, free, total *uint64)   `c:"ggml_backend_dev_memory"`
	RegistryOf       func(Device) Registry                 `c:"ggml_backend_dev_backend_reg"`
	RegistryName     func(Registry) string                 `c:"ggml_backend_reg_name"`
	procAddress      func(r Registry, name string) uintptr `c:"ggml_backend_reg_get_proc_address"`
}

// tensors are the functions of a running graph's tensors.
type tensors struct {
	TensorBytes  func(tensor unsafe.Pointer) uint64                         `c:"ggml_nbytes"`
	ReadTensor   func(tensor unsafe.Pointer, to *byte, offset, size uint64) `c:"ggml_backend_tensor_get"`
	BufferIsHost func(buffer uintptr) bool                                  `c:"ggml_backend_buffer_is_host"`
}
