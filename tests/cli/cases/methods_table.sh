# weft methods: the list, one method in full, JSON and Markdown all tell what the methods' own tables say.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

run methods
expect_exit 0
expect_stderr_empty
names=$(sed -n 's/^\([a-z][a-z_]*\)  .*/\1/p' stdout)
[[ $(wc -w <<<"$names") -ge 20 ]] || fail "only these methods: $names"
[[ $names == "$(LC_ALL=C sort <<<"$names")" ]] || fail 'the names are not sorted'

for name in $names; do
    run methods "$name"
    expect_exit 0
    expect_stderr_empty
    expect_stdout_has "$name - "
    for row in models base stages passes paper; do
        grep -q "^$row  *[^ ]" stdout || fail "no line '$row'"
    done
    [[ $name == byom_lora ]] || # works on adapters
        grep -q '^stages .*MAP$' stdout || fail 'MAP is not the last stage'
done

# Words, what has no default, the place of a row's end, passes and randomness.
run methods ties
grep -q '^ *scope  *global  *tensor  *row, tensor or model  *[^ ]' stdout || fail 'not the row of scope'
grep -q '^ *ties  *global  *inclusive  *inclusive or exact  *[^ ]' stdout || fail 'not the row of ties'
expect_stdout_has 'passes  1, or 2 with scope: model and inputs that do not fit in memory'
grep -q ^random stdout && fail 'ties draws nothing'
run methods breadcrumbs
for option in low high; do
    grep -q "^ *$option  *per model  *none  *0 to 1  *[^ ]" stdout || fail "not the row of $option"
done
run methods karcher
grep -q '^passes  1$' stdout || fail 'karcher needs one pass'
grep -q ' 10  ' stdout || fail 'max_iter is not 10'
for method in dare_linear dare_ties della della_linear; do
    run methods $method
    grep -q '^random .*seed' stdout || fail "$method does not say that it draws"
done
for method in nuslerp multislerp; do
    run methods $method
    grep -q '^base  *optional' stdout || fail "the base of $method is not optional"
done

run methods --json
expect_exit 0
expect_json_lines stdout
[[ $(wc -l <stdout) -eq $(wc -w <<<"$names") ]] || fail 'not one line for each method'
run methods ties --json
expect_stdout_has '"choices":["row","tensor","model"]'
expect_stdout_has '"default":"tensor"'
expect_stdout_has '"passes":1,"passes_scope_model":2'
expect_stdout_has '"draws":false'
grep -q '"stages":\[.*{"kind":"map","scope":"element"}\]' stdout || fail 'no stages'
run methods breadcrumbs --json
grep -q '"name":"low","type":"number","where":"per_model","required":false,"default":null' stdout ||
    fail 'low has a default'
run methods della --json
expect_stdout_has '"draws":true'
expect_stdout_has '{"kind":"rank","scope":"row"}'

run methods --markdown
head -c "$(stat -c %s stdout)" "$ROOT/docs/METHODS.md" | cmp -s - stdout ||
    fail "docs/METHODS.md is not what 'weft methods --markdown' prints: make docs"

run methods tiess
expect_usage_error "did you mean 'ties'?"
run methods pcbb
expect_usage_error 'unknown method'
