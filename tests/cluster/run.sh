#!/usr/bin/env bash
# run.sh quick|long [SUITE...] - builds weft, runs the suites of several ranks, and adds up what they counted.
#
# Suites run side by side, one per CPU: most of their time is waiting. The last line is "N passed, N failed,
# N skipped", with failures and skips named above it. Exit 1 if anything failed.
set -u
cd "$(dirname "$0")/../.." || exit 1
mode=${1:-quick}
shift
export LONG=0 LC_ALL=C
[ "$mode" = long ] && export LONG=1
unset MAKEFLAGS MAKELEVEL MFLAGS WEFT_FAULT WEFT_ISA
limit=$([ $LONG = 1 ] && echo 3000 || echo 600)
suites=("$@")
[ $# -gt 0 ] || suites=(launchers spools jobs deaths refusals transport)
logs=build/logs/cluster
rm -rf $logs
mkdir -p $logs

began=$SECONDS
if ! make -s -j"$(nproc)" variant variant-tools variant-transport mpi-plugin VARIANT=plain >$logs/build 2>&1; then
    echo "FAIL  build: $(grep -m 3 -E 'error|Error' $logs/build | tr '\n' ' ')"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi

running=0
start() { # SUITE
    (
        from=$SECONDS
        timeout -k 10 "$limit" "tests/cluster/$1.sh" >"$logs/$1.log" 2>&1 </dev/null
        echo $? >"$logs/$1.code"
        echo "--- $1 ($((SECONDS - from)) s): $(tail -n 1 "$logs/$1.log")"
        grep -E '^(FAIL|skip)' "$logs/$1.log"
    ) &
    running=$((running + 1))
}
for suite in "${suites[@]}"; do
    [ $running -lt "$(nproc)" ] || { wait -n; running=$((running - 1)); }
    start "$suite"
done
wait

# A suite without a count, or with a bad exit code and no failure counted, failed as a whole.
passed=0 failed=0 skipped=0
for suite in "${suites[@]}"; do
    last=$(tail -n 1 "$logs/$suite.log")
    if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + BASH_REMATCH[3]))
        [ "$(cat "$logs/$suite.code")" = 0 ] || [ "${BASH_REMATCH[2]}" != 0 ] || failed=$((failed + 1))
    else
        echo "FAIL  $suite ended without a count (exit $(cat "$logs/$suite.code")): $(tail -n 3 "$logs/$suite.log" | tr '\n' ' ')"
        failed=$((failed + 1))
    fi
done
echo "--- all suites in $((SECONDS - began)) s; their output is in $logs"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
