#!/usr/bin/env python3
"""Recipes with `tokenizer`: random vocabularies, tables written to files, `weft merge`, and the result against numpy.

The tables of each model are rebuilt here by docs/RECIPES.md, token by token, means in float64. What a merge of them
gives is checked twice: for `linear` against sums of numpy, and for every method against weft's own merge of models
that hold the rebuilt tables as they are, byte for byte. The last line of the output is the count.
"""
import json
import os
import pathlib
import random
import subprocess
import sys

import numpy as np

from harness import run_tests
from merge_oracle import read_model, write_model

HIDDEN = 24
SLICES = ("model.embed_tokens.weight", "lm_head.weight", "lm_head.bias")


# ---- models ----


def added(token, id, special=True):
    return {"id": id, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": not special, "special": special}


class Model:
    """ids: token -> id of the model's vocabulary; more: added tokens with ids behind it."""

    def __init__(self, name, ids, more=(), rows=None, dtype="F32", head=True, seed=None, config=None):
        rng = np.random.default_rng(abs(hash(name)) % 2**32 if seed is None else seed)
        self.name, self.ids, self.more, self.dtype = name, dict(ids), list(more), dtype
        self.map = dict(ids)
        for token in self.more:
            self.map.setdefault(token["content"], token["id"])
        self.rows = rows or max(self.map.values()) + 1
        shapes = {"model.embed_tokens.weight": (self.rows, HIDDEN), "model.norm.weight": (HIDDEN,),
                  "model.layers.0.mlp.weight": (HIDDEN, 7)}
        if head:
            shapes |= {"lm_head.weight": (self.rows, HIDDEN), "lm_head.bias": (self.rows,)}
        self.tensors = {n: (dtype, rng.standard_normal(s).astype(np.float32)) for n, s in shapes.items()}
        self.config = {"model_type": "llama", "vocab_size": self.rows} | (config or {})
        self.stored = None

    def row(self, token):
        id = self.map.get(token)
        return id if id is not None and id < self.rows else None

    def write(self, folder, tokenizer=True):
        path = folder / self.name
        path.mkdir(parents=True)
        self.stored = write_model(path / "model.safetensors", self.tensors)
        (path / "config.json").write_text(json.dumps(self.config))
        if tokenizer:
            text = {"version": "1.0", "added_tokens": self.more, "model": {
                "type": "BPE", "vocab": self.ids, "merges": [["a", "b"]]}}
            (path / "tokenizer.json").write_text(json.dumps(text, indent=1))
        return self


def vocabulary(n, seed=None, prefix="t"):
    ids = list(range(n))
    if seed is not None:
        random.Random(seed).shuffle(ids)
    return {f"{prefix}{i}": id for i, id in enumerate(ids)}


# ---- weft ----


def folder(title):
    path = pathlib.Path(ARGS.scratch) / title
    path.mkdir(parents=True)
    return path


def recipe(method, base, models, section=None, parameters=None, extra=None):
    out = {"merge_method": method, "models": [
        {"model": m.name} | ({"parameters": p} if p else {}) for m, p in models]}
    if base:
        out["base_model"] = base.name
    if section is not None:
        out["tokenizer"] = section
    return out | ({"parameters": parameters} if parameters else {}) | (extra or {})


def run(where, title, text, *flags):
    path = where / f"{title}.json"
    path.write_text(json.dumps(text, indent=1))
    out = where / f"out-{title}"
    done = subprocess.run([ARGS.weft, "merge", str(path), str(out), "--progress", "none", *flags], capture_output=True,
                          text=True)
    return done.returncode, done.stderr, out


def merge(where, title, text, *flags):
    code, errors, out = run(where, title, text, *flags)
    assert code == 0, errors
    return out


def tokens_of(out):
    tokenizer = json.loads((out / "tokenizer.json").read_text())
    ids = dict(tokenizer["model"]["vocab"])
    for token in tokenizer["added_tokens"]:
        assert ids.get(token["content"], token["id"]) == token["id"]
        ids[token["content"]] = token["id"]
    return ids


# ---- the rule of the document ----


def union(models, keys=()):
    out, n = dict(models[0].map), len(models[0].ids)

    def append(token):
        late = [i for t, i in out.items() if t not in models[0].ids]
        out[token] = max(late) + 1 if late and max(late) >= n else n

    for ordinary in (True, False):
        for m in models:
            for token, id in sorted(m.map.items(), key=lambda item: item[1]):
                is_added = token not in m.ids or any(a["content"] == token for a in m.more)
                if token not in out and is_added != ordinary and id < m.rows:
                    append(token)
    for token in keys:
        if token not in out:
            append(token)
    return out


def default_row(token, name, models, base, settings):
    """The row of a token in a model that lacks it, in float64."""
    source = settings.get(token, {}).get("source")
    table = {m.name: m.stored[name] for m in models}
    if isinstance(source, str):
        m = next(m for m in models if m.name == source)
        return table[source][m.row(token)]
    if isinstance(source, dict) and source["kind"] == "zero":
        return np.zeros_like(table[models[0].name][0])
    if isinstance(source, dict):
        m = next(m for m in models if m.name == source["model"])
        return table[m.name][source["token_id"] if "token_id" in source else m.row(source["token"])]
    have = [m for m in models if m.row(token) is not None]
    if len(have) == 1:
        return table[have[0].name][have[0].row(token)]
    if base in have:
        return table[base.name][base.row(token)]
    if have:
        return sum(table[m.name][m.row(token)] for m in have) / len(have)
    return np.zeros_like(table[models[0].name][0])


def rebuild(model, name, ids, rows, models, base, settings):
    out = np.zeros((rows,) + model.stored[name].shape[1:])
    filled = np.zeros(rows, bool)
    for token, id in ids.items():
        own = model.row(token)
        if own is not None and not settings.get(token, {}).get("force"):
            out[id] = model.stored[name][own]
        else:
            out[id] = default_row(token, name, models, base, settings)
        filled[id] = True
    if not filled.all():
        out[~filled] = out[filled].sum(axis=0) / filled.sum()
    return out.astype(np.float32)


def rebuilt(models, ids, rows, base, settings=None):
    """The models with new tables, named with a prime."""
    new = []
    for m in models:
        twin = Model(m.name + "-new", {"x": 0}, seed=0, head=len(m.tensors) > 3)
        for name, (dtype, array) in m.tensors.items():
            table = name in SLICES
            twin.tensors[name] = ("F32", rebuild(m, name, ids, rows, models, base, settings or {}) if table
                                  else m.stored[name].astype(np.float32))
        new.append(twin)
    return new


def same_tensors(a, b):
    left, right = read_model(a / "model.safetensors"), read_model(b / "model.safetensors")
    assert left.keys() == right.keys()
    for name in left:
        assert left[name][0] == right[name][0], name
        x, y = np.asarray(left[name][1]), np.asarray(right[name][1])
        assert x.shape == y.shape, f"{name}: {x.shape} and {y.shape}"
        assert np.array_equal(x, y), f"{name}: rows {np.flatnonzero((x != y).reshape(len(x), -1).any(1))[:8]} differ"


def compare(title, method, models, base, section, rows=None, parameters=None, per_model=None, ids=None, flags=(),
            where=None):
    """One merge of models with vocabularies against one of rebuilt models; returns the folder of the first."""
    where = where or folder(title)
    if not models[0].stored:
        for m in models:
            m.write(where)
    merged = [m for m in models if m is not base]
    per_model = per_model or {}
    out = merge(where, "tokens", recipe(method, base, [(m, per_model) for m in merged], section, parameters,
                                        {"dtype": "float32"}), *flags)
    ids = ids if ids is not None else tokens_of(out)
    rows = rows or max(ids.values()) + 1
    new = rebuilt(models, ids, rows, base, section.get("tokens"))
    for m in new:
        m.write(where / "new", tokenizer=False)
    names = {m.name: n for m, n in zip(models, new)}
    plain = merge(where / "new", "plain", recipe(method, names[base.name] if base else None,
                                                 [(names[m.name], per_model) for m in merged], None, parameters,
                                                 {"dtype": "float32"}), *flags)
    same_tensors(out, plain)
    config = json.loads((out / "config.json").read_text())
    assert config["vocab_size"] == rows, config
    return out


# ---- tests ----


def test_permuted_ids_come_together_by_token():
    where = folder("permuted")
    a, b = Model("a", vocabulary(40)).write(where), Model("b", vocabulary(40, seed=5)).write(where)
    out = merge(where, "tokens", recipe("linear", a, [(b, {"weight": 1.0})], {"source": "base"}))
    got = read_model(out / "model.safetensors")
    for token, id in a.map.items():
        for name in SLICES:
            assert np.array_equal(got[name][1][id], b.stored[name][b.map[token]]), (name, token)
    assert (out / "tokenizer.json").read_bytes() == (where / "a" / "tokenizer.json").read_bytes()


def test_every_row_of_the_table_of_rules():
    base = Model("base", vocabulary(30))
    one = Model("one", vocabulary(30, 1) | {"only-one": 30, "two": 31})
    two = Model("two", vocabulary(20, 2) | {"two": 20, "forced": 21})
    tokens = {"forced": {"source": "two", "force": True}, "t3": {"source": {"kind": "zero"}, "force": True},
              "named": {"source": {"kind": "model_token", "model": "one", "token": "t5"}},
              "by-id": {"source": {"kind": "model_token", "model": "two", "token_id": 4}},
              "nothing": {}, "zero": {"source": {"kind": "zero"}}, "t29": {"source": "one"}, "t1": {"force": True},
              "t7": {"force": True}}
    for source in ("base", "union"):
        ids = {"base": lambda: union([base], tokens), "union": lambda: union([base, one, two], tokens)}[source]()
        out = compare(f"rules-{source}", "linear", [base, one, two], base,
                      {"source": source, "tokens": tokens, "force": True}, ids=ids, per_model={"weight": 1.0})
        assert tokens_of(out) == ids
        for m in (base, one, two):
            m.stored = None


def test_holes_are_the_mean():
    base = Model("base", {f"t{i}": i for i in range(30) if i != 7})
    compare("holes", "linear", [base, Model("one", vocabulary(30, 6))], base, {"source": "base"}, per_model={"weight": 1.0})
    where = folder("holes-refused")
    base.write(where), Model("two", vocabulary(30) | {"more": 30}).write(where)
    code, errors, out = run(where, "tokens", recipe("linear", base, [(Model("two", {"x": 0}), {"weight": 1.0})],
                                                    {"source": "union"}))
    assert code == 2 and "holes" in errors and not out.exists(), (code, errors)


def test_a_mean_where_the_base_does_not_have_a_token():
    a = Model("a", vocabulary(12))
    b, c = (Model(n, vocabulary(12, i) | {"shared": 12}) for i, n in enumerate("bc"))
    compare("mean", "linear", [a, b, c], a, {"source": "union"}, per_model={"weight": 1.0}, rows=13)
    d, e, f = (Model(n, vocabulary(12) | ({"shared": 12} if n != "d" else {})) for n in "def")
    compare("mean-without-base", "linear", [d, e, f], None, {"source": "union"}, per_model={"weight": 1.0}, rows=13)


def test_padding():
    a, b = Model("a", vocabulary(45)), Model("b", vocabulary(45, 3) | {"more": 45})
    compare("multiple", "linear", [a, b], a, {"source": "base", "pad_to_multiple_of": 32}, rows=64,
            per_model={"weight": 0.5})
    a, b = Model("a", vocabulary(45)), Model("b", vocabulary(45, 3) | {"more": 45})
    compare("multiple-union", "linear", [a, b], a, {"source": "union", "pad_to_multiple_of": 23}, rows=46,
            per_model={"weight": 0.5})


def test_padding_of_equal_vocabularies_is_kept():
    where = folder("kept")
    a, b = (Model(n, vocabulary(45), rows=48).write(where) for n in "ab")
    out = merge(where, "tokens", recipe("linear", a, [(b, {"weight": 1.0})], {"source": "base"}))
    got = read_model(out / "model.safetensors")
    assert np.array_equal(got["lm_head.weight"][1], b.stored["lm_head.weight"])
    assert json.loads((out / "config.json").read_text())["vocab_size"] == 48


def test_union_of_special_tokens():
    base = Model("base", vocabulary(50), [added("<s>", 50)])
    one = Model("one", vocabulary(50, 4), [added("<s>", 50), added("<one>", 51)])
    two = Model("two", vocabulary(50), [added("<s>", 50), added("<two>", 51), added("<lost>", 52)], rows=52)
    out = compare("special", "task_arithmetic", [base, one, two], base, {"source": "union"},
                  per_model={"weight": 0.7}, ids=union([base, one, two]))
    assert tokens_of(out) == union([base, one, two])
    entries = {t["content"]: t for t in json.loads((out / "tokenizer.json").read_text())["added_tokens"]}
    assert entries["<two>"]["special"] and "<lost>" not in entries


def test_stored_types():
    for dtype in ("F16", "BF16", "F64"):
        a = Model("a", vocabulary(33), dtype=dtype)
        b = Model("b", vocabulary(33, 8) | {"new": 33}, dtype=dtype)
        c = Model("c", vocabulary(33, 9) | {"new": 33}, dtype="F32")
        if dtype == "F64":  # one input in double: so is the arithmetic
            where = folder("type-F64")
            for m in (a, b, c):
                m.write(where)
            out = merge(where, "tokens", recipe("linear", a, [(m, {"weight": 1.0}) for m in (b, c)],
                                                {"source": "union"}, extra={"dtype": "float64"}))
            got = read_model(out / "model.safetensors")["lm_head.weight"][1]
            for token, id in tokens_of(out).items():
                want = (b.stored["lm_head.weight"][b.map[token]] + c.stored["lm_head.weight"][c.map[token]]) / 2
                assert np.allclose(got[id], want, rtol=1e-15, atol=1e-15), token
        else:
            compare(f"type-{dtype}", "linear", [a, b, c], a, {"source": "union"}, per_model={"weight": 1.0})


METHODS = {
    "linear": {"weight": 0.6}, "task_arithmetic": {"weight": 0.6}, "ties": {"weight": 0.6, "density": 0.4},
    "dare_ties": {"weight": 0.6, "density": 0.4}, "dare_linear": {"weight": 0.6, "density": 0.4},
    "breadcrumbs": {"weight": 0.6, "density": 0.8, "gamma": 0.05}, "della": {"weight": 0.6, "density": 0.5},
    "della_linear": {"weight": 0.6, "density": 0.5}, "sce": {}, "pcb": {"weight": 1.0}, "model_stock": {},
    "breadcrumbs_ties": {"weight": 0.6, "density": 0.8, "gamma": 0.05}, "ram": {}, "karcher": {},
    "multislerp": {"weight": 0.6}, "nuslerp": {"weight": 0.6},
}


def test_every_method():
    for method, per_model in METHODS.items():
        base = Model("base", vocabulary(70), seed=1)
        one = Model("one", vocabulary(70, 4) | {"one": 70}, seed=2)
        two = Model("two", vocabulary(66) | {"two": 66}, rows=70, seed=3)
        takes_base = method not in ("karcher", "linear", "multislerp", "nuslerp")
        compare(f"method-{method}", method, [base, one, two] if takes_base else [one, two], base if takes_base else None,
                {"source": "union", "pad_to_multiple_of": 8}, rows=72, per_model=per_model)


def test_two_models_and_an_interpolation():
    a, b = Model("a", vocabulary(40)), Model("b", vocabulary(40, 3) | {"more": 40})
    compare("slerp", "slerp", [a, b], a, {"source": "union"}, parameters={"t": 0.3})


def test_one_tile_or_many():
    """The bytes do not depend on memory and threads."""
    where = folder("cuts")
    global HIDDEN
    old, HIDDEN = HIDDEN, 256
    try:
        a, b = Model("a", vocabulary(6000)).write(where), Model("b", vocabulary(6000, 3) | {"m": 6000}).write(where)
    finally:
        HIDDEN = old
    text = recipe("ties", a, [(b, {"weight": 1.0, "density": 0.3})], {"source": "union", "pad_to_multiple_of": 64})
    outs = [merge(where, "wide", text), merge(where, "narrow", text, "--memory", "24Mi", "--threads", "3"),
            merge(where, "one", text, "--threads", "1", "--shard-size", "100GB")]
    raw = [(o / "model.safetensors").read_bytes() for o in outs]
    assert raw[0] == raw[1] == raw[2]


def test_what_is_on_top_comes_first_then_the_map():
    """A merge of base+adapter and shared+delta with a vocabulary is one of the models that `weft apply` makes."""
    where = folder("on-top")
    rng = np.random.default_rng(5)
    base = Model("base", vocabulary(60)).write(where)
    one = Model("one", vocabulary(60, 4) | {"new": 60}, dtype="BF16").write(where)
    two = Model("two", vocabulary(60, 4) | {"new": 60}, seed=9, dtype="BF16").write(where)
    factors = {"lm_head.lora_A.weight": (4, HIDDEN), "lm_head.lora_B.weight": (61, 4),
               "model.embed_tokens.lora_embedding_A": (4, 61), "model.embed_tokens.lora_embedding_B": (HIDDEN, 4)}
    (where / "lora").mkdir()
    write_model(where / "lora" / "adapter_model.safetensors", {
        "base_model.model." + n: ("F32", rng.standard_normal(s).astype(np.float32)) for n, s in factors.items()})
    (where / "lora" / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["lm_head", "embed_tokens"]}))
    merge(where, "shared", recipe("linear", None, [(one, {"weight": 0.3}), (two, {"weight": 0.7})], None, None,
                                  {"task_deltas": {"density": 0.3}, "dtype": "bfloat16"}))
    tops = {"one+lora": "lora", "out-shared+out-shared/deltas/one.safetensors": "out-shared/deltas/one.safetensors"}
    for i, (reference, top) in enumerate(tops.items()):
        under = reference.split("+")[0]
        made = f"made-{i}"
        done = subprocess.run([ARGS.weft, "apply", str(where / under), str(where / top), str(where / made)],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for section in ({"source": "union"}, {"source": "base", "pad_to_multiple_of": 7}):
            outs = []
            for k, name in enumerate((reference, made)):
                text = recipe("task_arithmetic", base, [(one, {"weight": 0.5})], section, None, {"dtype": "float32"})
                text["models"].append({"model": name, "name": "top", "parameters": {"weight": 0.5}})
                text["dtype"] = "float32"
                outs.append(merge(where, f"top-{i}-{k}-{len(section)}", text))
            a, b = (read_model(o / "model.safetensors")["lm_head.weight"][1] for o in outs)
            assert a.shape == b.shape
            # what apply makes of an adapter is rounded to the model's type once more
            assert np.allclose(a, b, rtol=2.0**-8, atol=1e-2 if top == "lora" else 0), reference


def test_an_adapter_with_a_longer_table():
    """Tables saved whole with more rows than the base's, and the tokenizer that belongs to them beside the adapter."""
    where = folder("longer")
    base = Model("base", vocabulary(30)).write(where)
    long = Model("long", vocabulary(30), [added("<x>", 30), added("<y>", 31)]).write(where)
    for name in ("model.norm.weight", "model.layers.0.mlp.weight"):
        long.tensors[name] = base.tensors[name]
    long.write(where / "whole")
    lora = where / "lora"
    lora.mkdir()
    write_model(lora / "adapter_model.safetensors",
                {"base_model.model." + n: long.tensors[n] for n in ("model.embed_tokens.weight", "lm_head.weight",
                                                                    "lm_head.bias")})
    (lora / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": [],
        "modules_to_save": ["embed_tokens", "lm_head"]}))
    (lora / "tokenizer.json").write_bytes((where / "long" / "tokenizer.json").read_bytes())
    outs = []
    for name in ("base+lora", "whole/long"):
        text = recipe("linear", base, [(base, {"weight": 0.25})], {"source": "union"})
        text["models"].append({"model": name, "parameters": {"weight": 0.75}})
        outs.append(merge(where, f"merge-{len(outs)}", text))
    same_tensors(*outs)
    assert len(tokens_of(outs[0])) == 32
    code, errors, _ = run(where, "refused", text | {"models": [{"model": "base+lora", "parameters": {"weight": 1}}],
                                                    "tokenizer": None})
    assert code == 2 and "of another length" in errors, errors


def test_a_tied_head_follows_its_table():
    tied = {"tie_word_embeddings": True}
    base = Model("base", vocabulary(40), head=False, config=tied)
    one = Model("one", vocabulary(40, 3) | {"more": 40}, head=False, config=tied)
    compare("tied", "linear", [base, one], base, {"source": "union"}, per_model={"weight": 1.0})
    where = folder("tied-and-not")
    base = Model("base", vocabulary(40), head=False, config=tied).write(where)
    del (two := Model("two", vocabulary(40, 3) | {"more": 40})).tensors["lm_head.bias"]
    two.write(where)
    text = recipe("task_arithmetic", base, [(two, {"weight": 1.0})], {"source": "union"}, None, {"dtype": "float32"})
    out = merge(where, "tokens", text)
    got, table = read_model(out / "model.safetensors"), base.stored["model.embed_tokens.weight"]
    for token, id in tokens_of(out).items():
        want = two.stored["lm_head.weight"][two.map[token]]
        assert np.allclose(got["lm_head.weight"][1][id], want, atol=1e-6), token
    assert len(table) == 40 and len(got["lm_head.weight"][1]) == 41


def test_one_adapter_on_a_table_that_two_jobs_read_in_two_widths():
    """E1 is tied, with an adapter on its table; E2 has a table in F32 and a head in F64. Either may come first."""
    for prefix in ("model.", ""):  # lm_head sorts before the one, behind the other
        where = folder(f"widths-{prefix}")
        table = prefix + "embed_tokens.weight"
        rng = np.random.default_rng(11)
        one, two = Model("one", vocabulary(40), config={"tie_word_embeddings": True}), Model("two", vocabulary(40, 3))
        two.tensors["lm_head.weight"] = ("F64", two.tensors["lm_head.weight"][1].astype(np.float64))
        for m in (one, two):
            del m.tensors["lm_head.bias"]
            m.tensors[table] = m.tensors.pop("model.embed_tokens.weight")
        del one.tensors["lm_head.weight"]
        one.write(where), two.write(where)
        (where / "lora").mkdir()
        factors = write_model(where / "lora" / "adapter_model.safetensors", {
            f"base_model.model.{prefix}embed_tokens.lora_embedding_{n}": ("F32", rng.standard_normal(s))
            for n, s in (("A", (4, 40)), ("B", (HIDDEN, 4)))})
        (where / "lora" / "adapter_config.json").write_text(json.dumps({
            "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["embed_tokens"]}))
        a, b = factors.values()
        top = one.stored[table] + 2 * (b @ a).T
        models = lambda first: [{"model": m, "parameters": {"weight": 0.5}} for m in (first, "two")]
        text = {"merge_method": "linear", "models": models("one+lora")}
        got = read_model(merge(where, "plain", text) / "model.safetensors")
        for name in (table, "lm_head.weight"):
            assert np.allclose(got[name][1], (top + two.stored[name]) / 2, rtol=0, atol=1e-5), (prefix, name)
        done = subprocess.run([ARGS.weft, "apply", *(str(where / n) for n in ("one", "lora", "made"))],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for k, section in enumerate(({"source": "union"}, {"source": "two", "pad_to_multiple_of": 64},
                                     {"source": "union", "tokens": {"t1": {"source": "one", "force": True}}})):
            outs = []
            for name in ("one+lora", "made"):
                text = {"merge_method": "linear", "models": models(name), "tokenizer": dict(section)}
                if "tokens" in section:
                    text["tokenizer"]["tokens"] = {"t1": {"source": name, "force": True}}
                outs.append(read_model(merge(where, f"{k}-{len(outs)}-{name}", text) / "model.safetensors"))
            for name in (table, "lm_head.weight"):
                assert np.allclose(outs[0][name][1], outs[1][name][1], rtol=0, atol=1e-5), (prefix, name, section)


def write_raw(path, tensors, ids):
    """tensors: name -> (type, shape, bytes)."""
    path.mkdir(parents=True)
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    (path / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + data)
    (path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": len(ids)}))
    (path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": ids, "merges": []}}))


def test_tables_without_elements_are_refused():
    where = folder("empty")
    full = ("F32", [9, 4], bytes(144))
    for name, rows, head in (("a", 9, ("F32", [0, 4], b"")), ("b", 9, full),
                             ("c", 8, ("F32", [8, 0], b"")), ("d", 9, ("F32", [9, 0], b""))):
        write_raw(where / name, {"lm_head.weight": head, "model.embed_tokens.weight":
                                 ("F32", [rows, 4], bytes(16 * rows))}, vocabulary(rows))
    for title, names, section, flags in (("rows", "ab", None, ["--compat", "mergekit"]),
                                         ("rows-by-token", "ab", {"source": "union", "pad_to_multiple_of": 4}, []),
                                         ("cols", "cd", {"source": "union"}, []),
                                         ("cols-cut", "cd", None, ["--compat", "mergekit"])):
        text = {"merge_method": "linear", "parameters": {"weight": 0.5}, "models": [{"model": n} for n in names]}
        if section:
            text["tokenizer"] = section
        code, errors, out = run(where, title, text, *flags)
        assert code == 2 and errors.count("\n") >= 1 and not out.exists(), (title, code, errors)


def test_rows_of_small_types_move_if_they_are_whole_bytes():
    where = folder("small-types")
    ids = vocabulary(10)
    table = ("F32", [10, 4], np.arange(40, dtype="<f4").tobytes())
    for name, dtype, cols, size in (("four", "F4", 6, 3), ("six", "F6_E2M3", 4, 3), ("odd", "F6_E3M2", 6, 0)):
        raw = np.random.default_rng(2).integers(0, 256, 10 * (size or 9) // (1 if size else 2), dtype=np.uint8)
        write_raw(where / name, {"lm_head.weight": (dtype, [10, cols], raw.tobytes()),
                                 "model.embed_tokens.weight": table}, ids)
        write_raw(where / f"base-{name}", {"model.embed_tokens.weight": table}, vocabulary(10, 5))
        text = {"merge_method": "passthrough", "models": [{"model": name}], "tokenizer_source": f"./base-{name}"}
        code, errors, out = run(where, name, text)
        if not size:
            assert code == 2 and "whole bytes" in errors, (code, errors)
            continue
        assert code == 0, errors
        data = (out / "model.safetensors").read_bytes()
        n = int.from_bytes(data[:8], "little")
        begin, end = json.loads(data[8:8 + n])["lm_head.weight"]["data_offsets"]
        got = np.frombuffer(data[8 + n + begin:8 + n + end], np.uint8).reshape(10, size)
        for token, id in vocabulary(10, 5).items():
            assert (got[id] == raw.reshape(10, size)[ids[token]]).all(), (name, token)


def test_cut_tables_and_heads_of_tied_models_have_one_length():
    """--compat mergekit: the head that a tied model lacks is its table, cut or not."""
    tied = {"tie_word_embeddings": True}
    for short, long in ((8, 9), (9, 8)):
        for order in (0, 1):
            where = folder(f"cut-{short}-{order}")
            one = Model("one", vocabulary(short), head=False, config=tied).write(where)
            two = Model("two", vocabulary(long))
            del two.tensors["lm_head.bias"]
            two.write(where)
            models = [one, two][::-1 if order else 1]
            text = recipe("linear", None, [(m, {"weight": 0.5}) for m in models])
            got = read_model(merge(where, "cut", text, "--compat", "mergekit") / "model.safetensors")
            for name in ("model.embed_tokens.weight", "lm_head.weight"):
                want = (one.stored["model.embed_tokens.weight"][:8] + two.stored[name][:8]) / 2
                assert np.allclose(got[name][1], want, rtol=0, atol=1e-6), (short, order, name)


def test_the_plan_counts_once_what_two_jobs_read_once():
    where = folder("counted")
    one = Model("one", vocabulary(40), head=False, config={"tie_word_embeddings": True}).write(where)
    two = Model("two", vocabulary(40, 3))
    del two.tensors["lm_head.bias"]
    text = recipe("linear", None, [(m, {"weight": 0.5}) for m in (one, two.write(where))],
                  {"source": "two", "pad_to_multiple_of": 64})
    (where / "recipe.json").write_text(json.dumps(text))
    done = subprocess.run([ARGS.weft, "merge", str(where / "recipe.json"), str(where / "out"), "--json"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    read = {event["event"]: event.get("bytes_read") for event in map(json.loads, done.stdout.splitlines())}
    assert read["plan"] == read["done"], read


def test_a_bias_whose_second_axis_counts_tokens():
    where = folder("second-axis")
    models = [Model("a", vocabulary(20)), Model("b", vocabulary(20, 7) | {"more": 20})]
    for m in models:
        m.tensors["final_logits_bias"] = ("F32", np.arange(m.rows, dtype=np.float32)[None, :] + 0.5)
        m.write(where)
    text = recipe("linear", models[0], [(models[1], {"weight": 1.0})], {"source": "union", "pad_to_multiple_of": 24})
    got = read_model(merge(where, "tokens", text) / "model.safetensors")["final_logits_bias"][1]
    assert got.shape == (1, 24)
    for token, id in models[1].map.items():
        assert got[0, id if token == "more" else models[0].map[token]] == id + 0.5, token
    assert np.allclose(got[0, 21:], np.arange(21).mean() + 0.5)


def test_task_deltas_of_other_vocabularies():
    where = folder("deltas")
    a = Model("a", vocabulary(50)).write(where)
    b, c = (Model(n, vocabulary(50, 3) | {"more": 50}).write(where) for n in "bc")
    text = recipe("task_arithmetic", a, [(b, {"weight": 0.4}), (c, {"weight": 0.2})],
                  {"source": "union", "pad_to_multiple_of": 64}, None, {"task_deltas": {"density": 1}})
    out = merge(where, "tokens", text)
    done = subprocess.run([ARGS.weft, "apply", str(out), str(out / "deltas" / "b.safetensors"), str(where / "again")],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    got = read_model(where / "again" / "model.safetensors")
    ids = tokens_of(out)
    new = rebuilt([a, b, c], ids, 64, a)
    for name in SLICES:
        assert np.array_equal(got[name][1], new[1].tensors[name][1]), name


def test_a_hundred_forms_of_vocabularies():
    rng = random.Random(11)
    for case in range(100):
        models = []
        for name in ("base", "one", "two")[: rng.choice((2, 3))]:
            n = rng.randint(3, 40)
            ids = rng.sample(range(n + (name == "two") * 3), n)  # appending needs a donor without holes
            words = rng.sample([f"w{i}" for i in range(60)], n)
            models.append(Model(name, dict(zip(words, ids)), rows=max(ids) + 1 + rng.choice((0, 0, 5)), seed=case))
        section = {"source": rng.choice(("base", "union", "one")), "force": True}
        if rng.random() < 0.3:
            section["pad_to_multiple_of"] = rng.choice((1, 7, 16))
        where = folder(f"random-{case}")
        for m in models:
            m.write(where)
        donor = {"base": [models[0]], "one": [models[1]], "union": models}[section["source"]]
        ids = union(donor)
        if section["source"] == "one":
            ids = dict(models[1].map)
        rows = max(len(ids), max(ids.values()) + 1)
        if "pad_to_multiple_of" in section:
            rows = -(-rows // section["pad_to_multiple_of"]) * section["pad_to_multiple_of"]
        elif ids == donor[0].map and donor[0].rows > rows:
            continue  # padding is kept: a test of its own
        if all(m.map == ids and m.rows == rows for m in models):
            continue
        compare(f"random-{case}", "linear", models, models[0], section, rows=rows, ids=ids, per_model={"weight": 0.5},
                where=where)


if __name__ == "__main__":
    sys.exit(run_tests(globals(), ["weft", "scratch"], "vocabulary: "))
