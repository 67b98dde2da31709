# Every recipe in configs/ plans, merges and verifies.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

for recipe in "$ROOT"/configs/*.yaml; do
    name=$(basename "$recipe" .yaml)
    run plan "$recipe"
    expect_exit 0
    expect_stdout_has lm_head.weight
    expect_absent "$name" "$name.partial"
    run merge "$recipe" "$name"
    expect_exit 0
    expect_stdout_empty
    expect_stderr_has "weft: merged "
    expect_stderr_has " into $name: "
    expect_absent "$name.partial"
    for file in config.json README.md weft_manifest.json model.safetensors; do
        [[ -s $name/$file ]] || fail "$name/$file is missing"
    done
    run verify "$name"
    expect_exit 0
    expect_stderr_empty
    run inspect "$name"
    expect_exit 0
    run diff "$name" "$TINYLM/base"
    expect_exit 1
    expect_stderr_empty
done
