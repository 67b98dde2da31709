# pcb: threads, memory and resuming change no byte; what cannot be is said; what does nothing is told.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

recipe() { # VARIANT SCOPE [LINES]
    cat >recipe.yaml <<END
merge_method: pcb
base_model: $TINYLM/base
models:
  - model: $TINYLM/python
  - model: $TINYLM/english
    parameters: {weight: 0.7}
  - model: $TINYLM/c
parameters: {variant: $1, scope: $2, density: 0.1, lambda: 1.2}
${3-}
END
}

for variant in paper code code-nlp code-vision code-vision-es; do
    for scope in model tensor; do
        recipe $variant $scope
        run merge recipe.yaml "$variant-$scope" --threads 1
        expect_exit 0
        run merge recipe.yaml again --threads 5 --memory 32Mi --overwrite
        expect_exit 0
        [[ $(weights_of again) == "$(weights_of "$variant-$scope")" ]] || fail "$variant, $scope: other bytes"
    done
done
run diff code-model code-tensor
expect_exit 1
run diff code-model paper-model
expect_exit 1

# The scope is the model unless the recipe says otherwise, the variant the first of the authors'.
sed -i '/^parameters/s/.*/parameters: {density: 0.1, lambda: 1.2}/' recipe.yaml
run merge recipe.yaml plain
expect_exit 0
[[ $(weights_of plain) == "$(weights_of code-model)" ]] || fail 'other defaults'
run plan recipe.yaml
expect_exit 0
expect_stdout_has 'pcb'

# A word that is not one.
recipe code-vission model
run plan recipe.yaml
expect_usage_error "recipe.yaml:8: 'variant' is 'code-vission' (did you mean 'code-vision'?)"

# A task that did not move counts, and is named; so is a density that makes no sense.
recipe code model
sed -i "s|$TINYLM/english|$TINYLM/base|; s/density: 0.1/density: 0.6/" recipe.yaml
sed -i "s|base_model: .*|base_model: copy|" recipe.yaml
cp -r "$TINYLM/base" copy
run merge recipe.yaml unmoved
expect_exit 0
expect_stderr_has "task 'base': its differences from the base are all of one size, so it adds nothing"
expect_stderr_has 'recipe.yaml:1: with a density above 0.5, pcb'

# Said too where the first tensor by name is empty; a NaN is named as the cause it is.
tiny() { # FOLDER: an empty tensor and one of four numbers
    local header='{"a.empty":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]},'
    header+='"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
    while (((${#header} + 8) % 8)); do header+=' '; done
    mkdir -p "$1"
    # shellcheck disable=SC2059
    printf "$(little_endian ${#header} 8)" >"$1/model.safetensors"
    printf '%s\1\2\200\77\1\2\0\100\1\2\100\100\1\2\200\100' "$header" >>"$1/model.safetensors"
    echo '{"architectures": ["Test"]}' >"$1/config.json"
}
for model in small still sound broken; do tiny $model; done
printf '\0\0\0\300' | dd of=sound/model.safetensors bs=1 seek=$(($(stat -c %s sound/model.safetensors) - 4)) \
    conv=notrunc status=none
printf '\0\0\300\177' | dd of=broken/model.safetensors bs=1 seek=$(($(stat -c %s broken/model.safetensors) - 4)) \
    conv=notrunc status=none
printf 'merge_method: pcb\nbase_model: small\nmodels: [model: still, model: sound]\n' >tiny.yaml
run merge tiny.yaml tiny
expect_exit 0
expect_stderr_has "task 'still': its differences from the base are all of one size"
sed 's/still/broken/' tiny.yaml >broken.yaml
echo 'non_finite: allow' >>broken.yaml
run merge broken.yaml broken.out
expect_exit 0
for task in broken sound; do
    expect_stderr_has "task '$task': a NaN or infinity, its own or another task's"
done
