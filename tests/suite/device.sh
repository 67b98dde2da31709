#!/usr/bin/env bash
# device.sh [PLUGIN] - whole merges on devices: the bytes of the CPU, whatever happens on the way.
#
# PLUGIN is build/plain/libweft_fake.so by default: the real kernels, emulated, on two devices of host memory. With
# libweft_cuda.so, on a machine with a GPU (tests/device/run-gpu.sh), what only the fake can do is left out.
source tests/suite/suite.sh
source tests/suite/stages.sh
if ! command -v g++ >/dev/null && [ $# = 0 ]; then
    skip "merges on a device" "g++ is not installed"
    finish
fi
requires build/plain/weft build/plain/mkckpt build/plain/bench_svd build/plain/device/test_device
export WEFT_CUDA_PLUGIN=${1:-$PWD/build/plain/libweft_fake.so}
[ -e "$WEFT_CUDA_PLUGIN" ] || { fail "$WEFT_CUDA_PLUGIN" "was not built"; finish; }
[[ $WEFT_CUDA_PLUGIN == *fake* ]] && fake=1 || fake=0
export WEFT_DEVICE_MIN=0 # nothing is too small for a device
weft=$PWD/build/plain/weft lora=$PWD/$TINYLM
on_device=(--backend cuda --gpus all)

# ---- the host side alone ----

tap() { # NAME PROGRAM: adds its TAP results
    local good bad code
    CMOCKA_MESSAGE_OUTPUT=TAP timeout 900 "$2" >"$SCRATCH/tap" 2>"$SCRATCH/err" </dev/null
    code=$?
    good=$(grep -c '^ok ' "$SCRATCH/tap") bad=$(grep -c '^not ok ' "$SCRATCH/tap")
    passed=$((passed + good))
    while read -r line; do fail "$1" "$line"; done < <(grep '^not ok ' "$SCRATCH/tap")
    if [ $code = 77 ]; then # asks for the fake
        skip "$1" "$(tail -n 1 "$SCRATCH/tap" "$SCRATCH/err" | tr '\n' ' ')"
        return
    fi
    [ "$bad" != 0 ] || { [ $code = 0 ] && [ "$good" != 0 ]; } ||
        fail "$1" "exit $code: $(grep -m 3 -E 'ERROR|error|SUMMARY' "$SCRATCH/err" "$SCRATCH/tap" | tr '\n' ' ')"
}
for program in build/plain/device/test_*; do
    [ ! -x "$program" ] || tap "$(basename "$program")" "$program"
done
# Lanes, mirrors and what happens when a call fails. A thread of the system for each of a kernel's takes minutes.
for variant in asan $([ "$LONG" = 1 ] && echo tsan); do
    [ $fake = 1 ] || continue
    requires build/$variant/device/test_device_lanes build/$variant/device/test_device_linalg
    for name in test_device_lanes test_device_linalg; do
        WEFT_CUDA_PLUGIN=$PWD/build/$variant/libweft_fake.so tap "$name ($variant)" build/$variant/device/$name
    done
done
# On so small a matrix the routes are about as good as each other.
build/plain/bench_svd --shape 330x350 --rank 8 --rounds 1 >"$SCRATCH/svd" 2>&1
if awk '/ error / { n++; bad += !($NF == "%" && $(NF - 1) < 5 && $(NF - 1) > -1) } END { exit bad || n != 3 }' "$SCRATCH/svd"
then pass
elif grep -qE 'OpenBLAS|cublas|cusolver' "$SCRATCH/svd"; then skip bench_svd "$(head -c 300 "$SCRATCH/svd")"
else fail bench_svd "$(head -c 300 "$SCRATCH/svd")"; fi

# ---- merges ----

# The emulator runs a warp for each row: fewer rows of one element than elsewhere.
ODD=$(sed 's/\[200003,1\]/[1003,1]/; s/\[30011,1\]/[511,1]/; s/\[301,3001\]/[41,3001]/; s/\[100,1501\]/[20,1501]/' <<<"$ODD")
for i in 1 2 3 4; do odd_model "$SCRATCH/odd/$i" $i; done
small_models "$SCRATCH/small"
cd "$SCRATCH" || exit 1
merge() { # RECIPE OUT FLAGS...
    local compat=weft
    [[ $1 != *-compat* ]] || compat=mergekit
    rm -rf "$2"
    timeout 200 "$weft" merge "$1" "$2" --progress none --compat $compat "${@:3}" >/dev/null 2>err </dev/null
}
same_bytes() { # NAME RECIPE FLAGS...
    if ! WEFT_FAKE_COUNTS=$SCRATCH/counts merge "$2" out "${on_device[@]}" "${@:3}"; then
        fail "$1" "$(head -c 300 err)"
    elif [ $fake = 1 ] && ! grep -q '^[1-9]' "$SCRATCH/counts"; then
        fail "$1" "no device computed anything: $(cat "$SCRATCH/counts")"
    elif [ "$(digest out)" != "$wanted" ]; then
        fail "$1" "other bytes than on the CPU"
    else
        pass
    fi
}

# Every kind of stage; in turn with little memory on two devices, and with more on three slow ones.
turn=0
for name in $(stage_names); do
    stage_recipe "$name.yaml" "$name" odd/{1,2,3,4}
    merge "$name.yaml" cpu --backend cpu || fail "$name on the CPU" "$(head -c 300 err)"
    wanted=$(digest cpu)
    turn=$((turn + 1))
    if [ "$LONG" = 1 ] || [ $((turn % 2)) = 0 ]; then
        same_bytes "$name with 12 MiB" "$name.yaml" --memory 12Mi --threads 2
    fi
    if [ "$LONG" = 1 ] || [ $((turn % 2)) = 1 ]; then
        WEFT_FAKE_DEVICES=3 WEFT_FAKE_DELAY_US=200 same_bytes "$name on slow devices" "$name.yaml" --threads 4
    fi
done
name=ties-model-rescale
stage_recipe $name.yaml $name small/{1,2,3,4}
merge $name.yaml cpu --backend cpu || fail "$name on the CPU" "$(head -c 300 err)"
wanted=$(digest cpu)
same_bytes "statistics of a model, visited" $name.yaml --memory 2M
same_bytes "statistics of a model, held" $name.yaml --memory 256Mi
same_bytes "one device" $name.yaml --gpus 0
same_bytes "more threads than the devices have work for" $name.yaml --threads 16
check "plan for devices" "$weft" plan $name.yaml "${on_device[@]}"
expect_exit "a GPU that is not there" 2 "$weft" merge $name.yaml out2 --backend cuda --gpus 77
expect_exit "a GPU named twice" 2 "$weft" merge $name.yaml out2 --backend cuda --gpus 0,0

# Too little device memory is refused with a number, and the number is enough.
expect_exit "a byte of device memory" 4 "$weft" merge $name.yaml out2 "${on_device[@]}" --device-memory 1
least=$(grep -oE '[0-9]+ bytes' stderr | sort -n | tail -n 1 | tr -dc 0-9)
if [ -n "$least" ]; then
    same_bytes "the least device memory" $name.yaml --device-memory "$least"
else
    fail "a byte of device memory" "no number of bytes in: $(head -c 300 stderr)"
fi

"$weft" doctor . >doctor 2>err || fail "doctor with a device" "$(head -c 300 err)"
for text in "GPU 0 " "GPU 0 copy in" "GPU 0 copy out"; do
    if grep -qF "$text" doctor; then pass; else fail "doctor with a device" "does not show '$text'"; fi
done

# ---- adapters ----

# As the CPU makes them, but for last bits: each module's kept energy and error.
factored() { # NAME COMMAND...
    local backend
    for backend in cuda cpu; do
        rm -rf "adapter.$backend"
        if ! "$weft" "${@:2}" "adapter.$backend" --backend $backend --json --log-level error >"said.$backend" 2>err; then
            fail "$1 on $backend" "$(head -c 300 err)"
            return
        fi
    done
    if paste -d' ' <(grep -oE '"(energy|error)":[^,}]*' said.cuda) <(grep -oE '"(energy|error)":[^,}]*' said.cpu) |
        awk -F'[: ]' '{ d = $2 - $4; n++; bad += !(d < 1e-4 && d > -1e-4) || $1 != $3 } END { exit bad || n < 20 }'; then
        pass
    else
        fail "$1" "other energies than on the CPU"
    fi
}
adapters='merge_method: byom_lora
parameters: {rank: 3}
models: [{model: "%s/c-lora"}, {model: "%s/python-lora"}]
'
# shellcheck disable=SC2059
printf "$adapters" "$lora" "$lora" >adapters.yaml
if ! "$weft" compress-lora "$lora/c-lora" probe --rank 2 "${on_device[@]}" >/dev/null 2>err; then
    if grep -qE 'OpenBLAS|cublas|cusolver' err; then skip "adapters made on a device" "$(head -c 300 err)"
    else fail "adapters made on a device" "$(head -c 300 err)"; fi
else
    factored "compress-lora" compress-lora "$lora/c-lora" --rank 2
    factored "extract-lora by rank" extract-lora "$lora/python" --base "$lora/base" --rank 4
    factored "extract-lora by energy" extract-lora "$lora/python" --base "$lora/base" --energy 0.4 --threads 3
    factored "byom_lora" merge adapters.yaml
    extract=(extract-lora "$lora/python" out --base "$lora/base" --rank 4)
    if [ $fake = 1 ]; then
        rm -rf out
        WEFT_FAKE_COUNTS=counts "$weft" "${extract[@]}" --backend auto >/dev/null 2>err
        if [ $? = 0 ] && grep -qE '^[1-9][0-9]* launches' counts; then pass
        else fail "extract-lora, auto" "$(head -c 300 err counts)"; fi
        rm -rf out
        WEFT_FAKE_MEMORY=1000000 "$weft" "${extract[@]}" --backend auto >/dev/null 2>err
        if [ $? = 0 ] && grep -q 'computed on the CPU: .* of the GPU' err; then pass
        else fail "extract-lora with little memory, auto" "$(head -c 300 err)"; fi
        rm -rf out
        WEFT_FAKE_MEMORY=1000000 "$weft" "${extract[@]}" --backend cuda >/dev/null 2>err
        if [ $? = 4 ] && one_error_line err && grep -q 'needs .* MB of the GPU' err && [ ! -e out ]; then pass
        else fail "extract-lora with little memory, cuda" "$(head -c 300 err)"; fi
    fi
    for call in linalg_{library,open,bytes,claim,hold,run} cublas{Sgemm,Dgemm} cusolverDnXgeqrf cuda{Malloc,MemcpyAsync}; do
        [ $fake = 1 ] || continue
        rm -rf out out.partial
        WEFT_FAKE_FAIL=$call:1 timeout 100 "$weft" "${extract[@]}" "${on_device[@]}" >/dev/null 2>err
        if [ $? = 4 ] && one_error_line err && grep -q "$call" err && [ ! -e out ] && [ ! -e out.partial ]; then pass
        else fail "a failing $call" "$(head -c 300 err)"; fi
    done
fi

# ---- stopped, killed ----

interrupted() { # SIGNAL SECONDS BACKEND: what is left is finished on BACKEND
    rm -rf out out.partial
    WEFT_FAKE_DELAY_US=3000 "$weft" merge $name.yaml out --progress none --threads 2 --memory 4Mi "${on_device[@]}" \
        >/dev/null 2>err </dev/null &
    sleep "$2"
    kill "-$1" $! 2>/dev/null
    wait $! 2>/dev/null
    [ -e out.partial ] && stopped=$((stopped + 1))
    if ! timeout 100 "$weft" merge $name.yaml out --progress none --memory 4Mi --backend "$3" --resume >/dev/null 2>err; then
        fail "$1 after $2 s, resumed on $3" "$(head -c 300 err)"
    elif [ "$(digest out)" != "$wanted" ]; then
        fail "$1 after $2 s, resumed on $3" "other bytes"
    else
        pass
    fi
}
stopped=0
for seconds in 0.05 0.2 0.5; do
    interrupted KILL $seconds cuda
    interrupted TERM $seconds cpu
done
[ $fake = 0 ] || [ $stopped -gt 0 ] || fail "signals" "no merge was interrupted: it is too fast"

# ---- devices that fail ----

# Exit 4, one line, the work kept: a CPU finishes it.
broken() { # CALL N
    local fault="call $2 of $1"
    rm -rf out out.partial
    WEFT_FAKE_FAIL=$1:$2 timeout 100 "$weft" merge $name.yaml out --progress none --threads 2 --memory 4Mi \
        "${on_device[@]}" >/dev/null 2>err </dev/null
    case $? in
    0)
        [ "$(digest out)" = "$wanted" ] || fail "$fault" "other bytes"
        [ "$2" != 1 ] || fail "$fault" "nothing failed"
        return 1
        ;;
    4) ;;
    *) fail "$fault" "no exit 4: $(head -c 300 err)"; return ;;
    esac
    if ! one_error_line err || [ -e out ]; then
        fail "$fault" "not one error line, or OUT is there: $(head -c 300 err)"
    elif ! timeout 100 "$weft" merge $name.yaml out --progress none --backend cpu --resume >/dev/null 2>err; then
        fail "$fault, finished on the CPU" "$(head -c 300 err)"
    elif [ "$(digest out)" != "$wanted" ]; then
        fail "$fault, finished on the CPU" "other bytes"
    else
        pass
    fi
}
if [ $fake = 1 ]; then
    for call in count describe allocate pin open_lane copy_in copy_out clear launch finish kernel; do
        for n in 1 3 20; do
            broken $call $n || break # there are not so many calls
        done
    done
fi
finish
