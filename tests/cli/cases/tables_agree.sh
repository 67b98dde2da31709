# Parser, --help, manual page and completions name the same flags, and the documented ones.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

commands='merge apply plan inspect diff verify compress-lora methods doctor'
"$WEFT" gen man >weft.1
"$WEFT" gen bash >weft.bash
"$WEFT" gen zsh >weft.zsh

last='weft gen man'
cmp weft.1 "$ROOT/docs/weft.1" >/dev/null ||
    fail "docs/weft.1 is not what 'weft gen man' prints; write it anew"

# The manual page says "\fB\-\-flag\fR" in the part between a command's heading and its exit codes.
man_flags()
{
    sed -n "/^\.SS \"weft $1\"/,/^Exit status/p" weft.1 | sed -n '/^Flags$/,$p' |
        sed 's/\\-/-/g' | grep -o -e '--[a-z-]*' | sort
}
bash_flags()
{
    sed -n "s/^ *$1) flags='\(.*\)' ;;/\1/p" weft.bash | tr ' ' '\n' | grep . | sort
}
zsh_flags()
{
    sed -n "/^        $1)/,/;;/p" weft.zsh | sed -n "s/^ *'\(--[a-z-]*\).*/\1/p" | sort
}

for command in $commands; do
    last="flags of $command"
    flags_of_help "$command" >help.flags
    [[ -s help.flags ]] || fail 'no flags in --help'
    for form in man bash zsh; do
        "${form}_flags" "$command" >$form.flags
        cmp -s help.flags $form.flags ||
            fail "$form differs from --help: $(diff help.flags $form.flags | grep '^[<>]' | tr '\n' ' ')"
    done
    # What --help names, the parser knows, and the other way round.
    while read -r flag; do
        run "$command" "$flag="
        grep -q 'has no flag' stderr && fail "the parser of $command does not know $flag"
    done <help.flags
    for flag in $(sort -u ./*.flags) $(grep -o -e "--[a-z-]*" weft.zsh | sort -u); do
        run "$command" "$flag="
        grep -q 'has no flag' stderr && ! grep -qx -e "$flag" help.flags && continue
        grep -qx -e "$flag" help.flags || fail "--help of $command lacks $flag"
    done
done

# The interface's flags, by name: losing one breaks people's scripts.
for flag in --memory --device-memory --backend --gpus --threads --resume --overwrite --shard-size \
    --manifest --compat --log-level --progress --json --help --version; do
    flags_of_help merge | grep -qx -e "$flag" || fail "merge lacks $flag"
done
flags_of_help plan | grep -qx -e --diffable || fail 'plan lacks --diffable'
flags_of_help diff | grep -qx -e --base || fail 'diff lacks --base'
