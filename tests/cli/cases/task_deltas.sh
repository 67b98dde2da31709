# What each task needs beside the result: the files, the table of sizes, the manifest, and what is the same on every run.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

ln -s "$ROOT/tests/data/tinylm/base" base
ln -s "$ROOT/tests/data/tinylm/python" python
ln -s "$ROOT/tests/data/tinylm/english" english
recipe() { # TASK_DELTAS
    cat <<END
merge_method: task_arithmetic
base_model: base
models:
  - {model: base, name: untouched}
  - {model: python, parameters: {weight: 0.4}}
  - {model: english, name: prose, parameters: {weight: 0.4}}
task_deltas: $1
END
}
deltas_of() { (cd "$1" && cat deltas/*.safetensors | sha256sum); }

recipe '{density: 0.10}' >recipe.yaml
run merge recipe.yaml out
expect_exit 0
[[ $(ls out/deltas) == $'prose.safetensors\npython.safetensors' ]] || fail "out/deltas holds: $(ls out/deltas)"
expect_absent out/spool out.partial
expect_stderr_has 'shared model: 1.61 MB'
expect_stderr_has 'of 803,968 elements'
expect_stderr_has 'in deltas/prose.safetensors'
expect_stderr_has '2 separate models: 3.22 MB'
grep -q '"deltas/python.safetensors"' out/weft_manifest.json || fail 'the manifest does not list the deltas'
run verify out
expect_exit 0
expect_stdout_has 'delta     deltas/python.safetensors'

# The result itself is that of a merge without deltas.
sed '/^task_deltas/d' recipe.yaml >plain.yaml
run merge plain.yaml plain
[[ $(weights_of out) == $(weights_of plain) ]] || fail 'task_deltas changes the result'

# What a delta says of itself.
run inspect out/deltas/python.safetensors
expect_exit 0
for text in 'task delta' 'task_arithmetic(python, prose)' 'replace' '0.10' 'leb128' 'lm_head.weight'; do
    expect_stdout_has "$text"
done

# The same bytes whatever the machine gives.
for flags in '--threads 1' '--threads 5' '--memory 24Mi' '--io buffered' '--shard-size 300KB' '--manifest sha256' \
    '--manifest none'; do
    # shellcheck disable=SC2086
    run merge recipe.yaml other $flags --overwrite
    expect_exit 0
    [[ $(deltas_of other) == $(deltas_of out) ]] || fail "other deltas with $flags"
    run verify other
    expect_exit 0
done

# Its own folder, more than one level deep; each tensor by itself; differences.
recipe '{density: 0.05, scope: tensor, store: add, dir: parts/each/}' >recipe.yaml
run merge recipe.yaml added
expect_exit 0
[[ -s added/parts/each/prose.safetensors ]] || fail 'dir is not where it was asked for'
expect_absent added/deltas
run inspect --json added/parts/each/prose.safetensors
expect_stdout_has '"store":"add"'
expect_stdout_has '"encoding":"leb128"'

# Nothing kept: files without tensors. The same model twice: twice a delta.
recipe '{density: 0}' | sed 's/english, name: prose/python, name: prose/' >recipe.yaml
run merge recipe.yaml nothing
expect_exit 0
expect_stderr_has 'delta of prose: 0 of 803,968 elements'
run verify nothing
expect_exit 0
run apply nothing nothing/deltas/prose.safetensors same
expect_exit 0
[[ $(weights_of same) == $(weights_of nothing) ]] || fail 'a delta of nothing changes something'

# Events instead of sentences.
run merge recipe.yaml events --json
expect_exit 0
expect_json_lines stdout
expect_stdout_has '{"event":"task_delta","task":"python","file":"deltas/python.safetensors","kept":0,"elements":803968'
expect_stdout_has '{"event":"task_deltas","shared_bytes":1607936'

# The plan knows, and writes nothing.
recipe '{density: 0.1}' >recipe.yaml
run plan recipe.yaml
expect_exit 0
expect_stdout_has '2 tasks: density 0.1, scope model, store replace, in deltas/'
expect_stdout_has 'at most 80,396 of 803,968 kept'
run plan recipe.yaml --json
expect_json_lines stdout
expect_stdout_has '"event":"plan_deltas"'
run plan recipe.yaml --diffable
expect_stdout_has '2 tasks: density 0.1'

# Done already; and another density is another plan.
run merge recipe.yaml again
run merge recipe.yaml again --resume
expect_exit 0
expect_stderr_has 'already complete'
recipe '{density: 0.2}' >recipe.yaml
run merge recipe.yaml again --resume
expect_usage_error 'the recipe differs'
