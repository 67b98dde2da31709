#!/usr/bin/env bash
# cuda_build.sh - the GPU plugin as it is built: what it shows and needs, its ledger; and that weft gets along without
# a GPU. Nothing here needs one.
source tests/suite/suite.sh
requires build/plain/weft
weft=build/plain/weft
plugin=build/plain/libweft_cuda.so
recipe "$SCRATCH/recipe.yaml" task_arithmetic keep $PWD/$TINYLM/{base,python,english}

expect_text() { # NAME TEXT FILE
    if grep -qF -- "$2" "$3"; then pass; else fail "$1" "does not say '$2': $(head -c 300 "$3")"; fi
}

# ---- with and without a compiler for it ----

check "CUDA=0 leaves the plugin out" make -s -n plugin CUDA=0
for wrong in "CUDA=maybe" "NCCL=maybe" "CUDA=1 CUDA_HOME=$SCRATCH/nothing"; do
    # shellcheck disable=SC2086
    if make -s -n plugin $wrong >"$SCRATCH/said" 2>&1; then
        fail "make $wrong" "was accepted"
    else
        expect_text "make $wrong" "${wrong%% *}" "$SCRATCH/said"
    fi
done
expect_text "make CUDA=1 says why" "has no bin/nvcc" "$SCRATCH/said"

# ---- without a GPU ----

has_gpu=$(env -u WEFT_CUDA_PLUGIN $weft doctor "$SCRATCH" | grep -cE '^(GPUs)? +GPU [0-9]+ ')
if [ "$has_gpu" = 0 ]; then
    check "doctor without a GPU" $weft doctor "$SCRATCH"
    $weft doctor "$SCRATCH" >"$SCRATCH/doctor"
    expect_text "doctor says why there is no GPU" "none used: " "$SCRATCH/doctor"
    expect_exit "--backend cuda without a GPU" 4 $weft merge "$SCRATCH/recipe.yaml" "$SCRATCH/out" --backend cuda
    expect_text "--backend cuda says what it needs" "--backend cuda" "$SCRATCH/stderr"
    if [ -e "$SCRATCH/out" ] || [ -e "$SCRATCH/out.partial" ]; then
        fail "--backend cuda without a GPU" "left something behind"
    else
        pass
    fi
    expect_exit "--backend auto without a GPU" 0 $weft merge "$SCRATCH/recipe.yaml" "$SCRATCH/auto" --progress none
    expect_exit "--backend cpu" 0 $weft merge "$SCRATCH/recipe.yaml" "$SCRATCH/cpu" --backend cpu --progress none
    if [ "$(digest "$SCRATCH/auto")" = "$(digest "$SCRATCH/cpu")" ]; then pass; else fail "auto" "other bytes than cpu"; fi
else
    skip "weft without a GPU" "this machine has $has_gpu"
fi
export WEFT_CUDA_PLUGIN=$SCRATCH/not-there.so
expect_exit "a plugin that is not there" 4 $weft merge "$SCRATCH/recipe.yaml" "$SCRATCH/out" --backend cuda
expect_text "the missing plugin's name" "not-there.so" "$SCRATCH/stderr"
echo "int other;" | gcc -x c -shared -fPIC -o "$SCRATCH/other.so" - 2>/dev/null
WEFT_CUDA_PLUGIN=$SCRATCH/other.so
expect_exit "a library that is no plugin" 4 $weft merge "$SCRATCH/recipe.yaml" "$SCRATCH/out" --backend cuda
expect_exit "--backend cpu opens no plugin" 0 $weft merge "$SCRATCH/recipe.yaml" "$SCRATCH/none" --backend cpu --progress none
check "doctor with a library that is no plugin" $weft doctor "$SCRATCH"
unset WEFT_CUDA_PLUGIN

# ---- the plugin ----

if [ ! -e $plugin ]; then
    if make -s -n plugin CUDA=1 >"$SCRATCH/said" 2>&1; then
        fail "the plugin" "was not built"
    else
        skip "the plugin" "$(grep -o 'CUDA=1: .*' "$SCRATCH/said" | cut -d. -f1)"
    fi
    finish
fi
shown=$(nm -D --defined-only $plugin | awk '{ print $3 }')
if [ "$shown" = weft_plugin_get ]; then pass; else fail "symbols of the plugin" "shows $(tr '\n' ' ' <<<"$shown")"; fi
needed=$(readelf -d $plugin | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
if grep -qiE 'cuda|cublas|cusolver|nccl|stdc' <<<"$needed"; then
    fail "what the plugin needs" "$(tr '\n' ' ' <<<"$needed")"
else
    pass
fi
if nm -D build/plain/weft | grep -qE ' U (cu|cuda|nccl)[A-Z]' || readelf -d build/plain/weft | grep -q 'NEEDED.*cuda'; then
    fail "weft" "is linked with CUDA"
else
    pass
fi
if [ "$has_gpu" = 0 ]; then # the real plugin, opened by name: the runtime itself says what is missing
    WEFT_CUDA_PLUGIN=$PWD/$plugin expect_exit "the plugin without a driver" 4 \
        $weft merge "$SCRATCH/recipe.yaml" "$SCRATCH/out" --backend cuda
    expect_text "the runtime's own words" "CUDA" "$SCRATCH/stderr"
fi

# NCCL is opened by the plugin, with all that is called there; a communicator needs a GPU.
if [ -x build/plain/test_transport ]; then
    WEFT_CUDA_PLUGIN=$PWD/$plugin build/plain/test_transport the_plugin_opens_nccl "$SCRATCH" >"$SCRATCH/said" 2>&1
    case $? in
    0) pass ;;
    77) skip "NCCL" "$(head -n 1 "$SCRATCH/said")" ;;
    *) fail "NCCL" "$(head -c 300 "$SCRATCH/said")" ;;
    esac
fi

# So are cuBLAS and cuSOLVER; where they are missing the plugin says so, and is a plugin all the same.
libraries() { WEFT_CUDA_PLUGIN=$PWD/$plugin env "$@" build/plain/device/test_device_linalg libraries >"$SCRATCH/said" 2>&1; }
if [ -x build/plain/device/test_device_linalg ]; then
    libraries WEFT_CUBLAS_LIBRARY="$SCRATCH/none.so"
    code=$?
    if [ $code = 77 ]; then
        if grep -q 'was built without cuBLAS' "$SCRATCH/said"; then skip "cuBLAS" "$(cat "$SCRATCH/said")"
        else expect_text "a cuBLAS that is not there" "no linear algebra on GPUs: $SCRATCH/none.so" "$SCRATCH/said"; fi
    else
        fail "a cuBLAS that is not there" "exit $code: $(head -c 300 "$SCRATCH/said")"
    fi
    libraries
    case $? in
    0)
        expect_text "cuBLAS and cuSOLVER" "cuBLAS " "$SCRATCH/said"
        [ "$has_gpu" != 0 ] || expect_text "a queue without a GPU" "CUDA driver" "$SCRATCH/said"
        ;;
    77) skip "cuBLAS and cuSOLVER" "$(head -n 1 "$SCRATCH/said")" ;;
    *) fail "cuBLAS and cuSOLVER" "$(head -c 300 "$SCRATCH/said")" ;;
    esac
fi

# ---- the ledger ----

make -s ledger-check >"$SCRATCH/ledger" 2>&1
code=$?
case $code in
0) pass ;;
*) if grep -q 'is of another compiler' "$SCRATCH/ledger"; then
    skip "ledger of kernels" "$(grep 'is of another compiler' "$SCRATCH/ledger")"
else
    fail "ledger of kernels" "$(head -n 8 "$SCRATCH/ledger" | tr '\n' ';')"
fi ;;
esac
finish
