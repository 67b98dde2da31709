# What lies at a threshold, in one type or in two; what has no place in an order; directions that cancel.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

declare -A width=([F32]=4 [F64]=8)
model() { # FOLDER [NAME TYPE "BITS..."]...: tensors of one dimension, numbers as their bits
    local folder=$1 header='{' data='' at=0 end n bits
    shift
    while (($#)); do
        n=0
        for bits in $3; do
            data+=$(little_endian "$bits" "${width[$2]}")
            n=$((n + 1))
        done
        end=$((at + n * width[$2]))
        header+="\"$1\":{\"dtype\":\"$2\",\"shape\":[$n],\"data_offsets\":[$at,$end]},"
        at=$end
        shift 3
    done
    header="${header%,}}"
    while (((${#header} + 8) % 8)); do header+=' '; done
    mkdir -p "$folder"
    # shellcheck disable=SC2059
    printf "$(little_endian ${#header} 8)%s$data" "$header" >"$folder/model.safetensors"
    echo '{"architectures": ["Test"]}' >"$folder/config.json"
}
eighths() { # TYPE K...: the bits of K/8
    local type=$1 k e size mantissa
    shift
    for k in "$@"; do
        size=${k#-} e=0
        while ((size >> (e + 1))); do e=$((e + 1)); done
        mantissa=$([[ $type == F32 ]] && echo 23 || echo 52)
        if ((size == 0)); then
            echo 0
        elif [[ $type == F32 ]]; then
            echo $(((k < 0 ? 1 << 31 : 0) | (124 + e) << 23 | (size << (mantissa - e)) - (1 << mantissa)))
        else
            echo $(((k < 0 ? 1 << 63 : 0) | (1020 + e) << 52 | (size << (mantissa - e)) - (1 << mantissa)))
        fi
    done
}
words() { # FOLDER TYPE: the numbers of its one tensor, as hexadecimal words
    tail -c +$((9 + $(od -An -t u8 -N 8 "$1/model.safetensors"))) "$1/model.safetensors" |
        od -An -v -t "x${width[$2]}" -w"${width[$2]}" | tr -d '\n'
}
expect_words() { # FOLDER TYPE WORDS WHAT
    [[ "$(words "$1" "$2")" == "$3" ]] || fail "$4: $(words "$1" "$2")"
}

# pcb over a model of two types: whatever ties with a threshold has the fate that it has in one type.
RANDOM=7
for task in 0 1 2; do
    first=() second=()
    for ((i = 0; i < 40; i++)); do
        first+=($((task && RANDOM % 3 ? 0 : RANDOM % 17 - 8)))
        second+=($((task && RANDOM % 3 ? 0 : RANDOM % 17 - 8)))
    done
    model "mixed$task" a F32 "$(eighths F32 "${first[@]}")" b F64 "$(eighths F64 "${second[@]}")"
    model "wide$task" a F64 "$(eighths F64 "${first[@]}")" b F64 "$(eighths F64 "${second[@]}")"
done
zeros=$(printf '0 %.0s' {1..40})
model mixed a F32 "$zeros" b F64 "$zeros"
model wide a F64 "$zeros" b F64 "$zeros"
for variant in paper code code-nlp code-vision code-vision-es; do
    for density in 0.3 0.5; do
        for kind in mixed wide; do
            printf 'merge_method: pcb\nbase_model: %s\nmodels: [model: %s0, model: %s1, model: %s2]\n' \
                $kind $kind $kind $kind >$kind.yaml
            echo "parameters: {variant: $variant, density: $density}" >>$kind.yaml
            run merge $kind.yaml $kind.out --overwrite
            expect_exit 0
        done
        run diff mixed.out wide.out --json
        most=$(sed -n 's/.*"kind":"summary".*"max_abs":\([^,]*\),.*/\1/p' stdout)
        awk -v most="$most" 'BEGIN { exit !(most != "" && most < 1e-6) }' ||
            fail "pcb $variant, density $density: two types differ from one by '$most'"
    done
done

# breadcrumbs leaves tensors of fewer than 64 elements alone: a NaN has no rank there, and stays.
model base w F32 "$(eighths F32 8 16 24 32)"
model broken w F32 "$(eighths F32 16) $((0x7fc00000)) $(eighths F32 32 40)"
for method in breadcrumbs breadcrumbs_ties; do
    for more in '' ', scope: row'; do
        printf 'merge_method: %s\nbase_model: base\nmodels: [model: broken]\nnon_finite: allow\n' $method >nan.yaml
        echo "parameters: {weight: 1, density: 0.5$more}" >>nan.yaml
        run merge nan.yaml nan --overwrite
        expect_exit 0
        expect_words nan F32 ' 40000000 7fc00000 40800000 40a00000' "$method$more"
    done
done

# ram: a difference is compared with epsilon itself. 0.1 as a float is above it, as a double it is not.
for type in F32 F64; do
    model origin w $type '0 0'
    if [[ $type == F32 ]]; then
        model tenth w F32 "$((0x3dcccccd)) $((0x3dcccccc))"
        wanted=' 3dcccccd 00000000'
    else
        model tenth w F64 "$((0x3fb999999999999a)) $((0x3fb999999999999b))"
        wanted=' 0000000000000000 3fb999999999999b'
    fi
    printf 'merge_method: ram\nbase_model: origin\nmodels: [model: tenth]\nparameters: {epsilon: 0.1}\n' >ram.yaml
    run merge ram.yaml ram --overwrite
    expect_exit 0
    expect_words ram $type "$wanted" "ram, $type"
done

# multislerp of opposite directions: what rounding leaves of their sum is no direction.
model there w F64 "$(eighths F64 1 -2)"
model back w F64 "$(eighths F64 -7 14)"
printf 'merge_method: multislerp\nmodels: [model: there, model: back]\nparameters: {weight: 1}\n' >slerp.yaml
run merge slerp.yaml slerp
expect_exit 0
printf 'merge_method: linear\nmodels: [model: there, model: back]\nparameters: {weight: 1}\n' >linear.yaml
run merge linear.yaml linear
expect_exit 0
[[ "$(words slerp F64)" == "$(words linear F64)" ]] || fail "multislerp of opposite models: $(words slerp F64)"
cat >three.yaml <<END
merge_method: multislerp
models:
  - {model: there, parameters: {weight: 2}}
  - {model: back, parameters: {weight: 1}}
  - {model: back, parameters: {weight: 1}}
END
run merge three.yaml three
expect_exit 3
expect_stderr_has 'its directions cancel each other'
expect_absent three
