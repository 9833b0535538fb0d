"""Records the answers of the cases mended-*: the reference's own code with the one fault out of the way that makes it fail.

  REFERENCE_DIR=... CASEGEN=... python mended.py run CASE_DIR...

CASEGEN is the folder of casegen.py, which records all other cases; it writes expected.<run>.json beside each case.json.
"""
import os
import sys

sys.path.insert(0, os.environ["CASEGEN"])
import casegen

load_plain = casegen.load_reference


def after_init(cls, do):
    plain = cls.__init__

    def init(self, *args, **kwargs):
        plain(self, *args, **kwargs)
        do(self)
    cls.__init__ = init


def baichuan(base, gguf):
    from conversion.baichuan import BaichuanModel

    def modify(self, data, name, bid):  # the base class names what is not W_pack
        if bid is None or not name.endswith(".W_pack.weight"):
            yield from base.modify_tensors(self, data, name, bid)
            return
        heads = self.hparams["num_attention_heads"]
        keys = self.hparams.get("num_key_value_heads", heads)
        for role, part in ((gguf.MODEL_TENSOR.ATTN_Q, self._reverse_hf_permute_part(data, 0, heads, heads)),
                           (gguf.MODEL_TENSOR.ATTN_K, self._reverse_hf_permute_part(data, 1, heads, keys)),
                           (gguf.MODEL_TENSOR.ATTN_V, self._reverse_hf_part(data, 2))):
            yield self.format_tensor_name(role, bid), part
    BaichuanModel.modify_tensors = modify


def stablelm(base):
    import torch
    from conversion.stablelm import StableLMModel
    plain, waiting = StableLMModel.modify_tensors, {}

    def modify(self, data, name, bid):  # the stacked norms are yielded
        for kind, count in (("q_layernorm", "num_attention_heads"), ("k_layernorm", "num_key_value_heads")):
            if f"{kind}.norms" in name:
                norms = waiting.setdefault((bid, kind), {})
                norms[int(name.split(".")[-2])] = data
                if len(norms) == self.hparams[count]:
                    stacked = torch.stack([norms[i] for i in range(len(norms))])
                    yield from base.modify_tensors(self, stacked, f"model.layers.{bid}.self_attn.{kind}.weight", bid)
                return
        yield from plain(self, data, name, bid)
    StableLMModel.modify_tensors = modify


def falcon():
    from conversion.falcon import FalconModel

    def one_head(self):
        if self.hparams.get("multi_query") and not self.hparams.get("new_decoder_architecture"):
            self.hparams["num_kv_heads"] = 1
    after_init(FalconModel, one_head)


def t5(base, gguf):
    import torch
    from conversion.t5 import T5Model

    def fill(self):
        self.own_layers = self.block_count
        self.block_count = max(self.own_layers, self.hparams.get("num_decoder_layers") or 0)
        self.tensor_map = gguf.get_tensor_name_map(self.model_arch, self.block_count)

    def tensors(self):
        first = []
        for name, data in base.get_tensors(self):
            if name.startswith("encoder.block.0.") and "relative" not in name:
                first.append((name, data))
            yield name, data
        if not hasattr(self, "own_layers"):
            return
        for name, data in first:
            for i in range(self.own_layers, self.block_count):
                yield name.replace("block.0.", f"block.{i}."), torch.zeros_like(data) if data.dim() > 1 else data
    after_init(T5Model, fill)
    T5Model.get_tensors = tensors


def labels(base):
    from conversion.base import ModelBase

    class ByText(dict):
        def __getitem__(self, key):
            return dict.__getitem__(self, str(key))
    plain = base.load_hparams

    def load(folder, is_mistral_format):
        hparams = plain(folder, is_mistral_format)
        if "0" in (hparams.get("id2label") or {}):
            hparams["id2label"] = ByText(hparams["id2label"])
        return hparams
    ModelBase.load_hparams = staticmethod(load)


def modern_bert():
    from conversion.bert import ModernBertModel
    plain = ModernBertModel.filter_tensors.__func__
    ModernBertModel.filter_tensors = classmethod(lambda cls, item: None if item[0].startswith("decoder.") else plain(cls, item))


def mpt():
    from conversion.mpt import MPTModel
    plain = MPTModel.modify_tensors

    def modify(self, data, name, bid):
        if "scales" in name:
            yield self.map_tensor_name(name, try_suffixes=(".weight", ".bias", ".scales")).replace("scales", "act.scales"), data
        else:
            yield from plain(self, data, name, bid)
    MPTModel.modify_tensors = modify


def llama():
    from conversion.llama import LlamaModel
    plain = LlamaModel.modify_tensors

    def modify(self, data, name, bid):
        if name == "rope_freqs.weight":
            yield name, data
        else:
            yield from plain(self, data, name, bid)
    LlamaModel.modify_tensors = modify


def mixtral():
    from conversion import mistral

    class Mixtral(mistral.MistralModel):  # the dense models' class knows the experts under their other names
        model_arch = mistral.MistralModel.model_arch

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.hparams["num_local_experts"] = self.hparams["moe"]["num_experts"]
            self.hparams["num_experts_per_tok"] = self.hparams["moe"]["num_experts_per_tok"]

        def modify_tensors(self, data, name, bid):
            if ".feed_forward.experts." in name:
                name = "model." + name.replace("feed_forward", "block_sparse_moe")
            yield from super().modify_tensors(data, name, bid)
    mistral.MistralMoeModel = Mixtral


def native_length():
    import json
    from conversion.base import ModelBase
    plain = ModelBase.load_hparams

    def load(folder, is_mistral_format):
        hparams = plain(folder, is_mistral_format)
        if is_mistral_format and "max_position_embeddings" not in hparams and not (hparams.get("moe") or {}).get("expert_hidden_dim"):
            beside, yarn = folder / "config.json", hparams.get("yarn") or {}
            length = hparams.get("max_seq_len")
            if length is None and beside.exists():
                length = json.loads(beside.read_text()).get("max_position_embeddings")
            if length is None and "original_max_position_embeddings" in yarn:
                length = int(yarn["original_max_position_embeddings"] * yarn.get("factor", 1))
            hparams["max_position_embeddings"] = 128000 if length is None else length
        return hparams
    ModelBase.load_hparams = staticmethod(load)


def omni():
    from conversion.qwen3vl import Qwen3OmniMmprojModel
    plain = Qwen3OmniMmprojModel.filter_tensors.__func__

    def named(cls, item):  # the rules behind it know the vision tower's names without the prefix
        name, make = item
        return plain(cls, (name.replace("thinker.visual.", "visual."), make))
    Qwen3OmniMmprojModel.filter_tensors = classmethod(named)


def load_mended():
    load_plain()
    import gguf
    from conversion.base import TextModel
    baichuan(TextModel, gguf)
    stablelm(TextModel)
    falcon()
    t5(TextModel, gguf)
    labels(TextModel)
    modern_bert()
    mpt()
    llama()
    mixtral()
    native_length()
    omni()


casegen.load_reference = load_mended
casegen.main()
