# The bash completion offers commands, flags and their values.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

"$WEFT" gen bash >weft.bash
complete() { :; }
# shellcheck disable=SC1091
. ./weft.bash
unset -f complete

# offers WORDS... : the completions of the last word
offers()
{
    last="completion of: $*"
    COMP_WORDS=(weft "$@")
    COMP_CWORD=$#
    COMPREPLY=()
    _weft
}
expect_offers()
{
    [[ "${COMPREPLY[*]}" == "$1" ]] || fail "offers '${COMPREPLY[*]}', not '$1'"
}

offers ''
expect_offers 'merge apply combine search extract-lora compress-lora plan inspect diff verify methods doctor'
offers me
expect_offers 'merge methods'
offers merge --mem
expect_offers '--memory'
offers --json merge --over
expect_offers '--overwrite'
offers inspect --res
expect_offers ''
offers merge --backend ''
expect_offers 'auto cpu cuda'
offers merge --backend = c
expect_offers 'cpu cuda'
offers merge --backend =
expect_offers 'auto cpu cuda'
offers merge --memory ''
expect_offers ''
offers --v
expect_offers '--version'
touch recipe.yaml
offers merge rec
expect_offers 'recipe.yaml'
offers diff a b --base rec
expect_offers 'recipe.yaml'

# weft-yaml has flags of its own, those of mergekit-yaml among them.
offers_yaml()
{
    last="completion of: weft-yaml $*"
    COMP_WORDS=(weft-yaml "$@")
    COMP_CWORD=$#
    COMPREPLY=()
    _weft_yaml
}
offers_yaml --lazy
expect_offers '--lazy-unpickle'
offers_yaml --mem
expect_offers '--memory'
offers_yaml rec
expect_offers 'recipe.yaml'
