#!/usr/bin/env bash
# deltas.sh - task deltas and weft apply against an oracle in numpy: the places, the bits, the encodings, and the same
# bytes for any threads and memory.
source tests/suite/suite.sh
requires build/plain/weft
python=$(python_with numpy)
if [ -z "$python" ]; then
    skip "task deltas" "no python3 with numpy"
    finish
fi
while read -r result name; do
    case $result in
    ok) pass ;;
    skip) skip "$name" ;;
    *) fail "$result $name" ;;
    esac
done < <("$python" tests/interop/delta_oracle.py --weft build/plain/weft --scratch "$SCRATCH" 2>&1 </dev/null |
    grep -vE '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$')
[ $((passed + failed)) -gt 0 ] || fail "task deltas" "the oracle said nothing"
finish
