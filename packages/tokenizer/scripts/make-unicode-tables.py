"""Write src/unicode/tables.ts: the Unicode facts that the Rust library `tokenizers` uses, asked from the library itself.

    pip install tokenizers==0.23.3 && python scripts/make-unicode-tables.py > src/unicode/tables.ts

Each part of that library froze another Unicode version (its regexes 16, BERT's punctuation and accents much older ones),
and JavaScript engines differ among themselves, so the tables are data, not `\\p{…}` of whatever engine runs.
"""
import unicodedata
from tokenizers import Regex, normalizers, pre_tokenizers

POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
ALL = "".join(map(chr, POINTS))
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co Cn Cs".split()
CODES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ!*+-"


def base36(n):
    digits = ""
    while True:
        n, d = divmod(n, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[d] + digits
        if not n:
            return digits


def runs(values):
    """Run lengths (left out where 1) and a code each: 1a,A -> '1aA'."""
    out, i = [], 0
    while i < len(values):
        j = i
        while j < len(values) and values[j] == values[i]:
            j += 1
        out.append(("" if j - i == 1 else base36(j - i)) + values[i])
        i = j
    return "".join(out)


def ranges(points):
    """Gap since the last end and length - 1, in base 36, joined by spaces; `gap` alone where the length is 1."""
    out, end, i, points = [], 0, 0, sorted(points)
    while i < len(points):
        j = i
        while j + 1 < len(points) and points[j + 1] == points[j] + 1:
            j += 1
        out.append(base36(points[i] - end) + ("" if i == j else "," + base36(j - i)))
        end = points[j] + 1
        i = j + 1
    return " ".join(out)


def matched(pattern):
    kept = set(normalizers.Replace(Regex(pattern), "").normalize_str(ALL))
    return {c for c in POINTS if chr(c) not in kept}


def vanish(normalizer, before=""):
    return {c for c in POINTS if normalizer.normalize_str(before + chr(c)) == before}


category = ["-"] * 0x110000
for name, code in zip(CATEGORIES, CODES):
    if name != "Cs":
        for c in matched(r"\p{%s}" % name):
            category[c] = code
in_category = lambda *names: {c for c in POINTS if CATEGORIES[CODES.index(category[c])] in names}

word = in_category("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "Pc")
split_words = pre_tokenizers.Whitespace()
rust_word = {c for c in POINTS if [o for _, o in split_words.pre_tokenize_str("a" + chr(c))] == [(0, 2)]}
digits = pre_tokenizers.Digits(True)
numeric = {c for c in POINTS if len(digits.pre_tokenize_str("a" + chr(c) + "a")) == 3}
bert_split = pre_tokenizers.BertPreTokenizer()
bert = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
nfd, nfkd = normalizers.NFD(), normalizers.NFKD()
inert = {c for c in POINTS if nfkd.normalize_str(chr(c)) == chr(c) != unicodedata.normalize("NFKD", chr(c))}
# newer than this Python's own tables: decomposed by newer engines, not by the library
inert |= set([0x105C9, 0x105E4, 0x11383, 0x11385, 0x1138E, 0x11391, 0x113C5, 0x113C7, 0x113C8, *range(0x16121, 0x16129), *range(0x16D68, 0x16D6B)])
inert |= {*range(0x1CCD6, 0x1CCFA), *range(0x1E030, 0x1E06E), *range(0xA7F1, 0xA7F5)}
reordered = {c for c in POINTS if unicodedata.combining(chr(c)) and nfd.normalize_str("a\u0345" + chr(c)) != "a\u0345" + chr(c)} | {0x345}
classes = {}
for c in reordered:
    classes.setdefault(unicodedata.combining(chr(c)), []).append(c)

tables = {
    "GENERAL_CATEGORY": ("general category of every code point, Unicode 16, as run lengths; codes " + " ".join(a + b for a, b in zip(CODES, CATEGORIES)), runs(category)),
    "WORD_EXTRA": ("what `\\w` of the regex engine has beyond L, M, Nd, Nl and Pc", ranges(matched(r"\w") - word)),
    "WORD_EXTRA_IN_CLASS": ("the same for `\\w` between brackets, which that engine takes for another set", ranges(matched(r"[\w]") - word)),
    "WORD_EXTRA_PLAIN": ("the same for `\\w` of the Whitespace pre-tokenizer and of added tokens", ranges(rust_word - word)),
    "NUMERIC": ("what Digits splits: all of N, two blocks newer than the regexes", ranges(numeric)),
    "OLD_PUNCTUATION": ("punctuation of BertPreTokenizer and Punctuation, ASCII symbols included", ranges(c for c in POINTS if len(bert_split.pre_tokenize_str("a" + chr(c) + "a")) == 3)),
    "BERT_REMOVED": ("what BertNormalizer's clean_text removes", ranges(vanish(normalizers.BertNormalizer(**bert | {"clean_text": True}), "a"))),
    "BERT_ACCENTS": ("what BertNormalizer's strip_accents removes", ranges(vanish(normalizers.BertNormalizer(**bert | {"strip_accents": True})))),
    "ACCENTS": ("what StripAccents removes", ranges(vanish(normalizers.StripAccents()))),
    "INERT": ("decompositions that the library's normalisation tables do not have yet", ranges(inert)),
    "COMBINING": ("canonical combining class -> code points, where not 0", "|".join(f"{k}:{ranges(v)}" for k, v in sorted(classes.items()))),
}
print("// Made by scripts/make-unicode-tables.py; how the strings are packed is written there. Data only, read by ranges.ts.\n")
for name, (about, text) in tables.items():
    print(f"/** {about} */\nexport const {name} =\n  '{text}'\n")
