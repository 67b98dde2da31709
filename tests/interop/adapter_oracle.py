#!/usr/bin/env python3
"""PEFT adapters as weft's users meet them: random bases and adapters, `base+adapter` in a recipe, and the sums
that numpy finds by PEFT's formulas. The last line of the output is the count.
"""
import json
import os
import subprocess
import sys

import numpy as np

from harness import run_tests
from merge_oracle import read_model, to_bytes, write_model

BASE = {"h.0.q.weight": (40, 24), "h.0.k.weight": (24, 24), "h.0.q.bias": (40,), "h.1.q.weight": (40, 24), "e.weight": (50, 24),
        "h.0.norm.weight": (24,), "c.weight": (12, 6, 3, 2), "m.in_proj_weight": (72, 24), "big.weight": (300, 700)}
COUNT = [0]


def path_of(name):
    return os.path.join(ARGS.scratch, name)


def weft(*arguments, code=0):
    done = subprocess.run([ARGS.weft, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == code, f"weft {' '.join(arguments)}: {done.returncode}: {done.stderr.strip()}"
    return done.stderr if code else done.stdout


def put_model(name, dtype, arrays, config=None):
    """A model folder; returns the numbers as they are stored."""
    os.makedirs(path_of(name), exist_ok=True)
    if config:
        json.dump(config, open(os.path.join(path_of(name), "config.json"), "w"))
    typed = {n: a if isinstance(a, tuple) else (dtype, a) for n, a in arrays.items()}
    return write_model(os.path.join(path_of(name), "model.safetensors"), typed)


def put_adapter(name, tensors, dtype="F32", **config):
    """An adapter folder; returns its numbers as they are stored."""
    os.makedirs(path_of(name), exist_ok=True)
    json.dump({"peft_type": "LORA", "r": 4, "lora_alpha": 6, "target_modules": ["q"], **config},
              open(os.path.join(path_of(name), "adapter_config.json"), "w"))
    typed = {"base_model.model." + n: (dtype, a) for n, a in tensors.items()}
    stored = write_model(os.path.join(path_of(name), "adapter_model.safetensors"), typed)
    return {n.removeprefix("base_model.model."): a for n, a in stored.items()}


def base_arrays(seed=1):
    rng = np.random.default_rng(seed)
    return {n: 0.3 * rng.standard_normal(s) for n, s in BASE.items()}


def pair(path, out, inputs, rank=4, seed=2):
    rng = np.random.default_rng(seed + len(path))
    a, b = rng.standard_normal((rank, inputs)), rng.standard_normal((out, rank))
    return {f"{path}.lora_A.weight": a, f"{path}.lora_B.weight": b}


def product(row, col, scale, real=np.float32):
    """scale * row @ col as weft has it: a sum in the order of k, then scaled, in float (or double)."""
    total = np.zeros((row.shape[0], col.shape[1]), real)
    for k in range(row.shape[1]):
        total += row[:, k : k + 1].astype(real) * col[k : k + 1].astype(real)
    return real(scale) * total


def linear(stored, path, scale, **how):
    return product(stored[f"{path}.lora_B.weight"], stored[f"{path}.lora_A.weight"], scale, **how)


def merge(recipe, *flags, code=0):
    COUNT[0] += 1
    path, out = path_of(f"recipe-{COUNT[0]}.json"), path_of(f"out-{COUNT[0]}")
    json.dump(recipe, open(path, "w"))
    text = weft("merge", path, out, "--progress", "none", *flags, code=code)
    if code:
        assert not os.path.exists(out) and not os.path.exists(out + ".partial"), "something was left behind"
        return text
    weft("verify", out)
    return read_model(os.path.join(out, "model.safetensors"))


def sum_of(base, adapter, *flags, code=0, **keys):
    """base+adapter, passed through."""
    models = [{"model": f"{path_of(base)}+{path_of(adapter)}"}]
    return merge({"merge_method": "passthrough", "models": models, **keys}, *flags, code=code)


def expect(merged, want):
    """want: name -> array, of values before the rounding to the stored type."""
    assert set(merged) == set(want), set(merged) ^ set(want)
    for name, (dtype, got) in merged.items():
        raw = to_bytes(dtype, np.asarray(want[name]))
        assert to_bytes(dtype, got) == raw, f"{name}: largest difference {np.abs(got - want[name]).max()}"


def as_float(arrays):
    return {n: a.astype(np.float32) for n, a in arrays.items()}


# ---- what is added ----


def every_kind(name, dtype="F32", **config):
    rng, r = np.random.default_rng(5), 4
    shapes = {"e.lora_embedding_A": (r, 50), "e.lora_embedding_B": (24, r), "c.lora_A.weight": (r, 6, 3, 2),
              "c.lora_B.weight": (12, r, 1, 1), "h.0.norm.weight": (24,), "h.0.q.lora_B.bias": (40,)}
    tensors = {n: rng.standard_normal(s) for n, s in shapes.items()}
    for path, out, inputs in (("h.0.q", 40, 24), ("h.0.k", 24, 24), ("h.1.q", 40, 24), ("big", 300, 700), ("m", 72, 24)):
        tensors.update(pair(path, out, inputs))
    return put_adapter(name, tensors, dtype, **config)


def every_kind_added(base, a, scale, real=np.float32):
    """The sums, before the rounding to the stored type; `base` in the type of the arithmetic."""
    want = {n: v.astype(real) for n, v in base.items()}
    for path in ("h.0.q", "h.0.k", "h.1.q", "big"):
        want[path + ".weight"] = want[path + ".weight"] + linear(a, path, scale, real=real)
    want["m.in_proj_weight"] = want["m.in_proj_weight"] + linear(a, "m", scale, real=real)
    want["e.weight"] = want["e.weight"] + product(a["e.lora_embedding_A"].T, a["e.lora_embedding_B"].T, scale, real)
    kernel = product(a["c.lora_B.weight"].reshape(12, 4), a["c.lora_A.weight"].reshape(4, 36), scale, real)
    want["c.weight"] = want["c.weight"] + kernel.reshape(12, 6, 3, 2)
    bias = product(a["h.0.q.lora_B.bias"].reshape(40, 1), np.ones((1, 1)), scale, real)
    want["h.0.q.bias"] = want["h.0.q.bias"] + bias[:, 0]
    want["h.0.norm.weight"] = a["h.0.norm.weight"].astype(real)
    return want


def test_every_kind_of_module_in_every_type():
    for dtype in ("F32", "BF16", "F16"):
        for factors in ("F32", "BF16", "F16"):
            base = put_model("base-" + dtype, dtype, base_arrays())
            a = every_kind(f"all-{dtype}-{factors}", factors)
            merged = sum_of("base-" + dtype, f"all-{dtype}-{factors}")
            want = every_kind_added(base, a, 1.5)
            if factors != dtype:
                merged.pop("h.0.norm.weight"), want.pop("h.0.norm.weight")  # replaced: of the adapter's type
            expect(merged, want)


def test_a_base_in_double():
    base = put_model("base-F64", "F64", base_arrays())
    a = every_kind("all-F64", "F32")
    want = every_kind_added(base, a, 1.5, real=np.float64)
    merged = sum_of("base-F64", "all-F64")
    merged.pop("h.0.norm.weight"), want.pop("h.0.norm.weight")
    expect(merged, want)


def test_tiles_and_threads_change_nothing():
    base = put_model("base-tile", "BF16", base_arrays())
    a = every_kind("all-tile", "BF16")
    want = every_kind_added(base, a, 1.5)
    for flags in (["--memory", "64Mi"], ["--threads", "1"], ["--threads", "5", "--memory", "70Mi"]):
        expect(sum_of("base-tile", "all-tile", *flags), want)


def test_patterns_and_rslora_resolve_for_each_module():
    base = put_model("base-p", "F32", base_arrays())
    a = put_adapter("patterns", {**pair("h.0.q", 40, 24, rank=2), **pair("h.1.q", 40, 24), **pair("h.0.k", 24, 24)},
                    use_rslora=True, rank_pattern={"^h\\.0\\..*q": 2, "q": 4}, alpha_pattern={"h.(1|2).q": 10})
    want = as_float(base)
    for path, scale in (("h.0.q", 6 / np.sqrt(2)), ("h.1.q", 5), ("h.0.k", 3)):
        want[path + ".weight"] = want[path + ".weight"] + linear(a, path, scale)
    expect(sum_of("base-p", "patterns"), want)


def test_weights_stored_input_first():
    arrays = {"h.0.attn.c_attn.weight": (24, 72), "h.0.attn.c_proj.weight": (24, 24)}
    rng = np.random.default_rng(3)
    base = put_model("gpt2", "F32", {n: rng.standard_normal(s) for n, s in arrays.items()},
                     {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]})
    a = put_adapter("conv1d", {**pair("transformer.h.0.attn.c_attn", 72, 24), **pair("transformer.h.0.attn.c_proj", 24, 24)},
                    fan_in_fan_out=True)
    want = as_float(base)
    for path in ("h.0.attn.c_attn", "h.0.attn.c_proj"):
        row, col = a[f"transformer.{path}.lora_A.weight"].T, a[f"transformer.{path}.lora_B.weight"].T
        want[path + ".weight"] = want[path + ".weight"] + product(row, col, 1.5)
    expect(sum_of("gpt2", "conv1d"), want)


def test_values_worked_out_by_hand():
    put_model("hand", "F32", {"l.weight": np.array([[1, 2], [3, 4]])})
    put_adapter("hand-a", {"l.lora_A.weight": np.array([[1, 0.5]]), "l.lora_B.weight": np.array([[2], [-1]])}, r=1, lora_alpha=4)
    expect(sum_of("hand", "hand-a"), {"l.weight": np.array([[9, 6], [-1, 2]])})
    put_model("hand-t", "F32", {"c_fc.weight": np.array([[1, 2], [3, 4]])}, {"model_type": "gpt2", "architectures": ["X"]})
    factors = {"c_fc.lora_A.weight": np.array([[1, 0.5]]), "c_fc.lora_B.weight": np.array([[2], [-1]])}
    put_adapter("hand-b", factors, r=1, lora_alpha=4)
    expect(sum_of("hand-t", "hand-b"), {"c_fc.weight": np.array([[9, -2], [7, 2]])})


def test_alpha_zero_changes_nothing():
    base = put_model("base-0", "BF16", base_arrays())
    put_adapter("zero", pair("h.0.q", 40, 24), lora_alpha=0)
    expect(sum_of("base-0", "zero"), base)


# ---- in a merge ----


def test_every_method_sees_the_sum():
    """Two adapters on one base, and one of them on another: byte for byte what the same merge of summed models gives."""
    put_model("m0", "F32", base_arrays(7))
    bases, sums = {n: put_model(n, "F32", base_arrays(s)) for n, s in (("m1", 7), ("m2", 8))}, []
    for i, (base, seed) in enumerate((("m1", 11), ("m1", 12), ("m2", 11))):
        factors = {}
        for path, out, inputs in (("h.0.q", 40, 24), ("big", 300, 700), ("h.0.k", 24, 24)):
            factors.update({k: 0.05 * v for k, v in pair(path, out, inputs, seed=seed).items()})
        a = put_adapter(f"ad{seed}", factors)
        want = as_float(bases[base])
        for path in ("h.0.q", "big", "h.0.k"):
            want[path + ".weight"] = want[path + ".weight"] + linear(a, path, 1.5)
        put_model(f"sum{i}", "F32", want)
        sums.append((f"{path_of(base)}+{path_of(f'ad{seed}')}", path_of(f"sum{i}")))
    compared = 0
    for row in map(json.loads, weft("methods", "--json").splitlines()):
        if not row["stages"]:
            continue  # works on adapters themselves
        n = min(3, row["max_models"])
        parameters = {}
        for option in row["options"]:
            if option["required"]:
                parameters[option["name"]] = 0.4 if option["type"] == "number" else True
        results = []
        for side in (0, 1):
            entries = [{"model": s[side]} for s in sums[:n]]
            recipe = {"merge_method": row["name"], "models": entries, "parameters": parameters, "seed": 3}
            if row["base"] == "required":
                recipe["base_model"] = path_of("m0")
            elif row["name"] in ("slerp", "nearswap"):
                recipe["base_model"] = sums[0][side]
            results.append(merge(recipe))
        for name in results[0]:
            assert np.array_equal(results[0][name][1], results[1][name][1]), f"{row['name']}: {name}"
        compared += 1
    assert compared >= 20, compared


def test_adapters_beside_plain_models_and_as_the_base():
    base = put_model("b0", "F32", base_arrays(7))
    other = put_model("b1", "F32", base_arrays(9))
    a = put_adapter("ab", pair("h.0.q", 40, 24))
    both = path_of("b0") + "+" + path_of("ab")
    merged = merge({"merge_method": "linear", "models": [{"model": both, "parameters": {"weight": 0.5}},
                                                        {"model": path_of("b1"), "parameters": {"weight": 0.5}}]})
    tuned = as_float(base)
    tuned["h.0.q.weight"] = tuned["h.0.q.weight"] + linear(a, "h.0.q", 1.5)
    for name, (_, got) in merged.items():
        assert np.abs(got - (tuned[name] + other[name]) / 2).max() < 1e-6, name
    entries = [{"model": path_of("b1"), "parameters": {"weight": 0.25}}]
    merged = merge({"merge_method": "task_arithmetic", "base_model": both, "models": entries})
    for name, (_, got) in merged.items():
        assert np.abs(got - (0.75 * tuned[name] + 0.25 * other[name])).max() < 1e-6, name


def test_tensors_kept_from_the_base_keep_the_sum():
    base = put_model("kept", "BF16", base_arrays(7))
    a = put_adapter("kept-a", pair("h.0.q", 40, 24))
    merged = merge({"merge_method": "task_arithmetic", "base_model": path_of("kept") + "+" + path_of("kept-a"),
                    "models": [{"model": path_of("kept"), "parameters": {"weight": 1}}], "include": ["e.*"]})
    want = as_float(base)
    want["h.0.q.weight"] = want["h.0.q.weight"] + linear(a, "h.0.q", 1.5)
    expect(merged, want)


# ---- what is refused ----


def test_what_cannot_be_added_is_refused_and_leaves_nothing():
    put_model("r", "F32", base_arrays())
    cases = [
        ({"use_dora": True}, pair("h.0.q", 40, 24), 2, "DoRA"),
        ({"init_lora_weights": "pissa"}, pair("h.0.q", 40, 24), 2, "pissa"),
        ({"peft_type": "IA3"}, pair("h.0.q", 40, 24), 2, "IA3"),
        ({"r": 8}, pair("h.0.q", 40, 24), 3, "rank 8"),
        ({}, pair("h.0.q", 41, 24), 2, "h.0.q"),
        ({}, pair("h.7.q", 40, 24), 2, "'h.7.q'"),
        ({}, {**pair("h.7.q", 40, 24), **pair("h.8.q", 40, 24)}, 2, "2 parts"),
        ({}, {"h.0.q.lora_A.weight": np.ones((4, 24))}, 3, "lora_B"),
    ]
    for i, (config, tensors, code, words) in enumerate(cases):
        put_adapter(f"refused{i}", tensors, **config)
        text = sum_of("r", f"refused{i}", code=code)
        assert words in text and text.count("\n") == 1, text


def test_a_value_that_is_not_finite_is_found_in_a_factor():
    put_model("nan", "F32", base_arrays())
    for value in (np.nan, np.inf):
        factors = pair("h.0.q", 40, 24)
        factors["h.0.q.lora_A.weight"][2, 3] = value
        put_adapter("nan-a", factors)
        text = sum_of("nan", "nan-a", code=3)
        assert "h.0.q" in text, text


if __name__ == "__main__":
    sys.exit(run_tests(globals(), ("weft", "scratch")))
