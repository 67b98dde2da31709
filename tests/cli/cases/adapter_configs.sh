# What is only in adapter_config.json makes another model: two adapters with one weight file, and plans.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

adapter() { # NAME EXPRESSION: the fixture's weights, linked, and its config edited by sed
    mkdir -p "$1"
    ln "$weights" "$1/adapter_model.safetensors" || fail 'cannot link'
    sed "$2" "$TINYLM/c-lora/adapter_config.json" >"$1/adapter_config.json"
}
cp "$TINYLM/c-lora/adapter_model.safetensors" weights
weights=$PWD/weights
adapter small 's/"lora_alpha": 16/"lora_alpha": 2/'
adapter large 's/"lora_alpha": 16/"lora_alpha": 32/'

printf 'merge_method: linear\nmodels:\n' >both.yaml
printf '  - model: "%s"\n    parameters: {weight: 1}\n' "$TINYLM/base+small" "$TINYLM/base+large" >>both.yaml
run merge both.yaml both --progress none
expect_exit 0
mkdir copied
cp -r large copied/large
sed 's,+large,+copied/large,' both.yaml >copied.yaml
run merge copied.yaml apart --progress none
expect_exit 0
[[ $(weights_of both) == "$(weights_of apart)" ]] || fail 'adapters with one weight file were taken for one'
run merge both.yaml same --progress none
expect_exit 0
sed 's,+large,+small,' both.yaml >same.yaml
run merge same.yaml same --overwrite --progress none
expect_exit 0
[[ $(weights_of both) != "$(weights_of same)" ]] || fail 'alpha makes no difference'

# A merge of another configuration is not gone on with.
plan_of() { run plan both.yaml --json && sed -n 's/.*"plan":"\([0-9a-f]*\)".*/\1/p' stdout; }
first=$(plan_of)
[[ -n $first ]] || fail 'no plan hash'
touch -r large/adapter_config.json time
sed -i 's/"lora_alpha": 32/"lora_alpha": 16/' large/adapter_config.json
touch -r time large/adapter_config.json
[[ $(plan_of) != "$first" ]] || fail 'the plan does not see alpha'

# Deltas do not go where components do.
printf 'merge_method: pcb\nbase_model: "%s"\nmodels:\n  - model: "%s"\ntask_deltas: {density: 0.1, dir: components}\n' \
    "$TINYLM/base" "$TINYLM/c" >taken.yaml
run plan taken.yaml
expect_usage_error "a name that weft uses itself"

# A component has its own task's name, also where an entry is the base by another name.
ln -s "$TINYLM/base" other
printf 'merge_method: pcb\nbase_model: "%s"\nmodels:\n  - model: other\n    name: nothing\n' "$TINYLM/base" >named.yaml
printf '  - model: "%s"\n    name: %s\n' "$TINYLM/c" one "$TINYLM/python" two >>named.yaml
run merge named.yaml named --emit-components --progress none
expect_exit 0
[[ $(cd named/components && echo *) == 'one.safetensors two.safetensors' ]] || fail "components: $(ls named/components)"
grep -v 'other\|nothing' named.yaml >plain.yaml
run merge plain.yaml plain --emit-components --progress none
expect_exit 0
cmp -s named/components/one.safetensors plain/components/one.safetensors || fail "one.safetensors is another task's"
