#!/usr/bin/env python3
"""Models with different vocabularies: `tokenizer_source` and `tokenizer`, through mergekit and weft.

Results are compared token by token, each looked up in its own result's tokenizer: where a union puts a new token is
nobody's promise (mergekit goes through the models in an arbitrary order). The last line of the output is the count.
"""
import json
import os
import sys

import torch

from harness import run_tests
from mergekit_lib import UNIT, Lab, read, read_config, same_names

COMPAT = ("--compat", "mergekit")
C = 8
COMMON = ["<unk>", "<s>", *"abcdefghijklmnopqrstuvwxyz", "th", "he", "in", "er", "an", "re"]
ROWS = ("model.embed_tokens.weight", "lm_head.weight")
# name -> its tokens; ids are shuffled, but for the base's
VOCABULARIES = {
    "base": COMMON, "a": COMMON, "b": [*COMMON[:-2], "ou", "on", "qu"], "c": [*COMMON, "ing", "qu"],
    "strange": [*COMMON, "aa", "bb", "cc", "dd", "ee", "ff"], "short": COMMON[:-1],
}


def LAB():
    if "lab" not in globals():
        globals()["lab"] = Lab(ARGS.weft, ARGS.scratch)
    return globals()["lab"]


def model(name, rows=0, dtype=torch.float32):
    """A fine-tune with a byte-pair tokenizer of its own, and that many rows (as many as tokens)."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    index, tokens = list(VOCABULARIES).index(name), VOCABULARIES[name]
    rows = rows or len(tokens)

    def shrink(tensors, config):
        for row in ROWS:
            tensors[row] = tensors[row][:rows].clone()
        config.update(vocab_size=rows, bos_token_id=vocab["<s>"])

    shuffled = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(index)).tolist()
    vocab = {tokens[k]: i for i, k in enumerate(shuffled if index else range(len(tokens)))}
    folder = LAB().model(f"vocabulary-{name}-{rows}-{dtype}", tuned=index, layers=2, dtype=dtype, edit=shrink)
    merges = [(t[:n], t[n:]) for t in tokens for n in range(1, len(t)) if t[:n] in vocab and t[n:] in vocab and t[0] != "<"]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>").save_pretrained(folder)
    return folder


def vocabulary(folder):
    with open(os.path.join(folder, "tokenizer.json")) as f:
        tokenizer = json.load(f)
    return {**tokenizer["model"]["vocab"], **{t["content"]: t["id"] for t in tokenizer["added_tokens"]}}


def check(recipe, *flags, skip=()):
    """Runs a recipe in which models are names; results are equal token by token, but for the tokens in `skip`."""
    paths = {name: model(name) for name in VOCABULARIES}
    text = json.dumps(recipe)
    for name, path in paths.items():
        text = text.replace(f'"@{name}"', json.dumps(path))
    path = LAB().write(text)
    theirs = LAB().mergekit(path)
    for folder in (LAB().weft(path, *flags), LAB().weft(path, *COMPAT)):
        a, b, ours, want = vocabulary(folder), vocabulary(theirs), read(folder), read(theirs)
        assert set(a) == set(b), f"tokens of one only: {sorted(set(a) ^ set(b))}"
        same_names(ours, want)
        assert read_config(folder)["vocab_size"] == read_config(theirs)["vocab_size"] == ours[ROWS[0]].shape[0]
        tokens = sorted(set(a) - set(skip))
        for name, got in ours.items():
            expected = want[name]
            assert got.shape == expected.shape, f"{name}: {tuple(got.shape)}, mergekit has {tuple(expected.shape)}"
            if name in ROWS:
                got, expected = got[[a[t] for t in tokens]], expected[[b[t] for t in tokens]]
            apart = (got.double() - expected.double()).abs()
            worst = int(apart.amax(dim=tuple(range(1, apart.ndim))).argmax())
            where = tokens[worst] if name in ROWS else worst
            assert apart.max() <= C * UNIT[torch.float32] * expected.abs().max(), f"{name}: {where} is {apart.max()} apart"


def linear(*names, **keys):
    return {"merge_method": "linear", "models": [{"model": f"@{n}", "parameters": {"weight": 0.5}} for n in names], **keys}


def tasks(*names, **keys):
    return {**linear(*names, **keys), "merge_method": "task_arithmetic", "base_model": "@base"}


def test_the_base_s_vocabulary():
    check(tasks("a", "b", tokenizer_source="base"))
    check(tasks("a", "c", tokenizer={"source": "base"}))
    slerp = {"merge_method": "slerp", "base_model": "@base", "parameters": {"t": 0.3}}
    check({**slerp, "models": [{"model": "@b"}], "tokenizer_source": "base"})


def test_a_model_s_vocabulary():
    check(tasks("a", "b", tokenizer_source="@b"))
    check(tasks("b", "c", tokenizer={"source": "@c"}))


def test_the_union():
    check(tasks("a", "b", tokenizer_source="union"))
    check(tasks("b", "c", tokenizer_source="union"))
    check(tasks("b", "c", tokenizer={"source": "union"}))
    ties = {"merge_method": "ties", "base_model": "@base", "parameters": {"weight": 0.5, "density": 1}}
    check({**ties, "models": [{"model": "@a"}, {"model": "@c"}], "tokenizer_source": "union"})


def test_tokens_from_where_the_recipe_says():
    for tokens in (
        {"qu": {"source": "@c"}},
        {"qu": {"source": "@c", "force": True}},
        {"th": {"source": "@a", "force": True}},
        {"ou": {"source": {"kind": "model_token", "model": "@base", "token": "in"}}},
        {"ou": {"source": {"kind": "zero"}}},
        {"<new>": {"source": {"kind": "model_token", "model": "@a", "token_id": 7}}},
    ):
        check(tasks("a", "b", "c", tokenizer={"source": "union", "tokens": tokens}))


def test_rows_up_to_a_multiple():
    check(tasks("b", "c", tokenizer={"source": "union", "pad_to_multiple_of": 16}))
    check(tasks("a", tokenizer={"source": "base", "pad_to_multiple_of": 8}))


CHATS = (
    [{"role": "user", "content": "Hello  there"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b\nc"}, {"role": "user", "content": " d "}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
)


def rendered(folder, chat, prompt):
    """What a tokenizer makes of a chat, or the refusal of its template."""
    from jinja2 import TemplateError
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder).apply_chat_template(chat, tokenize=False, add_generation_prompt=prompt)
    except TemplateError:
        return "refused"


def chat_folders(template):
    """What weft and mergekit make of models under a chat template."""
    path = LAB().write({**linear(tokenizer_source=model("a"), chat_template=template),
                        "models": [{"model": model(n), "parameters": {"weight": 0.5}} for n in ("a", "c")]})
    return LAB().weft(path), LAB().mergekit(path)


def test_chat_templates():
    for template in ("chatml", "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"):
        ours, theirs = chat_folders(template)
        for chat in CHATS:
            for prompt in (False, True):
                a, b = rendered(ours, chat, prompt), rendered(theirs, chat, prompt)
                assert a == b, f"{template}: {a!r}, mergekit's is {b!r}"


if __name__ == "__main__":
    sys.exit(run_tests(globals(), ("weft", "scratch"), "mergekit: "))
