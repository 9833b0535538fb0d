"""Answers for the tests that compare with the Hugging Face library: one JSON request a line, one JSON answer a line.

    {"load": tokenizer.json as text}   -> null, or {"error": ...}
    {"words": [texts]}                 -> [[words of the normalized text], ...]
    {"encode": [texts]}                -> [[ids, ids with special tokens, text decoded from them], ...]; an error is its text
"""
import json, os, sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer

sys.stderr = open(os.devnull, "w")
tok = None

def words(text):
    if tok.normalizer: text = tok.normalizer.normalize_str(text)
    return [w for w, _ in tok.pre_tokenizer.pre_tokenize_str(text)] if tok.pre_tokenizer else [text]

def encode(text):
    out = []
    for special in (False, True):
        try: out.append(tok.encode(text, add_special_tokens=special).ids)
        except BaseException as e: out.append(str(e) or type(e).__name__)
    try: out.append(tok.decode(out[1], skip_special_tokens=False) if isinstance(out[1], list) else None)
    except BaseException as e: out.append(None)
    return out

for line in sys.stdin:
    q = json.loads(line)
    try:
        if "load" in q:
            tok = Tokenizer.from_str(q["load"])
            tok.no_truncation()
            tok.no_padding()
            a = None
        elif "words" in q: a = [words(t) for t in q["words"]]
        else: a = [encode(t) for t in q["encode"]]
    except BaseException as e: a = {"error": str(e) or type(e).__name__}
    sys.stdout.write(json.dumps(a) + "\n")
    sys.stdout.flush()
