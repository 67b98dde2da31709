# A table of weights by tensor and task: what it gives, and what is said about a wrong one.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

ln -s "$ROOT/tests/data/tinylm/base" m0
ln -s "$ROOT/tests/data/tinylm/python" m1
ln -s "$ROOT/tests/data/tinylm/english" m2
recipe() { # FILE
    cat <<END
merge_method: task_arithmetic
base_model: m0
coefficients: $1
models:
  - {model: m1, name: math}
  - {model: m2, parameters: {weight: 9}}
END
}
refused() { # TABLE EXIT TEXT...
    printf '%s' "$1" >wrong.json
    recipe wrong.json >wrong.yaml
    run merge wrong.yaml out
    expect_exit "$2"
    expect_one_error_line
    expect_stderr_has "wrong.json"
    shift 2
    for text in "$@"; do expect_stderr_has "$text"; done
    expect_absent out out.partial
}

# The same numbers as weights of the recipe, by name, by place and for the rest.
cat >weights.yaml <<END
merge_method: task_arithmetic
base_model: m0
models:
  - {model: m1, parameters: {weight: 0.25}}
  - {model: m2, parameters: {weight: -0.5}}
END
run merge weights.yaml wanted
expect_exit 0
for table in '{"*": [0.25, -0.5]}' '{"*": {"m2": -0.5, "math": 0.25}}'; do
    printf '%s' "$table" >table.json
    recipe table.json >recipe.yaml
    run merge recipe.yaml same --overwrite
    expect_exit 0
    [[ "$(weights_of wanted)" == "$(weights_of same)" ]] || fail 'other bytes than with weights of the recipe'
done

# A base that is listed among the models is no task: its number may be left out of a list.
for row in '0.25, -0.5' '7, 0.25, -0.5'; do
    printf '{"*": [%s]}' "$row" >table.json
    recipe table.json | sed 's/^models:/&\n  - {model: m0}/' >recipe.yaml
    run merge recipe.yaml same --overwrite
    expect_exit 0
    [[ "$(weights_of wanted)" == "$(weights_of same)" ]] || fail 'other bytes with the base among the models'
done

# A table that changed is another plan.
mkdir sub
printf '{"*": [0.25, -0.5]}' >sub/table.json
recipe table.json >sub/recipe.yaml
sed -i 's/: m/: ..\/m/; s/name: ..\//name: /' sub/recipe.yaml
run plan sub/recipe.yaml
expect_exit 0
hash=$(grep '^plan ' stdout)
printf '{"*": [0.25, -0.75]}' >sub/table.json
run plan sub/recipe.yaml
expect_exit 0
[[ "$hash" != "$(grep '^plan ' stdout)" ]] || fail 'the plan does not depend on the table'

refused '[]' 2 'a table of coefficients is an object'
refused '{"*": 1}' 2 "tensor '*'" 'a number for each task'
refused '{"*": [1]}' 2 '1 numbers for 2 entries'
refused '{"*": {"math": 1}}' 2 "no number for task 'm2'"
refused '{"*": {"math": 1, "m2": 2, "mth": 3}}' 2 "no task 'mth' (did you mean 'math'?)"
refused '{"*": ["1", 2]}' 2 "task 'math' must be a finite number"
refused '{"nothing": [1, 2]}' 2 'no coefficients for tensor'
refused '{' 3 '1:2'
refused '{"*": [1, 1e999]}' 3 'beyond the range'
refused '{"*": [1, 2], "*": [1, 2]}' 3 'duplicate key'
recipe missing.json >recipe.yaml
run merge recipe.yaml out2
expect_exit 2
expect_one_error_line
expect_stderr_has 'recipe.yaml:3' missing.json
expect_absent out2 out2.partial
