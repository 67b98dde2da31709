#!/usr/bin/env python3
"""Every form of mergekit's recipes: gradients, filters, precedence, slices, modules, types, references.

Each recipe goes through mergekit and through `weft --compat mergekit`, which must agree on every tensor within C units of
2^-24 * max|x|. Without --compat, they agree on all but what stands behind the layers (final norm and head), where a
gradient has its last value in weft and its first in mergekit. The last line of the output is the count.
"""
import contextlib
import io
import os
import subprocess
import sys

import torch

from harness import run_tests
from mergekit_lib import UNIT, Lab, check_close, read, read_config

C = 8
COMPAT = ("--compat", "mergekit")
BEHIND = ("model.norm.weight", "lm_head.weight", "transformer.ln_f.weight", "transformer.ln_f.bias")


def LAB():
    if "lab" not in globals():
        globals()["lab"] = Lab(ARGS.weft, ARGS.scratch)
    return globals()["lab"]


def both(text, *flags, family="llama", c=C, last=None, paths=None, **more):
    """Runs `text`, in which {base}, {a}, {b} and {c} are models; returns the folders (weft, weft with --compat, mergekit).
    `last`: the same recipe with the last value of each gradient in place of the gradient, where there is one."""
    paths = paths or LAB().family(family, **more)
    fill = lambda t: LAB().write(t.format(**dict(zip(("base", "a", "b", "c"), paths))))
    path = fill(text)
    theirs = LAB().mergekit(path, *flags)
    ours, compat = LAB().weft(path), LAB().weft(path, *COMPAT)
    check_close(read(compat), read(theirs), paths, c, "with --compat: ")
    want = read(theirs)
    if last:
        end = read(LAB().mergekit(fill(last), *flags))
        want.update({name: end[name] for name in want if name in BEHIND})
    check_close(read(ours), want, paths, c)
    return ours, compat, theirs


# ---- values: gradients, filters, numbers ----

SLERP = """
merge_method: slerp
base_model: {{base}}
models: [{{{{model: {{base}}}}}}, {{{{model: {{a}}}}}}]
parameters:
  t: {}
"""


def slerp(t):
    return SLERP.format(t.replace("{", "{{").replace("}", "}}"))


def test_a_gradient_over_the_layers():
    both(slerp("[0.2, 0.9]"), last=slerp("0.9"))
    both(slerp("[0, 0.5, 0.3, 0.7, 1]"), last=slerp("1"))
    both(slerp("[0.3]"))
    both(slerp("[0.2, 0.9]"), family="gpt2", layers=3, last=slerp("0.9"))
    both(slerp("[0.2, 0.9]"), family="granite", layers=3, last=slerp("0.9"))


def test_a_gradient_of_a_model_of_one_layer():
    both(slerp("[0.2, 0.9]"), layers=1, last=slerp("0.9"))


FILTERS = "[{filter: self_attn, value: [0, 0.5, 0.3, 0.7, 1]}, {filter: mlp, value: [1, 0.5, 0.7, 0.3, 0]}, {value: 0.5}]"


def test_filters_with_gradients():
    both(slerp(FILTERS))  # behind the layers nothing but the constant


def test_the_first_filter_that_matches_counts():
    both(slerp("[{filter: q_proj, value: 0.1}, {filter: self_attn, value: 0.6}, {filter: '*', value: 0.3}, {value: 0.9}]"))
    both(slerp("[{filter: '*', value: 0.3}, {filter: self_attn, value: 0.6}]"))


def test_one_filter_without_a_list():
    text = slerp("{value: 0.25}")
    both(text)
    both(text.replace("t: {{value: 0.25}}", "t: {{filter: '*', value: [0.5, 0.7]}}"), last=slerp("0.7"))


def test_a_filter_is_a_part_of_a_name():
    both(slerp("[{filter: layers.1, value: 0.9}, {value: 0.2}]"), layers=12)  # layers 1, 10 and 11
    both(slerp("[{filter: 'layers.1.', value: 0.9}, {value: 0.2}]"), layers=12)


def test_numbers_in_all_spellings():
    for number in ("1e-1", "'0.25'", "+.5", "5.0e-1", "1", "'1e-1'", "true"):
        both(slerp(number))
    both(slerp("[1e-1, '9e-1']"), last=slerp("0.9"))


TIES = """
merge_method: ties
base_model: {base}
models:
  - model: {a}
    parameters: {{density: [1, 0.7, 0.1], weight: 1.0}}
  - model: {b}
    parameters: {{density: 0.5, weight: [0, 0.3, 0.7, 1]}}
  - model: {c}
    parameters: {{density: 0.33, weight: [{{filter: mlp, value: 0.5}}, {{value: 0}}]}}
parameters: {{normalize: true, int8_mask: true}}
"""


def test_gradients_of_each_model():
    both(TIES, last=TIES.replace("[1, 0.7, 0.1]", "0.1").replace("[0, 0.3, 0.7, 1]", "1"))


def test_a_filter_that_misses_falls_through_to_the_next_level():
    both("""
merge_method: task_arithmetic
base_model: {base}
models:
  - {{model: {a}, parameters: {{weight: [{{filter: mlp, value: 0.9}}]}}}}
  - {{model: {b}, parameters: {{weight: {{filter: self_attn, value: 0.3}}}}}}
parameters:
  weight: [{{filter: norm, value: 0.2}}, {{value: 0.6}}]
  lambda: [{{filter: down_proj, value: 0.5}}]
""")


# ---- slices ----


def test_layers_stacked():
    text = """
merge_method: passthrough
slices:
  - sources: [{{model: {a}, layer_range: [0, 3]}}]
  - sources: [{{model: {b}, layer_range: [1, 4]}}]
"""
    for family, key in (("llama", "num_hidden_layers"), ("granite", "num_hidden_layers"), ("gpt2", "n_layer")):
        ours, compat, theirs = both(text, family=family, c=0)
        assert read_config(ours)[key] == read_config(compat)[key] == read_config(theirs)[key] == 6


def test_layers_repeated_and_scaled():
    both("""
merge_method: passthrough
slices:
  - sources: [{{model: {a}, layer_range: [0, 2]}}]
  - sources:
      - model: {a}
        layer_range: [1, 3]
        parameters: {{scale: [{{filter: o_proj, value: 0.0}}, {{filter: down_proj, value: 0.0}}, {{value: 1.0}}]}}
  - sources: [{{model: {a}, layer_range: [2, 4]}}]
""", c=1)


def test_a_slice_for_all_layers_is_the_models_form():
    both("""
merge_method: slerp
base_model: {base}
slices:
  - sources: [{{model: {base}, layer_range: [0, 4]}}, {{model: {a}, layer_range: [0, 4]}}]
parameters:
  t: [{{filter: self_attn, value: [0, 0.5, 0.3, 0.7, 1]}}, {{filter: mlp, value: [1, 0.5, 0.7, 0.3, 0]}}, {{value: 0.5}}]
""")


GRADIENTS = """
merge_method: slerp
base_model: {base}
slices:
  - sources: [{{model: {base}, layer_range: [0, 3]}}, {{model: {a}, layer_range: [1, 4]}}]
    parameters: {{t: [0.1, 0.8]}}
  - sources: [{{model: {base}, layer_range: [3, 4]}}, {{model: {a}, layer_range: [0, 1]}}]
    parameters: {{t: [0.2, 0.6]}}
"""


def test_a_gradient_within_each_slice_and_slices_of_one_layer():
    both(GRADIENTS, last=GRADIENTS.replace("[0.2, 0.6]", "0.6"))


def test_a_base_for_each_slice():
    both("""
merge_method: slerp
base_model: {base}
slices:
  - sources: [{{model: {base}, layer_range: [0, 2]}}, {{model: {a}, layer_range: [0, 2]}}]
    parameters: {{t: 0.3}}
  - sources: [{{model: {b}, layer_range: [2, 4]}}, {{model: {a}, layer_range: [2, 4]}}]
    base_model: {b}
    parameters: {{t: 0.4}}
""")


def test_task_vectors_in_slices_and_precedence():
    both("""
merge_method: task_arithmetic
base_model: {base}
slices:
  - sources:
      - {{model: {base}, layer_range: [0, 2]}}
      - {{model: {a}, layer_range: [0, 2], parameters: {{weight: 0.9}}}}
      - {{model: {b}, layer_range: [0, 2]}}
    parameters: {{weight: 0.4, lambda: 0.8}}
  - sources:
      - {{model: {base}, layer_range: [2, 4]}}
      - {{model: {a}, layer_range: [2, 4]}}
      - {{model: {b}, layer_range: [2, 4], parameters: {{weight: [{{filter: mlp, value: 0.1}}]}}}}
    parameters: {{weight: [{{filter: self_attn, value: 0.5}}]}}
parameters: {{weight: 0.7, lambda: 1.1}}
""")


def test_filters_of_a_source_see_its_own_layer_numbers():
    both("""
merge_method: linear
slices:
  - sources:
      - {{model: {a}, layer_range: [0, 2], parameters: {{weight: 1}}}}
      - {{model: {b}, layer_range: [2, 4], parameters: {{weight: [{{filter: layers.3, value: 2}}, {{value: 0.5}}]}}}}
    parameters: {{normalize: [{{filter: layers.1, value: false}}, {{value: true}}]}}
""")


def test_slices_of_models_with_tied_heads():
    text = """
merge_method: passthrough
slices:
  - sources: [{{model: {a}, layer_range: [0, 2]}}]
  - sources: [{{model: {b}, layer_range: [1, 4]}}]
"""
    both(text, tied=True, c=0)


# ---- modules ----


def test_a_model_of_several_modules_in_the_models_form():
    text = """
merge_method: linear
models:
  - {{model: {a}, parameters: {{weight: [0.2, 0.9]}}}}
  - {{model: {b}, parameters: {{weight: 0.5}}}}
"""
    paths = LAB().family("llava")
    path = LAB().write(text.format(a=paths[1], b=paths[2]))
    ours, theirs = read(LAB().weft(path)), read(LAB().mergekit(path))
    layers = {name for name in theirs if ".layers." in name}
    check_close({n: ours[n] for n in layers}, {n: theirs[n] for n in layers}, paths, C)


def test_modules_of_a_default_model():
    both("""
merge_method: linear
modules:
  default:
    models:
      - {{model: {a}, parameters: {{weight: 0.8}}}}
      - {{model: {b}}}
    parameters: {{weight: 0.3}}
parameters: {{weight: 0.1, normalize: false}}
""")
    both("""
merge_method: passthrough
modules:
  default:
    slices:
      - sources: [{{model: {a}, layer_range: [0, 3]}}]
      - sources: [{{model: {b}, layer_range: [2, 4]}}]
        parameters: {{scale: 0.5}}
""", c=1)


MODULES = {"mistral3": ("text_decoder", "vision_tower", "multi_modal_projector"), "t5": ("encoder", "decoder", "shared")}


def test_modules_with_models_and_parameters_of_their_own():
    for family, names in MODULES.items():
        both("""
merge_method: linear
modules:
  {}:
    models: [{{{{model: {{a}}, parameters: {{{{weight: 0.9}}}}}}}}, {{{{model: {{b}}}}}}]
    parameters: {{{{weight: 0.2}}}}
  {}:
    models: [{{{{model: {{b}}, parameters: {{{{weight: [{{{{filter: '1.', value: 0.7}}}}]}}}}}}}}, {{{{model: {{a}}}}}}]
  {}:
    models: [{{{{model: {{a}}}}}}]
parameters: {{{{weight: 0.5}}}}
""".format(*names), family=family)


def test_gradients_run_over_the_layers_of_each_module():
    for family, names in MODULES.items():
        paths = LAB().family(family)
        modules = {name: {"models": [{"model": p} for p in paths[1:3]], "parameters": {"weight": 1}} for name in names}
        modules[names[0]]["models"][0]["parameters"] = {"weight": [0.2, 0.9]}
        path = LAB().write({"merge_method": "linear", "modules": modules})
        check_close(read(LAB().weft(path, *COMPAT)), read(LAB().mergekit(path)), paths, C)


def test_layers_of_one_module_stacked():
    counts = {"mistral3": ("text_config", "num_hidden_layers"), "t5": (None, "num_layers")}
    for family, names in MODULES.items():
        a, b = LAB().family(family)[1:3]
        stack = [{"sources": [{"model": a, "layer_range": [0, 3]}]}, {"sources": [{"model": b, "layer_range": [2, 4]}]}]
        modules = {name: {"models": [{"model": b}]} for name in names[1:]}
        path = LAB().write({"merge_method": "passthrough", "modules": {names[0]: {"slices": stack}, **modules}})
        ours, theirs = LAB().weft(path), LAB().mergekit(path)
        check_close(read(ours), read(theirs), [a, b], 0)
        part, key = counts[family]
        for folder in (ours, theirs):
            config = read_config(folder)
            assert (config[part] if part else config)[key] == 5
            assert config.get("num_decoder_layers", 4) == 4, "the decoder has the layers that it had"


# ---- types ----


TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def test_stored_types():
    for stored in TYPES:
        paths = LAB().family(dtype=TYPES[stored])
        for dtype in (None, *TYPES, "torch.float16"):
            for out in (None, *TYPES):
                check_types(paths, stored, dtype, out)


def check_types(paths, stored, dtype, out):
    recipe = {"merge_method": "linear", **({"dtype": dtype} if dtype else {}), **({"out_dtype": out} if out else {})}
    recipe["models"] = [{"model": p, "parameters": {"weight": w}} for p, w in zip(paths[1:3], (0.6, 0.9))]
    path = LAB().write(recipe)
    ours, theirs = LAB().weft(path, *COMPAT), LAB().mergekit(path)
    inner = TYPES[(dtype or stored).removeprefix("torch.")]
    outer = TYPES[out] if out else inner
    # Into a wider `out_dtype` mergekit's result comes with the digits of the narrow type.
    c = 3 * max(1, UNIT[inner] / UNIT[outer])
    check_close(read(ours), read(theirs), paths, c, f"{stored}, dtype {dtype}, out_dtype {out}: ")
    assert read_config(ours)["dtype"] == read_config(theirs)["dtype"].removeprefix("torch."), (stored, dtype, out)


# ---- references ----


def test_references_as_maps():
    both("""
merge_method: linear
models:
  - model: {{model: {{path: {a}}}}}
    parameters: {{weight: 0.6}}
  - model: {{model: {{path: {b}}}}}
    parameters: {{weight: 0.4}}
""")


def adapter(name, base):
    """A PEFT adapter for the attention of a model."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(
        r=4, lora_alpha=6, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    folder = LAB().path(name)
    generator = torch.Generator().manual_seed(5)
    for key, value in model.named_parameters():
        if "lora_" in key:
            value.data = torch.randn(value.shape, generator=generator) * 0.05
    model.save_pretrained(folder)
    return folder


def test_adapters():
    base, a = LAB().family()[:2]
    lora = adapter("lora", base)
    text = f"""
merge_method: task_arithmetic
base_model: {base}
models:
  - {{{{model: {base}+{lora}, parameters: {{{{weight: 0.8}}}}}}}}
  - {{{{model: {a}, parameters: {{{{weight: 0.5}}}}}}}}
"""
    cache = LAB().path("merged-adapters")
    os.makedirs(cache, exist_ok=True)
    both(text, "--lora-merge-cache", cache, paths=[base, a])


# ---- commands ----


def test_the_same_command_line():
    base, a, b = LAB().family()[:3]
    recipe = {"merge_method": "ties", "base_model": base, "parameters": {"weight": 0.5, "density": 0.3}}
    path = LAB().write({**recipe, "models": [{"model": a}, {"model": b}]})
    flags = ["--random-seed", "3", "--out-shard-size", "150K", "--lazy-unpickle", "--allow-crimes", "--clone-tensors",
             "--no-copy-tokenizer", "--quiet"]
    theirs, ours = LAB().mergekit(path, *flags), path + ".weft-yaml"
    command = LAB().path("weft-yaml")  # the same program under its second name
    os.symlink(os.path.abspath(ARGS.weft), command)
    done = subprocess.run([command, path, ours, *flags], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    check_close(read(ours), read(theirs), [base, a, b], C)
    shards = lambda folder: sum(f.endswith(".safetensors") for f in os.listdir(folder))
    assert shards(ours) > 2 and shards(theirs) > 2
    index = "model.safetensors.index.json"
    assert os.path.exists(os.path.join(ours, index)) and os.path.exists(os.path.join(theirs, index))


# ---- several documents ----


def test_stages():
    from mergekit.scripts.multimerge import main

    base, a, b = LAB().family()[:3]
    path = LAB().write(f"""
name: first
merge_method: slerp
base_model: {base}
models: [{{model: {a}}}]
parameters: {{t: 0.4}}
---
merge_method: task_arithmetic
base_model: {base}
models:
  - {{model: first, parameters: {{weight: 0.7}}}}
  - {{model: {b}, parameters: {{weight: 0.4}}}}
""")
    theirs = path + ".mergekit"
    with contextlib.redirect_stderr(io.StringIO()):
        main.main([path, "-I", path + ".stages", "--out-path", theirs, "--quiet", "--no-copy-tokenizer"], standalone_mode=False)
    check_close(read(LAB().weft(path)), read(theirs), [base, a, b], C)


if __name__ == "__main__":
    sys.exit(run_tests(globals(), ("weft", "scratch"), "mergekit: "))
