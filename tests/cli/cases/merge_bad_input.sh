# Missing, damaged and unfit inputs: one line, the right exit code, nothing written.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

nothing_written()
{
    expect_one_error_line
    expect_stdout_empty
    expect_absent out
}

recipe()
{
    printf 'merge_method: linear\nmodels:\n' >recipe.yaml
    local model
    for model in "$@"; do
        printf '  - model: %s\n    parameters:\n      weight: 1\n' "$model" >>recipe.yaml
    done
}

run merge missing.yaml out
expect_usage_error missing.yaml
mkdir folder.yaml
run merge folder.yaml out
expect_exit 2
nothing_written
mkfifo pipe.yaml
run merge pipe.yaml out
expect_exit 2
nothing_written
: >empty.yaml
run merge empty.yaml out
expect_exit 2
nothing_written
head -c 4096 /dev/urandom >noise.yaml
run merge noise.yaml out
expect_exit 2
nothing_written

recipe "$TINYLM/python" missing-model
run merge recipe.yaml out
expect_usage_error missing-model
expect_absent out out.partial

# Recipe mistakes come with the line and the nearest word.
recipe "$TINYLM/python"
echo 'out_dtpye: float32' >>recipe.yaml
run merge recipe.yaml out
expect_usage_error "recipe.yaml:6: unknown key 'out_dtpye' (did you mean 'out_dtype'?)"
expect_absent out out.partial
recipe "$TINYLM/python"
sed -i 's/linear/linaer/' recipe.yaml
run merge recipe.yaml out
expect_usage_error "did you mean 'linear'?"
run methods linaer
expect_usage_error "did you mean 'linear'?"

# A file cut short, and one with its header torn.
cp -r "$TINYLM/c" cut
chmod -R u+w cut
truncate -s 1000000 cut/model.safetensors
recipe "$TINYLM/python" cut
for words in 'merge recipe.yaml out' 'plan recipe.yaml' 'inspect cut' "diff cut $TINYLM/c"; do
    # shellcheck disable=SC2086
    run $words
    expect_exit 3
    nothing_written
    expect_stderr_has cut/model.safetensors
done
run verify cut
[[ $status -eq 1 || $status -eq 3 ]] || fail "exit code is $status"
cp -r "$TINYLM/c" torn
chmod -R u+w torn
printf '\377\377\377\377' | dd of=torn/model.safetensors bs=1 seek=20 conv=notrunc status=none
run inspect torn
expect_exit 3
nothing_written
cp -r "$TINYLM/base" half
rm -f half/model-00002-of-00002.safetensors
run inspect half
expect_exit 3
nothing_written

# NaN, with the tensor's name.
make_model good 16
make_model nan 16
printf '\000\000\300\177' | dd of=nan/model.safetensors bs=1 conv=notrunc status=none \
    seek=$(($(stat -c %s nan/model.safetensors) - 4))
recipe good nan
run merge recipe.yaml out
expect_exit 3
nothing_written
expect_stderr_has "'w'"

# Shapes that do not fit.
make_model other 17
recipe good other
run merge recipe.yaml out
expect_usage_error "'w'"
expect_absent out out.partial
