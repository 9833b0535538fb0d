"""Answers for the tests that compare with the Hugging Face library: one JSON request a line, one JSON answer a line.

    {"load": tokenizer.json as text}   -> null, or {"error": ...}
    {"auto": folder}                   -> the class's name; AutoTokenizer makes the tokenizer
    {"spm": model in base64}           -> null, or {"error": ...}; sentencepiece loads it
    {"pieces": [texts]}                -> [ids, ...] by sentencepiece
    {"words": [texts]}                 -> [[words of the normalized text], ...]
    {"encode": [texts]}                -> [[ids, ids with special tokens, text decoded from them], ...]; an error is its text
"""
import json, os, sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer

out = os.fdopen(os.dup(1), "w")  # the library prints to standard output and error
for fd in (1, 2): os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
tok = None

def words(text):
    if tok.normalizer: text = tok.normalizer.normalize_str(text)
    return [w for w, _ in tok.pre_tokenizer.pre_tokenize_str(text)] if tok.pre_tokenizer else [text]

def encode(text):
    got = []
    for special in (False, True):
        try: got.append(tok.encode(text, add_special_tokens=special).ids)
        except BaseException as e: got.append(str(e) or type(e).__name__)
    try: got.append(tok.decode(got[1], skip_special_tokens=False) if isinstance(got[1], list) else None)
    except BaseException as e: got.append(None)
    return got

for line in sys.stdin:
    q = json.loads(line)
    try:
        if "load" in q:
            tok = Tokenizer.from_str(q["load"])
            tok.no_truncation()
            tok.no_padding()
            a = None
        elif "auto" in q:
            from transformers import AutoTokenizer
            hf = AutoTokenizer.from_pretrained(q["auto"])
            tok, a = hf._tokenizer, type(hf).__name__
            tok.no_truncation()
            tok.no_padding()
        elif "spm" in q:
            import base64, sentencepiece
            spm, a = sentencepiece.SentencePieceProcessor(), None
            spm.LoadFromSerializedProto(base64.b64decode(q["spm"]))
        elif "pieces" in q: a = [spm.EncodeAsIds(t) for t in q["pieces"]]
        elif "words" in q: a = [words(t) for t in q["words"]]
        else: a = [encode(t) for t in q["encode"]]
    except BaseException as e: a = {"error": str(e) or type(e).__name__}
    out.write(json.dumps(a) + "\n")
    out.flush()
