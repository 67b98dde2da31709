#!/usr/bin/env bash
# statistics.sh - what statistics promise besides their bytes: memory within the budget, a refusal that says how much
# is needed, a plan that says what is read again; and elements and tensors that no method can take.
source tests/suite/suite.sh
source tests/suite/stages.sh
requires build/plain/weft build/asan/weft build/plain/mkckpt
export ASAN_OPTIONS=exitcode=99:detect_leaks=1
weft=build/plain/weft
out=$SCRATCH/out
program_bytes=9000000 # what is not in the budget: the program, its libraries and stacks

for i in 1 2 3 4; do
    build/plain/mkckpt --out "$SCRATCH/m/$i" --layers 4 --hidden 256 --vocab 9001 --seed $i --base-seed 1 --delta 0.2 --config
    odd_model "$SCRATCH/odd/$i" $i
done

number() { # KEY: its value in the JSON on standard input; the last, if there are several
    grep -o "\"$1\":[0-9]*" | tail -n 1 | tr -dc 0-9
}

compat_of() {
    if [[ $1 == *-compat ]]; then echo "--compat mergekit"; fi
}

# ---- memory ----

# merge_within MEMORY FLAGS...: sets $got to the bytes read and $peak; the program may exceed the memory by its own size.
merge_within() {
    local memory=$1 report
    shift
    rm -rf "$out"
    # shellcheck disable=SC2086
    if ! report=$(timeout 100 $weft merge "$recipe" "$out" --json --memory "$memory" "$@" $compat 2>"$SCRATCH/err"); then
        fail "$name with --memory $memory $*" "$(grep -m 1 error "$SCRATCH/err")"
        got=0
        return
    fi
    peak=$(number peak_rss_bytes <<<"$report") got=$(number bytes_read <<<"$report")
    if [ "$peak" -le $((memory + program_bytes)) ]; then pass; else fail "$name in $memory bytes" "peak $peak"; fi
}

for name in $(stage_names); do
    recipe=$SCRATCH/$name.yaml compat=$(compat_of "$name")
    stage_recipe "$recipe" "$name" "$SCRATCH/m/"{1,2,3,4}
    # The number in a refusal is enough, and a byte less is not; merge and plan agree.
    rm -rf "$out"
    for command in "plan $recipe" "merge $recipe $out"; do
        # shellcheck disable=SC2086
        expect_exit "$name in one byte" 4 $weft $command --memory 1 --threads 5 $compat
        least=$(grep -o 'at least [0-9]* bytes' "$SCRATCH/stderr" | tr -dc 0-9)
        # shellcheck disable=SC2086
        expect_exit "$name in $((least - 1)) bytes" 4 $weft $command --memory $((least - 1)) --threads 5 $compat
    done
    merge_within "$least" --threads 5
    merge_within $((32 << 20)) --threads 5 --io direct
    # The plan names a memory with which nothing is read again. What is read twice then are edges: whole leaves and rows.
    # shellcheck disable=SC2086
    plan=$($weft plan "$recipe" --memory 4Mi --json $compat | head -n 1)
    resident=$(number memory_resident <<<"$plan") once=$(number bytes_read <<<"$plan")
    merge_within "${resident:-0}" --io direct
    if [ "$got" -ge "$once" ] && [ "$got" -le $((once + once / 4)) ]; then
        pass
    else
        fail "$name with what the plan says is enough, $resident bytes" "$got bytes read, of $once"
    fi
done

# ---- elements ----

# plant MODEL BYTES: over element 1000 from the end of d.large, which lies in front of the last tensor.
plant() {
    local file=$SCRATCH/$1/model.safetensors
    # shellcheck disable=SC2059
    printf "$2" | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") - 2 * 200003 - 2 * 1000)) conv=notrunc status=none
}

cp -r "$SCRATCH/odd" "$SCRATCH/nan"
cp -r "$SCRATCH/odd" "$SCRATCH/inf"
plant nan/2 '\xc0\x7f'
plant inf/1 '\x80\xff'
for name in $(stage_names); do
    recipe=$SCRATCH/$name.yaml compat=$(compat_of "$name")
    for planted in nan inf; do
        stage_recipe "$recipe" "$name" "$SCRATCH/$planted/"{1,2,3,4}
        grep -q "$SCRATCH/$planted/$([ $planted = nan ] && echo 2 || echo 1)" "$recipe" || continue # methods without a base
        for memory in 2Mi 64Mi; do
            rm -rf "$out"*
            # shellcheck disable=SC2086
            expect_exit "$name, $planted" 3 $weft merge "$recipe" "$out" --progress none --memory $memory --threads 3 $compat
            grep -q "tensor 'd.large' holds NaN or infinity at element 902301 " "$SCRATCH/stderr" && [ ! -e "$out" ] ||
                fail "$name, $planted in $memory" "$(head -c 300 "$SCRATCH/stderr")"
        done
        # Allowed, it is merged, or refused with the tensor's name; the same for any memory; and nothing breaks.
        echo "non_finite: allow" >>"$recipe"
        first=
        for memory in 64Mi 2Mi; do
            rm -rf "$out"*
            [ $memory = 64Mi ] && variant=plain || variant=asan
            # shellcheck disable=SC2086
            timeout 60 build/$variant/weft merge "$recipe" "$out" --progress none --memory $memory --threads 3 $compat \
                >/dev/null 2>"$SCRATCH/stderr"
            code=$?
            end=$(digest "$out")
            [ $code = 0 ] || end=$(grep "^weft: error: tensor 'd.large'" "$SCRATCH/stderr")
            if { [ $code = 0 ] || [ $code = 3 ]; } && [ -n "$end" ] && [ "$end" = "${first:=$end}" ]; then
                pass
            else
                fail "$name, $planted allowed, in $memory" "exit $code: $(head -c 600 "$SCRATCH/stderr" | tr '\n' ' ')"
            fi
        done
    done
done

# ---- tensors that have no mean ----

# vector FOLDER X Y (as bytes of floats): a model with one tensor "w" of two elements.
vector() {
    local header='{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    mkdir -p "$1"
    # shellcheck disable=SC2059
    { printf '\x38\0\0\0\0\0\0\0'; printf '%-56s' "$header"; printf "$2$3"; } >"$1/model.safetensors"
}
vector "$SCRATCH/east" '\0\0\x80\x3f' '\0\0\0\0'
vector "$SCRATCH/west" '\0\0\x80\xbf' '\0\0\0\0'
for method in karcher multislerp; do
    {
        echo "merge_method: $method"
        echo "models:"
        for model in east west east west; do
            echo "  - model: $SCRATCH/$model"
            [ $method = karcher ] || echo "    parameters: {weight: 1}"
        done
    } >"$SCRATCH/$method.yaml"
    expect_exit "$method of opposite vectors" 3 $weft merge "$SCRATCH/$method.yaml" "$SCRATCH/none" --progress none
    if grep -q "tensor 'w'" "$SCRATCH/stderr"; then pass; else fail "$method of opposite vectors" "$(cat "$SCRATCH/stderr")"; fi
done
finish
