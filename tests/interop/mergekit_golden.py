#!/usr/bin/env python3
"""Small results of mergekit, in tests/golden/mergekit, which tests/suite/golden.sh replays without Python or mergekit.

    models/NAME/         base, a and b: Llama of three layers of 8 x 8 in float32
    NAME.yaml            a recipe; its first line says how far weft may be from mergekit, and under which flags
    NAME.f32             what mergekit made of it: the tensors' bytes, in order of names
    layout-N.header      what stands before those bytes in a safetensors file of N layers

    WRITE=1 tests/interop/mergekit.sh build/plain/weft golden        makes them anew

Without WRITE they are checked against this mergekit and weft. The last line of the output is the count.
"""
import os
import re
import shutil
import struct
import sys

import torch

from harness import run_tests
from mergekit_lib import UNIT, Lab, read

HOME = "tests/golden/mergekit"
ALWAYS, COMPAT = "with and without --compat mergekit", "with --compat mergekit"
# weft does not prune what has fewer than 64 elements, here the norms.
MATRICES = "[{filter: norm, value: 1}, {value: 0.6}]"


def models_form(method, a="", b="", base=True, **parameters):
    entries = [("a", a)] + ([("b", b)] if b is not None else [])
    lines = [f"merge_method: {method}"] + ["base_model: models/base"] * base + ["models:"]
    lines += [f"  - {{model: models/{m}{', parameters: {' + p + '}' if p else ''}}}" for m, p in entries]
    if parameters:
        lines.append("parameters: {" + ", ".join(f"{k.rstrip('_')}: {v}" for k, v in parameters.items()) + "}")
    return "\n".join(lines) + "\n"


A, B = "weight: 0.9", "weight: 0.377"
# arcee_fusion is not here: mergekit's divergences are so rough in float32 that elements at the threshold fall either way.
# name -> units of 2^-24 * max|x|, flags, recipe
CASES = {
    "linear": (4, ALWAYS, models_form("linear", A, B, base=False)),
    "linear-sum": (4, ALWAYS, models_form("linear", A, "weight: -0.2", base=False, normalize="false")),
    "linear-base": (4, COMPAT, models_form("linear", A, B, weight=0.4)),
    "slerp": (8, ALWAYS, models_form("slerp", "", None, t=0.35)),
    "slerp-gradients": (8, COMPAT, models_form("slerp", "", None, t="[{filter: self_attn, value: [0, 0.5, 0.3, 0.7, 1]}, "
                                               "{filter: mlp, value: [1, 0.5, 0.7, 0.3, 0]}, {value: [0.2, 0.9]}]")),
    "nuslerp": (16, ALWAYS, models_form("nuslerp", A, B, base=False)),
    "nuslerp-rows": (16, ALWAYS, models_form("nuslerp", A, B, nuslerp_flatten="false")),
    "nuslerp-columns": (16, ALWAYS, models_form("nuslerp", A, B, nuslerp_flatten="false", nuslerp_row_wise="true")),
    "multislerp": (32, ALWAYS, models_form("multislerp", A, B)),
    "karcher": (32, ALWAYS, models_form("karcher", base=False)),
    "karcher-base": (32, COMPAT, models_form("karcher")),
    "passthrough": (1, ALWAYS, models_form("passthrough", "scale: 0.3", None, base=False)),
    "task_arithmetic": (4, ALWAYS, models_form("task_arithmetic", A, "weight: -0.377", lambda_=1.2)),
    "ties": (4, ALWAYS, models_form("ties", f"{A}, density: 0.5", f"{B}, density: 0.25")),
    "ties-rescale": (4, ALWAYS, models_form("ties", A, B, density=0.4, rescale="true", normalize="false")),
    "ties-gradients": (4, COMPAT, models_form("ties", f"{A}, density: [1, 0.7, 0.3]", "weight: [0, 0.3, 0.7, 1], density: 0.5",
                                              normalize="true", int8_mask="true")),
    "breadcrumbs": (4, ALWAYS, models_form("breadcrumbs", A, B, density=MATRICES, gamma=0.05)),
    "breadcrumbs_ties": (4, ALWAYS, models_form("breadcrumbs_ties", A, B, density=MATRICES, rescale="true")),
    "dare_linear-whole": (4, ALWAYS, models_form("dare_linear", A, B, lambda_=0.7)),
    "dare_ties-whole": (4, ALWAYS, models_form("dare_ties", A, B)),
    "della_linear-whole": (4, ALWAYS, models_form("della_linear", A, B, normalize="true")),
    "della-whole": (4, ALWAYS, models_form("della", A, B)),
    "sce": (8, ALWAYS, models_form("sce", select_topk=0.5)),
    "ram": (4, ALWAYS, models_form("ram", epsilon=0.004)),
    "ramplus_tl": (4, ALWAYS, models_form("ramplus_tl", epsilon=0.004, r=0.3, alpha=0.8)),
    "model_stock": (64, COMPAT, models_form("model_stock")),
    "model_stock-rows": (4096, COMPAT, models_form("model_stock", filter_wise="true")),
    "nearswap": (4, ALWAYS, models_form("nearswap", "", None, t=0.002)),
    "stack": (0, ALWAYS, """merge_method: passthrough
slices:
  - sources: [{model: models/a, layer_range: [0, 2]}]
  - sources: [{model: models/b, layer_range: [0, 3]}]
"""),
    "slices": (8, COMPAT, """merge_method: slerp
base_model: models/base
slices:
  - sources: [{model: models/base, layer_range: [0, 2]}, {model: models/a, layer_range: [1, 3]}]
    parameters: {t: [0.1, 0.8]}
  - sources: [{model: models/base, layer_range: [2, 3]}, {model: models/a, layer_range: [0, 1]}]
    parameters: {t: [0.2, 0.6]}
"""),
    "precedence": (4, ALWAYS, """merge_method: task_arithmetic
base_model: models/base
slices:
  - sources:
      - {model: models/base, layer_range: [0, 3]}
      - {model: models/a, layer_range: [0, 3], parameters: {weight: [{filter: mlp, value: 0.9}, {filter: layers.1, value: 1e-1}]}}
      - {model: models/b, layer_range: [0, 3]}
    parameters: {weight: {filter: q_proj, value: 0.25}}
parameters: {weight: 0.5, lambda: [{filter: o_proj, value: 1.5}, {value: 0.75}]}
"""),
}


def LAB():
    if "lab" not in globals():
        globals()["lab"] = Lab(ARGS.weft, ARGS.scratch)
    return globals()["lab"]


def make_models(home):
    for i, name in enumerate(("base", "a", "b")):
        folder = LAB().model(f"small-{name}", "small", layers=3, tuned=i)
        target = os.path.join(home, "models", name)
        if not os.path.exists(target):
            shutil.copytree(folder, target)


def data(tensors):
    return b"".join(t.contiguous().numpy().tobytes() for _, t in sorted(tensors.items()))


def header(tensors):
    """What stands before data(tensors) in a safetensors file."""
    parts, at = [], 0
    for name, t in sorted(tensors.items()):
        shape = ",".join(map(str, t.shape))
        parts.append(f'"{name}":{{"dtype":"F32","shape":[{shape}],"data_offsets":[{at},{at + 4 * t.numel()}]}}')
        at += 4 * t.numel()
    text = "{" + ",".join(parts) + "}"
    text += " " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text.encode()


def merged(home, text):
    """mergekit's result of a recipe in `home`, whose paths are relative to it."""
    return read(LAB().mergekit(LAB().write(text.replace("models/", os.path.join(os.path.abspath(home), "models/")))))


def write(home):
    shutil.rmtree(home, ignore_errors=True)
    make_models(home)
    largest = max(float(t.abs().max()) for m in ("base", "a", "b") for t in read(f"{home}/models/{m}").values())
    for name, (units, flags, text) in CASES.items():
        tensors = merged(home, text)
        layers = 1 + max(int(re.search(r"layers\.(\d+)", n)[1]) for n in tensors if "layers." in n)
        with open(f"{home}/{name}.yaml", "w") as f:
            f.write(f"# within {units * UNIT[torch.float32] * largest:.3g} of mergekit's, {flags}; layout-{layers}\n{text}")
        with open(f"{home}/{name}.f32", "wb") as f:
            f.write(data(tensors))
        with open(f"{home}/layout-{layers}.header", "wb") as f:
            f.write(header(tensors))


def test_golden_results_are_those_of_this_mergekit():
    if os.environ.get("WRITE"):
        write(HOME)
    for name, (units, _, text) in CASES.items():
        with open(f"{HOME}/{name}.yaml") as f:
            stored = f.read()
        assert stored.split("\n", 1)[1] == text, f"{name}.yaml is not what this program would write"
        within = float(re.match(r"# within (\S+)", stored)[1])
        with open(f"{HOME}/{name}.f32", "rb") as f:
            kept = torch.frombuffer(bytearray(f.read()), dtype=torch.float32)
        now = torch.frombuffer(bytearray(data(merged(HOME, text))), dtype=torch.float32)
        assert kept.shape == now.shape and float((kept - now).abs().max()) <= within, f"{name}: mergekit's result changed"


if __name__ == "__main__":
    sys.exit(run_tests(globals(), ("weft", "scratch"), "mergekit: "))
