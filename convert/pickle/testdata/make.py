# Writes tensors of many layouts with torch.save in both of its formats, and their values as expected.safetensors.
# usage: python make.py     (torch 2.6, safetensors)
import collections
import torch
from safetensors.torch import save_file

g = torch.Generator().manual_seed(3)
def r(*shape):
    return torch.randn(*shape, generator=g)

base = r(6, 10)
cube = r(2, 3, 4, 5).half()
sd = collections.OrderedDict()
sd["plain.weight"] = r(3, 4)
sd["z.first"] = r(5).double()
sd["a.bf16"] = r(4, 6).bfloat16()
sd["transposed"] = base.t()
sd["sliced.rows"] = base[1:4]
sd["sliced.columns"] = base[:, 2:7]
sd["every.third"] = base[:, ::3]
sd["every.second.row"] = base[::2]
sd["permuted"] = cube.permute(3, 1, 0, 2)
sd["permuted.last.stays"] = cube.permute(1, 0, 2, 3)
sd["permuted.slice"] = cube.permute(3, 1, 0, 2)[1:4, :, 1]
sd["expanded"] = r(3, 1).expand(3, 4)
sd["expanded.rows"] = r(4).expand(3, 4)
sd["diagonal"] = base.diagonal()
sd["one"] = base[2:3, 4:5]
sd["ones.inside"] = r(3, 1, 4, 1).transpose(0, 2)
sd["scalar"] = torch.tensor(1.5)
sd["scalar.of.base"] = base[3, 3]
sd["empty"] = torch.zeros(0, 4)
sd["parameter"] = torch.nn.Parameter(r(2, 2))
sd["frozen"] = torch.nn.Parameter(r(2, 2), requires_grad=False)
for name in ("int64", "int32", "int16", "int8", "uint8"):
    sd["t." + name] = torch.arange(-3, 9).to(getattr(torch, name)).reshape(3, 4)
sd["t.bool"] = r(3, 4) > 0
sd["long.gaps"] = torch.arange(18000, dtype=torch.int32)[::997]
sd["step"] = 7
sd["config"] = {"a": [1, 2.5, None, True, (1, 2)], "b": "text", "size": torch.Size([1, 2])}
torch.save(sd, "legacy.bin", _use_new_zipfile_serialization=False)
for name in ("float8_e4m3fn", "float8_e5m2", "uint16", "uint32", "uint64"):  # over untyped storages, ZIP only
    sd["t." + name] = r(2, 3).abs().to(getattr(torch, name)).t()
torch.save(sd, "zip.bin")
torch.save(r(2, 2), "tensor.bin")
torch.save(torch.nn.Linear(2, 2), "module.bin")
save_file({k: v.detach().contiguous().clone() for k, v in sd.items() if isinstance(v, torch.Tensor)}, "expected.safetensors")
