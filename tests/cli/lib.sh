# lib.sh - what the cases in tests/cli/cases share. Sourced; needs $WEFT, $ROOT, and a scratch folder
# as the working directory. A case runs to its end and fails if any expectation did.
#
#   run ARGS...                 runs weft; leaves $status and the files stdout, stderr
#   expect_exit N               of the last run
#   expect_one_error_line       stderr is one line "weft: error: ..."
#   expect_usage_error TEXT     exit 2, one error line that holds TEXT, nothing on stdout
#   expect_{stdout,stderr}_has TEXT, expect_{stdout,stderr}_empty
#   expect_absent PATH...       nothing of that name exists
#   skip REASON                 ends the case, counted as skipped

# shellcheck shell=bash disable=SC2034
set -u
failures=0
last='(nothing was run)'
status=0
export LC_ALL=C
TINYLM=$ROOT/tests/data/tinylm

fail()
{
    failures=$((failures + 1))
    printf '  after: %s\n  %s\n' "$last" "$1"
    if [[ -s stderr ]]; then
        printf '  stderr: %s\n' "$(head -c 600 stderr | head -5)"
    fi
}

run()
{
    last="weft $*"
    "$WEFT" "$@" >stdout 2>stderr </dev/null
    status=$?
}

expect_exit()
{
    [[ $status -eq $1 ]] || fail "exit code is $status, not $1"
}

expect_one_error_line()
{
    local lines
    lines=$(wc -l <stderr)
    [[ $lines -eq 1 ]] || fail "standard error has $lines lines, not 1"
    grep -q '^weft: error: .' stderr || fail "standard error does not start 'weft: error: '"
}

expect_stderr_has()
{
    grep -qF -e "$1" stderr || fail "standard error lacks: $1"
}

expect_stdout_has()
{
    grep -qF -e "$1" stdout || fail "standard output lacks: $1"
}

expect_stderr_empty()
{
    [[ ! -s stderr ]] || fail 'standard error is not empty'
}

expect_stdout_empty()
{
    [[ ! -s stdout ]] || fail "standard output is not empty: $(head -c 200 stdout)"
}

expect_usage_error()
{
    expect_exit 2
    expect_one_error_line
    expect_stderr_has "$1"
    expect_stdout_empty
}

expect_absent()
{
    local path
    for path in "$@"; do
        [[ ! -e $path && ! -L $path ]] || fail "$path exists"
    done
}

expect_same_file()
{
    cmp -s "$1" "$2" || fail "$1 and $2 differ"
}

skip()
{
    echo "skipped: $1"
    exit 77
}

# The weight files of a model folder, hashed together: equal for equal tensors in equal files.
weights_of()
{
    (cd "$1" && cat ./*.safetensors | sha256sum | cut -d' ' -f1)
}

# Every line of the file is a JSON object (checked where there is a python3).
expect_json_lines()
{
    [[ -s $1 ]] || fail "$1 is empty"
    command -v python3 >/dev/null || return 0
    python3 - "$1" <<'PYTHON' || fail "$1 is not one JSON object a line"
import json, sys
for line in open(sys.argv[1], encoding="utf-8"):
    assert isinstance(json.loads(line), dict)
PYTHON
}

# little_endian N BYTES: N as octal escapes for printf
little_endian()
{
    local n=$1 i
    for ((i = 0; i < $2; i++)); do
        printf '\%03o' $((n & 255))
        n=$((n >> 8))
    done
}

# make_model FOLDER ELEMENTS: one F32 tensor "w" of that many zeros, mostly a hole on disk
make_model()
{
    local bytes=$(($2 * 4)) header
    header="{\"w\":{\"dtype\":\"F32\",\"shape\":[$2],\"data_offsets\":[0,$bytes]}}"
    while (((${#header} + 8) % 8)); do header+=' '; done
    mkdir -p "$1"
    # shellcheck disable=SC2059
    printf "$(little_endian ${#header} 8)" >"$1/model.safetensors"
    printf '%s' "$header" >>"$1/model.safetensors"
    truncate -s $((8 + ${#header} + bytes)) "$1/model.safetensors"
    echo '{"architectures": ["Test"]}' >"$1/config.json"
}

# The flags that a help text or a command's completion names, one a line, sorted.
flags_of_help()
{
    "$WEFT" "$1" --help | sed -n 's/^  \(-h, \)\{0,1\}\(--[a-z-]*\).*/\2/p' | sort
}

trap '[[ $? -eq 77 ]] && exit 77; [[ $failures -eq 0 ]] || exit 1' EXIT
