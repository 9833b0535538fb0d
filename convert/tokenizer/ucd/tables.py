"""Writes tables.bin.gz: what the Hugging Face `tokenizers` library takes each code point for.

    python tables.py UNICODE_PROPERTIES scripts.rs tables.bin.gz

Every table is measured by running tokenizers 0.22.2 over all code points, because its parts carry different versions
of Unicode. UNICODE_PROPERTIES is Oniguruma 6.9.10's list of property names; scripts.rs is the library's own script table.
"""
import gzip, re, struct, sys, unicodedata

import numpy
from tokenizers import Regex, Tokenizer, AddedToken, models, normalizers as N, pre_tokenizers as P

CPS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
ALL = "".join(map(chr, CPS))

def uv(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)

def text(s):
    b = s.encode()
    return uv(len(b)) + b

def ranges(mask):
    edges = numpy.flatnonzero(numpy.diff(mask.astype(numpy.int8), prepend=0, append=0))
    return edges.reshape(-1, 2)

def pack_set(mask):
    r, at = ranges(mask), 0
    b = bytearray(uv(len(r)))
    for lo, end in r.tolist():
        b += uv(lo - at) + uv(end - 1 - lo)
        at = end
    return bytes(b)

def removed(regex, hay=ALL):
    """The characters of hay that the regular expression matches, seen by removing them."""
    left = numpy.frombuffer(N.Replace(Regex(regex), "").normalize_str(hay).encode("utf-32-le"), dtype="<u4")
    mask = numpy.zeros(0x110000, dtype=bool)
    mask[numpy.frombuffer(hay.encode("utf-32-le"), dtype="<u4")] = True
    mask[left] = False
    return mask

def by_char(keep):
    mask = numpy.zeros(0x110000, dtype=bool)
    for c in CPS: mask[c] = keep(chr(c))
    return mask

sets, names = {}, {}
def add(name, mask):
    key = pack_set(mask)
    names[name] = sets.setdefault(key, len(sets))

def properties(path):
    for line in open(path):
        n = line.strip()
        if not re.fullmatch(r"[A-Za-z0-9_.=]+", n) or n.startswith("Age"): continue
        try: add("onig:" + re.sub(r"[ _-]", "", n).lower(), removed(r"\p{%s}" % n))
        except Exception as e: print(n, e)
    for n in "Alnum Alpha Blank Cntrl Digit Graph Lower Print Punct Space Upper XDigit Word ASCII".split():
        add("onig:posix" + n.lower(), removed("[[:%s:]]" % n.lower()))
        add("onig:" + n.lower(), removed(r"\p{%s}" % n))
    for n in "wdsh":  # alone and in a class: Oniguruma looks Latin-1 up in another table where \w stands alone
        add("onig:esc" + n, removed("\\" + n))
        add("onig:class" + n, removed("[\\" + n + "]"))

def library():
    ws, dig, pun = P.WhitespaceSplit(), P.Digits(individual_digits=True), P.Punctuation("isolated")
    word = P.Whitespace()
    add("rust:space", by_char(lambda c: not ws.pre_tokenize_str(c)))
    add("rust:numeric", by_char(lambda c: len(dig.pre_tokenize_str("a" + c)) == 2))
    add("rust:word", by_char(lambda c: [p for p, _ in word.pre_tokenize_str("a" + c)] == ["a" + c]))
    add("rust:regexspace", by_char(lambda c: not word.pre_tokenize_str(c)))
    add("old:punctuation", by_char(lambda c: len(pun.pre_tokenize_str("a" + c)) == 2))
    clean = N.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    add("bert:removed", by_char(lambda c: clean.normalize_str(c) == ""))
    add("bert:space", by_char(lambda c: clean.normalize_str(c) == " "))
    chinese = N.BertNormalizer(clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False)
    add("bert:chinese", by_char(lambda c: chinese.normalize_str(c) != c))
    acc = N.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    nfd = N.NFD()
    add("old:mn", by_char(lambda c: nfd.normalize_str(c) == c and acc.normalize_str(c) == ""))
    sa = N.StripAccents()
    add("norm:mark", by_char(lambda c: sa.normalize_str(c) == ""))
    strip = N.Strip()
    add("rust:strip", by_char(lambda c: strip.normalize_str(c) == ""))
    nmt = N.Nmt()
    add("nmt:removed", by_char(lambda c: nmt.normalize_str(c) == ""))
    add("nmt:space", by_char(lambda c: nmt.normalize_str(c) == " " and c != " "))

def charsmap(key, value):
    """A Precompiled normalizer of one rule, for one byte."""
    units = [0] * 1024
    units[0] = 0x100 << 10
    units[0x100 ^ key] = key | 1 << 8 | (0x100 ^ key ^ 0x300) << 10
    units[0x300] = 1 << 31
    return N.Precompiled(struct.pack("<I1024I", 4096, *units) + value + b"\0")

def clusters():
    """Where grapheme clusters end, seen through a rule that turns "a" into "X" and swallows what belongs to it."""
    a = charsmap(ord("a"), b"X")
    assert a.normalize_str("ab") == "Xb" and a.normalize_str("a\u0301b") == "Xb"
    add("gcb:joined", by_char(lambda c: a.normalize_str("a" + c) == "X"))
    add("gcb:prepend", by_char(lambda c: a.normalize_str(c + "a\u0301") == c + "X\u0301"))
    add("gcb:control", by_char(lambda c: N.Replace(Regex(r"\X"), "x").normalize_str(c + "\u0301") == "xx"))

def mapping(f):
    return {c: s for c in CPS if (s := f(chr(c))) != chr(c)}

def pack_map(m):
    b, at = bytearray(uv(len(m))), 0
    for c in sorted(m):
        v = [ord(x) for x in m[c]]
        b += uv(c - at) + uv(len(v))
        for x in v:  # zigzag from the code point itself: most images are near
            d = x - c
            b += uv(d << 1 if d >= 0 else (-d << 1) - 1)
        at = c
    return bytes(b)

def normal_forms():
    nfd, nfkd, nfc = N.NFD(), N.NFKD(), N.NFC()
    hangul = range(0xAC00, 0xD7A4)
    d = {c: s for c, s in mapping(nfd.normalize_str).items() if c not in hangul}
    k = {c: s for c, s in mapping(nfkd.normalize_str).items() if c not in hangul and s != d.get(c)}
    # The class of a mark shows in what it may not pass: rank every mark between others of known class.
    rep = {}
    plain = [c for c in CPS if c not in d and c not in hangul]
    for c in plain:
        if (v := unicodedata.combining(chr(c))) and v not in rep and nfd.normalize_str("a" + chr(c) + "\u0334") != "a" + chr(c) + "\u0334": rep[v] = chr(c)
    rep[1] = "\u0334"
    order = sorted(rep)
    ccc = {}
    for c in plain:
        ch = chr(c)
        if nfd.normalize_str(ch + "\u0334") != ch + "\u0334" or nfd.normalize_str("\u0301" + ch) != "\u0301" + ch:
            below = [v for v in order if nfd.normalize_str("a" + ch + rep[v]) != "a" + ch + rep[v]]
            above = [v for v in order if nfd.normalize_str("a" + rep[v] + ch) != "a" + rep[v] + ch]
            same = [v for v in order if v not in below and v not in above]
            assert len(same) == 1, (hex(c), below, above)
            ccc[c] = same[0]
    for c in plain:  # class 230: nothing that stays in place next to U+0301 distinguishes it from a starter but U+0345
        ch = chr(c)
        if c not in ccc and nfd.normalize_str("\u0345" + ch) != "\u0345" + ch: ccc[c] = 230
    comp = {}
    for c, s in d.items():
        if len(s) > 1 and nfc.normalize_str(s) == chr(c): comp[c] = nfc.normalize_str(s[:-1]) + s[-1]
    assert all(len(v) == 2 for v in comp.values()), [hex(c) for c, v in comp.items() if len(v) != 2]
    return {"nfd": pack_map(d), "nfkd": pack_map(k), "ccc": pack_map({c: chr(v) for c, v in ccc.items()}), "compose": pack_map(comp)}

def folds():
    """Oniguruma's case folding: equivalence classes of single characters, and strings that fold like one character."""
    cased = removed(r"\p{Cased}") | removed(r"\p{Changes_When_Casemapped}") | removed(r"\p{Changes_When_Casefolded}")
    hay = "".join(map(chr, numpy.flatnonzero(cased)))
    one = {}
    for c in hay:
        same = set(hay) - set(N.Replace(Regex("(?i:%s)" % c), "").normalize_str(hay)) - {c}
        if same: one[ord(c)] = "".join(sorted(same))
    many = {ord(c): c.casefold() for c in ALL if len(c.casefold()) > 1}
    for c, s in many.items():
        assert N.Replace(Regex("(?i:^%s$)" % s), "").normalize_str(chr(c)) == "", (hex(c), s)
    return {"fold": pack_map(one), "multifold": pack_map(many)}

def scripts(path):
    src = open(path).read()
    num, of = {"Any": 0}, {}
    for lo, hi, s in re.findall(r"0x([0-9A-F]+)(?:\.\.=0x([0-9A-F]+))? => Script::(\w+)", src):
        if s in ("Hiragana", "Katakana"): s = "Han"
        v = num.setdefault(s, len(num))
        for c in range(int(lo, 16), int(hi or lo, 16) + 1): of.setdefault(c, v)
    of[0x30FC], of[0x20] = num["Han"], 0
    runs, last = [], None
    for c in range(0x110000):
        v = of.get(c, 0)
        if v != last: runs.append([0, v]); last = v
        runs[-1][0] += 1
    return {"scripts": uv(len(runs)) + b"".join(uv(n) + uv(v) for n, v in runs)}

properties(sys.argv[1])
print("properties", len(names), "sets", len(sets), flush=True)
library()
clusters()
print("library", len(sets), flush=True)
maps = {"lower": pack_map(mapping(N.Lowercase().normalize_str))}
maps |= normal_forms()
print("normal forms", flush=True)
maps |= folds() | scripts(sys.argv[2])
out = uv(len(sets)) + b"".join(sets)
out += uv(len(names)) + b"".join(text(n) + uv(i) for n, i in sorted(names.items()))
out += uv(len(maps)) + b"".join(text(n) + uv(len(b)) + b for n, b in sorted(maps.items()))
with open(sys.argv[3], "wb") as f: f.write(gzip.compress(out, 9, mtime=0))
print(len(out), {n: len(b) for n, b in maps.items()})
