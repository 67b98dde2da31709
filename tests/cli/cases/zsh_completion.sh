# The zsh completion is valid zsh.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

command -v zsh >/dev/null || skip 'zsh is not installed'
"$WEFT" gen zsh >_weft
last='zsh -n'
zsh -n _weft 2>stderr || fail 'zsh finds a syntax error'
expect_stderr_empty
