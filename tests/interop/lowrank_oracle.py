#!/usr/bin/env python3
"""compress-lora, byom_lora and extract-lora against numpy's singular value decomposition, in float64: the product of
what is written is the best approximation of its rank, within the rounding of the stored type. The last line of the
output is the count.
"""
import json
import os
import shutil
import subprocess
import sys

import numpy as np

from harness import Skip, run_tests
from merge_oracle import read_model, write_model

UNIT = {"F64": 2.0**-45, "F32": 2.0**-22, "F16": 2.0**-10, "BF16": 2.0**-7}  # a rounding of each factor, with room


def path_of(name):
    return os.path.join(ARGS.scratch, name)


def weft(*arguments, code=0):
    done = subprocess.run([ARGS.weft, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if "OpenBLAS" in done.stderr:
        raise Skip("OpenBLAS is not installed")
    assert done.returncode == code, f"weft {' '.join(arguments)}: {done.returncode}: {done.stderr.strip()}"
    return done.stderr if code else done.stdout


def fresh(name):
    shutil.rmtree(path_of(name), ignore_errors=True)
    return path_of(name)


def put_model(name, arrays, dtype="F32", config=None):
    os.makedirs(fresh(name))
    json.dump(config or {"architectures": ["LlamaForCausalLM"]}, open(path_of(name) + "/config.json", "w"))
    return write_model(path_of(name) + "/model.safetensors", {n: (dtype, a) for n, a in arrays.items()})


def put_adapter(name, tensors, dtype="F32", **config):
    os.makedirs(fresh(name))
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": None, **config}
    json.dump(config, open(path_of(name) + "/adapter_config.json", "w"))
    stored = write_model(path_of(name) + "/adapter_model.safetensors",
                         {"base_model.model." + n: (dtype, a) for n, a in tensors.items()})
    return {n.removeprefix("base_model.model."): a for n, a in stored.items()}


class Adapter:
    """What weft wrote: its config, and its products by module, by the names that PEFT uses."""

    def __init__(self, folder):
        self.config = json.load(open(folder + "/adapter_config.json"))
        raw = read_model(folder + "/adapter_model.safetensors")
        assert all(n.startswith("base_model.model.") for n in raw), list(raw)
        self.types = {n[17:]: t for n, (t, _) in raw.items()}
        self.tensors = {n[17:]: a for n, (_, a) in raw.items()}
        assert self.config["lora_alpha"] == self.config["r"] and not self.config["use_rslora"]
        assert self.config["rank_pattern"] == {} and self.config["alpha_pattern"] == {}
        for name, a in self.tensors.items():
            if name.endswith((".lora_A.weight", "lora_embedding_A")):
                assert a.shape[0] == self.config["r"], (name, a.shape)

    def product(self, path):
        kind = ".lora_embedding_%s" if path + ".lora_embedding_A" in self.tensors else ".lora_%s.weight"
        a, b = self.tensors[path + kind % "A"], self.tensors[path + kind % "B"]
        return b.reshape(b.shape[0], -1) @ a.reshape(a.shape[0], -1)


def best(matrix, rank):
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ v[:rank], s


def near(got, want, dtype, what=""):
    """Equal within one rounding of each of two factors, relative to the whole."""
    error = np.linalg.norm(got - want) / max(np.linalg.norm(want), 1e-300)
    assert error <= UNIT[dtype] or np.linalg.norm(got - want) == 0, f"{what}: {error} for {dtype}"


def lines(text, kind):
    return [o for o in map(json.loads, text.splitlines()) if o.get("kind") == kind]


# ---- compress-lora ----


def two_modules(rng, rank=4):
    return {"q.lora_A.weight": rng.standard_normal((rank, 30)), "q.lora_B.weight": rng.standard_normal((50, rank)),
            "k.lora_A.weight": rng.standard_normal((rank, 30)), "k.lora_B.weight": rng.standard_normal((20, rank))}


def test_compression_is_the_best_of_its_rank_in_every_type():
    for dtype in ("F64", "F32", "F16", "BF16"):
        a = put_adapter("c", two_modules(np.random.default_rng(1)), dtype)
        for rank in (1, 2, 3, 4, 9):
            report = weft("compress-lora", path_of("c"), fresh("c-out"), "--rank", str(rank), "--json")
            out = Adapter(path_of("c-out"))
            assert out.config["r"] == min(rank, 4)
            assert set(out.types.values()) == {dtype}
            rows = {r["path"]: r for r in lines(report, "module")}
            for path in ("q", "k"):
                want, s = best(2 * a[path + ".lora_B.weight"] @ a[path + ".lora_A.weight"], rank)
                near(out.product(path), want, dtype, path)
                energy = (s[:rank] ** 2).sum() / (s**2).sum()
                assert abs(rows[path]["energy"] - energy) < 1e-9 and abs(rows[path]["error"] - np.sqrt(max(1 - energy, 0))) < 1e-6


def test_factors_are_balanced_and_their_signs_fixed():
    put_adapter("c", two_modules(np.random.default_rng(2)), "F64")
    weft("compress-lora", path_of("c"), fresh("c-out"), "--rank", "3")
    out = Adapter(path_of("c-out")).tensors
    for path in ("q", "k"):
        a, b = out[path + ".lora_A.weight"], out[path + ".lora_B.weight"]
        assert np.allclose(a @ a.T, b.T @ b, atol=1e-9) and np.allclose(a @ a.T, np.diag(np.diag(a @ a.T)), atol=1e-9)
        assert all(b[np.abs(b[:, k]).argmax(), k] > 0 for k in range(3))


def test_ranks_scales_and_kinds_of_modules():
    rng = np.random.default_rng(3)
    a = put_adapter("kinds", {
        "p.lora_A.weight": rng.standard_normal((2, 30)), "p.lora_B.weight": rng.standard_normal((50, 2)),
        "w.lora_A.weight": rng.standard_normal((8, 5)), "w.lora_B.weight": rng.standard_normal((6, 8)),
        "e.lora_embedding_A": rng.standard_normal((4, 40)), "e.lora_embedding_B": rng.standard_normal((12, 4)),
        "c.lora_A.weight": rng.standard_normal((4, 3, 2, 2)), "c.lora_B.weight": rng.standard_normal((9, 4, 1, 1)),
        "c.lora_B.bias": rng.standard_normal(9), "norm.weight": rng.standard_normal(7)},
        use_rslora=True, rank_pattern={"p": 2, "w": 8}, alpha_pattern={"p": 3}, modules_to_save=["norm"], bias="none")
    weft("compress-lora", path_of("kinds"), fresh("k-out"), "--rank", "6")
    out = Adapter(path_of("k-out"))
    assert out.config["r"] == 5, "the widest module has rank 5"
    scale = {"p": 3 / np.sqrt(2), "w": 8 / np.sqrt(8), "e": 4.0, "c": 4.0}
    for path, s in scale.items():
        kind = ".lora_embedding_%s" if path == "e" else ".lora_%s.weight"
        b, f = a[path + kind % "B"], a[path + kind % "A"]
        near(out.product(path), s * b.reshape(b.shape[0], -1) @ f.reshape(f.shape[0], -1), "F32", path)
    assert out.tensors["c.lora_A.weight"].shape == (5, 3, 2, 2) and out.tensors["c.lora_B.weight"].shape == (9, 5, 1, 1)
    assert np.allclose(out.tensors["c.lora_B.bias"], 4 * a["c.lora_B.bias"], rtol=1e-6)
    assert np.array_equal(out.tensors["norm.weight"], a["norm.weight"])
    assert out.config["lora_bias"] is True and out.config["modules_to_save"] == ["norm"]
    assert out.config["target_modules"] == ["c", "e", "p", "w"]


def test_low_rank_and_zero_products():
    rng = np.random.default_rng(4)
    factors = two_modules(rng)
    factors["q.lora_B.weight"][:] = 0
    factors["k.lora_A.weight"][2:] = factors["k.lora_A.weight"][:2]
    a = put_adapter("low", factors)
    report = weft("compress-lora", path_of("low"), fresh("low-out"), "--rank", "2", "--json")
    out = Adapter(path_of("low-out"))
    assert not out.product("q").any() and np.isfinite(out.tensors["q.lora_A.weight"]).all()
    near(out.product("k"), 2 * a["k.lora_B.weight"] @ a["k.lora_A.weight"], "F32")
    assert all(row["energy"] > 1 - 1e-12 for row in lines(report, "module"))


def test_threads_do_not_change_a_byte():
    put_adapter("t", two_modules(np.random.default_rng(5)))
    for n in ("1", "4"):
        weft("compress-lora", path_of("t"), fresh("t-" + n), "--rank", "3", "--threads", n)
    one, four = (open(path_of(f"t-{n}") + "/adapter_model.safetensors", "rb").read() for n in "14")
    assert one == four


def test_byom_lora_writes_the_same_adapters():
    for i in (1, 2):
        put_adapter(f"task{i}", two_modules(np.random.default_rng(10 + i)), "BF16")
    recipe = {"merge_method": "byom_lora", "parameters": {"rank": 2}, "dtype": "float32",
              "models": [{"model": path_of("task1"), "name": "one"}, {"model": path_of("task2")}]}
    json.dump(recipe, open(path_of("byom.json"), "w"))
    weft("merge", path_of("byom.json"), fresh("byom"), "--progress", "none")
    assert sorted(os.listdir(path_of("byom"))) == ["README.md", "one", "task2", "weft_manifest.json", "weft_recipe.json"]
    for name, source in (("one", "task1"), ("task2", "task2")):
        out = Adapter(os.path.join(path_of("byom"), name))
        raw = {n[17:]: a for n, (_, a) in read_model(path_of(source) + "/adapter_model.safetensors").items()}
        assert set(out.types.values()) == {"F32"}
        for path in ("q", "k"):
            near(out.product(path), best(2 * raw[path + ".lora_B.weight"] @ raw[path + ".lora_A.weight"], 2)[0], "F32")


# ---- extract-lora ----


def decaying(rng, rows, columns, power=0.7):
    """A matrix whose singular values fall like those of fine-tunes, slowly."""
    k = min(rows, columns)
    u, v = np.linalg.qr(rng.standard_normal((rows, k)))[0], np.linalg.qr(rng.standard_normal((columns, k)))[0]
    return (u / np.arange(1, k + 1) ** power) @ v.T


def tuned_pair(shapes, dtype="F32", seed=1, **more):
    rng = np.random.default_rng(seed)
    base = {n: 0.1 * rng.standard_normal(s) for n, s in shapes.items()}
    tuned = {n: a + 0.05 * decaying(rng, *a.shape) if a.ndim == 2 else a + 0.01 for n, a in base.items()}
    return put_model("base", base, dtype, **more), put_model("tuned", tuned, dtype, **more)


def extract(*flags, code=0):
    return weft("extract-lora", path_of("tuned"), fresh("x"), "--base", path_of("base"), "--json", *flags, code=code)


def test_extraction_is_near_the_best_by_both_routes():
    base, tuned = tuned_pair({"l.up.weight": (420, 300), "l.down.weight": (300, 420), "l.small.weight": (40, 24)})
    for rank in (4, 16, 64):
        rows = {r["path"]: r for r in lines(extract("--rank", str(rank)), "module")}
        out = Adapter(path_of("x"))
        assert out.config["r"] == rank and out.config["target_modules"] == ["down", "small", "up"]
        for name in base:
            path, d = name[:-7], tuned[name] - base[name]
            least = np.linalg.norm(d - best(d, rank)[0])
            missed = np.linalg.norm(d - out.product(path))
            whole = np.linalg.norm(d)
            assert missed <= 1.01 * least + 1e-6 * whole, f"{path} at rank {rank}: {missed / whole}, best {least / whole}"
            assert abs(rows[path]["error"] - missed / whole) < 2e-4, (rows[path], missed / whole)


def test_energy_and_threshold_choose_the_lowest_rank():
    base, tuned = tuned_pair({"l.up.weight": (420, 330), "l.small.weight": (40, 24)})
    spectra = {n[:-7]: best(tuned[n] - base[n], 1)[1] for n in base}
    for share in (0.3, 0.9, 0.999):
        rows = {r["path"]: r["rank"] for r in lines(extract("--energy", str(share)), "module")}
        for path, s in spectra.items():
            share_of = np.cumsum(s**2) / (s**2).sum()
            assert rows[path] == int((share_of < share).sum()) + 1, (path, share, rows[path])
    for sigma in (0.02, 0.004):
        rows = {r["path"]: r["rank"] for r in lines(extract("--threshold", str(sigma)), "module")}
        for path, s in spectra.items():
            assert rows[path] == max(int((s > sigma).sum()), 1), (path, sigma, rows[path])
    rows = lines(extract("--energy", "0.999", "--rank", "7"), "module")
    assert all(r["rank"] == 7 for r in rows)


def test_full_rank_gives_the_model_back_through_a_merge():
    for dtype in ("F32", "BF16"):
        base, tuned = tuned_pair({"l.q.weight": (24, 40), "l.norm.weight": (24,)}, dtype)
        extract("--rank", "24", "--save-whole", "*norm*")
        recipe = {"merge_method": "passthrough", "models": [{"model": path_of("base") + "+" + path_of("x")}]}
        json.dump(recipe, open(path_of("back.json"), "w"))
        weft("merge", path_of("back.json"), fresh("back"), "--progress", "none")
        back = read_model(path_of("back") + "/model.safetensors")
        assert np.array_equal(back["l.norm.weight"][1], tuned["l.norm.weight"])
        error = np.linalg.norm(back["l.q.weight"][1] - tuned["l.q.weight"]) / np.linalg.norm(tuned["l.q.weight"])
        assert error < (1e-6 if dtype == "F32" else 4e-3), (dtype, error)


def test_kinds_of_weights_and_what_is_lost():
    shapes = {"model.embed_tokens.weight": (60, 16), "lm_head.weight": (60, 16), "h.0.q.weight": (16, 16),
              "h.1.q.weight": (16, 16), "h.0.q.bias": (16,), "h.0.norm.weight": (16,), "conv.weight": (12, 2, 3)}
    base, tuned = tuned_pair(shapes)
    report = extract("--rank", "4", "--exclude", "h.1.*")
    others = {o["name"]: o["fate"] for o in lines(report, "other")}
    assert set(others) == set(shapes) - {"h.0.q.weight"} and set(others.values()) == {"lost"}
    assert Adapter(path_of("x")).config["target_modules"] == ["h.0.q"], "not every q is in it"
    extract("--rank", "4", "--include", "*", "--save-whole", "*.bias", "--save-whole", "*norm*")
    out = Adapter(path_of("x"))
    assert out.config["bias"] == "all" and out.config["modules_to_save"] == ["h.0.norm"]
    d = tuned["model.embed_tokens.weight"] - base["model.embed_tokens.weight"]
    near(out.product("model.embed_tokens").T, best(d, 4)[0], "F32")
    d = (tuned["conv.weight"] - base["conv.weight"]).reshape(12, 6)
    near(out.product("conv"), best(d, 4)[0], "F32")
    assert out.tensors["conv.lora_A.weight"].shape == (4, 2, 3) and out.tensors["conv.lora_B.weight"].shape == (12, 4, 1)
    assert np.array_equal(out.tensors["h.0.q.bias"], tuned["h.0.q.bias"])


def test_weights_stored_input_first():
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
    base, tuned = tuned_pair({"h.0.attn.c_attn.weight": (24, 72)}, config=config)
    extract("--rank", "5")
    out = Adapter(path_of("x"))
    assert out.config["fan_in_fan_out"] is True and out.tensors["h.0.attn.c_attn.lora_A.weight"].shape == (5, 24)
    d = tuned["h.0.attn.c_attn.weight"] - base["h.0.attn.c_attn.weight"]
    near(out.product("h.0.attn.c_attn").T, best(d, 5)[0], "F32")


def test_what_does_not_fit_is_refused():
    base, tuned = tuned_pair({"a.weight": (20, 10), "b.weight": (20, 10)})
    assert "needs --rank" in extract(code=2)
    put_model("tuned", {"a.weight": tuned["a.weight"], "b.weight": np.ones((20, 11))})
    assert "b.weight" in extract("--rank", "2", code=2)
    extract("--rank", "2", "--exclude", "b.*")
    put_model("tuned", {"a.weight": tuned["a.weight"], "b.weight": base["b.weight"], "c.weight": np.ones(3)})
    assert "c.weight" in extract("--rank", "2", code=2)
    extract("--rank", "2", "--save-whole", "c.*")
    put_model("tuned", {"a.weight": tuned["a.weight"]})
    assert "b.weight" in extract("--rank", "2", code=2)
    put_model("tuned", base)
    assert "differs" in extract("--rank", "2", code=2)
    broken = {n: a.copy() for n, a in tuned.items()}
    broken["b.weight"][3, 4] = np.nan
    put_model("tuned", broken)
    assert "element 34 (byte " in extract("--rank", "2", code=3)
    assert not os.path.exists(path_of("x")) and not os.path.exists(path_of("x.partial"))


def test_what_is_not_factored_may_hold_nan():
    _, tuned = tuned_pair({"a.weight": (20, 10), "b.weight": (20, 10)})
    tuned["b.weight"][3, 4] = np.nan
    put_model("tuned", tuned)
    assert '"name":"b.weight","fate":"lost","moved":null' in extract("--rank", "2", "--exclude", "b.*", "--json")
    extract("--rank", "2", "--save-whole", "b.*")
    assert Adapter(path_of("x")).tensors["b.weight"].tobytes() == tuned["b.weight"].tobytes()
    put_model("base", tuned)
    assert "differs" in extract("--rank", "2", "--exclude", "b.*", code=2), "equal bytes are no difference"


def test_doubles_are_factored_in_double():
    rng = np.random.default_rng(31)
    base = {n: rng.standard_normal(shape) for n, shape in (("a.weight", (40, 30)), ("b.weight", (300, 320)))}
    tuned = {n: w + 1e-9 * rng.standard_normal(w.shape) for n, w in base.items()}
    put_model("base", base, "F64")
    put_model("tuned", tuned, "F64")
    extract("--rank", "300")
    out = Adapter(path_of("x"))
    for n, w in base.items():
        d = tuned[n] - w
        assert np.linalg.norm(out.product(n[:-7]) - d) <= 1e-13 * np.linalg.norm(d)


if __name__ == "__main__":
    sys.exit(run_tests(globals(), ("weft", "scratch")))
