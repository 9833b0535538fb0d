# Writes reference.gguf with llama.cpp's gguf-py: every kind of metadata value, tensors of several types and ranks.
# usage: PYTHONPATH=llama.cpp/gguf-py python reference.py
import numpy as np
import gguf
from gguf.constants import GGUFValueType as T

w = gguf.GGUFWriter("reference.gguf", "quern")
for name, value, kind in [
    ("u8", 200, T.UINT8), ("i8", -100, T.INT8), ("u16", 60000, T.UINT16), ("i16", -30000, T.INT16),
    ("u32", 4000000000, T.UINT32), ("i32", -2000000000, T.INT32), ("f32", 0.1, T.FLOAT32), ("bool", True, T.BOOL),
    ("str", "grüße\0nul", T.STRING), ("u64", 2**64 - 1, T.UINT64), ("i64", -2**63, T.INT64), ("f64", 0.1, T.FLOAT64),
]:
    w.add_key_value("t." + name, value, kind)
for name, values, kind in [
    ("u8", [0, 255], T.UINT8), ("i8", [-128, 127], T.INT8), ("u16", [0, 65535], T.UINT16), ("i16", [-32768], T.INT16),
    ("u32", [1, 2, 2**32 - 1], T.UINT32), ("f32", [1.5, float("inf")], T.FLOAT32), ("bool", [True, False], T.BOOL),
    ("u64", [2**64 - 1], T.UINT64), ("i64", [-1], T.INT64), ("f64", [1e300], T.FLOAT64),
]:
    w.add_key_value("a." + name, values, T.ARRAY, sub_type=kind)
w.add_array("a.i32", [1, -2, 3])
w.add_array("a.str", ["a", "", "ü"])
w.add_array("a.nested", [[1, 2], [3], [4, 5, 6]])
w.add_array("a.texts", [["x"], ["y", "z"]])
r = np.random.default_rng(1)
w.add_tensor("one.weight", r.standard_normal(5).astype(np.float32))
w.add_tensor("two.weight", r.standard_normal((3, 7)).astype(np.float16))
w.add_tensor("ids", np.arange(6, dtype=np.int64).reshape(1, 2, 3))
w.add_tensor("q.weight", gguf.quantize(r.standard_normal((2, 64)).astype(np.float32), gguf.GGMLQuantizationType.Q8_0), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
w.add_tensor("four", np.zeros((1, 2, 1, 3), dtype=np.int8))
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
