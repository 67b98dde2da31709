#!/usr/bin/env bash
# mergekit.sh WEFT [PROGRAM...] - the same recipes through weft and through mergekit itself, tensor by tensor.
#
# PROGRAM is a mergekit_PROGRAM.py of this folder; all of them if none is named. The last line is the count; a mergekit that
# cannot be had is a skip that says why.
set -u
cd "$(dirname "$0")/../.." || exit 1
venv=build/venv-mergekit
weft=${1:?usage: mergekit.sh WEFT [PROGRAM...]}
shift
[ $# -gt 0 ] || set -- methods dialect tokens differences examples golden

if ! reason=$(tests/interop/mergekit_install.sh); then
    echo "skip  mergekit: $reason"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
echo "# mergekit $($venv/bin/python -c 'from importlib.metadata import version; print(version("mergekit"))')"

# Its published recipes are in its repository only; without a network the program that wants them says so.
export MERGEKIT_SOURCE=${MERGEKIT_SOURCE:-build/mergekit-source} GIT_TERMINAL_PROMPT=0
[ -d "$MERGEKIT_SOURCE" ] ||
    timeout 120 git clone --quiet --depth 1 https://github.com/arcee-ai/mergekit "$MERGEKIT_SOURCE" >/dev/null 2>&1

scratch=$(mktemp -d "${TMPDIR:-/tmp}/weft-mergekit.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONWARNINGS=ignore TQDM_DISABLE=1
export TRANSFORMERS_VERBOSITY=error
for program in "$@"; do
    mkdir "$scratch/$program"
    $venv/bin/python "tests/interop/mergekit_$program.py" --weft "$weft" --scratch "$scratch/$program" </dev/null
    rm -rf "${scratch:?}/$program"
done | awk -v expected=$# -f tests/interop/sum.awk
