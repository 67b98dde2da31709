# Tensors that a task has not, or has in another shape, and what is in the way of the deltas' folder.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

# model FOLDER TENSOR:ELEMENTS...: F32 tensors of zeros
model() {
    local folder=$1 at=0 header='{' name count tensor
    shift
    for tensor in "$@"; do
        name=${tensor%:*} count=${tensor#*:}
        header+="\"$name\":{\"dtype\":\"F32\",\"shape\":[$count],\"data_offsets\":[$at,$((at + 4 * count))]},"
        at=$((at + 4 * count))
    done
    header="${header%,}}"
    while (((${#header} + 8) % 8)); do header+=' '; done
    mkdir -p "$folder"
    # shellcheck disable=SC2059
    printf "$(little_endian ${#header} 8)" >"$folder/model.safetensors"
    printf '%s' "$header" >>"$folder/model.safetensors"
    truncate -s $((8 + ${#header} + at)) "$folder/model.safetensors"
    echo '{"architectures": ["Test"]}' >"$folder/config.json"
}
model base a:40 head:10 only:3
model one a:40 head:12
model two a:40 head:10 extra:5
cat >recipe.yaml <<END
merge_method: linear
base_model: base
exclude: [head, only, extra]
models:
  - {model: one, parameters: {weight: 1}}
  - {model: two, parameters: {weight: 1}}
task_deltas: {density: 1}
END
run merge recipe.yaml out
expect_exit 0
expect_stderr_has "the delta of 'one' has nothing for it (first: 'only')"
expect_stderr_has "the delta of 'one' has nothing for it (first: 'head')"
expect_stderr_has "1 tensor of the task's model not in the result; the delta of 'two' has nothing for it (first: 'extra')"
expect_stderr_has 'of 53 elements'

# A side file of the model stands where the deltas would.
mkdir base/deltas
echo '{}' >base/deltas/config.json
run merge recipe.yaml other
expect_exit 2
expect_stderr_has "recipe.yaml:7: 'dir' is 'deltas', where the side file 'deltas/config.json' goes"
expect_absent other other.partial
sed -i 's/density: 1/density: 1, dir: more/' recipe.yaml
run merge recipe.yaml other
expect_exit 0

# Memory that the first step could do with, and the second could not.
run merge recipe.yaml small --memory 1Mi
expect_exit 4
expect_absent small
