#!/usr/bin/env bash
# run.sh quick|long [SUITE...] - builds weft, runs the suites of several ranks one after another, adds up their counts.
#
# The last line is "N passed, N failed, N skipped", with failures and skips named above it. Exit 1 if anything failed.
set -u
cd "$(dirname "$0")/../.." || exit 1
mode=${1:-quick}
shift
export LONG=0 LC_ALL=C
[ "$mode" = long ] && export LONG=1
unset MAKEFLAGS MAKELEVEL MFLAGS WEFT_FAULT WEFT_ISA
suites=("$@")
[ $# -gt 0 ] || suites=(launchers jobs deaths refusals transport)
mkdir -p build/logs
passed=0 failed=0 skipped=0

if ! make -s -j"$(nproc)" build variant variant-tools variant-transport VARIANT=plain >build/logs/cluster-build.log 2>&1; then
    echo "FAIL  build: $(grep -m 3 -E 'error|Error' build/logs/cluster-build.log | tr '\n' ' ')"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi

for suite in "${suites[@]}"; do
    log=build/logs/cluster-$suite.log from=$SECONDS
    timeout -k 10 "$([ $LONG = 1 ] && echo 1800 || echo 600)" "tests/cluster/$suite.sh" >"$log" 2>&1 </dev/null
    code=$?
    last=$(tail -n 1 "$log")
    echo "--- $suite ($((SECONDS - from)) s): $last"
    grep -E '^(FAIL|skip)' "$log"
    if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + BASH_REMATCH[3]))
        [ $code = 0 ] || [ "${BASH_REMATCH[2]}" != 0 ] || failed=$((failed + 1))
    else
        echo "FAIL  $suite ended without a count (exit $code): $(tail -n 3 "$log" | tr '\n' ' ')"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
