# --help and -h: everywhere, on standard output, exit 0, complete, at most 80 columns.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

commands='merge apply plan inspect diff verify compress-lora methods doctor'

run --help
expect_exit 0
expect_stderr_empty
for command in $commands; do
    grep -q "^  $command  " stdout || fail "the list of commands lacks $command"
done
grep -q '^  gen ' stdout && fail 'the hidden command is listed'
for code in 0 1 2 3 4 5 75; do
    grep -q "^ *$code  " stdout || fail "exit code $code is not explained"
done
cp stdout long
run -h
expect_exit 0
expect_same_file stdout long

for command in $commands; do
    run "$command" --help
    expect_exit 0
    expect_stderr_empty
    for part in "Usage: weft $command" 'Flags' 'Examples:' 'Exit codes:' '--help' '--version' '--json'; do
        expect_stdout_has "$part"
    done
    [[ $(wc -L <stdout) -le 80 ]] || fail "help of $command is wider than 80 columns"
    cp stdout long
    for words in "$command -h" "-h $command" "--help $command" "$command --nonsense --help" \
        "$command a b c d --help" "$command --memory -h" "$command --memory nonsense --help"; do
        # shellcheck disable=SC2086
        run $words
        expect_exit 0
        expect_same_file stdout long
    done
done

run merge --help
for part in RECIPE OUT 'Default: 5GB.' 'Default: a quarter of RAM.' 'Default: xxh3.'; do
    expect_stdout_has "$part"
done

# After "--" it is an argument like any other.
run merge -- --help
expect_usage_error 'needs OUT'
