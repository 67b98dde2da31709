#!/usr/bin/env python3
"""Every recipe that mergekit publishes, its examples and those within its documents, parses, plans and runs.

The recipes are read from a copy of mergekit's repository (MERGEKIT_SOURCE, or what mergekit.sh cloned). Tiny models are made
under the names that they use, with as many layers as they want; mergekit runs them too, and where nothing is drawn or cut in
float16 the results are compared. The last line of the output is the count.
"""
import glob
import os
import re
import sys

import torch
import yaml

from harness import Skip, run_tests
from mergekit_lib import Lab, check_close, read

COMPAT = ("--compat", "mergekit")
COMPARED = ("linear", "slerp", "passthrough")  # within this many units of their type, which differs by a rounding or two
C = 3


def recipes():
    """(where, text) of each."""
    source = os.environ.get("MERGEKIT_SOURCE", "")
    if not os.path.isdir(os.path.join(source, "examples")):
        raise Skip("there is no copy of mergekit's repository (MERGEKIT_SOURCE names one)")
    for path in sorted(glob.glob(os.path.join(source, "examples", "*.y*ml"))):
        with open(path) as f:
            yield os.path.basename(path), f.read()
    for path in sorted(glob.glob(os.path.join(source, "*.md")) + glob.glob(os.path.join(source, "docs", "*.md"))):
        with open(path) as f:
            for i, block in enumerate(re.findall(r"^```ya?ml\n(.*?)^```", f.read(), re.M | re.S)):
                if is_recipe(block):
                    yield f"{os.path.basename(path)}, block {i + 1}", block


def is_recipe(block):
    """Whole, and of a method that mergekit has: not a fragment, nor one with ellipses."""
    from mergekit.merge_methods.registry import registered_methods

    known = {method.spec.name for method in registered_methods()}
    try:
        documents = list(yaml.safe_load_all(block))
    except yaml.YAMLError:
        return False
    return all(isinstance(d, dict) and d.get("merge_method") in known and ("models" in d or "slices" in d) for d in documents)


def references(part):
    """Every model that a document names, with the number of layers that it needs."""
    if isinstance(part, list):
        for each in part:
            yield from references(each)
    elif isinstance(part, dict):
        layers = part.get("layer_range", [0, 4])[1]
        yield from ((part[key], layers) for key in ("model", "base_model") if isinstance(part.get(key), str))
        for each in part.values():
            yield from references(each)


def run_examples(of_stages, least):
    found = [(w, t) for w, t in recipes() if (len(list(yaml.safe_load_all(t))) > 1) is of_stages]
    assert len(found) >= least, f"only {len(found)} recipes found"
    for i, (where, text) in enumerate(found):
        folder = os.path.join(ARGS.scratch, f"{'stages' if of_stages else 'example'}-{i}")
        os.makedirs(folder)
        run_example(where, text, folder)


def test_every_published_recipe():
    run_examples(False, 6)


def test_every_published_recipe_of_several_stages():
    run_examples(True, 1)


def run_example(where, text, folder):
    lab, documents = Lab(ARGS.weft, folder), list(yaml.safe_load_all(text))
    stages, needed = {d.get("name") for d in documents}, {}
    for name, layers in references(documents):
        if name not in stages:
            needed[name] = max(layers, needed.get(name, 0))
    layers = max(needed.values())
    paths = [lab.model(name, layers=layers, tuned=i, dtype=torch.float16) for i, name in enumerate(needed)]
    path = lab.write(text)
    for command in (("plan", path), ("plan", path, *COMPAT)):
        done = lab.run_weft(*command)
        assert done.returncode == 0, f"{where}: {done.stderr.strip()}"
    ours, here = read(lab.weft(path, *COMPAT)), os.getcwd()
    os.chdir(folder)
    try:
        if len(documents) == 1:
            theirs = read(lab.mergekit(path))
            if documents[0]["merge_method"] in COMPARED:
                check_close(ours, theirs, paths, C, f"{where}: ")
    finally:
        os.chdir(here)


if __name__ == "__main__":
    sys.exit(run_tests(globals(), ("weft", "scratch"), "mergekit: "))
