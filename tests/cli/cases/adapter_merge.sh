# Adapters in recipes: what plan, merge, manifest and inspect say, and what is refused by name.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

recipe() # NAME MODEL...: linear, equal weights
{
    local name=$1
    shift
    printf 'merge_method: linear\nmodels:\n' >"$name"
    printf '  - model: "%s"\n    parameters: {weight: 1}\n' "$@" >>"$name"
}

recipe r.yaml "$TINYLM/base+$TINYLM/c-lora" "$TINYLM/base+$TINYLM/python-lora" "$TINYLM/english"
run plan r.yaml
expect_exit 0
expect_stdout_has "$TINYLM/base+$TINYLM/c-lora"
expect_stderr_empty
run merge r.yaml out --json
expect_exit 0
expect_json_lines stdout
run verify out
expect_exit 0
for path in "base+$TINYLM/c-lora" "base+$TINYLM/python-lora" adapter_model.safetensors english; do
    grep -qF -- "$path" out/weft_manifest.json || fail "the manifest does not name $path"
done

# The same adapter twice, on two bases; the names of tasks are the adapters'.
recipe twice.yaml "$TINYLM/base+$TINYLM/c-lora" "$TINYLM/english+$TINYLM/c-lora"
run merge twice.yaml twice --progress none
expect_exit 0
run merge twice.yaml again --progress none --threads 1 --memory 64Mi
expect_exit 0
[[ $(weights_of twice) == "$(weights_of again)" ]] || fail 'threads and memory changed the weights'

run inspect "$TINYLM/c-lora"
expect_exit 0
expect_stdout_has 'q_proj: 4 modules, rank 8, scale 2'
run inspect "$TINYLM/c-lora" --json
expect_exit 0
expect_json_lines stdout
expect_stdout_has '"path":"model.layers.3.self_attn.v_proj","type":"linear","rank":8'

# An adapter alone is no model, a model is no adapter, and there is one of them.
recipe bare.yaml "$TINYLM/c-lora" "$TINYLM/base"
run merge bare.yaml o
expect_usage_error 'bare.yaml:3'
expect_stderr_has 'adapter'
recipe model.yaml "$TINYLM/base+$TINYLM/english" "$TINYLM/base"
run merge model.yaml o
expect_usage_error 'model.yaml:3'
recipe swapped.yaml "$TINYLM/c-lora+$TINYLM/base"
run merge swapped.yaml o
expect_usage_error 'swapped.yaml:3'
recipe missing.yaml "$TINYLM/base+nowhere"
run merge missing.yaml o
expect_usage_error 'nowhere'

# PEFT's other layouts.
mkdir -p bin run
cp "$TINYLM/c-lora/adapter_config.json" bin
echo x >bin/adapter_model.bin
recipe bin.yaml "$TINYLM/base+bin"
run merge bin.yaml o
expect_usage_error 'adapter_model.bin'
cp -r "$TINYLM/c-lora" run/style
recipe below.yaml "$TINYLM/base+run"
run merge below.yaml o
expect_usage_error "an adapter in 'style'"
sed 's/"use_dora": false/"use_dora": true/' "$TINYLM/c-lora/adapter_config.json" >run/style/adapter_config.json
recipe dora.yaml "$TINYLM/base+run/style"
run merge dora.yaml o
expect_usage_error 'DoRA'
run verify run/style
expect_exit 0
expect_stdout_has 'DoRA'
sed 's/"r": 8/"r": 4/' "$TINYLM/c-lora/adapter_config.json" >run/style/adapter_config.json
run verify run/style
expect_exit 1
expect_stdout_has 'rank 4 by its config and 8 by its tensors'
run verify "$TINYLM/c-lora"
expect_exit 0
expect_stdout_has '28 modules'
sed 's/"use_dora": false/"use_dora": true/' "$TINYLM/c-lora/adapter_config.json" >run/style/adapter_config.json
run inspect run/style
expect_exit 0
expect_stdout_has 'not merged'
expect_absent o o.partial

# An adapter folder that is OUT, or that OUT lies in, is left alone.
cp -r "$TINYLM/c-lora" mine
recipe mine.yaml "$TINYLM/base+mine"
run merge mine.yaml mine --overwrite
expect_usage_error mine
run merge mine.yaml mine/out
expect_usage_error mine
expect_same_file mine/adapter_model.safetensors "$TINYLM/c-lora/adapter_model.safetensors"
