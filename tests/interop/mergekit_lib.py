"""Tiny models of several families, and one recipe file through mergekit and through weft.

Runs in the environment that mergekit.sh makes: mergekit's command is called within this process (its imports take
seconds), weft's as a program. Values are laid out so that what a method keeps does not hang on the last bit: base values are
multiples of 2^-20, changes multiples of 2^-24 whose magnitudes differ from element to element of a tensor, so that
W_i - W_0 is exact in float32 and no two magnitudes meet at a cut. Weights without a common measure keep sums of changes
from vanishing, where the last bit would elect the sign.
"""
import contextlib
import io
import json
import logging
import os
import subprocess
import zlib

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

UNIT = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
SPREAD = 0.005  # the mean change
VOCABULARY = {"vocab_size": 64, "max_position_embeddings": 32}
LLAMA = {**VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2}
VISION = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "image_size": 16, "patch_size": 8}

logging.disable(logging.WARNING)
transformers.utils.logging.disable_progress_bar()


class Lab:
    """A folder of models and results, and the program under test."""

    def __init__(self, weft, scratch):
        self.weft_program, self.scratch, self.count = os.path.abspath(weft), os.path.abspath(scratch), 0
        self.shapes = {}  # (family, layers, tied) -> (config, name -> shape)

    def path(self, name):
        return os.path.join(self.scratch, name)

    # ---- models ----

    def layout(self, family, layers, tied):
        key = family, layers, tied
        if key not in self.shapes:
            config = CONFIGS[family.removesuffix("-hub")](layers, tied)
            kind = KINDS.get(config.model_type)
            model = kind._from_config(config) if kind else transformers.AutoModelForCausalLM.from_config(config)
            folder = self.path("layout-" + "-".join(map(str, key)))
            model.save_pretrained(folder)
            # Of LLaVA the names within transformers, which mergekit wants; "llava-hub" has those of published files.
            tensors = model.state_dict() if family == "llava" else load_file(os.path.join(folder, "model.safetensors"))
            with open(os.path.join(folder, "config.json")) as f:
                self.shapes[key] = json.load(f), {name: tuple(t.shape) for name, t in sorted(tensors.items())}
        return self.shapes[key]

    def model(self, name, family="llama", layers=4, tuned=0, dtype=torch.float32, tied=False, spread=SPREAD, edit=None):
        """A model folder. `tuned` 0 is the base of its family, i > 0 its i-th fine-tune; edit(tensors, config) may
        change what is written. Made once."""
        folder = self.path(name)
        if os.path.exists(os.path.join(folder, "config.json")):
            return folder
        config, shapes = self.layout(family, layers, tied)
        tensors, config = {}, json.loads(json.dumps(config))
        for tensor, shape in shapes.items():
            value = values(tensor, shape, tuned, spread)
            tensors[tensor] = torch.from_numpy(value).to(dtype)
        config["dtype"] = str(dtype).removeprefix("torch.")
        if edit:
            edit(tensors, config)
        os.makedirs(folder)
        save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(config, f)
        return folder

    def family(self, family="llama", n=3, dtype=torch.float32, **more):
        """The base and n fine-tunes of it, as paths."""
        kind = "-".join([family, str(dtype).removeprefix("torch."), *(f"{k}={v}" for k, v in sorted(more.items()))])
        return [self.model(f"{kind}-{i}", family, tuned=i, dtype=dtype, **more) for i in range(n + 1)]

    # ---- both programs ----

    def write(self, recipe):
        """The path of a recipe, given as a text or as what it holds."""
        self.count += 1
        path = self.path(f"recipe-{self.count}.yaml")
        with open(path, "w") as f:
            f.write(recipe if isinstance(recipe, str) else json.dumps(recipe))
        return path

    def mergekit(self, path, *flags):
        """The folder that mergekit-yaml makes of a recipe."""
        from mergekit.io.tasks import LoaderCache
        from mergekit.scripts.run_yaml import main

        LoaderCache.loaders.clear()  # relative names may mean another folder by now
        out = path.removesuffix(".yaml") + f".mergekit{len(flags)}"
        with contextlib.redirect_stderr(io.StringIO()):
            main.main([path, out, "--quiet", "--no-copy-tokenizer", "--no-write-model-card", *flags], standalone_mode=False)
        return out

    def weft(self, path, *flags):
        """The folder that weft makes of a recipe."""
        out = path.removesuffix(".yaml") + ".weft" + "".join(flags)
        done = self.run_weft("merge", path, out, "--progress", "none", *flags)
        if done.returncode:
            raise AssertionError(done.stderr.strip())
        return out

    def run_weft(self, *arguments):
        return subprocess.run([self.weft_program, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)

    def refusal(self, recipe, *flags):
        """What weft says to a recipe that it refuses with exit code 2."""
        done = self.run_weft("plan", self.write(recipe), *flags)
        assert done.returncode == 2, f"exit code {done.returncode}: {done.stderr.strip()}"
        return done.stderr.strip()


KINDS = {
    "llava": transformers.LlavaForConditionalGeneration,
    "mistral3": transformers.Mistral3ForConditionalGeneration,
    "t5": transformers.T5ForConditionalGeneration,
}
CONFIGS = {
    "small": lambda layers, tied: transformers.LlamaConfig(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_attention_heads=1, num_key_value_heads=1,
        max_position_embeddings=32, num_hidden_layers=layers, tie_word_embeddings=tied),
    "llama": lambda layers, tied: transformers.LlamaConfig(**LLAMA, num_hidden_layers=layers, tie_word_embeddings=tied),
    "granite": lambda layers, tied: transformers.GraniteConfig(**LLAMA, num_hidden_layers=layers, tie_word_embeddings=tied),
    "gpt2": lambda layers, tied: transformers.GPT2Config(vocab_size=64, n_positions=32, n_embd=64, n_layer=layers, n_head=4),
    "llava": lambda layers, tied: transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**VISION, num_hidden_layers=2),
        text_config=transformers.LlamaConfig(**LLAMA, num_hidden_layers=layers), image_token_index=63),
    "mistral3": lambda layers, tied: transformers.Mistral3Config(
        vision_config=transformers.PixtralVisionConfig(**VISION, num_hidden_layers=2),
        text_config=transformers.MistralConfig(**LLAMA, num_hidden_layers=layers), image_token_index=63),
    "t5": lambda layers, tied: transformers.T5Config(
        vocab_size=64, d_model=64, d_kv=16, d_ff=96, num_layers=layers, num_heads=4, feed_forward_proj="gated-gelu"),
}


def values(name, shape, tuned, spread):
    """float64: the base's tensor, and the change of its fine-tune of that number."""
    n = int(np.prod(shape))
    rng = np.random.default_rng([zlib.crc32(name.encode())])
    value = np.clip(np.round(rng.normal(0, 0.05, n) * 2**20), -(2**18) + 1, 2**18 - 1) / 2**20
    if tuned:
        common = rng.choice([-1, 1], n)
        rng = np.random.default_rng([zlib.crc32(name.encode()), tuned])
        sign = np.where(rng.random(n) < 0.9, common, -common)  # fine-tunes agree more often than not
        size = -spread * rng.uniform(0.8, 1.2) * np.log(1 - (rng.permutation(n) + 0.5) / n)  # exponential, all different
        value += sign * (np.ceil(size * 2**24) / 2**24 if spread > 2.0**-10 else size)
    return value.reshape(shape)


def read(folder):
    """name -> tensor, of a folder with any number of shards."""
    tensors = {}
    for file in sorted(os.listdir(folder)):
        if file.endswith(".safetensors"):
            tensors.update(load_file(os.path.join(folder, file)))
    return tensors


def read_config(folder):
    with open(os.path.join(folder, "config.json")) as f:
        return json.load(f)


def distance(ours, theirs, inputs, names=None):
    """The largest difference of two results in units of UNIT * max|x| over the inputs, and where it is."""
    worst, where = 0.0, ""
    for name in names or ours:
        a, b = ours[name], theirs[name]
        assert a.shape == b.shape, f"{name}: shape {tuple(a.shape)}, mergekit has {tuple(b.shape)}"
        assert a.dtype == b.dtype, f"{name}: {a.dtype}, mergekit has {b.dtype}"
        if not a.is_floating_point() or not a.numel():
            assert torch.equal(a, b), f"{name} differs"
            continue
        assert torch.isfinite(a).all() and torch.isfinite(b).all(), f"{name} is not finite"
        size = max(float(tensor.double().abs().max()) for tensor in inputs(name))
        d = float((a.double() - b.double()).abs().max()) / (UNIT[a.dtype] * size)
        if d > worst:
            worst, where = d, name
    return worst, where


def same_names(ours, theirs):
    assert set(ours) == set(theirs), f"tensors of one only: {sorted(set(ours) ^ set(theirs))[:4]}"


def check_close(ours, theirs, models, c, what=""):
    """Two results have the same tensors, within c units; `models` are the folders that went in. Returns how far."""
    same_names(ours, theirs)
    parts = [read(m) for m in models]
    everything = [t for part in parts for t in part.values() if t.is_floating_point()]
    inputs = lambda name: [part[name] for part in parts if name in part] or everything  # a layer may have moved
    worst, where = distance(ours, theirs, inputs)
    assert worst <= c, f"{what}{where}: {worst:.1f} units apart, {c} allowed"
    return worst
