# --compat mergekit: a base that is not among the models of `linear` is averaged in, with the top-level weight.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

models=$ROOT/tests/data/tinylm
entry() { printf '  - {model: %s/%s, parameters: {weight: %s}}\n' "$models" "$1" "$2"; }
{
    printf 'merge_method: linear\nbase_model: %s/base\nmodels:\n' "$models"
    entry python 0.5
    entry c 0.25
} >without.yaml
{ cat without.yaml; echo 'parameters: {weight: 2}'; } >top.yaml
{ cat without.yaml; entry base 2; } >listed.yaml

run merge listed.yaml listed
expect_exit 0
run merge top.yaml joined --compat mergekit
expect_exit 0
[[ $(weights_of joined) == $(weights_of listed) ]] || fail 'the base was not averaged in'
run merge top.yaml apart
expect_exit 0
[[ $(weights_of apart) != $(weights_of listed) ]] || fail 'the base takes part without --compat mergekit'
run merge listed.yaml again --compat mergekit
expect_exit 0
[[ $(weights_of again) == $(weights_of listed) ]] || fail 'a listed base counts twice'
run merge without.yaml refused --compat mergekit
expect_usage_error weight
expect_absent refused refused.partial
