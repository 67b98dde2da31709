# With --json an error is an event on standard output as well.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

expect_event()
{
    expect_exit "$1"
    expect_one_error_line
    [[ $(wc -l <stdout) -eq 1 ]] || fail 'standard output is not one line'
    grep -q "^{\"event\":\"error\",\"exit\":$1,\"message\":\".*\",\"rank\":0}\$" stdout ||
        fail "no error event: $(cat stdout)"
    if command -v python3 >/dev/null; then
        python3 -c 'import json; json.loads(open("stdout", encoding="utf-8").read())' ||
            fail 'not JSON'
    fi
}

run --json
expect_event 2
run --json merge
expect_event 2
run merge --json a b --threads 0
expect_event 2
run merge a b --threads 0 --json
expect_event 2
run --json frobnicate
expect_event 2
run merge missing.yaml out --json
expect_event 2
expect_stdout_has missing.yaml
run inspect --json 'a "quoted\\" name'
expect_event 2
run --json $'frob\xff\xfe\x01\ni\xc3\xa9'
expect_event 2
expect_stdout_has 'frob\ufffd\ufffd\u0001\u000ai'
# After "--" it is no flag.
run merge -- --json
expect_usage_error 'needs OUT'
