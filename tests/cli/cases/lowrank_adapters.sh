# compress-lora, extract-lora and byom_lora: what they print, publish and refuse.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

lora=$TINYLM/c-lora
run compress-lora "$lora" probe --rank 2
[[ $status -eq 4 ]] && grep -q OpenBLAS stderr && skip 'OpenBLAS is not installed'
expect_exit 0
expect_stderr_empty
expect_stdout_has 'model.layers.0.self_attn.q_proj'
grep -Eq '^total  *2  *0\.[0-9]{6}  *[0-9.e+-]+$' stdout || fail 'no total'
run inspect probe
expect_stdout_has 'q_proj: 4 modules, rank 2, scale 1'
run verify probe
expect_exit 0

# The same bytes again, with other threads, and through the merge method.
run compress-lora "$lora" again --rank 2 --threads 1
expect_same_file probe/adapter_model.safetensors again/adapter_model.safetensors
printf 'merge_method: byom_lora\nparameters: {rank: 2}\nmodels:\n- model: "%s"\n- {model: "%s", name: snake}\n' \
    "$lora" "$TINYLM/python-lora" >byom.yaml
run plan byom.yaml
expect_exit 0
expect_stdout_has 'rank 2 of 8, 28 modules'
expect_absent out out.partial
run merge byom.yaml out
expect_exit 0
expect_stdout_empty
expect_stderr_has "task 'snake': rank 2 of 8, 28 modules, keeps"
expect_same_file probe/adapter_model.safetensors out/c-lora/adapter_model.safetensors
expect_same_file byom.yaml out/weft_recipe.yaml
run merge byom.yaml out
expect_usage_error 'out exists'

# A task's folder may not be in the way of what weft writes or works with.
for name in README.md adapter_config.json model.safetensors config.json weft_recipe.yaml weft.journal ranks; do
    sed "s/snake/$name/" byom.yaml >names.yaml
    for command in 'merge names.yaml names' 'plan names.yaml'; do
        run $command
        expect_usage_error "names.yaml:5: the task '$name' has a name that weft uses itself"
        expect_absent names names.partial
    done
done

# What OUT says of itself: a card, and a manifest by which damage is found and --resume decides.
grep -q '| `snake` | 28 | 2 | 8 |' out/README.md || fail 'the card lacks a task'
run verify out
expect_exit 0
expect_stdout_has 'snake/adapter_model.safetensors'
expect_stdout_has 'c-lora/adapter_config.json'
cp -r out damaged
printf 'X' | dd of=damaged/snake/adapter_model.safetensors bs=1 seek=20000 conv=notrunc 2>/dev/null
run verify damaged
expect_exit 1
expect_stdout_has 'damaged'
rm damaged/snake/*
run verify damaged
expect_exit 1
expect_stdout_has 'missing'
run merge byom.yaml out --resume
expect_exit 0
expect_stderr_has 'already complete'
sed 's/rank: 2/rank: 3/' byom.yaml >other.yaml
run merge other.yaml out --resume
expect_usage_error 'the recipe differs'
run merge byom.yaml whole --manifest sha256 --progress none
expect_exit 0
grep -q '"sha256"' whole/weft_manifest.json || fail 'no SHA-256 in the manifest'
run verify whole
expect_exit 0
cp -r "$lora" twin
printf 'merge_method: byom_lora\nparameters: {rank: 2}\nmodels:\n- model: twin\n' >twin.yaml
run merge twin.yaml scaled
expect_exit 0
sed 's/"lora_alpha": [0-9]*/"lora_alpha": 3/' "$lora/adapter_config.json" >twin/adapter_config.json
run merge twin.yaml scaled --resume
expect_usage_error 'an input checkpoint'
if "$WEFT" doctor 2>/dev/null | grep -q 'none used'; then
    run merge byom.yaml nogpu --backend cuda
    expect_exit 4
    expect_absent nogpu nogpu.partial
fi
run merge byom.yaml out --overwrite --json
expect_exit 0
expect_json_lines stdout
expect_stdout_has '"event":"module","task":"snake"'
mkdir left.partial
run merge byom.yaml left
expect_usage_error 'left.partial'
run merge byom.yaml left --resume --progress none
expect_exit 0

# A rank that is not there is no error; what is written has the rank that is.
run compress-lora "$lora" wide --rank 4000 --json
expect_exit 0
expect_json_lines stdout
expect_stdout_has '"kind":"total","out":"wide","modules":28,"rank":8,"energy":1,"error":0'

run extract-lora "$TINYLM/python" x --base "$TINYLM/base" --rank 8
expect_exit 0
expect_stdout_has 'model.norm.weight'
expect_stderr_has '11 tensors moved and are not in the adapter; --save-whole'
run extract-lora "$TINYLM/python" y --base "$TINYLM/base" --rank 8 --threads 1 --json
expect_exit 0
expect_json_lines stdout
expect_same_file x/adapter_model.safetensors y/adapter_model.safetensors
run extract-lora "$TINYLM/python" z --base "$TINYLM/base" --energy 0.5 --include '*q_proj*' --include '*k_proj*' \
    --exclude '*.3.*' --save-whole '*norm*'
expect_exit 0
expect_stdout_has 'saved whole'
run inspect z
expect_stdout_has 'whole tensors 9'
printf 'merge_method: passthrough\nmodels:\n- model: "%s+%s"\n' "$TINYLM/base" "$PWD/z" >back.yaml
run merge back.yaml back --progress none
expect_exit 0

# Both commands leave a manifest, and take the flags that work shares.
shared='--progress none --backend auto --gpus all --device-memory 1G --shard-size 1G --compat weft --manifest sha256'
compress=("$lora" flags-c --rank 2)
extract=("$TINYLM/python" flags-e --base "$TINYLM/base" --rank 3 --save-whole '*norm*' --exclude '*.3.*')
for command in compress extract; do
    declare -n arguments=$command
    out=${arguments[1]}
    # shellcheck disable=SC2086
    run $command-lora "${arguments[@]}" $shared --resume
    expect_exit 0
    run verify "$out"
    expect_exit 0
    expect_stdout_has weft_manifest.json
    # shellcheck disable=SC2086
    run $command-lora "${arguments[@]}" $shared --resume
    expect_exit 0
    expect_stdout_empty
    expect_stderr_has 'already complete'
    # shellcheck disable=SC2086
    run $command-lora "${arguments[@]}" $shared --resume --json
    expect_json_lines stdout
    expect_stdout_has '"already_done":true'
    run $command-lora "${arguments[@]}" --manifest sha256 --rank 1 --resume
    expect_usage_error 'the recipe differs'
    run $command-lora "${arguments[@]}"
    expect_usage_error "$out exists"
    mkdir "$out.partial"
    # shellcheck disable=SC2086
    run $command-lora "${arguments[@]}" $shared --resume --overwrite
    expect_exit 0
    printf 'X' | dd of="$out/adapter_model.safetensors" bs=1 seek=20000 conv=notrunc 2>/dev/null
    run verify "$out"
    expect_exit 1
    if "$WEFT" doctor 2>/dev/null | grep -q 'none used'; then
        rm -r "$out"
        run $command-lora "${arguments[@]}" --backend cuda
        expect_exit 4
        expect_absent "$out" "$out.partial"
    fi
    unset -n arguments
done

# A tensor without a singular value above the threshold is lost, and said to be.
run extract-lora "$TINYLM/python" few --base "$TINYLM/base" --threshold 0.2
expect_exit 0
grep 'proj' stdout | grep -q 'moved, and is not in the adapter' || fail 'no weight below the threshold is named'
run inspect few
expect_stdout_has 'rank'
run extract-lora "$TINYLM/python" o --base "$TINYLM/base" --threshold 1e9
expect_exit 2
expect_one_error_line
expect_stderr_has 'above --threshold'
run extract-lora "$TINYLM/python" o --base "$TINYLM/base" --rank 4 --save-whole '*'
expect_exit 2
expect_stderr_has 'saved whole'

# target_modules names what has factors, whatever the input's config lists.
cp -r "$lora" renamed
sed 's/"q_proj"/"nothing"/' "$lora/adapter_config.json" >renamed/adapter_config.json
run compress-lora renamed named --rank 2
expect_exit 0
grep -A 8 '"target_modules"' named/adapter_config.json | tr -d ' \n' >targets
grep -q '\["down_proj","gate_proj","k_proj","o_proj","q_proj","up_proj","v_proj"\]' targets || fail "targets: $(cat targets)"

# What is refused leaves nothing behind.
for flags in '' '--rank 0' '--rank x' '--rank 1.5'; do
    # shellcheck disable=SC2086
    run compress-lora "$lora" o $flags
    expect_usage_error rank
done
run compress-lora "$TINYLM/base" o --rank 2
expect_usage_error 'is no adapter'
run compress-lora "$lora" probe --rank 2
expect_usage_error 'probe exists'
run compress-lora nowhere o --rank 2
expect_usage_error nowhere
run compress-lora "$lora" no/where/o --rank 2
expect_exit 4
run compress-lora "$lora" o --rank 2 --memory 1
expect_exit 4
cp -r "$lora" mine
run compress-lora mine mine --rank 2 --overwrite
expect_usage_error mine
run compress-lora mine mine/o --rank 2
expect_usage_error mine
sed 's/"use_dora": false/"use_dora": true/' "$lora/adapter_config.json" >mine/adapter_config.json
run compress-lora mine o --rank 2
expect_usage_error DoRA
run extract-lora "$TINYLM/python" o --rank 2
expect_usage_error '--base'
run extract-lora "$TINYLM/python" o --base "$TINYLM/base"
expect_usage_error '--energy'
run extract-lora "$TINYLM/base" o --base "$TINYLM/base" --rank 2
expect_usage_error differs
for flags in '--energy 0' '--energy 1.5' '--energy x' '--threshold -1' '--threshold 0'; do
    # shellcheck disable=SC2086
    run extract-lora "$TINYLM/python" o --base "$TINYLM/base" --rank 2 $flags
    expect_usage_error "${flags% *}"
done
run extract-lora "$TINYLM/python" o --base "$TINYLM/base" --rank 2 --include 'a[b'
expect_usage_error "'a[b'"
run extract-lora "$lora" o --base "$TINYLM/base" --rank 2
expect_usage_error 'is an adapter'
run extract-lora "$TINYLM/python" o --base "$TINYLM/base+$lora" --rank 2
expect_usage_error 'weft apply'
printf 'merge_method: byom_lora\nparameters: {rank: 2}\nmodels:\n- model: "%s+%s"\n' "$TINYLM/base" "$lora" >r.yaml
run merge r.yaml o
expect_usage_error 'r.yaml:4'
printf 'merge_method: byom_lora\nparameters: {rank: 2}\nmodels:\n- model: "%s"\n' "$TINYLM/base" >r.yaml
run merge r.yaml o
expect_usage_error 'is no adapter'
run plan r.yaml
expect_usage_error 'is no adapter'
expect_absent o o.partial

# A GPU that is asked for by name is needed; nobody looks for one where the work is small.
export WEFT_CUDA_PLUGIN=$PWD/no-plugin.so
for command in "compress-lora $lora" "extract-lora $TINYLM/python --base $TINYLM/base" "merge byom.yaml"; do
    rank='--rank 2'
    [[ $command != merge* ]] || rank=
    # shellcheck disable=SC2086
    run $command o $rank --backend cuda
    expect_exit 4
    expect_stderr_has '--backend cuda'
    expect_stderr_has 'no-plugin.so'
    expect_absent o o.partial
    # shellcheck disable=SC2086
    run $command "small-${command%% *}" $rank --backend auto
    expect_exit 0
    grep -q 'no-plugin.so' stderr && fail "$command: a GPU was looked for"
done
unset WEFT_CUDA_PLUGIN
