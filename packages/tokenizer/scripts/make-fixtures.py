"""Write test/fixtures/*.json: what the Rust library `tokenizers` gives for small tokenizers and nasty texts.

    pip install tokenizers==0.23.3 && python scripts/make-fixtures.py

Offsets are written as UTF-16 units (`offsets`) and code points (`points`), flat.
"""
import json, random
from pathlib import Path
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

OUT = Path(__file__).resolve().parent.parent / "test" / "fixtures"
PROSE = """Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do:
once or twice she had peeped into the book her sister was reading, but it had no pictures or conversations in it,
"and what is the use of a book," thought Alice, "without pictures or conversations?" So she was considering in her own mind
(as well as she could, for the hot day made her feel very sleepy and stupid), whether the pleasure of making a daisy-chain
would be worth the trouble of getting up and picking the daisies, when suddenly a White Rabbit with pink eyes ran close by her.
There was nothing so very remarkable in that; nor did Alice think it so very much out of the way to hear the Rabbit say to
itself, "Oh dear! Oh dear! I shall be late!" (when she thought it over afterwards, it occurred to her that she ought to have
wondered at this, but at the time it all seemed quite natural); but when the Rabbit actually took a watch out of its
waistcoat-pocket, and looked at it, and then hurried on, Alice started to her feet."""
TEXTS = [
    "", " ", "Alice was late", "  two  spaces  ", "it's I'LL we'Ve 'tis", "naïve café", "CAFÉ e\u0301 ộ ộ", "ΟΔΟΣ Σ İI", "x\u0085y \u00a0z\ufeff",
    "½²Ⅻ 12345 ٣", "👩‍👩‍👧 🏽x", "𠀀中文 ok漢", "한국어 \u1112\u1161\u11ab", "a\tb\r\n\nc", "!!! (a) [b] $5-6", "\ufffd\x00\x07bell", "\u1cf7\U000116b9 \u0e33ำ", "ﬁ ™ Ａ",
    "the Rabbit, the rabbit.", "[MASK] x[MASK]y  [MASK]  z", "tok token a tok.tok", "<|endoftext|>hi <|endoftext|>", "unwatchable sisterly booking", "\u0939\u093f\u0928\u094d", "ſt 'ſ K", "\u200b\u2028", "aaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "a<s>b </s> c", "word" * 30, "don't  do not , ok ?",
]
byte_level = lambda prefix, trim: {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim, "use_regex": True}
template = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
    "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
    "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}, "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}},
}
added = lambda id, content, **flags: {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} | flags
flat = lambda pairs: [i for p in pairs for i in p]


def shell(**parts):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None} | parts


def bpe(vocab, merges=(), **options):
    base = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    return base | options | {"vocab": vocab, "merges": list(merges)}


def units(text):
    out = [0]
    for c in text:
        out.append(out[-1] + (2 if ord(c) > 0xFFFF else 1))
    return out


def encoding(e, texts):
    """Left out: `points` where they equal `offsets`, and `special`, `typeIds`, `sequences` where all are 0."""
    maps = [units(t) for t in texts]
    points = flat(e.offsets)
    out = {"ids": e.ids, "tokens": e.tokens, "offsets": flat((maps[s or 0][a], maps[s or 0][b]) for (a, b), s in zip(e.offsets, e.sequence_ids)), "words": e.word_ids}
    if points != out["offsets"]: out["points"] = points
    for key, values in {"special": e.special_tokens_mask, "typeIds": e.type_ids, "sequences": e.sequence_ids}.items():
        if any(v != 0 for v in values): out[key] = values
    return out


def main():
    files = {}
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.train_from_iterator(PROSE.splitlines(True), trainers.BpeTrainer(vocab_size=420, show_progress=False, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    byte_model = json.loads(t.to_str())["model"]
    eot = added(0, "<|endoftext|>")
    files["byte"] = shell(model=byte_model, added_tokens=[eot], pre_tokenizer=byte_level(False, True), post_processor=byte_level(True, False), decoder=byte_level(True, True))
    files["byteTrim"] = shell(
        model="byte", normalizer={"type": "NFC"}, pre_tokenizer=byte_level(True, True), post_processor=byte_level(True, True), decoder=byte_level(True, True),
        added_tokens=[eot, added(420, "[MASK]", lstrip=True, rstrip=True), added(421, "tok", single_word=True, special=False, normalized=True), added(422, "  ", special=False, normalized=True)])
    files["byteRoberta"] = shell(model="byte", pre_tokenizer=byte_level(False, True), decoder=byte_level(True, True), added_tokens=[added(420, "[MASK]", lstrip=True), added(421, "tok", rstrip=True)],
        post_processor={"type": "RobertaProcessing", "sep": ["</s>", 902], "cls": ["<s>", 901], "trim_offsets": True, "add_prefix_space": False})
    cl100k = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    files["byteSplit"] = shell(model="byte", pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": cl100k}, "behavior": "Isolated", "invert": False}, {"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}, decoder=byte_level(True, True))
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    t.train_from_iterator([PROSE + " naive cafe 1 2 3 4 5 . , ! ? ' ( ) [ ] $ - k z"], trainers.WordPieceTrainer(vocab_size=400, show_progress=False, special_tokens=names))
    wordpiece = json.loads(t.to_str())["model"]
    specials = [added(i, n) for i, n in enumerate(names)]
    bert = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    files["bert"] = shell(model=wordpiece, normalizer=bert, pre_tokenizer={"type": "BertPreTokenizer"}, post_processor=template, decoder={"type": "WordPiece", "prefix": "##", "cleanup": True}, added_tokens=specials)
    files["bertCased"] = shell(model="bert", normalizer=bert | {"lowercase": False, "strip_accents": True}, pre_tokenizer={"type": "BertPreTokenizer"}, post_processor={"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}, decoder={"type": "WordPiece", "prefix": "##", "cleanup": False}, added_tokens=specials)
    letters = sorted(set("▁" + PROSE.replace("\n", "").replace(" ", "")))
    chars = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{b:02X}>": 3 + b for b in range(256)}
    for c in letters + ["▁t", "he", "▁the", "in", "ing", "er", "▁a", "▁A", "li", "ce", "lice", "▁Alice"]:
        chars.setdefault(c, len(chars))
    merges = ["▁ t", "h e", "▁t he", "i n", "in g", "e r", "▁ a", "▁ A", "l i", "c e", "li ce", "▁A lice"]
    files["llama"] = shell(
        model=bpe(chars, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True), added_tokens=[added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
        normalizer={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        post_processor={"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        decoder={"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})
    small = {c: i for i, c in enumerate(["<unk>", "a", "b", "c", "t", "o", "k", "e", "n", "w", "r", "d", "ab", "to", "tok", "ken", "token", "wo", "word", "a.", "."])}
    small_merges = ["t o", "to k", "k e", "w o"]
    files["unknown"] = shell(model=bpe(small | {"ke": 21}, small_merges, unk_token="<unk>"), pre_tokenizer={"type": "WhitespaceSplit"})
    files["fused"] = shell(model=bpe(small | {"ke": 21}, small_merges, unk_token="<unk>", fuse_unk=True, ignore_merges=True), pre_tokenizer={"type": "Whitespace"})
    files["affixes"] = shell(model=bpe({"<unk>": 0, "t": 1, "##o": 2, "##k": 3, "##k</w>": 4, "a</w>": 5, "to": 6, "tok</w>": 7, "##e": 8, "##n</w>": 9}, ["t ##o", "to ##k</w>"], unk_token="<unk>", continuing_subword_prefix="##", end_of_word_suffix="</w>"), pre_tokenizer={"type": "WhitespaceSplit"}, decoder={"type": "BPEDecoder", "suffix": "</w>"})
    files["words"] = shell(model={"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "the": 1, "rabbit": 2, "a": 3, ",": 4}}, normalizer={"type": "Lowercase"}, pre_tokenizer={"type": "Whitespace"})
    files["metaspace"] = shell(model=bpe(chars, merges, unk_token="<unk>"), pre_tokenizer={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}, decoder={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}, added_tokens=[added(1, "<s>")])
    loaded = {}
    for name, file in files.items():
        whole = file if isinstance(file["model"], dict) else file | {"model": files[file["model"]]["model"]}
        loaded[name] = Tokenizer.from_str(json.dumps(whole))

    rows = []
    for name, tok in loaded.items():
        for text in TEXTS if name in ("byte", "byteTrim", "bert", "llama") else TEXTS[1::2]:
            e = tok.encode(text)
            rows.append({"tokenizer": name, "text": text} | encoding(e, [text]) | {"decoded": tok.decode(e.ids), "decodedAll": tok.decode(e.ids, skip_special_tokens=False)})
        for a, b in [("the Rabbit", " é 👧 tok"), ("", "a"), ("  a ", "  ")]:
            e = tok.encode(a, b)
            rows.append({"tokenizer": name, "text": a, "pair": b} | encoding(e, [a, b]) | {"plain": tok.encode(a, b, add_special_tokens=False).ids})
    streams = []
    for name in ["byte", "bert", "llama"]:
        for text in ["👩‍👩‍👧 naïve the", "don't stop , ok", "漢 ab\ufffd!", " <|endoftext|> x"]:
            ids, ds = loaded[name].encode(text).ids, decoders.DecodeStream(skip_special_tokens=True)
            streams.append({"tokenizer": name, "ids": ids, "chunks": [ds.step(loaded[name], i) for i in ids]})

    limits = []
    long = "the Rabbit actually took a watch out of its pocket"
    fixed = lambda n, **more: {"strategy": {"Fixed": n}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"} | more
    longest = fixed(0) | {"strategy": "BatchLongest"}
    cut = lambda n, **more: {"direction": "Right", "max_length": n, "strategy": "LongestFirst", "stride": 0} | more
    for trunc, padding, inputs in [
        (cut(7), None, [[long], ["a"]]), (cut(7, stride=2), None, [[long]]), (cut(7, stride=2, direction="Left"), None, [[long]]), (cut(2), None, [[long]]), (cut(1), None, [[long]]),
        (cut(11), None, [[long, long], ["a", long], [long, "a"]]), (cut(12, stride=2), None, [[long, "the book"]]), (cut(14, strategy="OnlyFirst"), None, [[long, "a book"]]), (cut(14, strategy="OnlySecond", direction="Left", stride=1), None, [["a book", long]]),
        (None, longest, [["a"], [long], ["the", "a"]]), (None, longest | {"direction": "Left", "pad_to_multiple_of": 8}, [["a"], ["the", "a"]]), (None, fixed(6, pad_id=9, pad_type_id=3, pad_token="[X]"), [["a"], [long]]), (None, fixed(6, pad_to_multiple_of=4), [["a"]]),
        (cut(6, stride=1), fixed(9), [[long], ["a"]]), (cut(6, stride=1), longest, [[long], ["a"]]), (cut(5, stride=3), None, [[long]]), (cut(5, strategy="OnlySecond"), None, [[long]]), (cut(5, strategy="OnlyFirst"), None, [["a", long]]),
    ]:
        for name in ["bert", "bertCased", "byteRoberta"] if trunc and trunc["stride"] else ["bert"]:
            file = files[name] if isinstance(files[name]["model"], dict) else files[name] | {"model": files[files[name]["model"]]["model"]}
            row = {"tokenizer": name, "truncation": trunc, "padding": padding, "inputs": inputs}
            try:
                es = Tokenizer.from_str(json.dumps(file | {"truncation": trunc, "padding": padding})).encode_batch([tuple(i) if len(i) > 1 else i[0] for i in inputs])
                lite = lambda e: {"ids": e.ids, "typeIds": e.type_ids, "special": e.special_tokens_mask, "attention": e.attention_mask, "points": flat(e.offsets), "sequences": e.sequence_ids}
                row["encodings"] = [lite(e) | {"overflowing": [lite(o) for o in e.overflowing]} for e in es]
            except BaseException:
                row["error"] = True
            limits.append(row)

    blank = bpe({"?": 0}, unk_token="?")
    parts = {"normalizers": [], "preTokenizers": [], "decoders": []}
    for c in [{"type": f} for f in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt")] + [
        bert, bert | {"clean_text": False, "lowercase": False}, {"type": "Replace", "pattern": {"Regex": "\\s+|l"}, "content": "<>"}, {"type": "Prepend", "prepend": "ab"},
        {"type": "Strip", "strip_left": True, "strip_right": False}, {"type": "Strip", "strip_left": False, "strip_right": True}, {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]}]:
        tok = Tokenizer.from_str(json.dumps(shell(model=blank, normalizer=c)))
        for text in TEXTS[3:19:2] + TEXTS[8:10]:
            parts["normalizers"].append({"component": c, "input": text, "output": tok.normalizer.normalize_str(text), "points": flat(tok.encode(text).offsets)})
    split = lambda pattern, behavior, invert=False: {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}
    possessive = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    for c in [{"type": n} for n in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer")] + [{"type": "Punctuation", "behavior": b} for b in ("Removed", "Contiguous")] + [{"type": "Digits", "individual_digits": b} for b in (True, False)] + [
        split({"String": " "}, b, i) for b in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous") for i in (False, True)] + [
        split({"Regex": "x*"}, "Isolated"), split({"Regex": r"(?<=[a-z])(?=[A-Z])|(?<=\d)\b|^.|\w+$"}, "Isolated"), split({"Regex": possessive}, "Isolated"), split({"Regex": r"[^\W\d_]+|[[:punct:]]|\h"}, "Isolated"),
        {"type": "CharDelimiterSplit", "delimiter": "a"}, {"type": "FixedLength", "length": 3}, byte_level(True, True), {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": False}]:
        pre = Tokenizer.from_str(json.dumps(shell(model=blank, pre_tokenizer=c))).pre_tokenizer
        for text in TEXTS[3:17:3] + ["camelCase v1.2 a-b ", "I'Ve 1234\n\n x"]:
            out = pre.pre_tokenize_str(text)
            parts["preTokenizers"].append({"component": c, "input": text, "output": [s for s, _ in out], "points": flat(o for _, o in out)})
    for regex in [r"(?i)the|K", r"(?i:k|s)t?", r"a(?-i:B)|(?i)x(?-i)y", r"\bt\B|\Ba", r"[a-z&&[^aeiou]]+", r"(?>a+)a|b++b|ab", r"\p{^L}", r"\x41|\u0062|\x{63}", r"a{,2}b", r"[\w&&[^\d]]+?", r"\At|\z|\S$", r"(?<=a)b(?!c)|(?<n>c)", r"[]a]|[\-x]", r"\P{Ll}+", r"\p{Han}|\p{Greek}", r"(?#note)\R|\n".replace(r"\R|", "")]:
        pre = Tokenizer.from_str(json.dumps(shell(model=blank, pre_tokenizer=split({"Regex": regex}, "Isolated")))).pre_tokenizer
        for text in ["The aab ABxy \u212a k sT ſt\nthe abc 漢Ω½\n", "aaab bbb aabxY]-AB_1"]:
            out = pre.pre_tokenize_str(text)
            parts["preTokenizers"].append({"component": split({"Regex": regex}, "Isolated"), "input": text, "output": [s for s, _ in out], "points": flat(o for _, o in out)})
    inputs = [[], ["Hello", "##World", "##!"], ["do", "n't", "stop", ".", "##s"], ["▁Hello", "▁wor", "ld", "▁"], ["Hel", "lo</w>", "w</w>"], ["<0xE4>", "<0xBD>", "<0xA0>", "x", "<0xFF>"], ["h", "h", "e", "<pad>", "l", "l", "<pad>", "l", "|", "o"], ["Ġa", "Ã", "©", "é"], [" h", " do not", " ' "]]
    for c in [byte_level(True, True), {"type": "WordPiece", "prefix": "##", "cleanup": True}, {"type": "WordPiece", "prefix": "##", "cleanup": False}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True},
        {"type": "BPEDecoder", "suffix": "</w>"}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": "l", "start": 1, "stop": 1}, {"type": "Replace", "pattern": {"Regex": "l+"}, "content": "L"}, {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True}]:
        dec = Tokenizer.from_str(json.dumps(shell(model=blank, decoder=c))).decoder
        for tokens in inputs:
            try:
                parts["decoders"].append({"component": c, "input": tokens, "output": dec.decode(tokens)})
            except BaseException:
                pass  # the library panics where Strip is asked for more than a token has

    rng, training = random.Random(5), []
    for _ in range(24):
        letters = rng.choice(["ab", "abc", "ab ", "abcdé", "aab", "a"])
        texts = ["".join(rng.choice(letters) for _ in range(rng.randint(0, rng.choice([6, 40])))) for _ in range(rng.randint(1, 12))]
        args = {"vocab_size": 256 + rng.randint(1, 60), "min_frequency": rng.choice([0, 2, 3]), "special_tokens": rng.choice([[], ["<s>"], ["<s>", "aab"]])}
        if rng.random() < 0.4: args["max_token_length"] = rng.randint(2, 8)
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        t.train_from_iterator(texts, trainers.BpeTrainer(show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **args))
        m = json.loads(t.to_str())["model"]
        training.append({"texts": texts, "args": args, "merges": m["merges"], "last": sorted(m["vocab"], key=m["vocab"].get)[256:]})

    OUT.mkdir(parents=True, exist_ok=True)
    for name, value in {"tokenizers": files, "encodings": rows, "streams": streams, "limits": limits, "components": parts, "training": training, "prose": PROSE}.items():
        lines = [f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in value.items()] if isinstance(value, dict) else [json.dumps(v, separators=(",", ":")) for v in value] if isinstance(value, list) else None
        text = json.dumps(value) if lines is None else ("{\n%s\n}" if isinstance(value, dict) else "[\n%s\n]") % ",\n".join(lines)
        (OUT / f"{name}.json").write_text(text + "\n", encoding="ascii")


main()
