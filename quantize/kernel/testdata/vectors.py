# Writes vectors.bin with llama.cpp's gguf-py and, where libggml-base.so is given, checks that ggml's own kernels
# give the same Q8_0, TQ1_0 and TQ2_0 bits. For each type: blocks of float32, their quantized bytes, the values of these.
# usage: PYTHONPATH=llama.cpp/gguf-py python vectors.py [libggml-base.so]
import ctypes, sys
import numpy as np
import gguf

r = np.random.default_rng(7)
def rows(n):
    x = [r.standard_normal((n, 256)), r.uniform(-1, 1, (n, 256)) * 1e-3, r.standard_normal((n, 256)) * 1e4,
         r.integers(-1, 2, (n, 256)) * 0.75, r.standard_cauchy((n, 256)), np.zeros((1, 256)), np.full((1, 256), -0.0)]
    for scale in (1e-38, 1e-40, 1e-45, 65504 * 127, 3e38):                      # scales that underflow or overflow a half, and 1/d
        x.append(r.uniform(-1, 1, (1, 256)) * scale)
    halves = np.tile(np.arange(-128, 128) / 2, (1, 1)) + 0.0                    # ties: 127/127 is the scale
    halves[0, 0] = 127
    x.append(halves)
    x.append(np.nextafter(halves.astype(np.float32), np.float32(0)))
    return np.concatenate(x).astype(np.float32)

T = gguf.GGMLQuantizationType
ggml = ctypes.CDLL(sys.argv[1]) if len(sys.argv) > 1 else None
with open("vectors.bin", "wb") as f:
    for t, n in ((T.Q8_0, 3), (T.TQ1_0, 3), (T.TQ2_0, 3)):
        x = rows(n)
        q = gguf.quantize(x, t)
        d = gguf.dequantize(q, t)
        f.write(np.array([t, x.size], dtype="<u4").tobytes() + x.tobytes() + q.tobytes() + d.tobytes())
        if ggml:
            big = np.concatenate([x, rows(4000)])
            want = gguf.quantize(big, t)
            got = np.zeros_like(want)
            ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
            ggml.ggml_quantize_chunk(int(t), big.ctypes.data_as(ctypes.c_void_p), got.ctypes.data_as(ctypes.c_void_p),
                                     ctypes.c_int64(0), ctypes.c_int64(big.shape[0]), ctypes.c_int64(256), None)
            bad = (want != got).any(axis=1)
            print(t.name, "rows", len(big), "differ from ggml in", int(bad.sum()), "max |x|", np.abs(big[bad]).max(axis=1)[:5])
