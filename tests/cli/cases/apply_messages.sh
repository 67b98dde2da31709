# What weft apply refuses: 2 for what does not fit, 3 for damage, with one line and nothing left behind.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

ln -s "$ROOT/tests/data/tinylm/base" base
ln -s "$ROOT/tests/data/tinylm/python" python
cat >recipe.yaml <<END
merge_method: task_arithmetic
base_model: base
models:
  - {model: python, parameters: {weight: 0.4}}
task_deltas: {density: 0.05}
END
run merge recipe.yaml shared
expect_exit 0
delta=shared/deltas/python.safetensors
refused() { # EXIT TEXT ARGS...
    local code=$1 text=$2
    shift 2
    run apply "$@"
    expect_exit "$code"
    expect_one_error_line
    expect_stderr_has "$text"
    expect_stdout_empty
    expect_absent out out.partial
}

refused 2 'apply needs OUT' shared "$delta"
refused 2 nowhere nowhere "$delta" out
refused 2 nowhere shared nowhere out
refused 2 'SHARED comes first' "$delta" shared out
refused 2 'neither a PEFT adapter nor a task delta' shared base out
refused 2 'neither a PEFT adapter nor a task delta' shared shared/model.safetensors out
refused 2 OUT shared "$delta" shared/model
refused 2 OUT shared "$delta" shared --overwrite

# Another model: other names, another type, other shapes.
make_model tiny 100
refused 2 "is not in tiny" tiny "$delta" out
printf 'merge_method: passthrough\nmodels: [{model: base}]\nout_dtype: float32\n' >wide.yaml
run merge wide.yaml wide
refused 2 'values of BF16 for one of F32' wide "$delta" out

# Damage: cut off, other bytes in the positions, words that are missing.
head -c 20000 "$delta" >cut.safetensors
refused 3 cut.safetensors shared cut.safetensors out
cp "$delta" bad.safetensors
size=$(stat -c %s bad.safetensors)
printf '\377\377\377\377' | dd of=bad.safetensors bs=1 seek=$((size - 40)) conv=notrunc status=none
refused 3 bad.safetensors shared bad.safetensors out
sed 's/"store":"replace"/"store":"swapped"/' "$delta" >words.safetensors
refused 3 "'store' is 'swapped'" shared words.safetensors out
sed 's/"density":"0.05"/"density":"x.05"/' "$delta" >words.safetensors
refused 3 "'density' is 'x.05'" shared words.safetensors out
sed 's/lm_head.weight.encoding/lm_head.weight.encodinG/' "$delta" >words.safetensors
refused 3 "tensor 'lm_head.weight'" shared words.safetensors out
sed 's/lm_head.weight.shape":"\[256,128\]/lm_head.weight.shape":"[128,256]/' "$delta" >words.safetensors
refused 2 'the delta is for shape [128, 256], the shared model has [256, 128]' shared words.safetensors out

# weft verify says so, too.
run verify bad.safetensors
expect_exit 1
expect_stdout_has 'FAILED   delta'
cp bad.safetensors "$delta"
run verify shared
expect_exit 1
expect_stdout_has 'FAILED   delta     deltas/python.safetensors'
