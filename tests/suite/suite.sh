# suite.sh - what every test suite uses: counting, a scratch folder, and small helpers.
#
# A suite is a bash script run from the root of the tree. Its output names failures and skips, one a line,
# and its last line is "N passed, N failed, N skipped". Programs under test are build/<variant>/...
# (tests/run.sh says which variants exist). $LONG is 1 in `make test-long`.
# shellcheck shell=bash
set -u
export LC_ALL=C
LONG=${LONG:-0}
passed=0 failed=0 skipped=0
SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/weft-test.XXXXXX") || exit 1
trap 'chmod -R u+w "$SCRATCH" 2>/dev/null; rm -rf "$SCRATCH"' EXIT
TINYLM=tests/data/tinylm

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAIL  $1: ${2:-}"; }
skip() { skipped=$((skipped + 1)); echo "skip  $1: ${2:-}"; }
finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    exit $((failed > 0))
}

# Without these programs there is nothing to test: one failure, and the end.
requires() { # PROGRAM...
    local program
    for program in "$@"; do
        [ -x "$program" ] || { fail "$program" "was not built"; finish; }
    done
}

# check NAME COMMAND...: passes when the command exits 0; else shows the end of its output.
check() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1 </dev/null); then
        pass
    else
        fail "$name" "exit $?: $(tail -n 4 <<<"$output" | tr '\n' ' ')"
    fi
}

# expect_exit NAME CODE COMMAND...: passes when the command exits with CODE and, for a failure, says why in
# one line that starts with "weft: error:".
expect_exit() {
    local name=$1 code=$2 got
    shift 2
    timeout 60 "$@" >"$SCRATCH/stdout" 2>"$SCRATCH/stderr" </dev/null
    got=$?
    if [ $got != "$code" ]; then
        fail "$name" "exit $got, expected $code: $(head -c 300 "$SCRATCH/stderr")"
    elif [ "$code" -ge 2 ] && ! one_error_line "$SCRATCH/stderr"; then
        fail "$name" "not one error line: $(head -c 300 "$SCRATCH/stderr")"
    else
        pass
    fi
}

one_error_line() { # FILE; warnings may stand before
    [ "$(grep -c '^weft: error: ' "$1")" = 1 ] && ! grep -qv '^weft: ' "$1"
}

# The bytes of a merged folder that must never vary: weights, index, and what lies in sub-folders.
digest() {
    (cd "$1" 2>/dev/null && sha256sum -- *.safetensors *.index.json */*.safetensors 2>/dev/null | sha256sum | cut -d' ' -f1)
}

# Same for everything below a folder, to see that nothing there was touched.
tree_digest() {
    (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}

# A Python that has the modules, or nothing.
python_with() {
    local python module
    for python in python3 /usr/bin/python3 build/venv/bin/python; do
        command -v "$python" >/dev/null || continue
        for module in "$@"; do
            "$python" -c "import $module" 2>/dev/null || continue 2
        done
        command -v "$python"
        return
    done
}

# A recipe file: recipe FILE METHOD DTYPE MODEL... (the first model is the base of task arithmetic)
recipe() {
    local file=$1 method=$2 dtype=$3 model weight=0.7 base=$4
    shift 3
    {
        echo "merge_method: $method"
        [ "$method" = task_arithmetic ] && { echo "base_model: $base"; shift; }
        echo "models:"
        for model in "$@"; do
            printf '  - model: %s\n    parameters: {weight: %s}\n' "$model" "$weight"
            weight=0.45
        done
        [ "$dtype" = keep ] || echo "out_dtype: $dtype"
    } >"$file"
}
