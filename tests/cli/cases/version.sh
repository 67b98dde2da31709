# --version: everywhere, one line.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

for words in --version 'merge --version' '--version plan' 'inspect --version x'; do
    # shellcheck disable=SC2086
    run $words
    expect_exit 0
    expect_stderr_empty
    [[ $(cat stdout) =~ ^weft\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || fail 'not "weft X.Y.Z"'
done
run --version
grep -qF "\"$(sed 's/^weft //' stdout)\"" "$ROOT/include/weft.h" ||
    fail 'not the version of include/weft.h'
