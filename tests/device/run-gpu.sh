#!/usr/bin/env bash
# run-gpu.sh - on a machine with a GPU, after `make device-test` has built: the real plugin gives the CPU's bytes, and
# compute-sanitizer finds nothing in its kernels. The last line is "N passed, N failed, N skipped".
cd "$(dirname "$0")/../.." || exit 1
source tests/suite/suite.sh
export WEFT_CUDA_PLUGIN=$PWD/build/plain/libweft_cuda.so
export ASAN_OPTIONS=protect_shadow_gap=0
requires build/plain/weft build/plain/bench_method build/plain/device/test_device

if ! build/plain/weft doctor "$SCRATCH" >"$SCRATCH/doctor" || ! grep -qE ' GPU 0 ' "$SCRATCH/doctor"; then
    skip "everything" "no GPU: $(grep -o 'none used: .*' "$SCRATCH/doctor")"
    finish
fi
sed -n '/^GPUs/,/^ranks/p' "$SCRATCH/doctor" | grep -v '^ranks'

# Every operation and whole merges, against the CPU backend.
tests/suite/device.sh "$WEFT_CUDA_PLUGIN" | tee "$SCRATCH/device"
if [[ $(tail -n 1 "$SCRATCH/device") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
    passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + BASH_REMATCH[3]))
else
    fail "tests/suite/device.sh" "ended without a count"
fi

# The launches of every method, timed too; the last line counts what differs from the CPU.
if build/plain/bench_method --bytes 64MiB --rounds 5 >"$SCRATCH/bench" 2>&1; then
    pass
else
    fail "bench_method" "$(tail -n 3 "$SCRATCH/bench" | tr '\n' ' ')"
fi
cat "$SCRATCH/bench"

# Out of bounds, misaligned, races on shared memory, uninitialised reads. Tens of times slower, so small.
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
for tool in memcheck racecheck initcheck synccheck; do
    if [ -z "$sanitizer" ]; then
        skip "compute-sanitizer $tool" "it is not installed"
    elif "$sanitizer" --tool $tool --error-exitcode 9 --print-limit 5 \
        build/plain/bench_method --bytes 256KiB --rounds 1 >"$SCRATCH/$tool" 2>&1; then
        pass
    elif grep -q 'Device not supported' "$SCRATCH/$tool"; then
        skip "compute-sanitizer $tool" "it does not support this machine"
    else
        fail "compute-sanitizer $tool" "$(grep -m 4 '^=========' "$SCRATCH/$tool" | tr '\n' ' ')"
    fi
done
finish
