#!/usr/bin/env python3
"""Every method as a user meets it: random checkpoints, a recipe, `weft merge`, and the result against numpy.

The formulas are written from docs/RECIPES.md and `weft methods NAME`, in float64, over whole tensors. Keys that
decide what is kept are float32 differences, as the documents say, so the kept sets are the same. A result may differ
by the roundings of float32 on the way (TERMS units of the sum of magnitudes) and half a unit of the stored type.
The last line of the output is the count.
"""
import json
import math
import os
import pathlib
import struct
import subprocess
import sys
from fractions import Fraction

import numpy as np

from harness import DIGITS, SMALLEST, need, run_tests

SHAPES = {"a.vector": (301,), "b.short": (40,), "c.matrix": (37, 53), "d.tall": (97, 1), "e.wide": (1, 70),
          "f.conv": (6, 4, 3, 3), "g.cube": (5, 17, 7), "h.scalar": (), "i.large": (130, 257), "j.frozen": (64, 9)}
STORED = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
TERMS = 40


# ---- files ----


def to_bytes(dtype, array):
    if dtype != "BF16":
        return array.astype(STORED[dtype]).tobytes()
    bits = array.astype("<f4").view("<u4")
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()


def from_bytes(dtype, raw, shape):
    if dtype != "BF16":
        return np.frombuffer(raw, STORED[dtype]).astype(np.float64).reshape(shape)
    return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64).reshape(shape)


def write_model(path, tensors):
    """tensors: name -> (dtype, array). Returns the numbers as they were stored."""
    header, data, stored = {}, b"", {}
    for name, (dtype, array) in tensors.items():
        raw = to_bytes(dtype, array)
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
        stored[name] = from_bytes(dtype, raw, array.shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
    return stored


def read_model(path):
    raw = open(path, "rb").read()
    (n,) = struct.unpack("<Q", raw[:8])
    out = {}
    for name, info in json.loads(raw[8 : 8 + n]).items():
        if name != "__metadata__":
            begin, end = info["data_offsets"]
            out[name] = info["dtype"], from_bytes(info["dtype"], raw[8 + n + begin : 8 + n + end], info["shape"])
    return out


def checkpoints(dtype, n, seed, spread=0.01):
    """A base and n fine-tunes of it: paths, and for each the stored numbers by name. One tensor nobody changed."""
    rng = np.random.default_rng(seed)
    base = {name: 0.06 * rng.standard_normal(shape) for name, shape in SHAPES.items()}
    paths, models = [], []
    for i in range(n + 1):
        tensors = {}
        for name, array in base.items():
            change = spread * rng.standard_normal(array.shape) if i and name != "j.frozen" else 0
            tensors[name] = (dtype, np.asarray(array + change))
        paths.append(os.path.join(ARGS.scratch, f"{dtype}-{n}-{seed}-{i}.safetensors"))
        models.append(write_model(paths[-1], tensors))
    return paths, models


# ---- a merge ----


class Case:
    """One recipe: `parameters` of the whole, `per_model` a list of dicts, or None for the same {} each."""

    def __init__(self, method, n, dtype="F32", parameters=None, per_model=None, base=True, seed=0, compat=False):
        self.method, self.base, self.compat, self.seed = method, base, compat, seed
        self.parameters = dict(parameters or {})
        self.paths, models = checkpoints(dtype, n, 11 * n + len(method))
        self.models = models if base else models[1:]
        self.per_model = [{}] * base + [dict(p) for p in (per_model or [{}] * n)]
        self.names = sorted(SHAPES)
        self.inputs = {name: [m[name] for m in self.models] for name in self.names}
        self.wide = dtype == "F64"
        self.keys = {}  # more keys of the recipe

    def option(self, name, i=None, default=None):
        if i is not None and name in self.per_model[i]:
            return self.per_model[i][name]
        return self.parameters.get(name, default)

    def recipe(self):
        entries = [{"model": p, **({"parameters": o} if o else {})} for p, o in zip(self.paths[1:], self.per_model[self.base :])]
        recipe = {"merge_method": self.method, "models": entries, "parameters": self.parameters, "seed": self.seed}
        recipe.update(self.keys)
        if self.base:
            recipe["base_model"] = self.paths[0]
        return recipe

    def delta(self, name, i):
        """W_i - W_0, as weft has it: one subtraction."""
        if self.wide:
            return self.inputs[name][i] - self.inputs[name][0]
        a, b = (self.inputs[name][k].astype(np.float32) for k in (i, 0))
        return (a - b).astype(np.float64)


def run(case):
    """Merges; returns name -> (dtype, array), or the error."""
    run.count = getattr(run, "count", 0) + 1
    path = os.path.join(ARGS.scratch, f"recipe-{run.count}.json")
    out = os.path.join(ARGS.scratch, f"out-{run.count}")
    with open(path, "w") as f:
        json.dump(case.recipe(), f)
    flags = ["--compat", "mergekit"] if case.compat else []
    done = subprocess.run([ARGS.weft, "merge", path, out, "--progress", "none", *flags], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    if done.returncode:
        raise AssertionError(f"{case.method} {case.parameters} {case.per_model}: {done.stderr.strip()}")
    return read_model(os.path.join(out, "model.safetensors"))


def check(case, formula):
    """formula(case) -> name -> (value, magnitude[, other value that is right as well])."""
    merged, want = run(case), formula(case)
    assert set(merged) == set(want), set(merged) ^ set(want)
    for name, (dtype, got) in merged.items():
        value, magnitude, *other = want[name]
        errors = []
        for exact in [value, *other]:
            _, exponent = np.frexp(np.abs(exact))
            unit = np.maximum(np.ldexp(1.0, exponent - 1 - DIGITS[dtype]), SMALLEST[dtype] / 2) * (1 + 2.0**-9)
            error = unit + TERMS * (2.0**-52 if case.wide else 2.0**-24) * magnitude
            errors.append(np.abs(got - exact) / error)
        wrong = np.argwhere(~(np.minimum.reduce(errors) <= 1))
        if wrong.size:
            at = tuple(wrong[0])
            raise AssertionError(f"{case.method} {case.parameters} {case.per_model[case.base:]}: {name}{[int(k) for k in at]} of "
                                 f"{got.shape}: {got[at]}, expected {value[at]}; {len(wrong)} of {got.size} wrong")


# ---- groups, order, draws ----


def rows(shape, rule):
    """Flat indices of a tensor, one array for each row."""
    flat = np.arange(int(np.prod(shape)))
    if len(shape) < 2 or rule == "tensor":
        return [flat]
    cube = flat.reshape(shape)
    if rule == "last":
        return list(cube.reshape(-1, shape[-1]))
    if rule == "first":
        return list(cube.reshape(shape[0], -1))
    if rule == "columns":
        return list(cube.reshape(shape[0], -1).T)
    return list(np.moveaxis(cube, 1, -1).reshape(-1, shape[1]))  # second axis


def band(case, i, n, tensor):
    """Positions [low, high) of the ascending order that stay."""
    density = case.option("density", i, 1.0)
    kept = math.floor(density * n)
    if case.method == "ties":
        return n - kept, n
    if tensor < 64:
        return 0, n
    low, high = case.option("low", i), case.option("high", i)
    if low is not None:
        low, high = Fraction(str(low)), Fraction(str(high))
        return math.floor(low * n), n - math.floor((1 - high) * n)
    top = min(math.floor(case.option("gamma", i, 0.01) * n), n - kept)
    return n - top - kept, n - top


def keep(case, i, key, tensor):
    """Which of the group's keys (in index order) stay."""
    n = key.size
    low, high = band(case, i, n, tensor)
    kept = np.zeros(n, bool)
    if low >= high:
        return kept
    exact = case.method == "ties" and case.option("ties", None, "inclusive") == "exact"
    order = np.lexsort((-np.arange(n) if exact else np.arange(n), key))
    kept[order[low:high]] = True
    if case.method == "ties" and not exact:
        kept |= key >= key[order[low]]
    return kept


def philox(key, i, count):
    """Uniform numbers of input i at elements 0 .. count-1: Philox4x32-10, key and counter as documented."""
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    mask = np.uint64(0xFFFFFFFF)
    c = [blocks & mask, blocks >> np.uint64(32), np.full_like(blocks, i), np.zeros_like(blocks)]
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), b & mask, (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), a & mask]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return (np.stack(c, axis=1).reshape(-1)[:count] >> np.uint64(8)).astype(np.float64) * 2.0**-24


def draw(case, name, i, count):
    import xxhash

    digest = xxhash.xxh3_128_digest(struct.pack("<Q", case.seed) + name.encode())
    return philox(int.from_bytes(digest[:8], "big"), i, count)


# ---- the task-vector family ----


def masks_by_rank(case, i):
    """name -> kept elements, for ties and breadcrumbs."""
    scope = case.option("scope", None, "tensor")
    keys = {name: np.abs(case.delta(name, i)).reshape(-1) for name in case.names}
    if scope == "model":
        whole = np.concatenate([keys[name] for name in case.names])
        kept = keep(case, i, whole, whole.size)
        ends = np.cumsum([keys[name].size for name in case.names])
        return dict(zip(case.names, np.split(kept, ends[:-1])))
    kept = {}
    for name in case.names:
        kept[name] = np.zeros(keys[name].size, bool)
        for row in rows(SHAPES[name], "last" if scope == "row" else "tensor"):
            kept[name][row] = keep(case, i, keys[name][row], keys[name].size)
    return kept


def likelihood(case, name, i):
    """della: by rank in the row along the second axis."""
    density, epsilon = case.option("density", i, 1.0), case.option("epsilon", i, 0.15)
    key = np.abs(case.delta(name, i)).reshape(-1)
    p = np.full(key.size, float(density))
    for row in rows(SHAPES[name], "second") if 0 < density < 1 else []:
        rank = np.empty(row.size)
        rank[np.lexsort((np.arange(row.size), key[row]))] = np.arange(row.size)
        p[row] = density - epsilon + 2 * epsilon * (rank / (row.size - 1) if row.size > 1 else 0.5)
    return p


def pruned(case, i):
    """name -> P(d_i), rescaled."""
    magnitude = case.method in ("ties", "breadcrumbs", "breadcrumbs_ties")
    rescale = case.option("rescale", None, not magnitude and case.method != "task_arithmetic")
    ranked, out = masks_by_rank(case, i) if magnitude else None, {}
    for name in case.names:
        d = case.delta(name, i).reshape(-1)
        if magnitude:
            kept, factor = ranked[name], np.ones(d.size)
        elif case.method == "task_arithmetic":
            kept, factor = np.ones(d.size, bool), np.ones(d.size)
        else:
            dare = case.method.startswith("dare")
            p = np.full(d.size, float(case.option("density", i, 1.0))) if dare else likelihood(case, name, i)
            kept = draw(case, name, i, d.size) < p
            factor = 1 / np.where(p > 0, p, 1) if rescale and not case.compat else np.ones(d.size)
        left = np.abs(d[kept]).sum()
        if rescale and (magnitude or case.compat) and left > (1e-7 if case.compat else 0):
            factor = np.full(d.size, np.abs(d).sum() / left)
        out[name] = np.where(kept, d * factor, 0).reshape(SHAPES[name])
    return out


def task_vectors(case):
    consensus = case.method in ("ties", "dare_ties", "breadcrumbs_ties", "della")
    normalize = case.option("normalize", None, case.method in ("ties", "della"))
    scale, n = case.option("lambda", None, 1.0), len(case.models)
    parts = [None] + [pruned(case, i) for i in range(1, n)]
    weights = np.array([case.option("weight", i, 1.0) for i in range(1, n)])
    out = {}
    for name in case.names:
        base = case.inputs[name][0]
        v = np.stack([w * parts[i + 1][name] for i, w in enumerate(weights)])
        answers = []
        for sign in (1, -1) if consensus else (0,):
            member = v * sign > 0 if consensus else np.ones(v.shape, bool)
            column = weights.reshape(-1, *[1] * base.ndim)
            divisor = (member * column).sum(0) if consensus else np.full(base.shape, weights.sum())
            divisor = np.where(np.abs(divisor) < 1e-8, 1, divisor) if normalize else np.ones(base.shape)
            answers.append(base + scale * (v * member).sum(0) / divisor)
            smallest = np.abs(divisor)
        size = np.abs(base) + abs(scale) * np.abs(v).sum(0) * (np.abs(weights).sum() if normalize else 1) / smallest
        total, sure = v.sum(0), 1e-6 * np.abs(v).sum(0)
        if consensus:
            plus, minus = answers
            first = np.where(total >= 0, plus, minus)
            other = np.where(np.abs(total) <= sure, np.where(total >= 0, minus, plus), first)
            out[name] = first, np.maximum(size, np.abs(first)), other
        else:
            out[name] = answers[0], size
    return out


# ---- methods over whole vectors ----


def by_group(case, rule, combine):
    """combine(vectors of one group) -> coefficients; vectors are differences where case.base and rule says so."""
    out = {}
    for name in case.names:
        x = [a.reshape(-1) for a in case.inputs[name]]
        value, size = np.empty(x[0].size), np.empty(x[0].size)
        columns = rule == "columns" and len(SHAPES[name]) != 2
        for row in rows(SHAPES[name], "last" if columns else rule):
            group = [a[row] for a in x]
            value[row], size[row] = combine(group)
        out[name] = value.reshape(SHAPES[name]), size.reshape(SHAPES[name])
    return out


def weighted(coefficients, vectors, base=0.0):
    parts = [c * v for c, v in zip(coefficients, vectors)]
    return base + sum(parts), np.abs(base) + sum(np.abs(p) for p in parts)


def unit(v, least=0.0):
    norm = math.sqrt(float((v * v).sum()))
    return v / norm if norm > least else v


def arc(t, a, b, straight):
    c = float(np.clip((unit(a, 1e-8) * unit(b, 1e-8)).sum(), -1, 1))
    angle = math.acos(c)
    if straight(c, math.sin(angle)):
        return [1 - t, t]
    return [math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)]


def slerp(case):
    t = case.option("t")
    return by_group(case, "tensor", lambda x: weighted(arc(t, *x, lambda c, s: abs(c) > 0.9995), x))


def nuslerp(case):
    a, b = (case.option("weight", i) for i in range(case.base, case.base + 2))
    t = 0.5 if abs(a + b) < 1e-6 else b / (a + b)
    flatten, row_wise = case.option("nuslerp_flatten", None, True), case.option("nuslerp_row_wise", None, False)

    def combine(x):
        base = x[0] if case.base else 0.0
        v = [y - base for y in x[case.base :]]
        return weighted(arc(t, *v, lambda c, s: abs(s) < 1e-8), v, base)

    return by_group(case, "tensor" if flatten else "columns" if row_wise else "last", combine)


def multislerp(case):
    weights = np.array([case.option("weight", i) for i in range(case.base, len(case.models))])
    eps = case.option("eps", None, 1e-8)
    if case.option("normalize_weights", None, True):
        weights = weights / weights.sum()

    def combine(x):
        base = x[0] if case.base else 0.0
        v = [y - base for y in x[case.base :]]
        norms = [math.sqrt(float((y * y).sum())) for y in v]
        mean = sum(w * y / (n + eps) for w, y, n in zip(weights, v, norms))
        length = math.sqrt(float((mean * mean).sum()))
        if len(v) == 1 or not any(norms):
            return weighted([1.0] * len(v), v, base)
        scale = float((weights * norms).sum()) / length
        return weighted([w / (n + eps) * scale for w, n in zip(weights, norms)], v, base)

    return by_group(case, "tensor", combine)


def karcher(case):
    def combine(x):
        norms = [math.sqrt(float((y * y).sum())) for y in x]
        u = [y / n for y, n in zip(x, norms)]
        at = unit(sum(u))
        for _ in range(case.option("max_iter", None, 10)):
            step = np.zeros_like(at)
            for y in u:
                c = float(np.clip((at * y).sum(), -1, 1))
                angle = math.acos(c)
                if angle >= 1e-5:
                    step += angle / math.sin(angle) * (y - c * at) / len(u)
            length = math.sqrt(float((step * step).sum()))
            if length < 1e-5:
                break
            at = unit(math.cos(length) * at + math.sin(length) * step / length)
        mean = sum(norms) / len(norms)
        return at * mean, sum(np.abs(y) for y in u) * mean

    return by_group(case, "tensor", combine)


def model_stock(case):
    def combine(x):
        d = [y - x[0] for y in x[1:]]
        norms, n = [math.sqrt(float((y * y).sum())) for y in d], len(d)
        pairs = []
        for i in range(n):
            for j in range(i):
                size = max(norms[i] * norms[j], 1e-6) if case.compat else norms[i] * norms[j]
                pairs.append(float(np.clip((d[i] * d[j]).sum() / size, -1, 1)) if size else 0.0)
        c = sum(pairs) / len(pairs)
        c = c if case.compat else min(max(c, 0.0), 1.0)
        t = n * c / (1 + (n - 1) * c)
        value, size = weighted([t / n] * n, d, x[0])
        return value, size * (1 + n / (1 + (n - 1) * c) ** 2)

    return by_group(case, "first" if case.option("filter_wise", None, False) else "tensor", combine)


def balanced(case):
    """pcb over one group: v holds the deltas of all models over it, [n][D]; returns the shares g_i."""
    variant, density = case.option("variant", None, "code"), case.option("density", None, 0.2)

    def order(x, share):
        return np.sort(x)[min(max(math.floor(share), 0), x.size - 1)]

    def shares(v):
        n, d = v.shape
        if variant == "paper":
            return of_products(v)
        tail = 1e-4 if variant == "code" else 0.01
        size, place = np.abs(v), np.zeros(v.shape)
        for i in range(n):
            low, high = order(size[i], d * tail), order(size[i], d * (1 - tail) - 1)
            size[i] = np.clip(size[i], low, high)
            place[i] = (size[i] - low) / (high - low) if high > low else 0
        signed = np.sign(v) * place
        if variant == "code-vision-es":
            rivals = np.array([sum(np.tanh(signed[i] * signed[j]) for j in range(n)) for i in range(n)])
        else:
            rivals = np.tanh(v * (signed if variant == "code-vision" else v).sum(axis=0))
        balance, score = np.exp(n * place**2) * rivals, np.zeros(v.shape)
        for i in range(n):
            cut, top = order(balance[i], d * (1 - density)), balance[i].max()
            if top > cut and place[i].any():
                score[i] = np.maximum(balance[i] - cut, 0) / (top - cut)
        return np.sign(v) * size * score / np.maximum(score.sum(axis=0), 1e-12)

    def of_products(v):
        n, d = v.shape

        def norm(p):
            return (p - p.min()) / (p.max() - p.min()) if p.max() > p.min() else np.zeros(d)

        def softmax(x):
            e = np.exp(x - x.max())
            return d * e / e.sum()

        score = np.zeros(v.shape)
        for i in range(n):
            b = softmax(n * norm(v[i] ** 2)) * sum(softmax(norm(v[i] * v[j])) for j in range(n))
            if (v[i] ** 2).max() > (v[i] ** 2).min():
                score[i] = np.where(b >= order(b, d * (1 - density)), b, 0)
        total = score.sum(axis=0)
        return v * score / np.where(total > 0, total, 1)

    return shares


def pcb(case):
    names = [n for n in case.names if case.inputs[n][0].size]
    groups = [names] if case.option("scope", None, "model") == "model" else [[n] for n in names]
    factor = np.array([case.option("lambda", None, 1.0) * case.option("weight", i, 1.0) for i in range(1, len(case.models))])
    out = {}
    for group in groups:
        v = np.array([np.concatenate([case.delta(n, i).ravel() for n in group]) for i in range(1, len(case.models))])
        parts, at = factor[:, None] * balanced(case)(v), 0
        for name in group:
            base = case.inputs[name][0]
            here = parts[:, at : at + base.size]
            value = base + here.sum(axis=0).reshape(base.shape)
            out[name] = value, np.abs(base) + 30 * np.abs(here).sum(axis=0).reshape(base.shape)
            at += base.size
    return out


# ---- methods that choose ----


def ram(case):
    epsilon, plus, out = case.option("epsilon", None, 1e-5), case.method == "ramplus_tl", {}
    for name in case.names:
        d = np.stack([case.delta(name, i) for i in range(1, len(case.models))])
        changed = np.abs(d) > np.float32(epsilon)
        count = changed.sum(0)
        factor = np.ones(d.shape)
        if plus:
            for i in range(d.shape[0]):
                unique, shared = (changed[i] & (count == 1)).sum(), (changed[i] & (count > 1)).sum()
                most = case.option("alpha", None, 0.2)
                ratio = min(shared / unique, most) if unique else most
                factor[i] += np.where(count == 1, case.option("r", None, 0.1) * ratio, 0)
        add = changed * d * factor / np.maximum(count, 1)
        out[name] = case.inputs[name][0] + add.sum(0), np.abs(case.inputs[name][0]) + np.abs(add).sum(0)
    return out


def sce(case):
    out, real = {}, np.float64 if case.wide else np.float32
    for name in case.names:
        base, n = case.inputs[name][0], len(case.models) - 1
        d = np.stack([case.delta(name, i) for i in range(1, n + 1)])
        narrow, topk = d.astype(real), case.option("select_topk", None, 1.0)
        kept = np.ones(base.size, bool)
        if topk < 1:  # variance over the models in the arithmetic of the merge, lower index first among equals
            apart = [x - narrow[0] for x in narrow]  # equal changes vary by nothing
            mean = sum(apart[2:], apart[1]) / real(n) if n > 1 else apart[0]
            off = [(x - mean) ** 2 for x in apart]
            key = (sum(off[1:], off[0]) / real(n)).reshape(-1)
            k = math.floor(topk * int((key > 0).sum()))
            kept = np.zeros(base.size, bool)
            kept[np.lexsort((np.arange(key.size), -key.astype(np.float64)))[:k]] = True
        d = d * kept.reshape(base.shape)
        energy = (d * d).reshape(n, -1).sum(1)
        uniform = case.compat and energy.sum() < 1e-6 * base.size
        share = np.full(n, 1 / n) if uniform else energy / (energy.sum() or 1)
        share = share.reshape(-1, *[1] * base.ndim)
        answers = []
        for sign in (1, -1):
            member = d * sign > 0
            weights = (share * member).sum(0)
            floor = np.maximum(weights, 1e-6) if case.compat else np.where(weights > 0, weights, 1)
            answers.append(base + (share * d * member).sum(0) / floor)
        total, size = d.sum(0), np.abs(d).sum(0)
        first = np.where(total >= 0, *answers)
        other = np.where(np.abs(total) <= 1e-6 * size, np.where(total >= 0, *answers[::-1]), first)
        out[name] = first, np.abs(base) + size, other
    return out


def nearswap(case):
    t, out = case.option("t"), {}
    for name in case.names:
        a, b = case.inputs[name]
        q = np.clip(t / np.maximum(np.abs(a - b), 1e-6), 0, 1)
        out[name] = q * b + (1 - q) * a, np.abs(a) + np.abs(b)
    return out


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum() + 1e-8


def arcee_fusion(case):
    out = {}
    for name in case.names:
        a, b = (x.reshape(-1) for x in case.inputs[name])
        key = np.empty(a.size)
        for row in rows(SHAPES[name], "last"):
            p, q = softmax(b[row]), softmax(a[row])
            key[row] = np.abs(b[row] - a[row]) * max(float((p * np.log(p / q)).sum()), 0)
        order = np.sort(key)
        first, median, third = (order[k * (a.size - 1) // 4] for k in (1, 2, 3))
        cut = median + 1.5 * (third - first)
        kept, near = key >= cut, np.abs(key - cut) <= 1e-5 * np.abs(cut) + 1e-12 * np.abs(b - a)
        value, other = np.where(kept, b, a), np.where(kept ^ near, b, a)
        size = np.maximum(np.abs(a), np.abs(b))
        out[name] = tuple(x.reshape(SHAPES[name]) for x in (value, size, other))
    return out


def linear(case):
    weights = [case.option("weight", i) for i in range(len(case.models))]
    total = sum(weights) if case.option("normalize", None, True) else 1
    return by_group(case, "tensor", lambda x: weighted([w / total for w in weights], x))


def passthrough(case):
    return by_group(case, "tensor", lambda x: weighted([case.option("scale", 0, 1.0)], x))


# ---- tests ----


def w(*weights, **options):
    """One dict for each model; an option given as a list has a value for each."""
    return [{"weight": x, **{k: v[i] if isinstance(v, list) else v for k, v in options.items()}} for i, x in enumerate(weights)]


def over_types(formula, method, *settings, n=3, **more):
    for dtype in ("F32", "BF16", "F16", "F64"):
        for parameters, per_model, *flags in settings:
            count = len(per_model) if per_model else n
            extra = {**more, **(flags[0] if flags else {})}
            check(Case(method, count, dtype, parameters, per_model, **extra), formula)


def needs_draws():
    need("xxhash", why=": draws are keyed by it")


def test_pcb():
    for variant in ["paper", "code", "code-nlp", "code-vision", "code-vision-es"]:
        for scope in ["model", "tensor"]:
            for n, dtype, density in [(1, "F32", 0.2), (2, "BF16", 0.05), (3, "F32", 0.5), (5, "BF16", 1.0), (9, "F16", 0.1)]:
                parameters = {"variant": variant, "scope": scope, "density": density, "lambda": 1.3}
                check(Case("pcb", n, dtype, parameters, [{"weight": 1.0 - 0.2 * i} for i in range(n)]), pcb)


def test_pcb_in_double():
    """Balances are floats in tensors of doubles, too, and the result as near as these."""
    for variant in ["code", "code-vision-es"]:
        case = Case("pcb", 3, "F64", {"variant": variant, "density": 0.3})
        merged, want = run(case), pcb(case)
        for name, (_, got) in merged.items():
            assert np.abs(got - want[name][0]).max(initial=0) < 1e-8, name
    check(Case("pcb", 3, "F64", {"variant": "paper", "density": 0.3}), pcb)


def test_linear():
    over_types(linear, "linear", ({}, w(0.3, 0.9)), ({"normalize": False}, w(0.3, -0.2, 1)), base=False)


def test_passthrough():
    over_types(passthrough, "passthrough", ({}, [{"scale": 0.3}]), ({}, [{"scale": -2}]), base=False)


def test_task_arithmetic():
    over_types(task_vectors, "task_arithmetic", ({}, w(0.7, -0.4)), ({"normalize": True, "lambda": 0.5}, w(1, 2, 0.3)))


def test_a_table_of_coefficients_gives_each_tensor_its_own_weights():
    """In both forms, with and without a row for the rest, and in place of weights that are given as well."""
    for per_model in (None, w(5, 5)):
        case = Case("task_arithmetic", 2, "F32", {}, per_model)
        rng = np.random.default_rng(1)
        table = {name: [float(x) for x in rng.uniform(-1, 1, 2)] for name in case.names[1:]}
        table["*"] = [0.25, -0.5]
        tasks = [os.path.basename(path)[: -len(".safetensors")] for path in case.paths[1:]]
        rows = [dict(zip(tasks, row)) if k % 2 else row for k, row in enumerate(table.values())]
        case.keys = {"coefficients": os.path.join(ARGS.scratch, "coefficients.json")}
        with open(case.keys["coefficients"], "w") as f:
            json.dump(dict(zip(table, rows)), f)
        want = {}
        for name in case.names:
            deltas = [case.delta(name, i) for i in (1, 2)]
            parts = [c * d for c, d in zip(table.get(name, table["*"]), deltas)]
            want[name] = case.inputs[name][0] + sum(parts), sum(np.abs(p) for p in parts) + np.abs(case.inputs[name][0])
        check(case, lambda _: want)


def test_ties():
    over_types(task_vectors, "ties", ({"density": 0.2}, w(1, 0.7, 0.4)), ({"density": 0.5, "ties": "exact"}, w(1, 1)),
               ({"density": 0.3, "scope": "row"}, w(0.5, 1)), ({"density": 0.3, "scope": "model"}, w(0.5, 1, 0.3)),
               ({"density": 0.3, "scope": "model", "ties": "exact", "normalize": False}, w(0.5, 1)),
               ({"rescale": True, "lambda": 0.8}, w(0.6, 0.9, density=[0.4, 0.05])), ({"density": 0}, w(1, 1)),
               ({"density": 0.3, "rescale": True}, w(0.6, 0.9), {"compat": True}))


def test_breadcrumbs():
    for method in ("breadcrumbs", "breadcrumbs_ties"):
        over_types(task_vectors, method, ({"density": 0.5, "gamma": 0.1}, w(1, 0.7, 0.4)), ({}, w(1, 1)),
                   ({"density": 0.3, "scope": "row"}, w(0.5, 1)), ({"low": 0.85, "high": 0.993}, w(0.5, 1)),
                   ({"density": 0.3, "gamma": 0, "scope": "model"}, w(0.5, 1)),
                   ({"low": 0.2, "high": 0.9, "rescale": True, "normalize": True}, w(0.5, 1)))


def test_dare():
    needs_draws()
    for method in ("dare_linear", "dare_ties"):
        over_types(task_vectors, method, ({"density": 0.2}, w(1, 0.7, 0.4)), ({}, w(0.5, 1, density=[0.9, 0.5]), {"seed": 42}),
                   ({"density": 0.5, "rescale": False}, w(1, 1)), ({"density": 0.5}, w(1, 0.6), {"compat": True}))


def test_della():
    needs_draws()
    for method in ("della", "della_linear"):
        over_types(task_vectors, method, ({"density": 0.4}, w(1, 0.7, 0.4)),
                   ({}, w(0.5, 1, density=[0.6, 1]), {"seed": 2**64 - 1}),
                   ({"density": 0.5, "epsilon": 0.3, "rescale": False}, w(1, 1)), ({"density": 0.5}, w(1, 0.6), {"compat": True}))


def test_draws_depend_on_the_seed_and_on_nothing_else():
    first, again, other = (run(Case("dare_linear", 2, "F32", {"density": 0.5}, w(1, 1), seed=s)) for s in (1, 1, 2))
    assert all(np.array_equal(first[n][1], again[n][1]) for n in SHAPES)
    assert not np.array_equal(first["i.large"][1], other["i.large"][1])


def test_slerp():
    over_types(slerp, "slerp", *[({"t": t}, None) for t in (0, 0.35, 1, 1.4)], n=1)


def test_nuslerp():
    for base in (False, True):
        over_types(nuslerp, "nuslerp", ({}, w(0.3, 0.9)), ({"nuslerp_flatten": False}, w(0.5, 0.5)), ({}, w(1, -1)),
                   ({"nuslerp_flatten": False, "nuslerp_row_wise": True}, w(1, 3)), base=base)


def test_multislerp():
    for base in (False, True):
        over_types(multislerp, "multislerp", ({}, w(0.3, 0.9, 0.5)), ({}, w(0.3)),
                   ({"normalize_weights": False}, w(0.7, 0.2)), base=base)


def test_karcher():
    over_types(karcher, "karcher", ({}, None), ({"max_iter": 2}, None), base=False)


def test_model_stock():
    over_types(model_stock, "model_stock", ({}, None), ({"filter_wise": True}, None), ({}, None, {"compat": True}))


def test_sce():
    over_types(sce, "sce", ({}, None), ({"select_topk": 0.3}, None), ({"select_topk": 0}, None),
               ({"select_topk": 0.5}, None, {"compat": True}))


def test_ram():
    over_types(ram, "ram", ({}, None), ({"epsilon": 0.005}, None))
    over_types(ram, "ramplus_tl", ({}, None), ({"epsilon": 0.005, "r": 0.5, "alpha": 2}, None))


def test_nearswap():
    over_types(nearswap, "nearswap", ({"t": 0.001}, None), ({"t": 0.01}, None), n=1)


def test_arcee_fusion():
    over_types(arcee_fusion, "arcee_fusion", ({}, None), n=1)


def test_every_method_is_tested_here():
    lines = subprocess.run([ARGS.weft, "methods", "--json"], capture_output=True, text=True, check=True).stdout.splitlines()
    names = [m["name"] for m in map(json.loads, lines) if "formula" in m]
    tested = "".join(path.read_text() for path in pathlib.Path(__file__).parent.glob("*_oracle.py"))
    missing = [name for name in names if f'"{name}"' not in tested]
    assert len(names) >= 20 and not missing, f"{len(names)} methods, without a test: {missing}"


if __name__ == "__main__":
    sys.exit(run_tests(globals(), ("weft", "scratch"), "oracle: "))
