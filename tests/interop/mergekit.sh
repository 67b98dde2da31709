#!/usr/bin/env bash
# mergekit.sh WEFT [PROGRAM...] - the same recipes through weft and through mergekit itself, tensor by tensor.
#
# Makes a virtual environment with mergekit in build/venv-mergekit once, the newest version that can be installed;
# torch and the like are those of build/venv where it has them. MERGEKIT='mergekit==0.1.4' asks for one version.
# The last line is the count; a mergekit that cannot be had is a skip that says why.
set -u
cd "$(dirname "$0")/../.." || exit 1
venv=build/venv-mergekit
log=build/venv-mergekit.log
weft=${1:?usage: mergekit.sh WEFT [PROGRAM...]}
shift
[ $# -gt 0 ] || set -- methods dialect differences examples golden

nothing() { # REASON
    echo "skip  mergekit: $1"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}

if [ ! -e $venv/has-mergekit ]; then
    mkdir -p build
    rm -rf $venv
    python3 -m venv $venv >$log 2>&1 || nothing "python3 -m venv does not work here (install python3-venv)"
    for site in "$PWD"/build/venv/lib/python3*/site-packages; do # of the same Python, or pip passes it by
        [ -e build/venv/has-torch ] && echo "$site" >"$(echo $venv/lib/python3*/site-packages)/shared.pth"
    done
    for requirement in "${MERGEKIT:-mergekit}" mergekit==0.1.5 mergekit==0.1.4; do
        echo "installing $requirement ..."
        timeout 1800 $venv/bin/pip install --quiet --no-cache-dir "$requirement" >>$log 2>&1 </dev/null || continue
        $venv/bin/python -c 'import mergekit.merge' >>$log 2>&1 && touch $venv/has-mergekit && break
    done
fi
[ -e $venv/has-mergekit ] || nothing "it could not be installed: $(grep -iE 'error' $log | tail -n 1)"
echo "# mergekit $($venv/bin/python -c 'from importlib.metadata import version; print(version("mergekit"))')"

# Its published recipes are in its repository only; without a network the program that wants them says so.
export MERGEKIT_SOURCE=${MERGEKIT_SOURCE:-build/mergekit-source}
export GIT_TERMINAL_PROMPT=0
[ -d "$MERGEKIT_SOURCE" ] ||
    timeout 120 git clone --quiet --depth 1 https://github.com/arcee-ai/mergekit "$MERGEKIT_SOURCE" >>$log 2>&1

scratch=$(mktemp -d "${TMPDIR:-/tmp}/weft-mergekit.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONWARNINGS=ignore TQDM_DISABLE=1
export TRANSFORMERS_VERBOSITY=error
for program in "$@"; do
    mkdir "$scratch/$program"
    $venv/bin/python "tests/interop/mergekit_$program.py" --weft "$weft" --scratch "$scratch/$program" </dev/null
    rm -rf "${scratch:?}/$program"
done | awk -v expected=$# -f tests/interop/sum.awk
