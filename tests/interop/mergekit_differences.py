#!/usr/bin/env python3
"""Where weft and mergekit differ: each line of the table in docs/RECIPES.md, asserted on both sides.

The docstring of a test is the first cell of its line. A test that fails on mergekit's side is news of mergekit: the line
has to change, and perhaps what `--compat mergekit` does. The last line of the output is the count.
"""
import os
import re
import sys
from importlib.metadata import version

import torch

from harness import run_tests
from mergekit_lib import UNIT, Lab, read, read_config

COMPAT = ("--compat", "mergekit")
KNOWN = "0.1.5"  # the version of mergekit that the table speaks of


def LAB():
    if "lab" not in globals():
        globals()["lab"] = Lab(ARGS.weft, ARGS.scratch)
    return globals()["lab"]


# ---- recipes and results ----


def recipe(method, base, *entries, **keys):
    """entries: paths, or (path, parameters)."""
    entries = [e if isinstance(e, tuple) else (e, {}) for e in entries]
    models = [{"model": path, **({"parameters": p} if p else {})} for path, p in entries]
    return {"merge_method": method, **({"base_model": base} if base else {}), "models": models, **keys}


def sources(method, *slices, **keys):
    """slices: lists of (path, first, end[, parameters])."""
    source = lambda path, first, end, parameters={}: {"model": path, "layer_range": [first, end], "parameters": parameters}
    made = [{"sources": [source(*each) for each in one]} for one in slices]
    return {"merge_method": method, "slices": made, **keys}


def weft(recipe, *flags):
    return read(LAB().weft(LAB().write(recipe), *flags))


def mergekit(recipe, *flags):
    return read(LAB().mergekit(LAB().write(recipe), *flags))


def mergekit_refuses(recipe):
    try:
        mergekit(recipe)
    except Exception as error:
        return str(error)
    raise AssertionError("mergekit no longer refuses this")


def three(recipe):
    """The tensors of weft, of weft with --compat, and of mergekit."""
    return weft(recipe), weft(recipe, *COMPAT), mergekit(recipe)


def apart(a, b, names=None, c=16):
    """The share of the tensors of `names` (all) with an element more than c units apart; NaN counts."""
    names = sorted(names or a)
    assert set(names) <= set(a) & set(b), "tensors of one only"
    near = lambda x, y: bool((difference(x, y) <= c * UNIT[x.dtype] * y.double().abs().max()).all())
    return sum(not near(a[n], b[n]) for n in names) / len(names)


def difference(a, b):
    return (a.double() - b.double()).abs()


def edited(name, change, tuned=0, **more):
    """A model whose tensors and config change(tensors, config) has changed."""
    return LAB().model(name, tuned=tuned, edit=change, **more)


HEAD = "lm_head.weight"
NORM = "model.norm.weight"


# ---- recipes ----


def test_gradient():
    """gradients: final norm and head"""
    base, a = LAB().family()[:2]
    ours, compat, theirs = three(recipe("slerp", base, a, parameters={"t": [0, 1]}))
    assert apart({HEAD: theirs[HEAD]}, read(base)) == 0 and apart({HEAD: compat[HEAD]}, read(base)) == 0
    assert apart({HEAD: ours[HEAD]}, read(a)) == 0
    assert apart(ours, theirs, set(ours) - {HEAD, NORM}) == 0


def test_twice():
    """the same model twice"""
    a = LAB().family()[1]
    twice = sources("linear", [(a, 0, 2, {"weight": 0.75}), (a, 2, 4, {"weight": 0.25})])
    assert "Duplicate" in mergekit_refuses(twice)
    for merged in (weft(twice), weft(twice, *COMPAT)):
        for i in range(2):
            name = "model.layers.{}.mlp.up_proj.weight"
            exact = 0.75 * read(a)[name.format(i)] + 0.25 * read(a)[name.format(i + 2)]
            assert difference(merged[name.format(i)], exact).max() < 2.0**-24


def test_donor():
    """config.json and tokenizer without a base"""
    def mark(tensors, config):
        config["initializer_range"] = 0.001 * marked

    paths = []
    for marked in range(1, 7):
        paths.append(edited(f"donor-{marked}", mark, tuned=marked))
    first = []
    for i in range(5):
        path = LAB().write(recipe("linear", None, *((p, {"weight": 1}) for p in paths[i : i + 2])))
        assert abs(read_config(LAB().weft(path))["initializer_range"] - 0.001 * (i + 1)) < 1e-9
        first.append(abs(read_config(LAB().mergekit(path))["initializer_range"] - 0.001 * (i + 1)) < 1e-9)
    for _ in range(20):  # of a set: may be the first in all five by chance
        first.append(set_order_is_recipe_order(paths))
    assert not all(first), "mergekit takes the first model's"


def set_order_is_recipe_order(paths):
    from mergekit.config import MergeConfiguration

    set_order_is_recipe_order.turn = turn = getattr(set_order_is_recipe_order, "turn", 0) + 1
    config = MergeConfiguration(merge_method="linear", models=[{"model": f"{p}-{turn}"} for p in paths])
    return str(config.referenced_models()[0]) == f"{paths[0]}-{turn}"


def test_sources():
    """slices: fewer sources in the first than in the last"""
    a, b = LAB().family()[1:3]
    ours, compat, theirs = three(sources("linear", [(a, 0, 2)], [(a, 2, 4), (b, 2, 4)], parameters={"weight": 1}))
    mean = {n: (read(a)[n] + read(b)[n]) / 2 for n in (HEAD, NORM)}
    assert apart(mean, ours) == 0 and apart(mean, compat) == 0
    assert apart({n: theirs[n] for n in mean}, read(a)) == 0, "mergekit takes the second model, too"
    assert apart(ours, theirs, set(ours) - set(mean)) == 0


def test_slice_base():
    """slices: base_model that is not a source"""
    base, a, b = LAB().family()[:3]
    text = sources("task_arithmetic", [(a, 0, 4), (b, 0, 4)], base_model=base, parameters={"weight": 0.5})
    assert "Base input is not present" in mergekit_refuses(text)
    whole = weft(recipe("task_arithmetic", base, a, b, parameters={"weight": 0.5}))
    assert apart(weft(text), whole) == 0 and apart(weft(text, *COMPAT), whole) == 0


def test_outside():
    """base_model outside models, under linear and karcher"""
    base, a, b = LAB().family()[:3]
    for method, parameters in (("linear", {"weight": 0.4}), ("karcher", {})):
        ours, compat, theirs = three(recipe(method, base, a, b, parameters=parameters))
        assert apart(compat, theirs) == 0 and apart(ours, theirs) == 1
        assert apart(ours, weft(recipe(method, None, a, b, parameters=parameters))) == 0


def test_unknown():
    """unknown keys and parameters"""
    base, a = LAB().family()[:2]
    text = recipe("ties", base, (a, {"weight": 1, "densty": 0.5}), comment="none")
    assert apart(weft(text, *COMPAT), mergekit(text)) == 0
    assert "unknown" in LAB().refusal(text)


def test_ranges():
    """layer_range: negative, or past the end"""
    a = LAB().family()[1]
    assert not [n for n in mergekit(sources("passthrough", [(a, 0, -1)])) if ".layers." in n]
    for end in (-1, 9):
        for flags in ((), COMPAT):
            assert "layer_range" in LAB().refusal(sources("passthrough", [(a, 0, end)]), *flags)


def test_density_range():
    """values out of range, such as density 1.5"""
    base, a = LAB().family()[:2]
    text = recipe("ties", base, a, parameters={"weight": 1, "density": 1.5})
    assert apart(mergekit(text), read(a)) == 0
    for flags in ((), COMPAT):
        assert "from 0 to 1" in LAB().refusal(text, *flags)


def test_zero():
    """linear: weights that add up to zero"""
    a, b = LAB().family()[1:3]
    text = recipe("linear", None, (a, {"weight": 0.5}), (b, {"weight": -0.5}))
    assert not any(bool(torch.isfinite(t).all()) for t in mergekit(text).values())
    for flags in ((), COMPAT):
        assert "add up to zero" in LAB().refusal(text, *flags)


def test_paths():
    """paths that hold @ or +"""
    base, a = LAB().family()[:2]
    odd = edited("one+two@three", lambda tensors, config: None, tuned=1)
    text = recipe("linear", None, (odd, {"weight": 1}))
    mergekit_refuses(text)
    assert apart(weft(text), read(a)) == 0 and apart(weft(text, *COMPAT), read(a)) == 0


# ---- tensors and files ----


def test_unlisted():
    """tensors that an architecture does not list"""
    name = "model.layers.0.self_attn.q_norm.weight"

    def add(tensors, config):
        tensors[name] = torch.full((16,), float(len(tensors)))

    e = [edited(f"unlisted-{i}", add, tuned=i) for i in (1, 2)]
    ours, compat, theirs = three(recipe("linear", None, *((p, {"weight": 1}) for p in e)))
    assert name in ours and name in compat and name not in theirs


def test_modules():
    """modules that the recipe does not list"""
    a = LAB().family("mistral3", n=1)[1]
    text = {"merge_method": "passthrough", "modules": {"text_decoder": {"models": [{"model": a}]}}}
    ours, compat, theirs = three(text)
    assert not [n for n in theirs if not n.startswith("language_model.")], "mergekit writes other modules"
    assert apart(ours, read(a), read(a), c=0) == 0 and apart(compat, read(a), read(a), c=0) == 0


def test_names():
    """LLaVA and its kind with the names of published files"""
    paths = LAB().family("llava-hub", n=2)
    ours, compat, theirs = three(recipe("linear", None, *((p, {"weight": 1}) for p in paths[1:])))
    assert set(ours) == set(compat) == set(read(paths[0]))
    assert not [n for n in theirs if "language_model" in n], "mergekit finds the language model"


def test_tied():
    """tie_word_embeddings, where one of the models has a head of its own"""
    def untie(tensors, config):
        config["tie_word_embeddings"] = False
        tensors[HEAD] = tensors["model.embed_tokens.weight"] * 1.5

    base = LAB().model("tied", tied=True)
    path = LAB().write(recipe("linear", base, (base, {"weight": 1}), (edited("untied", untie, tied=True), {"weight": 1})))
    for folder, says in ((LAB().weft(path), False), (LAB().weft(path, *COMPAT), False), (LAB().mergekit(path), True)):
        assert HEAD in read(folder)
        assert read_config(folder)["tie_word_embeddings"] is says, folder


def test_lists():
    """config.json: lists with an entry for each layer"""
    def kinds(tensors, config):
        config["layer_types"] = ["full_attention", "sliding_attention", "full_attention", "full_attention"]

    a = edited("lists", kinds, tuned=1)
    text = sources("passthrough", [(a, 0, 3)], [(a, 1, 4)])
    assert "layer_types" in mergekit_refuses(text)
    for flags in ((), COMPAT):
        config = read_config(LAB().weft(LAB().write(text), *flags))
        kinds = ["full", "sliding", "full", "sliding", "full", "full"]
        assert config["num_hidden_layers"] == 6 and config["layer_types"] == [k + "_attention" for k in kinds]


def test_files():
    """files beside the weights: processors, remote code"""
    a = edited("files", lambda tensors, config: None, tuned=1)
    files = ("modeling_tiny.py", "preprocessor_config.json")
    for file in files:
        with open(os.path.join(a, file), "w") as f:
            f.write("{}\n")
    path = LAB().write(recipe("linear", None, (a, {"weight": 1})))
    for folder, there in ((LAB().weft(path), True), (LAB().weft(path, *COMPAT), True), (LAB().mergekit(path), False)):
        assert all(os.path.exists(os.path.join(folder, f)) is there for f in files), folder


def test_nan():
    """NaN and infinity in an input"""
    def spoil(tensors, config):
        tensors[HEAD][3, 5] = float("nan")

    a = LAB().family()[1]
    text = recipe("linear", None, (a, {"weight": 1}), (edited("nan", spoil, tuned=2), {"weight": 1}))
    assert torch.isnan(mergekit(text)[HEAD]).sum() == 1
    for flags in ((), COMPAT):
        done = LAB().run_weft("merge", LAB().write(text), LAB().path("nan-out"), *flags)
        assert done.returncode == 3 and HEAD in done.stderr, done.stderr
    assert torch.isnan(weft({**text, "non_finite": "allow"})[HEAD]).sum() == 1


def vocabularies():
    """Models with tokenizers, in a folder of their own."""
    import mergekit_tokens as tokens

    if not hasattr(tokens, "lab"):
        folder = LAB().path("vocabularies")
        os.makedirs(folder)
        tokens.lab = Lab(ARGS.weft, folder)
    return tokens


def test_lengths():
    """tables of different lengths, no tokenizer"""
    model = vocabularies().model
    text = recipe("linear", None, *((model(n), {"weight": 1}) for n in ("base", "c")))
    assert "size mismatch" in mergekit_refuses(text)
    assert "tokenizer" in LAB().refusal(text)
    assert apart(weft(text, *COMPAT), mergekit(text, "--unsafe-truncate-embeddings")) == 0


def test_padding():
    """tokenizer: padding rows of an unchanged vocabulary"""
    model = vocabularies().model
    text = recipe("task_arithmetic", model("base", 64), (model("a", 64), {"weight": 1}), tokenizer_source="base")
    rows = [len(merged[HEAD]) for merged in three(text)]
    used = len(vocabularies().VOCABULARIES["base"])
    assert rows == [64, used, used], rows


def test_means():
    """tokenizer: means of rows"""
    tokens, kind = vocabularies(), torch.bfloat16
    have = [tokens.model(n, dtype=kind) for n in ("a", "base", "c")]
    text = recipe("linear", tokens.model("short", dtype=kind), *((p, {"weight": 0}) for p in have), tokenizer_source=have[1])
    text["models"].append({"model": text["base_model"], "parameters": {"weight": 1}})
    missing = tokens.COMMON[-1]
    path = LAB().write(text)
    for folder, right in ((LAB().weft(path), True), (LAB().weft(path, *COMPAT), True), (LAB().mergekit(path), False)):
        exact = sum(read(p)[HEAD][tokens.vocabulary(p)[missing]].double() for p in have) / 3
        assert torch.equal(read(folder)[HEAD][tokens.vocabulary(folder)[missing]], exact.bfloat16()) is right, folder


def test_union():
    """tokenizer: union of unlike vocabularies"""
    model = vocabularies().model
    text = recipe("task_arithmetic", model("base"), (model("strange"), {"weight": 1}), tokenizer_source="union")
    assert len(mergekit(text)[HEAD]) == len(weft(text, *COMPAT)[HEAD]) == len(vocabularies().VOCABULARIES["strange"])
    assert "force" in LAB().refusal(text)


def test_tokens_behind_the_table():
    """tokenizer: tokens of the base behind its table's last row"""
    tokens = vocabularies()
    used = len(tokens.VOCABULARIES["base"])
    text = recipe("task_arithmetic", tokens.model("base", used - 1), (tokens.model("a"), {"weight": 1}), tokenizer_source="base")
    path = LAB().write(text)
    done = LAB().run_weft("merge", path, LAB().path("behind-out"))
    assert "and gets a row" in done.stderr, done.stderr
    for folder in (LAB().weft(path), LAB().weft(path, *COMPAT)):
        assert len(read(folder)[HEAD]) == len(tokens.vocabulary(folder)) == used, folder
    assert "out of vocabulary" in mergekit_refuses(text)  # a merge makes the token


def test_ids():
    """tokenizer: ids in config.json and generation_config.json"""
    tokens = vocabularies()
    source = tokens.model("a")
    path = LAB().write(recipe("task_arithmetic", tokens.model("base"), (source, {"weight": 1}), tokenizer_source=source))
    old, new = (tokens.vocabulary(p)["<s>"] for p in (tokens.model("base"), source))
    assert old != new
    for folder, want in ((LAB().weft(path), new), (LAB().weft(path, *COMPAT), new), (LAB().mergekit(path), old)):
        assert read_config(folder)["bos_token_id"] == want, folder


def test_chat():
    """chat_template: alpaca, exaone, llama3, mistral"""
    tokens = vocabularies()
    chat = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    for template, theirs_has, ours_has in (
        ("alpaca", "U### Response:", "U\n\n### Response:"),
        ("exaone", "    [|system|]S\n        [|endofturn|]", "[|system|]S[|endofturn|]"),
        ("llama3", "<|eot_id|>\n<|start_header_id|>", "<|eot_id|><|start_header_id|>"),
        ("mistral", "<s> [INST]", "<s>[INST]"),
    ):
        ours, theirs = (tokens.rendered(folder, chat, True) for folder in tokens.chat_folders(template))
        assert theirs_has in theirs and ours_has not in theirs, f"{template}: mergekit's is {theirs!r}"
        assert ours_has in ours and theirs_has not in ours, f"{template}: {ours!r}"


# ---- types ----


def exact_task(base, parts):
    """name -> float64: base and weighted changes."""
    w0 = read(base)
    loaded = [(read(p), w) for p, w in parts]
    return {n: w0[n].double() + sum(w * (t[n].double() - w0[n].double()) for t, w in loaded) for n in w0}


def test_bf16():
    """arithmetic of task vectors and others on bfloat16"""
    base, a, b = LAB().family(dtype=torch.bfloat16)[:3]
    parts = [(a, 0.3), (b, 0.45)]
    exact = exact_task(base, parts)
    ours, compat, theirs = three(recipe("task_arithmetic", base, *((p, {"weight": w}) for p, w in parts)))
    count = sum(t.numel() for t in exact.values())
    wrong = lambda merged: sum(int((t != exact[n].bfloat16()).sum()) for n, t in merged.items()) / count
    assert wrong(ours) < 0.001 and wrong(compat) < 0.001, wrong(ours)
    assert wrong(theirs) > 0.02, f"mergekit rounds all but {wrong(theirs)} right"


def test_dtype():
    """dtype narrower than the inputs"""
    base, a, b = LAB().family()[:3]
    text = recipe("linear", None, (a, {"weight": 0.5}), (b, {"weight": 0.5}), dtype="bfloat16")
    ours, compat, theirs = three(text)
    narrow = {n: (read(a)[n].bfloat16().double() + read(b)[n].bfloat16().double()) / 2 for n in ours}
    whole = {n: (read(a)[n].double() + read(b)[n].double()) / 2 for n in ours}
    differs = lambda merged, exact: sum(int((merged[n] != exact[n].bfloat16()).sum()) for n in exact)
    assert differs(compat, narrow) == differs(theirs, narrow) == differs(ours, whole) == 0
    assert differs(ours, narrow) > 0


def test_wider():
    """out_dtype wider than dtype, or than the inputs"""
    base, a, b = LAB().family()[:3]
    text = recipe("linear", None, (a, {"weight": 0.3}), (b, {"weight": 0.7}), dtype="bfloat16", out_dtype="float32")
    ours, compat, theirs = three(text)
    count = sum(t.numel() for t in theirs.values())
    held = lambda merged: sum(int((t == t.bfloat16().float()).sum()) for t in merged.values()) / count
    assert held(theirs) == 1 and held(ours) < 0.1 and held(compat) < 0.9


def test_density_bf16():
    """weights and densities under bfloat16"""
    base, a = LAB().family(dtype=torch.bfloat16)[:2]
    w0, whole = read(base), read(a)
    moved = lambda merged: sum(int((merged[n] != w0[n]).sum()) for n in w0)
    ours, compat, theirs = three(recipe("dare_linear", base, a, parameters={"weight": 1, "density": 0.999, "rescale": False}))
    assert moved(theirs) == moved(whole), "mergekit drops some"
    for merged in (ours, compat):
        assert 0.998 < moved(merged) / moved(whole) < 0.9999


# ---- methods ----


def test_seed():
    """random methods: draws"""
    base, a = LAB().family()[:2]
    text = recipe("dare_linear", base, a, parameters={"weight": 1, "density": 0.5})
    assert apart(mergekit(text), mergekit(text)) == 1, "mergekit draws the same without a seed"
    assert apart(weft(text), weft(text), c=0) == 0
    assert apart(weft(text), weft({**text, "seed": 1})) == 1


def survivors(merged, base, tuned):
    """For each tensor: change over delta where the change is not zero."""
    w0, w1 = read(base), read(tuned)
    for name, got in merged.items():
        change, delta = (got.double() - w0[name].double()), (w1[name].double() - w0[name].double())
        yield change[change != 0] / delta[change != 0], delta.abs().sum() / delta[change != 0].abs().sum()


def test_dare():
    """dare_*: the factor of rescale"""
    base, a = LAB().family()[:2]
    ours, compat, theirs = three(recipe("dare_linear", base, a, parameters={"weight": 1, "density": 0.5}))
    for merged, is_l1 in ((ours, False), (compat, True), (theirs, True)):
        for factor, l1 in survivors(merged, base, a):
            assert abs(factor.median() - (l1 if is_l1 else 2)) < 1e-3
            assert abs(l1 - 2) > 1e-5


def test_della():
    """della*: the factor of rescale"""
    base, a = LAB().family()[:2]
    ours, compat, theirs = three(recipe("della_linear", base, a, parameters={"weight": 1, "density": 0.5, "epsilon": 0.2}))
    for merged, is_l1 in ((ours, False), (compat, True), (theirs, True)):
        for factor, l1 in survivors(merged, base, a):
            low, high = factor.quantile(0.02), factor.quantile(0.98)
            assert abs(low - l1) < 1e-3 * l1 and abs(high - l1) < 1e-3 * l1 if is_l1 else low < 1.6 and high > 2.6


def test_della_rows():
    """della*: rows of one element"""
    def column(tensors, config):
        tensors["model.layers.0.self_attn.q_proj.weight"] = tensors["model.layers.0.self_attn.q_proj.weight"][:, :1].clone()

    base, a = (edited(f"column-{i}", column, tuned=i) for i in (0, 1))
    text = recipe("della", base, a, parameters={"weight": 1, "density": 0.5})
    mergekit_refuses(text)
    for flags in ((), COMPAT):
        weft(text, *flags)


def test_ties_few():
    """ties: floor(density * n) of 0"""
    base, a = LAB().family()[:2]
    ours, compat, theirs = three(recipe("ties", base, a, parameters={"weight": 1, "density": 1e-6}))
    w0 = read(base)
    for name, before in w0.items():
        assert (theirs[name] != before).sum() == 1, "mergekit no longer keeps one"
        assert torch.equal(ours[name], before) and torch.equal(compat[name], before)


def test_ties_equal():
    """ties, breadcrumbs*: equal magnitudes at the cut"""
    def steps(tensors, config):
        for name, t in tensors.items():
            tensors[name] = read(base)[name] + torch.where(torch.arange(t.numel()).reshape(t.shape) % 2 == 0, 2.0**-9, -(2.0**-9))

    base = LAB().family()[0]
    a = edited("steps", steps)
    text = recipe("ties", base, a, parameters={"weight": 1, "density": 0.25})
    moved = lambda merged: {n: (merged[n] != read(base)[n]).reshape(-1) for n in merged}
    ours, compat, theirs = map(moved, three(text))
    exact = moved(weft({**text, "parameters": {**text["parameters"], "ties": "exact"}}))
    for name, kept in theirs.items():
        quarter = kept.numel() // 4
        assert kept.sum() == quarter and ours[name].all() and compat[name].all()
        assert exact[name][:quarter].all() and exact[name].sum() == quarter
    assert not all(kept[: kept.numel() // 4].all() for kept in theirs.values()), "mergekit's order is that of the index"


def test_crumbs():
    """breadcrumbs*: tensors of fewer than 64 elements"""
    def short(tensors, config):
        tensors[NORM] = tensors[NORM][:60].clone()

    base, a = (edited(f"short-{i}", short, tuned=i) for i in (0, 1))
    ours, compat, theirs = three(recipe("breadcrumbs", base, a, parameters={"weight": 1, "density": 0.5}))
    moved = lambda merged: int((merged[NORM] != read(base)[NORM]).sum())
    assert moved(theirs) == 30 and moved(ours) == moved(compat) == 60
    assert apart(ours, theirs, set(ours) - {NORM}) == 0


def test_rescale_half():
    """rescale: norms beyond float16"""
    def large(tensors, config):
        tensors[HEAD] = (tensors[HEAD] * 1000).half()

    f = [edited(f"large-{i}", large, tuned=i, dtype=torch.float16) for i in range(3)]
    text = recipe("ties", f[0], *f[1:], parameters={"weight": 1, "density": 0.5, "rescale": True})

    def huge(tensors, config):
        tensors[HEAD] = torch.where(tensors[HEAD] > 0, 60.0, -60.0).half()

    text["models"][0]["model"] = edited("huge", huge, tuned=1, dtype=torch.float16)
    ours, compat, theirs = three(text)
    assert torch.isnan(theirs[HEAD]).any(), "mergekit's norms no longer overflow"
    assert torch.isfinite(ours[HEAD]).all() and torch.isfinite(compat[HEAD]).all()


def test_rescale_floor():
    """rescale: norms below 1e-7"""
    def tiny(tensors, config):
        tensors[NORM] = tensors[NORM] * 0 + torch.arange(64) * 1e-13 * step

    step = 0
    base = edited("tiny-norm-0", tiny)
    step = 1
    a = edited("tiny-norm-1", tiny)
    ours, compat, theirs = three(recipe("ties", base, a, parameters={"weight": 1, "density": 0.5, "rescale": True}))
    assert torch.equal(compat[NORM], theirs[NORM])
    assert ours[NORM][63] > 1.2 * theirs[NORM][63]


def test_sce_floor():
    """sce: squared changes that add up to less than 1e-6"""
    tiny = [LAB().model(f"tiny-{i}", tuned=i, spread=spread) for i, spread in ((0, 0), (1, 1e-4), (2, 4e-4))]
    ours, compat, theirs = three(recipe("sce", *tiny))
    assert apart(compat, theirs) == 0 and apart(ours, theirs) == 1


def test_stock_floor():
    """model_stock: changes so small that norms multiply to less than 1e-6"""
    tiny = [LAB().model(f"smaller-{i}", tuned=i, spread=5e-6) for i in range(3)]
    for wise in (False, True):
        ours, compat, theirs = three(recipe("model_stock", *tiny, parameters={"filter_wise": wise}))
        assert apart(compat, theirs, c=4) == 0 and apart(ours, theirs, c=4) == 1


def test_stock_opposed():
    """model_stock: changes that point away from each other"""
    base, a, b = LAB().family()[:3]

    def against(tensors, config):
        for name, w0 in read(base).items():
            tensors[name] = w0 - share * (read(a)[name] - w0) + (1 - share) * (read(b)[name] - w0) * 0.5

    share = 0.9
    away = edited("away", against)
    ours, compat, theirs = three(recipe("model_stock", base, a, away))
    assert apart(compat, theirs, c=4096) == 0, "a ratio of about -10 has few digits"
    assert apart(ours, read(base), c=0) == 0 and apart(ours, theirs, c=4096) == 1
    share = 1
    opposite = edited("opposite", against)
    for merged in three(recipe("model_stock", base, a, opposite)):
        assert apart(merged, read(base), c=1) == 0


def test_fusion_type():
    """arcee_fusion: the type of the result"""
    base, a = LAB().family(dtype=torch.bfloat16)[:2]
    ours, compat, theirs = three(recipe("arcee_fusion", base, a, dtype="bfloat16"))
    assert theirs[HEAD].dtype == torch.float32, "mergekit's result has the type that was asked for"
    assert ours[HEAD].dtype == compat[HEAD].dtype == torch.bfloat16


def test_fusion_noise():
    """arcee_fusion: importance in bfloat16"""
    base, a = LAB().family(dtype=torch.bfloat16)[:2]
    wide = lambda tensors, config: tensors.update({n: t.double() for n, t in source.items()})
    wides = []
    for i, path in enumerate((base, a)):
        source = read(path)
        wides.append(edited(f"fusion-{i}", wide, tuned=i, dtype=torch.float64))
    ours, compat, theirs = three(recipe("arcee_fusion", base, a))
    exact = weft(recipe("arcee_fusion", *wides))
    w0 = read(base)

    def overlap(merged):
        both = either = 0
        for n in w0:
            x, y = merged[n].double() != w0[n].double(), exact[n] != w0[n].double()
            both, either = both + int((x & y).sum()), either + int((x | y).sum())
        return both / either

    assert overlap(ours) > 0.99 and overlap(compat) > 0.99, overlap(ours)
    assert overlap(theirs) < 0.6, f"mergekit takes over {overlap(theirs)} of what is important"


def test_karcher_pi():
    """karcher: models that point in opposite directions"""
    a = LAB().family()[1]

    def flip(tensors, config):
        tensors.update({n: -t for n, t in read(a).items()})

    text = recipe("karcher", None, a, edited("flipped", flip))
    mergekit(text)
    for flags in ((), COMPAT):
        done = LAB().run_weft("merge", LAB().write(text), LAB().path("pi-out"), *flags)
        assert done.returncode == 3 and "angle of pi" in done.stderr, done.stderr


def test_ram_double():
    """ramplus_tl in float64"""
    base, a, b = LAB().family(dtype=torch.float64)[:3]
    ours, compat, theirs = three(recipe("ramplus_tl", base, a, b, parameters={"epsilon": 0.004}))
    assert apart(ours, theirs, c=2**31) == 0 and apart(ours, theirs, c=2**12) > 0 and apart(ours, compat, c=0) == 0


def cubes():
    """Two fine-tunes and their base, with a tensor of three axes."""
    def cube(tensors, config):
        tensors[NORM] = tensors[NORM].reshape(4, 4, 4).clone()

    return [edited(f"cube-{i}", cube, tuned=i) for i in range(3)]


def test_nuslerp_cube():
    """nuslerp_row_wise: tensors of more than two axes"""
    text = recipe("nuslerp", None, *((p, {"weight": w}) for p, w in zip(cubes()[1:], (1, 0.5))))
    last = {**text, "parameters": {"nuslerp_flatten": False}}
    text["parameters"] = {"nuslerp_flatten": False, "nuslerp_row_wise": True}
    ours, compat, theirs = three(text)
    assert apart(ours, theirs, set(ours) - {NORM}) == 0 and apart(ours, compat, c=0) == 0
    assert apart({NORM: ours[NORM]}, weft(last)) == 0 and apart({NORM: theirs[NORM]}, weft(last)) == 1


def test_stock_cube():
    """model_stock with filter_wise: tensors of more than two axes"""
    paths = cubes()
    text = recipe("model_stock", *paths, parameters={"filter_wise": True})
    ours, compat, theirs = three(text)
    assert apart(compat, theirs, set(ours) - {NORM}, c=4096) == 0 and apart({NORM: compat[NORM]}, theirs) == 1

    def flat(tensors, config):
        tensors[NORM] = tensors[NORM].reshape(4, 16).clone()

    text = recipe("model_stock", *(edited(f"flat-{i}", flat, tuned=i) for i in range(3)), parameters={"filter_wise": True})
    assert torch.equal(weft(text)[NORM].reshape(4, 4, 4), ours[NORM])


# ---- the document ----


def test_table():
    """every line of the table in docs/RECIPES.md has a test, and every test a line"""
    document = open("docs/RECIPES.md").read()
    table = document.split("\n## Differences from mergekit\n")[1].split("\n## ")[0]
    lines = re.findall(r"^\| ([^|]+?) \|", table, re.M)
    lines = [line.replace("`", "").replace("\\", "") for line in lines if line != "what" and not line.startswith("--")]
    tests = [t.__doc__ for n, t in globals().items() if n.startswith("test_") and n != "test_table"]
    assert sorted(lines) == sorted(tests), f"one only: {sorted(set(lines) ^ set(tests))}"


if __name__ == "__main__":
    if version("mergekit") != KNOWN:
        print(f"# the table speaks of mergekit {KNOWN}; this is {version('mergekit')}")
    sys.exit(run_tests(globals(), ("weft", "scratch"), "difference: "))
