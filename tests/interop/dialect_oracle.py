#!/usr/bin/env python3
"""The parts of mergekit's dialect that say which numbers and layers meet: gradients, filters, precedence, slices, modules.
Expected results are computed here in float64, from the rules and not from weft."""
import json
import os
import struct
import subprocess
import sys

import numpy as np

from harness import run_tests

ARGS = None
HIDDEN, LAYERS = 8, 5
COUNT = 0
SAID = ""  # what the last merge said


def write(folder, tensors, config=None):
    os.makedirs(folder)
    entries, at = {}, 0
    for name in sorted(tensors):
        size = tensors[name].size * 4
        entries[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(entries).encode()
    head += b" " * (-len(head) % 8)
    with open(f"{folder}/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for name in sorted(tensors):
            file.write(tensors[name].astype("<f4").tobytes())
    if config is not None:
        json.dump(config, open(f"{folder}/config.json", "w"))


def read(folder):
    data = open(f"{folder}/model.safetensors", "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(data[8 + n:][slice(*e["data_offsets"])], "<f4").reshape(e["shape"]).astype(np.float64)
        for name, e in header.items()
    }


def model(seed, layers=LAYERS, head=True):
    rng = np.random.default_rng(seed)
    out = {"model.embed_tokens.weight": rng.normal(size=(16, HIDDEN)), "model.norm.weight": rng.normal(size=HIDDEN)}
    if head:
        out["lm_head.weight"] = rng.normal(size=(16, HIDDEN))
    for j in range(layers):
        out[f"model.layers.{j}.self_attn.q_proj.weight"] = rng.normal(size=(HIDDEN, HIDDEN))
        out[f"model.layers.{j}.mlp.up_proj.weight"] = rng.normal(size=(2 * HIDDEN, HIDDEN))
        out[f"model.layers.{j}.input_layernorm.weight"] = rng.normal(size=HIDDEN)
    return {name: value.astype(np.float32).astype(np.float64) for name, value in out.items()}


CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": LAYERS, "hidden_size": HIDDEN}


def case(models, recipe, *flags, configs=None, expect=0):
    """Writes models {name: tensors}, runs the recipe, and gives tensors and config of the result (or the error's text)."""
    global COUNT, SAID
    COUNT += 1
    folder = f"{ARGS.scratch}/{COUNT}"
    os.makedirs(folder)
    for name, tensors in models.items():
        write(f"{folder}/{name}", tensors, (configs or {}).get(name, CONFIG))
    json.dump(recipe, open(f"{folder}/recipe.json", "w"))
    run = subprocess.run([ARGS.weft, "merge", f"{folder}/recipe.json", f"{folder}/out", "--progress", "none", *flags],
                         capture_output=True,
                         text=True)
    SAID = run.stderr
    assert run.returncode == expect, f"{run.returncode}: {run.stderr}"
    if expect:
        return run.stderr
    verified = subprocess.run([ARGS.weft, "verify", f"{folder}/out"], capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    return read(f"{folder}/out"), json.load(open(f"{folder}/out/config.json"))


def gradient(values, t):
    x = t * (len(values) - 1)
    i = min(int(x), len(values) - 1)
    return values[i] * (1 - (x - i)) + values[min(i + 1, len(values) - 1)] * (x - i)


def layer_of(name):
    parts = name.split(".")
    return int(parts[2]) if parts[1] == "layers" else None


def position(name, layers, first=0, behind=1.0):
    j = layer_of(name)
    if j is None:
        return behind if name in ("model.norm.weight", "lm_head.weight") else 0.0
    return 1.0 if layers == 1 else (j - first) / (layers - 1)


def check(got, expected, ulps=8):
    assert set(got) == set(expected), set(got) ^ set(expected)
    for name, value in expected.items():
        worst = np.abs(got[name] - value).max()
        assert worst <= ulps * 2.0**-24 * max(np.abs(value).max(), 1e-30), f"{name}: off by {worst}"


def slerp(a, b, t):
    c = (a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b))
    if abs(c) > 0.9995:
        return (1 - t) * a + t * b
    angle = np.arccos(c)
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


T = [{"filter": "self_attn", "value": [0, 0.5, 0.3, 0.7, 1]}, {"filter": "mlp", "value": [1, 0.5, 0.7, 0.3, 0]}, {"value": 0.5}]


def t_of(name, t):
    return gradient(T[0]["value"], t) if "self_attn" in name else gradient(T[1]["value"], t) if "mlp" in name else 0.5


def test_slerp_with_gradients_and_filters_of_whole_models_and_of_one_slice():
    a, b = model(1), model(2)
    expected = {n: slerp(a[n], b[n], t_of(n, position(n, LAYERS))) for n in a}
    top = {"merge_method": "slerp", "base_model": "a", "parameters": {"t": T}}
    check(case({"a": a, "b": b}, {**top, "models": [{"model": "a"}, {"model": "b"}]})[0], expected, 16)
    whole = {"sources": [{"model": m, "layer_range": [0, LAYERS]} for m in "ab"]}
    check(case({"a": a, "b": b}, {**top, "slices": [whole]})[0], expected, 16)


def test_head_and_final_norm_take_the_last_value_and_with_compat_the_first():
    a, b = model(3), model(4)
    for flags, behind in ((), 1.0), (("--compat", "mergekit"), 0.0):
        weights = [0.25, 2, 3]
        expected = {n: gradient(weights, position(n, LAYERS, behind=behind)) * a[n] + b[n] for n in a}
        recipe = {
            "merge_method": "linear",
            "parameters": {
                "normalize": False
            },
            "models": [{
                "model": "a",
                "parameters": {
                    "weight": weights
                }
            }, {
                "model": "b",
                "parameters": {
                    "weight": 1
                }
            }]
        }
        check(case({"a": a, "b": b}, recipe, *flags)[0], expected)


def test_layers_of_two_models_are_stacked():
    a, b = model(5), model(6, layers=7)
    recipe = {
        "merge_method":
        "passthrough",
        "slices": [{
            "sources": [{
                "model": "a",
                "layer_range": [0, 3]
            }]
        }, {
            "sources": [{
                "model": "b",
                "layer_range": [1, 7],
                "parameters": {
                    "scale": {
                        "filter": "layers.6",
                        "value": 2
                    }
                }
            }]
        }, {
            "sources": [{
                "model": "a",
                "layer_range": [2, 5]
            }]
        }]
    }
    got, config = case({"a": a, "b": b}, recipe, configs={"b": {**CONFIG, "num_hidden_layers": 7}})
    expected = {n: a[n] for n in ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")}
    stack = [(a, j, 1) for j in range(3)] + [(b, j, 2 if j == 6 else 1) for j in range(1, 7)] + [(a, j, 1) for j in range(2, 5)]
    for to, (m, j, scale) in enumerate(stack):
        for name in m:
            if layer_of(name) == j:
                expected[name.replace(f".{j}.", f".{to}.")] = scale * m[name]
    check(got, expected, 0)
    assert config["num_hidden_layers"] == 12


def test_gradients_run_over_each_slice_and_levels_have_their_order():
    a, b = model(7), model(8)
    recipe = {
        "merge_method":
        "linear",
        "parameters": {
            "weight": 7,
            "normalize": {
                "filter": "layers.3",
                "value": False
            }
        },
        "slices": [{
            "sources": [{
                "model": "a",
                "layer_range": [0, 3],
                "parameters": {
                    "weight": [0, 1, 4]
                }
            }, {
                "model": "b",
                "layer_range": [2, 5]
            }],
            "parameters": {
                "weight": {
                    "filter": "mlp",
                    "value": [2, 3]
                }
            }
        }, {
            "sources": [{
                "model": "a",
                "layer_range": [4, 5],
                "parameters": {
                    "weight": [5, 6]
                }
            }, {
                "model": "b",
                "layer_range": [0, 1],
                "parameters": {
                    "weight": {
                        "filter": "layers.3",
                        "value": 9
                    }
                }
            }]
        }]
    }
    expected = {}
    for to, (i, j, first, layers) in enumerate([(0, 2, 0, 3), (1, 3, 0, 3), (2, 4, 0, 3), (4, 0, 3, 1)]):
        for name in a:
            if layer_of(name) != i:
                continue
            out = name.replace(f".{i}.", f".{to}.")
            t = position(out, layers, first)
            wa = gradient([0, 1, 4], t) if layers == 3 else 6
            wb = gradient([2, 3], t) if layers == 3 and "mlp" in name else 7  # 'layers.3' is b's layer 0: no match
            total = wa * a[name] + wb * b[name.replace(f".{i}.", f".{j}.")]
            expected[out] = total if "layers.3" in out else total / (wa + wb)
    n = "model.embed_tokens.weight"
    expected[n] = b[n]  # weights 0 and 7
    for n in ("model.norm.weight", "lm_head.weight"):
        expected[n] = (6 * a[n] + 7 * b[n]) / 13
    check(case({"a": a, "b": b}, recipe)[0], expected)


def test_one_model_twice_in_a_slice_counts_twice():
    a = model(9)
    recipe = {
        "merge_method":
        "linear",
        "slices": [{
            "sources": [{
                "model": "a",
                "layer_range": [0, 2],
                "parameters": {
                    "weight": 1
                }
            }, {
                "model": "a",
                "layer_range": [3, 5],
                "parameters": {
                    "weight": 3
                }
            }]
        }]
    }
    expected = {n: v for n, v in a.items() if layer_of(n) is None}
    for name in a:
        if layer_of(name) in (0, 1):
            j = layer_of(name)
            expected[name] = (a[name] + 3 * a[name.replace(f".{j}.", f".{j + 3}.")]) / 4
    check(case({"a": a}, recipe)[0], expected)


def test_a_slice_has_its_own_base_and_a_base_that_is_not_listed_joins():
    a, b, c = model(10), model(11), model(12)
    recipe = {
        "merge_method":
        "task_arithmetic",
        "base_model":
        "c",
        "parameters": {
            "weight": 0.5,
            "lambda": [2, 1]
        },
        "slices": [{
            "sources": [{
                "model": "a",
                "layer_range": [1, 3]
            }]
        }, {
            "base_model": "b",
            "sources": [{
                "model": "a",
                "layer_range": [0, 2]
            }, {
                "model": "b",
                "layer_range": [3, 5]
            }]
        }]
    }
    expected = {}
    for to, (base, i, j, factor) in enumerate([(c, 1, 1, 2), (c, 2, 2, 1), (b, 0, 3, 2), (b, 1, 4, 1)]):
        for name in a:
            if layer_of(name) == i:
                x0 = base[name.replace(f".{i}.", f".{j}.")]
                expected[name.replace(f".{i}.", f".{to}.")] = x0 + 0.5 * factor * (a[name] - x0)
    for name, base, factor in (("model.embed_tokens.weight", c, 2), ("model.norm.weight", b, 1), ("lm_head.weight", b, 1)):
        expected[name] = base[name] + 0.5 * factor * (a[name] - base[name])
    check(case({"a": a, "b": b, "c": c}, recipe)[0], expected)


def test_an_empty_last_slice_gives_the_head():
    a, b = model(13), model(14)
    recipe = {
        "merge_method": "passthrough",
        "slices": [{
            "sources": [{
                "model": "a",
                "layer_range": [0, 5]
            }]
        }, {
            "sources": [{
                "model": "b",
                "layer_range": [5, 5]
            }]
        }]
    }
    expected = {n: b[n] if n in ("model.norm.weight", "lm_head.weight") else a[n] for n in a}
    check(case({"a": a, "b": b}, recipe)[0], expected, 0)


def test_layers_that_are_not_there_are_refused():
    a = model(15)
    recipe = {"merge_method": "passthrough", "slices": [{"sources": [{"model": "a", "layer_range": [3, 6]}]}]}
    message = case({"a": a}, recipe, expect=2)
    assert "[3, 6]" in message and "5 layers" in message, message


def test_a_stack_without_the_layer_that_alone_has_a_tensor_is_warned_of():
    rng = np.random.default_rng(30)
    t5 = {"shared.weight": rng.normal(size=(16, HIDDEN)), "encoder.final_layer_norm.weight": rng.normal(size=HIDDEN)}
    for j in range(LAYERS):
        t5[f"encoder.block.{j}.layer.0.SelfAttention.q.weight"] = rng.normal(size=(HIDDEN, HIDDEN))
    t5["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = rng.normal(size=(4, 2))

    def stack(*ranges):
        return {"merge_method": "passthrough", "slices": [{"sources": [{"model": "t5", "layer_range": r}]} for r in ranges]}

    case({"t5": t5}, stack([2, 5]), configs={"t5": {"architectures": ["T5EncoderModel"], "num_layers": LAYERS}})
    assert "recipe.json:1: of the layers of t5 only one has a tensor 'encoder.block.0.layer.0.SelfAttention." in SAID, SAID
    for ranges in ([0, 5],), ([0, 3], [2, 5]):
        case({"t5": t5}, stack(*ranges), configs={"t5": {"architectures": ["T5EncoderModel"], "num_layers": LAYERS}})
        assert "of the layers of" not in SAID, SAID


def test_names_with_and_without_a_prefix_come_together():
    full, other = model(31), model(32)
    bare = {name.removeprefix("model."): value for name, value in other.items() if name != "lm_head.weight"}
    mean = {"merge_method": "linear", "parameters": {"weight": 1}}
    recipe = {**mean, "models": [{"model": "full"}, {"model": "bare"}]}

    # The head that one lacks is missing, as ever; a tied one is the table.
    said = case({"full": full, "bare": bare}, recipe, expect=2)
    assert "lm_head.weight" in said, said
    tied = {"full": CONFIG, "bare": {**CONFIG, "tie_word_embeddings": True}}
    head = {**other, "lm_head.weight": other["model.embed_tokens.weight"]}
    check(case({"full": full, "bare": bare}, recipe, configs=tied)[0], {n: (full[n] + head[n]) / 2 for n in full})
    assert "recipe.json:1: the names of bare lack 'model.' in front and are taken with it" in SAID, SAID

    # The other way round the head keeps its name; the same model twice; layers of both.
    base = {**bare, "lm_head.weight": other["lm_head.weight"]}
    short = {name.removeprefix("model."): value for name, value in full.items()}
    recipe = {**mean, "models": [{"model": "base"}, {"model": "full"}, {"model": "full"}]}
    check(case({"base": base, "full": full}, recipe)[0], {n: (base[n] + 2 * short[n]) / 3 for n in base})
    assert SAID.count("the names of full have 'model.' in front and are taken without it") == 1, SAID
    slices = [{"sources": [{"model": m, "layer_range": [j, j + 1]}]} for m, j in (("full", 0), ("base", 1))]
    got = case({"base": base, "full": full}, {"merge_method": "passthrough", "slices": slices})[0]
    assert np.array_equal(got["model.layers.1.input_layernorm.weight"], base["layers.1.input_layernorm.weight"])

    # Not where only some names differ so.
    for odd in ({**bare, "extra.weight": bare["norm.weight"]}, {n: v for n, v in bare.items() if n != "norm.weight"}):
        case({"full": full, "bare": odd}, {**mean, "models": [{"model": "full"}, {"model": "bare"}]}, configs=tied, expect=2)


def test_lists_by_layer_and_nested_counts_follow_the_stack():
    a, b = model(16), model(17)
    kinds = lambda word: [f"{word}{i}" for i in range(LAYERS)]
    config = lambda word: {
        "model_type": "x",
        "text_config": {
            "num_hidden_layers": LAYERS,
            "layer_types": kinds(word),
            "sizes": [1, 2, 3]
        },
        "vision_config": {
            "num_hidden_layers": LAYERS
        }
    }
    recipe = {
        "merge_method": "passthrough",
        "slices": [{
            "sources": [{
                "model": "a",
                "layer_range": [0, 2]
            }]
        }, {
            "sources": [{
                "model": "b",
                "layer_range": [1, 5]
            }]
        }]
    }
    _, got = case({"a": a, "b": b}, recipe, configs={"a": config("a"), "b": config("b")})
    assert got["text_config"] == {
        "num_hidden_layers": 6,
        "layer_types": ["a0", "a1", "b1", "b2", "b3", "b4"],
        "sizes": [1, 2, 3]
    }, got
    assert got["vision_config"]["num_hidden_layers"] == LAYERS


def test_modules_take_their_tensors_and_the_rest_is_the_bases():

    def llava(seed):
        m = {"language_model." + n: v for n, v in model(seed, layers=3).items()}
        rng = np.random.default_rng(seed + 100)
        for j in range(2):
            m[f"vision_tower.encoder.layers.{j}.w.weight"] = rng.normal(size=(4, 4)).astype(np.float32).astype(np.float64)
        m["vision_tower.embeddings.weight"] = rng.normal(size=(4, 4)).astype(np.float32).astype(np.float64)
        m["multi_modal_projector.linear.weight"] = rng.normal(size=(4, 4)).astype(np.float32).astype(np.float64)
        return m

    a, b = llava(20), llava(21)
    recipe = {
        "merge_method": "linear",
        "base_model": "a",
        "parameters": {
            "weight": 1
        },
        "modules": {
            "text_decoder": {
                "models": [{
                    "model": "a"
                }, {
                    "model": "b",
                    "parameters": {
                        "weight": [1, 3]
                    }
                }],
                "parameters": {
                    "weight": 2
                }
            },
            "vision_tower": {
                "slices": [{
                    "sources": [{
                        "model": "b",
                        "layer_range": [1, 2]
                    }]
                }]
            }
        }
    }
    got, config = case({
        "a": a,
        "b": b
    },
                       recipe,
                       configs={
                           m: {
                               "model_type": "llava",
                               "text_config": {
                                   "num_hidden_layers": 3
                               },
                               "vision_config": {
                                   "num_hidden_layers": 2
                               }
                           }
                           for m in "ab"
                       })
    expected = {
        "multi_modal_projector.linear.weight": a["multi_modal_projector.linear.weight"],
        "vision_tower.embeddings.weight": b["vision_tower.embeddings.weight"],
        "vision_tower.encoder.layers.0.w.weight": b["vision_tower.encoder.layers.1.w.weight"]
    }
    for name in a:
        if name.startswith("language_model."):
            w = gradient([1, 3], position(name[len("language_model."):], 3))
            expected[name] = (2 * a[name] + w * b[name]) / (2 + w)
    check(got, expected)
    assert config["vision_config"]["num_hidden_layers"] == 1 and config["text_config"]["num_hidden_layers"] == 3
    assert "module 'tower'" in case({"a": a}, {
        "merge_method": "passthrough",
        "modules": {
            "tower": {
                "models": [{
                    "model": "a"
                }]
            }
        }
    },
                                    expect=2)


def test_a_towers_layers_are_not_the_texts():
    rng = np.random.default_rng(50)
    m = {
        f"{stack}.layers.{j}.w.weight": rng.normal(size=(4, 4))
        for stack in ("image_encoder", "language_model")
        for j in range(4)
    }
    config = {"model_type": "x", "vision_config": {"num_hidden_layers": 4}, "text_config": {"num_hidden_layers": 4}}
    for module, counts in (("image_encoder", (2, 4)), ("language_model", (4, 2))):
        recipe = {
            "merge_method": "passthrough",
            "modules": {
                module: {
                    "slices": [{
                        "sources": [{
                            "model": "m",
                            "layer_range": [1, 3]
                        }]
                    }]
                }
            }
        }
        _, got = case({"m": m}, recipe, configs={"m": config})
        assert (got["vision_config"]["num_hidden_layers"], got["text_config"]["num_hidden_layers"]) == counts, got


def test_a_tied_model_takes_part_with_its_table():
    a, b = model(30, head=False), model(31)
    tied = {**CONFIG, "tie_word_embeddings": True}
    recipe = {"merge_method": "linear", "parameters": {"weight": 0.5}, "models": [{"model": "a"}, {"model": "b"}]}
    got, config = case({"a": a, "b": b}, recipe, configs={"a": tied})
    full = {**a, "lm_head.weight": a["model.embed_tokens.weight"]}
    check(got, {n: (full[n] + b[n]) / 2 for n in b})
    assert config["tie_word_embeddings"] is False
    got, config = case({
        "a": a,
        "c": model(32, head=False)
    }, {
        **recipe, "models": [{
            "model": "a"
        }, {
            "model": "c"
        }]
    },
                       configs={
                           "a": tied,
                           "c": tied
                       })
    assert "lm_head.weight" not in got and config["tie_word_embeddings"] is True


def test_a_tied_head_is_the_table_whose_length_is_the_vocabularys():
    a, b = model(33, head=False), model(34)
    for rows in (4, 40):
        for m in (a, b):
            m["a.codec.embed_tokens.weight"] = np.full((rows, HIDDEN), 0.25)
        got, _ = case({"a": a, "b": b}, {
            "merge_method": "linear", "parameters": {"weight": 0.5}, "models": [{"model": "a"}, {"model": "b"}]
        }, configs={"a": {**CONFIG, "tie_word_embeddings": True, "vocab_size": 16}})
        full = {**a, "lm_head.weight": a["model.embed_tokens.weight"]}
        check(got, {n: (full[n] + b[n]) / 2 for n in b})


def test_layers_whose_numbers_become_one_are_refused():
    a = model(35)
    a["model.layers.01.mlp.up_proj.weight"] = a["model.layers.1.mlp.up_proj.weight"] + 1
    says = case({"a": a}, {
        "merge_method": "passthrough", "slices": [{"sources": [{"model": "a", "layer_range": [1, 2]}]}]
    }, expect=2)
    assert "'model.layers.0.mlp.up_proj.weight'" in says and "model.layers.01.mlp" in says, says


def test_a_head_that_is_tied_by_the_config_and_trained_all_the_same_is_told():
    tied = {**CONFIG, "tie_word_embeddings": True}
    a, b = model(33), model(34)
    a["lm_head.weight"] = a["model.embed_tokens.weight"].copy()
    mean = {"merge_method": "linear", "parameters": {"weight": 1}, "models": [{"model": "a"}, {"model": "b"}]}
    got, config = case({"a": a, "b": b}, mean, configs={"a": tied, "b": tied})
    check(got, {n: (a[n] + b[n]) / 2 for n in a})
    assert "recipe.json:1: config.json of b ties the head to the embedding table, but 'lm_head.weight' is stored" in SAID, SAID
    assert "config.json of a" not in SAID and config["tie_word_embeddings"] is True
    b["lm_head.weight"] = b["model.embed_tokens.weight"].copy()
    case({"a": a, "b": b}, mean, configs={"a": tied, "b": tied})
    assert "ties the head" not in SAID, SAID
    b["lm_head.weight"][-1, -1] += 1
    case({"a": a, "b": b}, mean, configs={"a": tied, "b": {**CONFIG, "tie_word_embeddings": False}})
    assert "ties the head" not in SAID, SAID


def test_a_stack_that_ends_in_a_tied_model_has_that_models_table_as_its_head():
    a, t = model(40), model(41, head=False)
    tied = {**CONFIG, "tie_word_embeddings": True}
    for donor in (CONFIG, tied):
        recipe = {
            "merge_method": "passthrough",
            "slices": [{
                "sources": [{
                    "model": "a",
                    "layer_range": [0, 2]
                }]
            }, {
                "sources": [{
                    "model": "t",
                    "layer_range": [2, 5]
                }]
            }]
        }
        got, config = case({"a": a, "t": t}, recipe, configs={"a": donor, "t": tied})
        expected = {n: (a if (layer_of(n) or 0) < 2 and n != "model.norm.weight" else t).get(n) for n in a}
        expected["lm_head.weight"] = t["model.embed_tokens.weight"]
        check(got, expected, 0)
        assert not config.get("tie_word_embeddings", False), config


def test_a_head_that_is_made_in_another_way_than_its_table_is_untied():
    a, b = model(42), model(43)
    for m in (a, b):
        m["lm_head.weight"] = m["model.embed_tokens.weight"]
    tied = {**CONFIG, "tie_word_embeddings": True}
    both = {"models": [{"model": "a"}, {"model": "b"}]}
    slerps = {**both, "merge_method": "slerp", "base_model": "a"}
    cases = [({
        **slerps, "parameters": {
            "t": [0, 1]
        }
    }, False), ({
        **slerps, "parameters": {
            "t": 0.5
        }
    }, True), ({
        **slerps, "parameters": {
            "t": [{
                "filter": "lm_head",
                "value": 1
            }, {
                "value": 0.5
            }]
        }
    }, False), ({
        **both, "merge_method": "dare_ties",
        "base_model": "a",
        "parameters": {
            "weight": 1,
            "density": 0.5
        }
    }, False),
             ({
                 "merge_method":
                 "passthrough",
                 "slices": [{
                     "sources": [{
                         "model": "a",
                         "layer_range": [0, 2]
                     }]
                 }, {
                     "sources": [{
                         "model": "b",
                         "layer_range": [2, 5]
                     }]
                 }]
             }, False)]
    for recipe, stays in cases:
        got, config = case({"a": a, "b": b}, recipe, configs={"a": tied, "b": tied})
        assert config["tie_word_embeddings"] is stays, recipe
        assert (got["lm_head.weight"] == got["model.embed_tokens.weight"]).all() == stays, recipe


def test_prediction_layers_stay_behind_the_layers():
    ds = model(44, layers=4)
    config = {**CONFIG, "num_hidden_layers": 3, "num_nextn_predict_layers": 1}
    recipe = {
        "merge_method": "passthrough",
        "slices": [{
            "sources": [{
                "model": "d",
                "layer_range": [0, 3]
            }]
        }, {
            "sources": [{
                "model": "d",
                "layer_range": [1, 3]
            }]
        }]
    }
    got, made = case({"d": ds}, recipe, configs={"d": config})
    expected = {n: v for n, v in ds.items() if layer_of(n) is None}
    for to, j in enumerate((0, 1, 2, 1, 2, 3)):
        for name in ds:
            if layer_of(name) == j:
                expected[name.replace(f".{j}.", f".{to}.")] = ds[name]
    check(got, expected, 0)
    assert made["num_hidden_layers"] == 5 and made["num_nextn_predict_layers"] == 1, made
    refused = {"merge_method": "passthrough", "slices": [{"sources": [{"model": "d", "layer_range": [0, 4]}]}]}
    assert "3 layers" in case({"d": ds}, refused, configs={"d": config}, expect=2)
    whole = {"merge_method": "passthrough", "models": [{"model": "d"}], "parameters": {"scale": [1, 2, 3]}}
    got, _ = case({"d": ds}, whole, configs={"d": config})
    check(got, {n: (3 if layer_of(n) == 3 else 1 + 2 * position(n, 3)) * v for n, v in ds.items()})


def test_a_lone_source_is_given_back():
    a, b = model(45), model(46)
    slices = [{
        "sources": [{
            "model": "a",
            "layer_range": [0, 1]
        }]
    }, {
        "sources": [{
            "model": m,
            "layer_range": [1, 3]
        } for m in "ab"]
    }, {
        "sources": [{
            "model": "b",
            "layer_range": [3, 5]
        }]
    }]
    got, _ = case(
        {
            "a": a,
            "b": b
        },
        {
            "merge_method": "slerp",
            "base_model": "a",
            "parameters": {
                "t": 0.5
            },
            "slices": slices
        },
    )
    expected = {n: slerp(a[n], b[n], 0.5) if layer_of(n) in (1, 2) else (a if (layer_of(n) or 0) < 1 else b)[n] for n in a}
    expected["lm_head.weight"], expected["model.norm.weight"] = b["lm_head.weight"], b["model.norm.weight"]
    check(got, expected, 16)
    got, _ = case({
        "a": a,
        "b": b
    }, {
        "merge_method": "ties",
        "base_model": "a",
        "parameters": {
            "weight": 1
        },
        "slices": slices[:2]
    })
    assert (got["model.layers.0.mlp.up_proj.weight"] == a["model.layers.0.mlp.up_proj.weight"]).all()


def test_a_wrong_layer_count_is_mended():
    a = model(47)
    recipe = {
        "merge_method": "passthrough",
        "slices": [{
            "sources": [{
                "model": "a",
                "layer_range": [0, 3]
            }]
        }, {
            "sources": [{
                "model": "a",
                "layer_range": [2, 5]
            }]
        }]
    }
    _, config = case({"a": a}, recipe, configs={"a": {**CONFIG, "num_hidden_layers": 7}})
    assert config["num_hidden_layers"] == 6, config


def test_a_filter_that_matches_nothing_leaves_a_required_parameter_open():
    a, b = model(33), model(34)
    recipe = {
        "merge_method": "slerp",
        "base_model": "a",
        "models": [{
            "model": "b"
        }],
        "parameters": {
            "t": {
                "filter": "mlp",
                "value": 0.5
            }
        }
    }
    message = case({"a": a, "b": b}, recipe, expect=2)
    assert "'t'" in message and "without a filter" in message, message


if __name__ == "__main__":
    sys.exit(run_tests(globals(), ("weft", "scratch"), "dialect: "))
