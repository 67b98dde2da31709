#!/usr/bin/env bash
# emu.sh - every kernel, run by the emulator, gives the bytes of the CPU frame: in three orders of threads with address
# and undefined-behaviour sanitizers, at larger sizes without, and under the thread sanitizer.
source tests/suite/suite.sh
if ! command -v g++ >/dev/null; then
    skip "emulated kernels" "g++ is not installed"
    finish
fi
requires build/{plain,asan,tsan}/emu/test_kernels
export ASAN_OPTIONS=exitcode=99:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=exitcode=66:halt_on_error=0

# kernels NAME VARIANT ARGUMENTS...: adds the counts of the last line, "N passed, N failed".
kernels() {
    local name=$1 variant=$2 last code
    shift 2
    timeout 600 build/"$variant"/emu/test_kernels "$@" >"$SCRATCH/out" 2>&1 </dev/null
    code=$?
    last=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$SCRATCH/out" | tail -n 1)
    if [[ ! $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
        fail "$name" "exit $code: $(grep -m 3 -E 'ERROR|WARNING|error|SUMMARY' "$SCRATCH/out" | tr '\n' ' ')"
    elif [ $code != 0 ] && [ "${BASH_REMATCH[2]}" = 0 ]; then
        fail "$name" "exit $code: $(grep -m 3 -E 'ERROR|WARNING|error|SUMMARY' "$SCRATCH/out" | tr '\n' ' ')"
    else
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
        [ "${BASH_REMATCH[2]}" = 0 ] || grep -m 8 -iE 'fail|differ' "$SCRATCH/out" | sed "s/^/FAIL  $name: /"
    fi
}

for order in fwd rev rand; do
    EMU_ORDER=$order kernels "threads in order $order, address sanitizer" asan
done
EMU_ORDER=rand kernels "larger sizes" plain
kernels "thread sanitizer" tsan small
finish
