# What merge and plan say about recipes that a method cannot take: the line, the key, and what to do; nothing is written.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

# recipe METHOD PARAMETERS MODEL...: r.yaml over tinylm's base; a MODEL is NAME or NAME:PARAMETERS
recipe()
{
    local method=$1 parameters=$2 model
    shift 2
    printf 'merge_method: %s\nbase_model: %s/base\nparameters: {%s}\nmodels:\n' "$method" "$TINYLM" "$parameters"
    for model in "$@"; do
        printf '  - model: %s/%s\n' "$TINYLM" "${model%%:*}"
        [[ $model != *:* ]] || printf '    parameters: {%s}\n' "${model#*:}"
    done
}
refused() # LINE TEXT: of the recipe in r.yaml, by plan and by merge
{
    run plan r.yaml
    expect_usage_error "r.yaml:$1: "
    expect_stderr_has "$2"
    run merge r.yaml out
    expect_usage_error "r.yaml:$1: "
    expect_stderr_has "$2"
    expect_absent out out.partial
}

recipe ties 'weight: 1, scope: layer' python >r.yaml
refused 3 "'scope' is 'layer'; it must be row, tensor or model"
recipe ties 'weight: 1, scope: modle' python >r.yaml
refused 3 "did you mean 'model'?"
recipe ties 'weight: 1, ties: 1' python >r.yaml
refused 3 "'ties' is '1'; it must be inclusive or exact"
recipe ties 'weight: 1' 'python:scope: row' >r.yaml
refused 6 "'scope' concerns the whole merge"
recipe dare_ties 'weight: 1, scope: row' python >r.yaml
refused 3 "unknown parameter 'scope'"
recipe breadcrumbs 'weight: 1, low: 0.85, high: 0.993, gamma: 0.01' python >r.yaml
refused 3 "'low' and 'gamma' say the same thing in two ways"
recipe breadcrumbs 'weight: 1' 'python:low: 0.85' >r.yaml
refused 6 "'low' needs 'high' as well"
recipe breadcrumbs 'weight: 1, low: 0.9, high: 0.1' python >r.yaml
refused 3 "'low' is greater than 'high'"
recipe slerp 't: 0.5' python english >r.yaml
refused 4 "takes exactly 1 model besides the base; here are 2"
recipe slerp '' python >r.yaml
refused 1 "merge_method 'slerp' needs 't'"
recipe model_stock '' python >r.yaml
refused 4 "takes at least 2 models besides the base; here are 1"
recipe nuslerp 'weight: 1' python base >r.yaml
refused 4 "on line 6 is the base itself"
recipe arcee_fusion 't: 1' python >r.yaml
refused 3 "unknown parameter 't': merge_method 'arcee_fusion' has no parameters"
recipe sce '' 'python:weight: 1' english >r.yaml
refused 6 "unknown parameter 'weight'"
recipe tiess 'weight: 1' python >r.yaml
refused 1 "did you mean 'ties'?"
# What only the arithmetic's own rules know is said with the tensor's name.
recipe della 'weight: 1, density: 0.9, epsilon: 0.15' python >r.yaml
for command in 'plan r.yaml' 'merge r.yaml out'; do
    # shellcheck disable=SC2086
    run $command
    expect_usage_error r.yaml
    expect_stderr_has epsilon
    expect_absent out out.partial
done

# mergekit takes and ignores these; with --compat mergekit weft does too, and says so.
recipe sce '' 'python:weight: 1' english >r.yaml
run merge r.yaml loose --compat mergekit
expect_exit 0
expect_stderr_has "unknown parameter 'weight'"
