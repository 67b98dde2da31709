#!/usr/bin/env python3
"""The built-in chat templates, rendered by jinja2 as chat libraries do, against the formats' descriptions.

The expected texts are written out here by hand. The last line of the output is the count.
"""
import json
import os
import struct
import subprocess
import sys

from harness import need, run_tests

SYSTEM = {"role": "system", "content": "Be brief."}
TURNS = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "Two."}, {"role": "user", "content": "Three?"}]

ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
EXPECTED = {  # of TURNS, then of SYSTEM and TURNS, each with the start of an answer
    "alpaca": (ALPACA + "### Instruction:\nOne?\n\n### Response:\nTwo.</s>\n\n### Instruction:\nThree?\n\n### Response:\n",
               "Be brief.\n\n### Instruction:\nOne?\n\n### Response:\nTwo.</s>\n\n### Instruction:\nThree?\n\n### Response:\n"),
    "chatml": ("<|im_start|>user\nOne?<|im_end|>\n<|im_start|>assistant\nTwo.<|im_end|>\n"
               "<|im_start|>user\nThree?<|im_end|>\n<|im_start|>assistant\n",
               "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nOne?<|im_end|>\n"
               "<|im_start|>assistant\nTwo.<|im_end|>\n"
               "<|im_start|>user\nThree?<|im_end|>\n<|im_start|>assistant\n"),
    "exaone": ("[|system|][|endofturn|]\n[|user|]One?\n[|assistant|]Two.[|endofturn|]\n[|user|]Three?\n[|assistant|]",
               "[|system|]Be brief.[|endofturn|]\n[|user|]One?\n[|assistant|]Two.[|endofturn|]\n[|user|]Three?\n[|assistant|]"),
    "llama3": ("<s><|start_header_id|>user<|end_header_id|>\n\nOne?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
               "Two.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nThree?<|eot_id|>"
               "<|start_header_id|>assistant<|end_header_id|>\n\n",
               "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
               "One?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nTwo.<|eot_id|>"
               "<|start_header_id|>user<|end_header_id|>\n\nThree?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"),
    "mistral": ("<s>[INST] One? [/INST] Two.</s>[INST] Three? [/INST]",
                "<s>[INST] Be brief.\n\nOne? [/INST] Two.</s>[INST] Three? [/INST]"),
}


class Refused(Exception):
    pass


def refuse(message):
    raise Refused(message)


def render(text, messages, prompt=True):
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    compiled = environment.from_string(text)
    return compiled.render(messages=messages, add_generation_prompt=prompt, bos_token="<s>", eos_token="</s>")


def model():
    """A folder with one tensor and a tokenizer's config."""
    folder = os.path.join(ARGS.scratch, "model")
    os.makedirs(folder, exist_ok=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + bytes(8))
    for name, value in ("config.json", {"architectures": ["Test"]}), ("tokenizer_config.json", {"chat_template": "old"}):
        with open(os.path.join(folder, name), "w") as file:
            json.dump(value, file)
    return folder


def template(name):
    """What a merge with `chat_template: name` writes, where both files must say the same."""
    out = os.path.join(ARGS.scratch, "out")
    recipe = os.path.join(ARGS.scratch, "recipe.json")
    with open(recipe, "w") as file:
        json.dump({"merge_method": "passthrough", "models": [{"model": model()}], "chat_template": name}, file)
    subprocess.run([ARGS.weft, "merge", recipe, out, "--overwrite", "--log-level", "error"], check=True)
    with open(os.path.join(out, "chat_template.jinja"), encoding="utf-8", newline="") as file:
        text = file.read()
    with open(os.path.join(out, "tokenizer_config.json"), encoding="utf-8") as file:
        assert json.load(file)["chat_template"] == text, "the two files differ"
    return text


def test_built_in_templates_render_as_the_formats_are_described():
    need("jinja2")
    for name, (plain, with_system) in EXPECTED.items():
        text = template(name)
        assert render(text, TURNS) == plain, (name, render(text, TURNS))
        assert render(text, [SYSTEM] + TURNS) == with_system, (name, render(text, [SYSTEM] + TURNS))


def test_without_a_prompt_the_answer_ends_the_text():
    need("jinja2")
    for name, (plain, _) in EXPECTED.items():
        text = template(name)
        closed, opened = render(text, TURNS[:2], False), render(text, TURNS[:2])
        assert plain.startswith(closed) and opened.startswith(closed), (name, closed)


def test_wrong_turns_are_refused_where_the_format_has_no_place_for_them():
    need("jinja2")
    for name, messages in ("mistral", TURNS[1:]), ("mistral", TURNS[:1] * 2), ("alpaca", TURNS + [SYSTEM]):
        try:
            render(template(name), messages)
        except Refused:
            continue
        raise AssertionError(f"{name} takes {messages}")


def test_literal_templates_arrive_letter_by_letter():
    for text in "{{ messages[0]['content'] }}\n", "{% for m in messages %}{{ m }}\t\"\\\u00e9\U0001f600{% endfor %}":
        assert template(text) == text


if __name__ == "__main__":
    sys.exit(run_tests(globals(), ["weft", "scratch"], "chat: "))
