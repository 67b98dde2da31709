#!/usr/bin/env bash
# mergekit_install.sh - makes build/venv-mergekit, a virtual environment with mergekit, once.
#
# The newest version that can be installed; torch and the like are those of build/venv where it has them.
# MERGEKIT='mergekit==0.1.4' asks for one version. Exits 1 with the reason on standard output if it cannot be had.
set -u
cd "$(dirname "$0")/../.." || exit 1
venv=build/venv-mergekit
log=build/venv-mergekit.log

if [ ! -e $venv/has-mergekit ]; then
    mkdir -p build
    rm -rf $venv
    python3 -m venv $venv >$log 2>&1 || { echo "python3 -m venv does not work here (install python3-venv)"; exit 1; }
    for site in "$PWD"/build/venv/lib/python3*/site-packages; do # of the same Python, or pip passes it by
        [ -e build/venv/has-torch ] && echo "$site" >"$(echo $venv/lib/python3*/site-packages)/shared.pth"
    done
    for requirement in "${MERGEKIT:-mergekit}" mergekit==0.1.5 mergekit==0.1.4; do
        timeout 1800 $venv/bin/pip install --quiet --no-cache-dir "$requirement" >>$log 2>&1 </dev/null || continue
        $venv/bin/python -c 'import mergekit.merge' >>$log 2>&1 && touch $venv/has-mergekit && break
    done
fi
[ -e $venv/has-mergekit ] && exit 0
echo "mergekit could not be installed: $(grep -iE 'error' $log | tail -n 1)"
exit 1
