# override_architecture of a reference: taken for the config's architecture, also in the result's config.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

make_model a 4
make_model b 4
echo '{"architectures": ["OldForCausalLM"], "n": 1.50}' >a/config.json
echo '{"architectures": ["NewForCausalLM"]}' >b/config.json
# recipe REFERENCE-OF-A REFERENCE-OF-B
recipe()
{
    printf 'merge_method: linear\nparameters: {weight: 1}\nmodels:\n  - model: %s\n  - model: %s\n' "$1" "$2" >r.yaml
}
recipe a b
run merge r.yaml merged
expect_usage_error 'allow_mixed'
recipe '{model: {path: a}, override_architecture: NewForCausalLM}' b
run merge r.yaml merged
expect_exit 0
[[ $(cat merged/config.json) == '{"architectures": ["NewForCausalLM"], "n": 1.50}' ]] ||
    fail "config.json is $(cat merged/config.json)"
[[ $(cat a/config.json) == *Old* ]] || fail 'an input was changed'
recipe a '{model: b, override_architecture: OldForCausalLM}'
run merge r.yaml merged --overwrite
expect_exit 0
expect_same_file a/config.json merged/config.json
# The result depends on it.
recipe '{model: a, override_architecture: NewForCausalLM}' b
run merge r.yaml merged --resume
expect_exit 2
expect_stderr_has 'is of another plan'
rm a/config.json
run merge r.yaml other
expect_usage_error 'r.yaml:4: ./a has no config.json'
