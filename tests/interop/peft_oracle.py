#!/usr/bin/env python3
"""Adapters between PEFT and weft, both ways: what weft writes is loaded by PEFT and gives the logits that the formula
gives; what PEFT saves is added by weft as PEFT itself adds it. The last line of the output is the count.
"""
import json
import os
import shutil
import subprocess
import sys
import warnings

import numpy as np

from harness import Skip, need, run_tests
from merge_oracle import read_model

TINYLM = os.path.abspath("tests/data/tinylm")


def path_of(name):
    return os.path.join(ARGS.scratch, name)


def weft(*arguments):
    done = subprocess.run([ARGS.weft, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if "OpenBLAS" in done.stderr:
        raise Skip("OpenBLAS is not installed")
    assert done.returncode == 0, f"weft {' '.join(arguments)}: {done.returncode}: {done.stderr.strip()}"


def fresh(name):
    shutil.rmtree(path_of(name), ignore_errors=True)
    return path_of(name)


def merged(base, adapter, dtype="float32"):
    """The folder base+adapter, by weft."""
    recipe = {"merge_method": "passthrough", "models": [{"model": f"{base}+{adapter}"}], "dtype": dtype}
    json.dump(recipe, open(path_of("sum.json"), "w"))
    weft("merge", path_of("sum.json"), fresh("sum"), "--progress", "none")
    return path_of("sum")


def tinylm(folder):
    import torch
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def logits(model, seed=0):
    import torch

    tokens = torch.randint(0, 256, (2, 48), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return model(tokens).logits.double().numpy()


def check_loaded(adapter):
    """PEFT loads `adapter` on tinylm's base without a word of a missing key, and agrees with the formula."""
    need("torch", "transformers", "peft")
    from peft import PeftModel

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with_peft = logits(PeftModel.from_pretrained(tinylm(TINYLM + "/base"), adapter).eval())
    assert not any("key" in str(w.message).lower() for w in said), [str(w.message) for w in said]
    config = json.load(open(adapter + "/adapter_config.json"))
    scale = config["lora_alpha"] / config["r"]
    tensors = {n.removeprefix("base_model.model."): a for n, (_, a) in read_model(adapter + "/adapter_model.safetensors").items()}
    model = tinylm(TINYLM + "/base")
    import torch

    state = model.state_dict()
    for name, a in tensors.items():
        if name.endswith(".lora_A.weight"):
            path = name.removesuffix(".lora_A.weight")
            state[path + ".weight"] += torch.tensor(scale * tensors[path + ".lora_B.weight"] @ a, dtype=torch.float32)
        elif not name.endswith(".lora_B.weight"):
            state[name].copy_(torch.tensor(a))
    expected = logits(model)
    assert np.abs(with_peft - expected).max() < 2e-4 * np.abs(expected).max(), np.abs(with_peft - expected).max()
    assert np.abs(expected - logits(tinylm(TINYLM + "/base"))).max() > 1e-2, "the adapter does nothing"
    weft_sum = logits(tinylm(merged(TINYLM + "/base", adapter)))
    assert np.abs(weft_sum - expected).max() < 2e-4 * np.abs(expected).max()


def test_a_compressed_adapter_loads_and_gives_the_logits_of_the_formula():
    for rank in ("8", "3"):
        weft("compress-lora", TINYLM + "/c-lora", fresh("c"), "--rank", rank)
        check_loaded(path_of("c"))


def test_adapters_of_byom_lora_load():
    recipe = {"merge_method": "byom_lora", "parameters": {"rank": 4},
              "models": [{"model": f"{TINYLM}/{n}-lora", "name": n} for n in ("c", "python")]}
    json.dump(recipe, open(path_of("byom.json"), "w"))
    weft("merge", path_of("byom.json"), fresh("byom"), "--progress", "none")
    for name in ("c", "python"):
        check_loaded(os.path.join(path_of("byom"), name))


def test_an_extracted_adapter_loads_with_whole_tensors_and_without():
    for flags in ([], ["--save-whole", "*norm*"], ["--include", "*q_proj*", "--include", "*.1.mlp*"]):
        weft("extract-lora", TINYLM + "/python", fresh("x"), "--base", TINYLM + "/base", "--rank", "12", *flags)
        check_loaded(path_of("x"))


# ---- adapters that PEFT makes ----


def compare_with_peft(name, model, config):
    """Random factors in PEFT's adapter: weft's base+adapter has the weights of PEFT's merge."""
    import torch
    from peft import get_peft_model

    base = fresh(name)
    model.save_pretrained(base)
    tuned = get_peft_model(model, config)
    torch.manual_seed(1)
    with torch.no_grad():
        for n, p in tuned.named_parameters():
            if p.requires_grad:
                p.copy_(torch.randn(p.shape) * 0.1)
    tuned.eval().save_pretrained(fresh(name + "-lora"))
    out = read_model(merged(base, path_of(name + "-lora")) + "/model.safetensors")
    want = {n: p.detach().numpy() for n, p in tuned.merge_and_unload().state_dict().items()}
    before = read_model(base + "/model.safetensors")
    moved = 0
    for n, (_, got) in out.items():
        assert np.allclose(got, want[n], rtol=1e-5, atol=1e-5), f"{n}: {np.abs(got - want[n]).max()}"
        moved += not np.array_equal(got, before[n][1])
    return moved


def small_llama(**more):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                                        num_key_value_heads=2, vocab_size=64, **more))


def test_patterns_and_rslora_as_peft_resolves_them():
    need("torch", "transformers", "peft")
    from peft import LoraConfig

    config = LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules=["q_proj", "k_proj", "down_proj"],
                        rank_pattern={"q_proj": 2, r"^model\.layers\.1\..*k_proj": 3}, alpha_pattern={"1.mlp.down_proj": 9})
    assert compare_with_peft("patterns", small_llama(), config) == 6


def test_embeddings_bias_and_modules_saved_whole():
    need("torch", "transformers", "peft")
    from peft import LoraConfig

    config = LoraConfig(r=3, lora_alpha=5, target_modules=["embed_tokens", "v_proj"], modules_to_save=["lm_head"], bias="all")
    moved = compare_with_peft("kinds", small_llama(attention_bias=True, tie_word_embeddings=False), config)
    assert moved == 1 + 1 + 2 + 8, moved  # the table, the head, v_proj, biases of four projections in two layers


def test_a_tied_embedding():
    need("torch", "transformers", "peft")
    from peft import LoraConfig

    config = LoraConfig(r=3, lora_alpha=5, target_modules=["embed_tokens"])
    assert compare_with_peft("tied", small_llama(tie_word_embeddings=True), config) == 1


def test_gpt2_stores_the_other_way_round():
    need("torch", "transformers", "peft")
    import torch
    from peft import LoraConfig
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=64, n_positions=32))
    config = LoraConfig(r=4, lora_alpha=4, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)
    assert compare_with_peft("gpt2", model, config) == 6


if __name__ == "__main__":
    sys.exit(run_tests(globals(), ("weft", "scratch")))
