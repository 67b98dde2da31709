# What plan says about statistics: how often the inputs are read, with which memory once, and what is too little.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

# recipe METHOD PARAMETERS: over tinylm's base and two models of it
recipe()
{
    printf 'merge_method: %s\nbase_model: %s/base\nparameters: {%s}\nmodels:\n' "$1" "$TINYLM" "$2"
    printf '  - model: %s/%s\n' "$TINYLM" python "$TINYLM" english
}
value() # KEY: of the plan's JSON in stdout
{
    head -n 1 stdout | grep -o "\"$1\":[0-9]*" | tr -dc 0-9
}

recipe ties 'weight: 1, density: 0.4' >tensor.yaml
recipe ties 'weight: 1, density: 0.4, scope: model' >model.yaml
recipe linear 'weight: 1' | grep -v base_model >linear.yaml

for name in tensor model linear; do
    run plan $name.yaml --memory 1 --threads 3
    expect_exit 4
    expect_one_error_line
    expect_stderr_has 'is too little for this merge; it needs at least '
    least=$(grep -o 'at least [0-9]*' stderr | tr -dc 0-9)
    run plan $name.yaml --memory $((least - 1)) --threads 3
    expect_exit 4
    run plan $name.yaml --memory "$least" --threads 3 --json
    expect_exit 0
    again=$(value bytes_read_again) passes=$(value passes) once=$(value bytes_read) resident=$(value memory_resident)
    case $name in
    linear) [[ $again -eq 0 && $passes -eq 1 ]] || fail "linear reads $again bytes again, in $passes passes" ;;
    tensor) [[ $again -gt 0 && $passes -eq 1 ]] || fail "tensors: $again bytes again, $passes passes" ;;
    model) [[ $again -ge $once && $passes -eq 2 ]] || fail "the model: $again bytes again, $passes passes" ;;
    esac
    run plan $name.yaml --memory "$resident" --json
    expect_exit 0
    [[ $(value bytes_read_again) -eq 0 && $(value passes) -eq 1 ]] || fail "$name: $resident bytes of memory are not enough"
    run merge $name.yaml $name-small --memory 1 --threads 3 # which has tables of its own
    expect_exit 4
    run merge $name.yaml $name-small --memory "$(grep -o 'at least [0-9]*' stderr | tr -dc 0-9)" --threads 3 --progress none
    expect_exit 0
    run merge $name.yaml $name-large --memory 64Mi --progress none
    expect_exit 0
    [[ $(weights_of $name-small) == "$(weights_of $name-large)" ]] || fail "$name: memory changes the bytes"
    run plan $name.yaml --diffable --memory "$least"
    cp stdout first
    run plan $name.yaml --diffable
    expect_same_file stdout first
done

run plan tensor.yaml --memory 2Mi
expect_stdout_has 'passes      1'
expect_stdout_has 'read again for statistics; with --memory '
words=$(sed -n 's/.*with --memory \([^ ]*\) nothing is$/\1/p' stdout)
run plan tensor.yaml --memory "$words"
expect_exit 0
! grep -q 'read again' stdout || fail "with --memory $words something is read again"
run plan model.yaml --memory 2Mi
expect_stdout_has 'passes      2 (scope model, read again)'
run plan model.yaml
expect_stdout_has 'passes      1 (scope model, all inputs held in memory)'
