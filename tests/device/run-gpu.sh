#!/usr/bin/env bash
# run-gpu.sh - on a machine with a GPU, after `make device-test` has built: the real plugin gives the CPU's bytes, and
# compute-sanitizer finds nothing in its kernels. The last line is "N passed, N failed, N skipped".
cd "$(dirname "$0")/../.." || exit 1
source tests/suite/suite.sh
export WEFT_CUDA_PLUGIN=$PWD/build/plain/libweft_cuda.so
export ASAN_OPTIONS=protect_shadow_gap=0
requires build/plain/weft build/plain/bench_method build/plain/device/test_device build/plain/device/test_device_linalg \
    build/plain/test_transport

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

# Ranks joined over NCCL: one alone; one for each GPU where there are several; and two on the same GPU, which NCCL
# allows where they seem to be on different hosts. They find each other by a file.
together() { # RANKS CASE [apart]
    local n=$1 case=$2 hosts=${3:-} folder=$SCRATCH/ranks.$1.$2.${3:-} r
    mkdir -p "$folder"
    for ((r = 0; r < n; r++)); do
        env ${hosts:+NCCL_HOSTID=weft-$r} PMI_RANK=$r PMI_SIZE="$n" TEST_DEVICES=real WEFT_MPI_PLUGIN=none \
            NCCL_SOCKET_IFNAME=lo ${hosts:+CUDA_VISIBLE_DEVICES=0} \
            timeout 200 build/plain/test_transport "$case" "$folder" >"$folder/said.$r" 2>&1 </dev/null &
    done
    wait
    if [ "$(find "$folder" -name 'ok.*' | wc -l)" = "$n" ]; then
        pass
    else
        fail "$n ranks over NCCL${hosts:+ on one GPU}: $case" "$(cat "$folder"/said.* | head -n 6 | tr '\n' ' ')"
    fi
}
gpus=$(grep -cE ' GPU [0-9]+ +[A-Z]' "$SCRATCH/doctor")
if grep -qE 'joins ranks +NCCL ' "$SCRATCH/doctor"; then
    for case in exchange exchange_in_small_pieces exchange_much; do
        together 1 $case
        together 2 $case apart
        [ "$gpus" = 1 ] || together "$gpus" $case
    done
    together 2 a_rank_that_does_not_come_costs_the_limit apart
    together 2 a_signal_ends_the_wait apart
else
    skip "ranks over NCCL" "$(grep -oE 'joins ranks .*' "$SCRATCH/doctor")"
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
sanitized() { # TOOL PROGRAM ARGUMENTS...
    local name="compute-sanitizer $1, ${2##*/}" said=$SCRATCH/$1
    if [ -z "$sanitizer" ]; then
        skip "$name" "it is not installed"
    elif "$sanitizer" --tool "$1" --error-exitcode 9 --print-limit 5 "${@:2}" >"$said" 2>&1; then
        pass
    elif grep -q 'Device not supported' "$said"; then
        skip "$name" "it does not support this machine"
    else
        fail "$name" "$(grep -m 4 '^=========' "$said" | tr '\n' ' ')"
    fi
}
for tool in memcheck racecheck initcheck synccheck; do
    sanitized $tool build/plain/bench_method --bytes 256KiB --rounds 1
done
# The kernels of NVIDIA's libraries, on what weft gives them.
if build/plain/device/test_device_linalg libraries >"$SCRATCH/libraries" 2>&1; then
    for tool in memcheck initcheck; do
        sanitized $tool build/plain/device/test_device_linalg
    done
else
    skip "compute-sanitizer, test_device_linalg" "$(head -n 1 "$SCRATCH/libraries")"
fi
finish
