#!/usr/bin/env python3
"""Every method of mergekit with every parameter: the same recipe through mergekit and weft, tensor by tensor.

METHODS states, for each method, how far two results may be apart: c units of 2^-24 * max|x| in float32 (and 2^-53
in float64), max|x| over the inputs of the tensor. Methods that draw at random are compared by what survives: its share,
its mean and its L1 norm. The last line of the output is the count.
"""
import sys

import numpy as np
import torch

from harness import run_tests
from mergekit_lib import Lab, check_close, read

# method: c, whether it takes a base, models, parameters of each model, and the cases: parameters of the whole.
WEIGHTS = [{"weight": 1.0}, {"weight": 0.377}, {"weight": 0.6113}]
SIGNED = [{"weight": 0.8}, {"weight": -0.3}, {"weight": 0.5}]
METHODS = {
    "linear": (4, False, WEIGHTS, [{}, {"normalize": False}]),
    "slerp": (8, True, [{}], [{"t": 0}, {"t": 0.35}, {"t": 1}, {"t": 1.25}]),
    "nuslerp": (16, False, WEIGHTS[:2], [{}, {"nuslerp_flatten": False}, {"nuslerp_flatten": False, "nuslerp_row_wise": True}]),
    "multislerp": (32, False, WEIGHTS, [{}, {"normalize_weights": False}, {"eps": 1e-3}]),
    "karcher": (32, False, [{}] * 3, [{}, {"max_iter": 2}, {"max_iter": 0}, {"tol": 0.01}]),
    "passthrough": (1, False, [{}], [{}, {"scale": 0.5}, {"scale": 0}, {"scale": -1.5}]),
    "task_arithmetic": (4, True, SIGNED, [{}, {"normalize": True}, {"lambda": 0.7}, {"int8_mask": True, "rescale": True}]),
    "ties": (4, True, WEIGHTS, [{"density": d, **more} for d in (0.2, 0.77, 1) for more in (
        {}, {"normalize": False}, {"lambda": 1.3}, {"rescale": True}, {"int8_mask": True})]),
    "breadcrumbs": (4, True, SIGNED, [{"density": 0.9}, {"density": 0.5, "gamma": 0.05}, {"density": 0.9, "gamma": 0.3},
        {"density": 0.5, "gamma": 0}, {"density": 1}, {"density": 0.6, "rescale": True}, {"density": 0.6, "normalize": True},
        {"density": 0.6, "lambda": 0.5}, {"density": 0.6, "int8_mask": True}]),
    "breadcrumbs_ties": (4, True, WEIGHTS, [{"density": 0.9}, {"density": 0.5, "gamma": 0.05}, {"density": 0.6, "rescale": True},
        {"density": 0.6, "normalize": True}, {"density": 0.6, "lambda": 0.5}, {"density": 0.6, "int8_mask": True}]),
    "sce": (8, True, [{}] * 3, [{}, {"select_topk": 0.5}, {"select_topk": 0.1, "int8_mask": True}]),
    "ram": (4, True, [{}] * 3, [{}, {"epsilon": 0.004}]),
    "ramplus_tl": (4, True, [{}] * 3, [{}, {"epsilon": 0.004}, {"epsilon": 0.004, "r": 0.5, "alpha": 2.0}]),
    "model_stock": (16, True, [{}] * 3, [{}, {"filter_wise": True}]),
    "nearswap": (4, True, [{}], [{"t": 0.0005}, {"t": 0.004}, {"t": 1}]),
}
# These draw at random below density 1; at density 1 they keep all, and are like the others.
RANDOM = {"dare_linear": {}, "dare_ties": {}, "della_linear": {"epsilon": 0.1}, "della": {"epsilon": 0.1}}
WHOLE = [{}, {"normalize": True}, {"normalize": False, "lambda": 0.6}, {"int8_mask": True, "rescale": False}]
METHODS.update({method: (4, True, WEIGHTS, WHOLE) for method in RANDOM})

OPTIONAL_BASE = ("nuslerp", "multislerp")
SINGLE = {"ramplus_tl": 2.0**29}  # mergekit's factors are float32 for float64 models, too: units of 2^-53 in one of 2^-24
worst = {}  # method -> the largest distance seen


def recipe(method, base, paths, per_model, parameters, **keys):
    entries = [{"model": p, **({"parameters": o} if o else {})} for p, o in zip(paths[1:], per_model)]
    whole = {"merge_method": method, "models": entries, "parameters": parameters, **keys}
    return {**whole, "base_model": paths[0]} if base else whole


def compare(method, base, paths, per_model, parameters, c, *flags, **keys):
    path = LAB().write(recipe(method, base, paths, per_model, parameters, **keys))
    used = paths[: len(per_model) + 1]
    found = check_close(read(LAB().weft(path, *flags)), read(LAB().mergekit(path)), used, c, f"{method} {parameters} {flags}: ")
    if paths[0].startswith(LAB().path("llama-float32")):
        worst[method] = max(found, worst.get(method, 0))


def check_method(method, family="llama", dtype=torch.float32, cases=None):
    c, base, per_model, table = METHODS[method]
    c *= SINGLE.get(method, 1) if dtype == torch.float64 else 1
    paths = LAB().family(family, n=3, dtype=dtype)
    for parameters in cases or table:
        for with_base in {base, base or method in OPTIONAL_BASE}:
            for flags in ((), ("--compat", "mergekit")):
                compare(method, with_base, paths, per_model, parameters, c, *flags)


def LAB():
    if "lab" not in globals():
        globals()["lab"] = Lab(ARGS.weft, ARGS.scratch)
    return globals()["lab"]


for _method in METHODS:
    globals()[f"test_{_method}_with_every_parameter"] = lambda m=_method: check_method(m)


def test_every_method_in_float64():
    for method, (_, _, _, cases) in METHODS.items():
        check_method(method, dtype=torch.float64, cases=cases[:1])


def test_every_method_on_granite_gpt2_and_llava():
    for family in ("granite", "gpt2", "llava"):
        for method, (_, _, _, cases) in METHODS.items():
            check_method(method, family, cases=cases[:1])


# In bfloat16 mergekit rounds at every step, weft once: units of 2^-8. Methods that compare sums or magnitudes are left
# out, as the two see different ones.
BF16 = {"linear": 1, "slerp": 1, "nuslerp": 4, "multislerp": 6, "karcher": 16, "passthrough": 1, "task_arithmetic": 3,
        "breadcrumbs": 3, "dare_linear": 3, "della_linear": 3, "model_stock": 4, "nearswap": 2}


def test_methods_without_cuts_in_bfloat16():
    paths = LAB().family(dtype=torch.bfloat16)
    for method, c in BF16.items():
        _, base, per_model, cases = METHODS[method]
        parameters = {"density": 1} if method == "breadcrumbs" else {} if base and method != "model_stock" else cases[0]
        parameters = {**parameters, **({"t": 0.004} if method in ("slerp", "nearswap") else {})}
        compare(method, base, paths, per_model, parameters, c)


def test_arcee_fusion_takes_over_the_same_elements():
    for dtype, least in ((torch.float64, 1), (torch.float32, 0.97)):  # mergekit's divergences are rough in float32
        paths = LAB().family(dtype=dtype)[:2]
        path = LAB().write(recipe("arcee_fusion", True, paths, [{}], {}))
        ours, theirs = read(LAB().weft(path)), read(LAB().mergekit(path))
        base, tuned = read(paths[0]), read(paths[1])
        for name, a in ours.items():
            b = theirs[name]
            assert torch.equal(torch.where(a == tuned[name], tuned[name], base[name]), a), name
            taken, wanted = a != base[name], b != base[name]
            assert wanted.any() and not wanted.all(), f"{name}: mergekit takes none or all"
            same = float((taken & wanted).sum() / (taken | wanted).sum())
            assert same >= least, f"{name}: {same:.3f} of what either takes over is in both"


# ---- methods that draw ----


def rank_in_row(delta):
    """0 to 1 by magnitude, along the second axis; a vector is one row."""
    rows = np.abs(delta.reshape(1, -1) if delta.ndim < 2 else delta)
    order = rows.argsort(axis=1).argsort(axis=1)
    return (order / (rows.shape[1] - 1)).reshape(delta.shape)


def draws(method, parameters, *flags, seed=1):
    """One fine-tune under a method: for weft and mergekit, name -> (change over weight, delta, keep probability)."""
    paths = LAB().family()[:2]
    weight, density = 0.7, parameters["density"]
    path = LAB().write(recipe(method, True, paths, [{"weight": weight}], parameters, seed=seed))
    base, tuned, out = read(paths[0]), read(paths[1]), []
    for folder in (LAB().weft(path, *flags), LAB().mergekit(path, "--random-seed", str(seed))):
        merged, result = read(folder), {}
        for name, w0 in base.items():
            w0, delta = w0.double().numpy(), (tuned[name] - w0).double().numpy()
            p = np.full(delta.shape, float(density))
            if method.startswith("della"):
                p += parameters["epsilon"] * (2 * rank_in_row(delta) - 1)
            result[name] = (merged[name].double().numpy() - w0) / weight, delta, p
        out.append(result)
    return out


def check_share(result, what):
    """The share of survivors, by tensor and by keep probability, within six standard deviations."""
    kept = np.concatenate([(change != 0).ravel() for change, _, _ in result.values()])
    p = np.concatenate([p.ravel() for _, _, p in result.values()])
    bins = np.minimum((p * 20).astype(int), 19)
    groups = [bins == k for k in np.unique(bins)] + [np.ones(p.size, bool)]
    ends = np.cumsum([d.size for _, d, _ in result.values()])
    groups += [(np.arange(p.size) >= end - d.size) & (np.arange(p.size) < end) for end, (_, d, _) in zip(ends, result.values())]
    for group in groups:
        off = abs(kept[group].sum() - p[group].sum()) / np.sqrt((p * (1 - p))[group].sum())
        assert off < 6, f"{what}: {kept[group].mean():.4f} survive of {group.sum()}, expected {p[group].mean():.4f}"


def check_draws(method, **parameters):
    parameters.update(RANDOM[method])
    ours, theirs = draws(method, parameters)
    compat, _ = draws(method, parameters, "--compat", "mergekit")
    for result, what in ((ours, "weft"), (theirs, "mergekit"), (compat, "weft --compat mergekit")):
        check_share(result, f"{method}, {what}")
        total = sum(float((change * np.sign(delta)).sum()) for change, delta, _ in result.values())
        whole = sum(float(np.abs(delta).sum()) for _, delta, _ in result.values())
        assert abs(total / whole - 1) < 0.02, f"{method}, {what}: the changes add up to {total / whole:.4f} of the whole"
        for name, (change, delta, p) in result.items():
            kept = change != 0
            factor = change[kept] / delta[kept]
            if what == "weft":
                want = 1 / p[kept]
            else:
                want = np.abs(delta).sum() / np.abs(delta[kept]).sum()
            error = np.abs(factor / want - 1) * np.abs(delta[kept])
            assert error.max() < 2.0**-23, f"{method}, {what}: {name} has a factor {factor[error.argmax()]}"


for _method in RANDOM:
    globals()[f"test_{_method}_survivors_mean_and_L1_norm"] = lambda m=_method: check_draws(m, density=0.4, normalize=False)


def test_random_methods_give_one_of_the_possible_outcomes_without_rescale():
    paths = LAB().family()[:3]
    weights = [0.9, 0.41]
    base, tuned = read(paths[0]), [read(p) for p in paths[1:]]
    for method, extra in RANDOM.items():
        for normalize in (False, True):
            parameters = {"density": 0.5, "rescale": False, "normalize": normalize, "lambda": 0.8, **extra}
            path = LAB().write(recipe(method, True, paths, [{"weight": w} for w in weights], parameters))
            for folder in (LAB().weft(path), LAB().mergekit(path, "--random-seed", "7")):
                for name, merged in read(folder).items():
                    w0 = base[name].double().numpy()
                    v = [w * (t[name] - base[name]).double().numpy() for w, t in zip(weights, tuned)]
                    check_outcomes(merged.double().numpy(), w0, v, weights, method in ("dare_ties", "della"), normalize,
                                   f"{method}, {folder}: {name}")


def check_outcomes(got, w0, v, weights, consensus, normalize, what):
    closest = np.full(got.shape, np.inf)
    for keep in ((0, 0), (0, 1), (1, 0), (1, 1)):
        kept = [k * x for k, x in zip(keep, v)]
        sign = np.where(sum(kept) >= 0, 1, -1)
        member = [(x * sign > 0) | (not consensus) for x in kept]
        total = sum(np.where(m, x, 0) for m, x in zip(member, kept))
        divisor = sum(np.where(m, w, 0.0) for m, w in zip(member, weights)) if normalize else 1.0
        divisor = np.where(np.abs(divisor) < 1e-8, 1, divisor)
        closest = np.minimum(closest, np.abs(w0 + 0.8 * total / divisor - got))
    assert closest.max() < 2.0**-23, f"{what}: {closest.max()} away from all possible outcomes"


if __name__ == "__main__":
    code = run_tests(globals(), ("weft", "scratch"), "mergekit: ")
    print("# largest distance: " + ", ".join(f"{m} {d:.1f}" for m, d in worst.items()), file=sys.stderr)
    sys.exit(code)
