# Flags anywhere, with a space or '='; the last of a repeated one counts; -- ends them.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

for words in '--threads 0 merge a b' 'merge --threads 0 a b' 'merge a --threads 0 b' 'merge a b --threads 0' \
    '--threads=0 merge a b' 'merge --threads=0 a b' 'merge a b --threads=0'; do
    # shellcheck disable=SC2086
    run $words
    expect_usage_error "--threads: '0'"
done

run merge missing.yaml out --threads 0 --threads 1
expect_usage_error missing.yaml
run merge missing.yaml out --threads 1 --threads=0
expect_usage_error "--threads: '0'"
run merge missing.yaml out --memory nonsense --memory 1G
expect_usage_error missing.yaml
run merge missing.yaml out --resume --resume --overwrite --overwrite
expect_exit 2
expect_one_error_line

# A value may hold '=' itself.
run diff a b --base=x=y
expect_exit 2
run merge a b --backend=cpu=x
expect_usage_error "--backend: 'cpu=x' is not one of"

# "--" ends flags; a lone "-" never was one.
run merge -- --threads --memory
expect_usage_error '--threads: '
run inspect -- --json
expect_usage_error '--json'
run merge -- -- out
expect_usage_error 'error: --: '
run -- merge missing.yaml out
expect_usage_error missing.yaml
run inspect -
expect_usage_error "'-'"
expect_absent out -- --memory
