"""Random small files and what llama.cpp v0.5.0's gguf-py reads in them: specials.json, packed as specials.tar.zst.

  python specials.py GGUF_PY_FOLDER COUNT SEED > specials.json
"""
import json
import logging
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import gguf  # noqa: E402

TEXTS = ["<s>", "</s>", "<sep>", "<pad>", "<cls>", "<x>", ""]
KINDS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask", "eot")


def often(p):
    return random.random() < p


def text():
    return random.choice(TEXTS)


def special(p=0.0):
    return {"SpecialToken": {"id": text()}} if not often(p) else {"Sequence": {"id": random.choice("AAABBC")}}


def named():
    return random.choices([text(), {"content": text(), "special": True}, None, {"content": 3}, 5], (12, 4, 1, 1, 1))[0]


def template():
    if often(0.4):
        single, pair = [special(0.5) for _ in range(random.randint(0, 4))], [special(0.5) for _ in range(random.randint(0, 6))]
    else:
        single = [special()] * random.randint(0, 1) + [{"Sequence": {"id": "A"}}] + [special()] * random.randint(0, 1)
        middle = [special() for _ in range(random.randint(0, 3))]
        framed = len(single) > 1 and often(0.8)
        pair = single[:framed] + [{"Sequence": {"id": "A"}}] + middle + [{"Sequence": {"id": "B"}}] + single[len(single) - framed:]
    return {"type": "TemplateProcessing", "single": single, "pair": pair}


def processor():
    return random.choices([template(), {"type": "RobertaProcessing", "cls": [text(), 1], "sep": [text(), 2]}, {"type": "ByteLevel"}], (3, 1, 1))[0]


def normalizer(depth=0):
    bert = {"type": "BertNormalizer", **{k: random.choice([True, False, None]) for k in ("lowercase", "strip_accents") if often(0.7)}}
    nested = {"type": "Sequence", "normalizers": [normalizer(depth + 1) for _ in range(random.randint(0, 3))]} if depth < 3 else {"type": "NFC"}
    return random.choice([{"type": "Lowercase"}, {"type": "StripAccents"}, bert, nested])


def chat():
    several = [{k: random.choice(v) for k, v in (("name", ["default", "rag", "tool use", "\u00e9", ""]), ("template", ["x", "", "y"])) if often(0.9)}
               for _ in range(random.randint(0, 2))]
    return random.choice(["T", "", None, {"a": "b"}, several, several])


def files():
    out = {}
    if often(0.85):
        t = {"added_tokens": [{"id": random.randint(0, 30), "content": c} for c in random.choices(TEXTS[:-1], k=random.randint(0, 6))], "model": {}}
        if often(0.8):
            t["model"]["merges"] = random.choice([[], ["a b", "c d"], [["a", "b"], ["c d", "e"]], [["x", "y"]]])
        if often(0.8):
            t["post_processor"] = processor() if often(0.6) else {"type": "Sequence", "processors": [processor() for _ in range(random.randint(0, 3))]}
        if often(0.6):
            t["normalizer"] = normalizer()
        out["tokenizer.json"] = json.dumps(t)
    if often(0.85):
        c = {k + "_token": named() for k in KINDS if often(0.5)}
        c |= {"add_" + k + "_token": random.choice([True, False, None, 1]) for k in KINDS if often(0.2)}
        if often(0.4):
            c["chat_template"] = chat()
        out["tokenizer_config.json"] = json.dumps(c)
    if often(0.3):
        out["chat_template.jinja"] = "J\r\nx\ry"
    if often(0.3):
        out["chat_template.json"] = json.dumps({"chat_template": chat()})
    if often(0.3):
        out["additional_chat_templates/rag.jinja"] = "R"
    if often(0.4):
        out["merges.txt"] = random.choice(["#version: 1\na b\n", "a b\nc d\n", "x\n\n a  b \nb c d\n"])
    if often(0.8):
        g = {k + "_token_id": random.choice([0, 1, 5, 29, 31, None, [1, 2], 2.0, "3", 99]) for k in KINDS if often(0.4)}
        if often(0.3):
            g["text_config"] = {random.choice(["bos", "eos", "pad"]) + "_token_id": random.randint(0, 40)}
        out["config.json"] = json.dumps(g)
    return out


def read(row):
    with tempfile.TemporaryDirectory() as d:
        for name, data in row["files"].items():
            p = Path(d) / name
            p.parent.mkdir(exist_ok=True)
            p.write_bytes(data.encode())
        writer = gguf.GGUFWriter("/dev/null", "llama")
        gguf.SpecialVocab(d, load_merges=row["merges"], special_token_types=row["types"], n_vocab=row["n"] or None).add_to_gguf(writer, quiet=True)
        return [[k, v.value] for k, v in writer.kv_data[0].items() if k.startswith("tokenizer")]


logging.disable(logging.CRITICAL)
random.seed(int(sys.argv[3]))
rows = []
for _ in range(int(sys.argv[2])):
    row = {"files": files(), "merges": often(0.6), "n": random.choice([0, 0, 30]),
           "types": random.choice([None, None, None, ["prefix", "suffix", "middle", "eot"], ["bos", "eos", "eot"]])}
    rows.append({**row, "want": read(row)})
json.dump(rows, sys.stdout)
