#!/usr/bin/env bash
# run.sh quick|long [SUITE...] - builds every variant, runs every suite, and adds up what they counted.
#
# Suites run side by side, one per CPU; each one's output is shown whole when it ends. The last line is the
# total, "N passed, N failed, N skipped", with every skip named above it. Exit 1 if anything failed.
#
#   variant   built as                                     for
#   plain     gcc -O3                                      nearly everything
#   asan      address and undefined-behaviour sanitizers,  unit tests, fuzz corpora, the n-th call fails
#             faults compiled in
#   tsan      thread sanitizer                             races
#   clang     clang -O3                                    same bytes
#   O0        gcc -O0                                      same bytes
#
# Where there is g++, plain, asan and tsan have the GPU's kernels too, run by an emulator (tests/emu); where there is
# nvcc, plain has the plugin for real GPUs.
set -u
cd "$(dirname "$0")/.." || exit 1
mode=${1:-quick}
shift
export LONG=0 LC_ALL=C
[ "$mode" = long ] && export LONG=1
unset MAKEFLAGS MAKELEVEL MFLAGS WEFT_FAULT WEFT_ISA
jobs=$(nproc)
logs=build/logs
rm -rf $logs
mkdir -p $logs

# name, seconds it may take, command; the longest first
all="fault     1500 tests/suite/fault.sh
emu            1800 tests/suite/emu.sh
device         1500 tests/suite/device.sh
resume         1500 tests/suite/resume.sh
resume_model   900  tests/suite/resume_model.sh
same_bytes     1500 tests/suite/same_bytes.sh
statistics     1500 tests/suite/statistics.sh
unit-asan      1500 tests/suite/unit.sh asan
cli            900  tests/cli/run.sh build/plain/weft
races          900  tests/suite/races.sh
unit           900  tests/suite/unit.sh plain
fuzz_replay    900  tests/suite/fuzz_replay.sh
golden         900  tests/suite/golden.sh
recipes        900  tests/suite/recipes.sh
deltas         900  tests/suite/deltas.sh
balance        900  tests/suite/balance.sh
install        900  tests/suite/install.sh
cuda_build     900  tests/suite/cuda_build.sh
style          300  tests/style/check.sh"
[ $LONG = 0 ] || all="deaths    3000 tests/cluster/deaths.sh
$all"

build() { # VARIANT TARGETS MAKE-VARIABLES...
    local variant=$1 targets=$2
    shift 2
    # shellcheck disable=SC2086
    if ! make -s -k -j"$jobs" $targets VARIANT="$variant" "$@" >$logs/build-$variant.log 2>&1; then
        echo "FAIL  build of $variant:"
        grep -m 8 -E 'error|Error' $logs/build-$variant.log
        build_failures=$((build_failures + 1))
    fi
}

began=$SECONDS build_failures=0
echo "building: plain, asan, tsan, clang, O0"
emu='' device=''
command -v g++ >/dev/null && emu=variant-emu device=variant-device
build plain "build variant variant-unit variant-tools variant-transport $emu $device"
if [ $build_failures != 0 ]; then # nothing could be told from the rest
    echo "0 passed, $build_failures failed, 0 skipped"
    exit 1
fi
build asan "variant variant-unit variant-replay $emu $device" SAN=address FAULTS=1 OPT=-O1
build tsan "variant $emu $([ $LONG = 0 ] || echo "$device")" SAN=thread OPT=-O1
build O0 "variant" OPT=-O0
command -v clang >/dev/null && build clang "variant" CC=clang
echo "built in $((SECONDS - began)) s"

running=0
start() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2
    shift 2
    (
        from=$SECONDS
        timeout "$limit" "$@" >$logs/$name.log 2>&1 </dev/null
        echo $? >$logs/$name.code
        echo "--- $name ($((SECONDS - from)) s): $(tail -n 1 $logs/$name.log)"
        grep -E '^(FAIL|skip)' $logs/$name.log
    ) &
    running=$((running + 1))
}

while read -r name limit command; do
    [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
    [ $running -lt "$jobs" ] || { wait -n; running=$((running - 1)); }
    # shellcheck disable=SC2086
    start "$name" "$limit" $command
done <<<"$all"
wait

# The sum. A suite without a count, or with a bad exit code and no failure counted, failed as a whole.
passed=0 failed=$build_failures skipped=0
for code in $logs/*.code; do
    name=$(basename "$code" .code)
    last=$(tail -n 1 $logs/$name.log)
    if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + BASH_REMATCH[3]))
        [ "$(cat "$code")" = 0 ] || [ "${BASH_REMATCH[2]}" != 0 ] || failed=$((failed + 1))
    else
        echo "FAIL  $name ended without a count (exit $(cat "$code")): $(tail -n 3 $logs/$name.log | tr '\n' ' ')"
        failed=$((failed + 1))
    fi
done
echo "--- all suites in $((SECONDS - began)) s; their output is in $logs"
grep -hE '^(FAIL|skip)' $logs/*.log
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
