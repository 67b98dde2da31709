# search: candidates are of the whole recipe, or the search says which part of it they cannot have.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

# recipe LINES...: two models, and these lines at the top level
recipe()
{
    printf '%s\n' 'merge_method: ties' "base_model: $TINYLM/base" \
        "models: [{model: $TINYLM/python, parameters: {weight: 1}}, {model: $TINYLM/c, parameters: {weight: 0.5}}]" "$@" >r.yaml
}
# refused LINE TEXT: and nothing is made
refused()
{
    run search r.yaml --fitness 'echo 1 #' --budget 2 --out found --density
    expect_usage_error "r.yaml:$1: weft search $2"
    expect_absent found found.search
}
recipe 'tokenizer_source: union'
refused 4 'changes no vocabulary'
recipe 'tokenizer: {source: base, pad_to_multiple_of: 8}'
refused 4 'changes no vocabulary'
recipe 'task_deltas: {density: 0.1}'
refused 4 'makes no task deltas'
for value in '[0, 1]' '{filter: mlp, value: 0.5}' '[{filter: mlp, value: 0.5}, {value: 1}]'; do
    for name in weight lambda density; do
        recipe 'parameters:' "  $name: $value"
        refused 5 "looks for one '$name' for all tensors"
    done
    recipe
    sed -i "s|weight: 0.5|weight: $value|" r.yaml
    refused 3 "looks for one 'weight' for all tensors"
done

# What is not searched stays as it is.
recipe 'seed: 0' 'dtype: float32' 'out_dtype: bfloat16' 'parameters:' \
    '  density: [{filter: mlp, value: 0.5}, {value: [0.25, 1]}]' \
    '  scope: [{filter: embed, value: row}, {value: tensor}]'
run search r.yaml --fitness 'echo 1 #' --budget 1 --out found --seed 7
expect_exit 0
for line in 'seed: 0' 'dtype: float32' 'out_dtype: bfloat16'; do
    grep -qx "$line" found/weft_recipe.yaml || fail "the recipe that was found lacks '$line'"
done
run merge r.yaml merged
expect_exit 0
[[ $(weights_of found) == "$(weights_of merged)" ]] || fail "the recipe's own weights give another model than the recipe"

# A model in a folder with an adapter on it, as a map.
cat >r.yaml <<YAML
merge_method: linear
parameters: {weight: 1}
models:
  - model: {model: $TINYLM/base, lora: $TINYLM/c-lora}
  - model: {model: {path: $TINYLM/base}, lora: {path: $TINYLM/python-lora}}
YAML
run search r.yaml --fitness 'echo 1 #' --budget 1 --out adapted
expect_exit 0
run merge r.yaml expected
expect_exit 0
[[ $(weights_of adapted) == "$(weights_of expected)" ]] || fail 'another model than with the adapters'
