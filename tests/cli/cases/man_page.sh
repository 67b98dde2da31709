# The manual page is valid roff.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

command -v groff >/dev/null || skip 'groff is not installed'
"$WEFT" gen man >weft.1
last='groff -man -ww'
groff -man -Tascii -P-cbou -ww weft.1 >page 2>stderr || fail 'groff fails'
expect_stderr_empty
for text in NAME SYNOPSIS COMMANDS FLAGS EXAMPLES 'EXIT STATUS'; do
    grep -q "$text" page || fail "the page lacks $text"
done
