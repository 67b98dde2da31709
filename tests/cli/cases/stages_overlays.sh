# A stage with an adapter or a task delta on it is another model than the stage, however often and in what order they are named.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

cat >1.doc <<END
merge_method: linear
parameters: {weight: 1}
task_deltas: {density: 0.5}
models: [{model: $TINYLM/python}, {model: $TINYLM/english}]
END
run merge 1.doc one
expect_exit 0
mv one/deltas . && mv one elsewhere
cp -r "$TINYLM/python-lora" lora

# same WHAT: the document on stdin gives the same behind the stage 'one' as with that stage's result as a folder.
same()
{
    cat >2.doc
    grep -v task_deltas 1.doc | cat <(echo 'name: one') - <(echo '---') 2.doc >stages.yml
    ln -s elsewhere one
    run merge 2.doc expected --overwrite
    expect_exit 0
    rm one
    run plan stages.yml
    expect_exit 0
    run merge stages.yml merged --overwrite
    expect_exit 0
    expect_absent merged.stages
    [[ $(weights_of merged) == $(weights_of expected) ]] || fail "$1: other weights than with the stage's folder"
}
linear="merge_method: linear, parameters: {weight: 1}"
same 'two adapters' <<<"{$linear, models: [{model: one+lora}, {model: one+$TINYLM/english-lora}]}"
same 'an adapter twice' <<<"{$linear, models: [{model: one+lora}, {model: one+lora}]}"
same 'an adapter, then without' <<<"{$linear, models: [{model: one+lora}, {model: one}]}"
same 'without, then an adapter' <<<"{$linear, models: [{model: one}, {model: one+lora}]}"
same 'two deltas' <<<"{$linear, models: [{model: one+deltas/python.safetensors}, {model: one+deltas/english.safetensors}]}"
same 'a delta and an adapter' <<<"{$linear, models: [{model: one+deltas/python.safetensors}, {model: one+lora}]}"
same 'the base' <<END
merge_method: task_arithmetic
base_model: one
models: [{model: one+lora, parameters: {weight: 0.5}}, {model: one+$TINYLM/english-lora, parameters: {weight: 2}}]
END
same 'the base with one of them' <<END
merge_method: task_arithmetic
base_model: one+lora
models: [{model: one, parameters: {weight: 0.5}}, {model: one+$TINYLM/english-lora, parameters: {weight: 2}}]
END
same 'slices' <<END
merge_method: passthrough
slices:
  - sources: [{model: one+lora, layer_range: [0, 2]}]
  - sources: [{model: one+lora, layer_range: [1, 3]}]
  - sources: [{model: one+$TINYLM/english-lora, layer_range: [2, 4]}]
END
same 'another architecture' <<END
merge_method: linear
allow_mixed: true
parameters: {weight: 1}
models:
  - {model: {model: one+lora, override_architecture: OtherForCausalLM}}
  - {model: one+$TINYLM/english-lora}
END

# What lies on a stage is part of the plan: another adapter in its place is no finished merge.
same 'an adapter' <<<"{merge_method: passthrough, models: [{model: one+lora}]}"
run merge stages.yml merged --resume
expect_exit 0
expect_stderr_has 'already complete'
touch -d @1000000000 lora/adapter_model.safetensors
run merge stages.yml merged --resume
expect_exit 2
expect_stderr_has 'merged is of another plan'
