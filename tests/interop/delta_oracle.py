#!/usr/bin/env python3
"""Task deltas against numpy: which places each task keeps of the finished model, what is stored there, and how.

What weft wrote is read back bit by bit. The places are found again by a stable sort of the whole flattened model, tensors
by name in byte order, differences in float32 (float64 where a type is F64), as docs/METHODS and docs/RECIPES say. The
same files must come of any number of threads and any memory. The last line of the output is the count.
"""
import json
import os
import shutil
import struct
import subprocess
import sys

import numpy as np

from harness import need, run_tests

BITS = {"F64": "<u8", "F32": "<u4", "F16": "<u2", "BF16": "<u2", "U8": "<u1"}
SHAPES = {"emb": (613, 96), "layers.0.q": (96, 300), "layers.0.norm": (96,), "layers.10.q": (96, 128), "layers.2.q": (70001,),
          "scale": (), "Z.upper": (33, 7), "layers.0": (5, 5)}


# ---- files ----


def numbers(dtype, bits):
    if dtype == "BF16":
        return (bits.astype("<u4") << 16).view("<f4")
    return bits.view({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype])


def to_bits(dtype, values):
    """Rounded once, to nearest even, from float32 or float64."""
    if dtype != "BF16":
        return values.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype]).view(BITS[dtype])
    bits = values.astype("<f4").view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


def write_model(path, tensors):
    """tensors: name -> (dtype, shape, bits)."""
    header, data = {}, b""
    for name, (dtype, shape, bits) in tensors.items():
        raw = bits.tobytes()
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def read_file(path):
    raw = open(path, "rb").read()
    (n,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + n])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, info in header.items():
        begin, end = info["data_offsets"]
        bits = np.frombuffer(raw[8 + n + begin : 8 + n + end], BITS[info["dtype"]])
        tensors[name] = (info["dtype"], tuple(info["shape"]), bits)
    return tensors, metadata


def read_folder(folder):
    tensors = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            tensors.update(read_file(os.path.join(folder, name))[0])
    return tensors


def model(dtype, seed, spread, base=None, odd=False):
    """Random numbers, or `base` and small changes; `odd` puts in zeros of both signs."""
    rng, tensors = np.random.default_rng(seed), {}
    for name, shape in SHAPES.items():
        n = int(np.prod(shape))
        values = 0.05 * rng.standard_normal(n) if base is None else numbers(*base[name][::2]).astype(np.float64)
        if base is not None and name != "layers.10.q":
            values = values + spread * rng.standard_normal(n)
        bits = to_bits(dtype, values).copy()
        if odd and n > 9:
            bits[:9:3], bits[1:9:3] = 0, 1 << (8 * bits.itemsize - 1)
        tensors[name] = (dtype, shape, bits)
    return tensors


# ---- the formula ----


def keys(shared, task):
    wide = "F64" in (shared[0], task[0])
    real = np.float64 if wide else np.float32
    with np.errstate(invalid="ignore"):  # infinities, where a test allows them
        return np.abs(numbers(task[0], task[2]).astype(real) - numbers(shared[0], shared[2]).astype(real)).astype(np.float64)


def largest(u, density):
    """The floor(density n) largest, of equal ones those of lowest index."""
    kept = np.zeros(len(u), bool)
    kept[np.argsort(-u, kind="stable")[: int(density * len(u))]] = True
    return kept


def wanted(shared, task, density, scope, store):
    """name -> (positions, bits of values), changed tensors only."""
    names = sorted(shared, key=str.encode)
    u = {name: keys(shared[name], task[name]) for name in names}
    if scope == "model":
        whole = largest(np.concatenate([u[name] for name in names]), density)
        ends = np.cumsum([len(u[name]) for name in names])[:-1]
        kept = dict(zip(names, np.split(whole, ends)))
    else:
        kept = {name: largest(u[name], density) for name in names}
    out = {}
    for name in names:
        to, _, bits = shared[name]
        own = task[name][2] if task[name][0] == to else to_bits(to, numbers(*task[name][::2]))
        places = np.flatnonzero(kept[name] & (own != bits))
        if store == "add":
            real = np.float64 if "F64" in (to, task[name][0]) else np.float32
            own = to_bits(to, numbers(*task[name][::2]).astype(real) - numbers(to, bits).astype(real))
        if len(places):
            out[name] = places, own[places]
    return out


def leb128(places):
    out = bytearray()
    for gap in np.diff(places, prepend=0).tolist():
        while gap >= 128:
            out.append(gap & 127 | 128)
            gap >>= 7
        out.append(gap)
    return bytes(out)


def check_delta(path, shared, task, density, scope, store, name):
    tensors, metadata = read_file(path)
    want = wanted(shared, task, float(density), scope, store)
    assert set(tensors) == {f"{t}.{part}" for t in want for part in ("positions", "values")}, "other tensors"
    assert (metadata["task"], metadata["store"], metadata["density"]) == (name, store, density), metadata
    assert metadata["base"]
    for t, (places, values) in want.items():
        dtype, _, stored = tensors[t + ".values"]
        assert dtype == shared[t][0] and np.array_equal(stored, values), f"{t}: values"
        bitmap = np.zeros(len(shared[t][2]), np.uint8)
        bitmap[places] = 1
        bitmap, gaps = np.packbits(bitmap, bitorder="little").tobytes(), leb128(places)
        encoding = metadata[t + ".encoding"]
        assert encoding == ("leb128" if len(gaps) < len(bitmap) else "bitmap"), f"{t}: {encoding}"
        assert tensors[t + ".positions"][0] == "U8"
        assert tensors[t + ".positions"][2].tobytes() == (gaps if encoding == "leb128" else bitmap), f"{t}: positions"
    return want


# ---- runs ----


def weft(*args, code=0):
    done = subprocess.run([ARGS.weft, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == code, f"{args}: {done.returncode}: {done.stderr.strip()}"
    return done


def new_path(suffix):
    new_path.count = getattr(new_path, "count", 0) + 1
    return os.path.join(ARGS.scratch, f"delta-{new_path.count}{suffix}")


def merge(paths, deltas, method="task_arithmetic", weight=0.3, flags=(), **more):
    recipe, out = new_path(".json"), new_path("")
    entries = [{"model": p, "name": f"task{i}", "parameters": {"weight": weight}} for i, p in enumerate(paths[1:])]
    document = {"merge_method": method, "base_model": paths[0], "models": entries, "task_deltas": deltas, **more}
    with open(recipe, "w") as f:
        json.dump(document, f)
    weft("merge", recipe, out, *flags)
    return out


def checkpoints(dtypes, spread=0.002, odd=False):
    """A base and tasks of it; dtypes of the base and of each."""
    models, paths = [], []
    for i, dtype in enumerate(dtypes):
        models.append(model(dtype, i, spread, models[0] if i else None, odd and i > 0))
        paths.append(new_path(".safetensors"))
        write_model(paths[-1], models[-1])
    return paths, models


def check_run(dtypes, density, scope="model", store="replace", odd=False, flags=(), **more):
    paths, models = checkpoints(dtypes, odd=odd)
    deltas = {"density": float(density), "scope": scope, "store": store}
    if isinstance(density, str) and density != json.dumps(float(density)):
        deltas["density"] = int(density)
    out = merge(paths, deltas, flags=flags, **more)
    shared = read_folder(out)
    for i, task in enumerate(models[1:]):
        check_delta(os.path.join(out, "deltas", f"task{i}.safetensors"), shared, task, density, scope, store, f"task{i}")
    return out, shared, models


def test_places_and_values_of_bf16_with_massive_ties():
    for scope in ("model", "tensor"):
        for density in ("0.0003", "0.01", "0.1", "0.37"):
            check_run(["BF16", "BF16", "BF16"], density, scope)


def test_differences_are_stored_with_store_add():
    for dtype in ("BF16", "F16", "F32", "F64"):
        check_run([dtype] * 3, "0.1", store="add")


def test_every_type_and_mixtures():
    for dtypes in (["F32"] * 3, ["F16"] * 3, ["F64"] * 2, ["BF16", "F32", "F16"], ["F32", "BF16", "F64"], ["F64", "BF16"]):
        check_run(dtypes, "0.1")
        check_run(dtypes, "0.02", "tensor")


def test_density_0_and_too_small_for_one_keep_nothing():
    for density in ("0.0", "1e-09"):
        out, shared, _ = check_run(["BF16"] * 3, density)
        assert not read_file(os.path.join(out, "deltas", "task0.safetensors"))[0]


def test_density_1_keeps_every_bit_that_differs():
    for store in ("replace", "add"):
        for scope in ("model", "tensor"):
            check_run(["BF16"] * 3, "1", scope, store, odd=True)


def test_the_shared_model_may_be_the_base_or_another_type():
    check_run(["BF16"] * 3, "0.05", parameters={"lambda": 0})
    check_run(["F32"] * 3, "0.05", dtype="bfloat16")
    check_run(["BF16"] * 3, "0.05", dtype="float32")


def test_excluded_tensors_count_too():
    check_run(["BF16"] * 3, "0.1", exclude=["layers.2.*"])


def serve(out, shared, name, store):
    """The task's model as the delta gives it."""
    tensors, _ = read_file(os.path.join(out, "deltas", name + ".safetensors"))
    result = {t: numbers(d, bits).astype(np.float64) for t, (d, _, bits) in shared.items()}
    _, metadata = read_file(os.path.join(out, "deltas", name + ".safetensors"))
    for t in shared:
        if t + ".values" not in tensors:
            continue
        raw = tensors[t + ".positions"][2]
        if metadata[t + ".encoding"] == "bitmap":
            places = np.flatnonzero(np.unpackbits(raw, bitorder="little"))
        else:
            gaps, gap, shift = [], 0, 0
            for byte in raw.tolist():
                gap |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    gaps.append(gap)
                    gap, shift = 0, 0
            places = np.cumsum(gaps)
        values = numbers(tensors[t + ".values"][0], tensors[t + ".values"][2]).astype(np.float64)
        result[t][places] = values if store == "replace" else result[t][places] + values
    return result


def test_the_residual_falls_as_density_rises():
    for store in ("replace", "add"):
        last = None
        for density in ("0.0", "0.01", "0.05", "0.2", "0.6", "1"):
            out, shared, models = check_run(["F32"] * 3, density, store=store)
            served = serve(out, shared, "task0", store)
            residual = sum(((numbers(*models[1][t][::2]).astype(np.float64) - served[t]) ** 2).sum() for t in shared) ** 0.5
            assert last is None or residual < last, f"{store}: {density}: {residual} after {last}"
            last = residual
        assert last == 0 if store == "replace" else last < 1e-6, last


def test_apply_gives_the_model_that_the_formula_says():
    for dtype in ("BF16", "F16", "F32", "F64"):
        for store in ("replace", "add"):
            out, shared, _ = check_run([dtype] * 3, "0.1", store=store)
            served, target = serve(out, shared, "task1", store), new_path("")
            weft("apply", out, os.path.join(out, "deltas", "task1.safetensors"), target)
            got = read_folder(target)
            assert set(got) == set(shared)
            for t, (d, shape, bits) in got.items():
                assert (d, shape) == shared[t][:2]
                assert np.array_equal(bits, to_bits(d, served[t])), f"{dtype} {store}: {t}"


def test_nan_infinity_and_both_zeros_come_back_bit_for_bit():
    paths, models = checkpoints(["BF16"] * 3, odd=True)
    for i, path in enumerate(paths):
        for t, values in (("emb", (0x7FC1, 0xFF81, 0x7F80, 0xFF80, 0x8000)), ("layers.10.q", (0xFFFF,))):
            bits = models[i][t][2].copy()
            bits[11 + i : 11 + i + len(values)] = values
            models[i][t] = (*models[i][t][:2], bits)
        write_model(path, models[i])
    out = merge(paths, {"density": 1}, non_finite="allow")
    shared = read_folder(out)
    for i, task in enumerate(models[1:]):
        delta, target = os.path.join(out, "deltas", f"task{i}.safetensors"), new_path("")
        check_delta(delta, shared, task, "1", "model", "replace", f"task{i}")
        weft("apply", out, delta, target)
        assert all(np.array_equal(bits, task[t][2]) for t, (_, _, bits) in read_folder(target).items())
    recipe = {"merge_method": "linear", "models": [{"model": p, "parameters": {"weight": 1}} for p in paths]}
    with open(new_path(".json") + ".x", "w") as f:
        json.dump({**recipe, "task_deltas": {"density": 1}}, f)
    weft("merge", f.name, new_path(""), code=3)


def write_adapter(folder, module, rank, rows, cols, seed):
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal(n).astype("<f4") for n in (rank * cols, rows * rank))
    prefix = "base_model.model." + module
    os.makedirs(folder)
    write_model(os.path.join(folder, "adapter_model.safetensors"),
                {prefix + ".lora_A.weight": ("F32", (rank, cols), a.view("<u4")),
                 prefix + ".lora_B.weight": ("F32", (rows, rank), b.view("<u4"))})
    with open(os.path.join(folder, "adapter_config.json"), "w") as f:
        json.dump({"peft_type": "LORA", "r": rank, "lora_alpha": 0.125, "target_modules": [module.rsplit(".", 1)[-1]]}, f)
    return a.reshape(rank, cols), b.reshape(rows, rank)


def test_adapters_are_applied_and_may_be_tasks():
    for dtype in ("F32", "BF16"):
        rng, base, path, folder = np.random.default_rng(3), {}, new_path(".safetensors"), new_path("")
        for name, shape in (("model.q_proj.weight", (64, 48)), ("model.norm.weight", (48,))):
            base[name] = dtype, shape, to_bits(dtype, rng.standard_normal(int(np.prod(shape))))
        write_model(path, base)
        a, b = write_adapter(folder, "model.q_proj", 3, 64, 48, 5)
        product = np.zeros((64, 48), np.float32)
        for k in range(3):
            product += b[:, k : k + 1] * a[k : k + 1]
        whole = numbers(*base["model.q_proj.weight"][::2]) + (np.float32(0.125 / 3) * product).ravel()
        task = {**base, "model.q_proj.weight": ("F32", (64, 48), whole.astype("<f4").view("<u4"))}
        target = new_path("")
        weft("apply", path, folder, target)
        got = read_folder(target)
        assert np.array_equal(got["model.q_proj.weight"][2], to_bits(dtype, whole)), f"{dtype}: apply"
        assert np.array_equal(got["model.norm.weight"][2], base["model.norm.weight"][2])
        for density in ("0.1", "1"):
            out = merge([path, path + "+" + folder], {"density": float(density) if density != "1" else 1})
            check_delta(os.path.join(out, "deltas", "task0.safetensors"), read_folder(out), task, density, "model", "replace",
                        "task0")


def folder_bytes(out):
    folder = os.path.join(out, "deltas")
    return {name: open(os.path.join(folder, name), "rb").read() for name in os.listdir(folder)}


def test_same_bytes_for_any_threads_and_memory():
    paths, _ = checkpoints(["BF16"] * 4)
    for scope in ("model", "tensor"):
        first = None
        for flags in (["--threads", "1"], ["--threads", "7"], ["--memory", "64Mi"], ["--shard-size", "50000"]):
            out = merge(paths, {"density": 0.1, "scope": scope}, flags=flags)
            files = folder_bytes(out)
            assert first is None or files == first, flags
            first = files
            assert not os.path.exists(os.path.join(out, "spool"))
            weft("verify", out)


if __name__ == "__main__":
    sys.exit(run_tests(globals(), ["weft", "scratch"], "delta: "))
