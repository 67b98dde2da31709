# The card of a result states a licence where the cards of all inputs state the same one.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

for model in a b c; do make_model $model 4; done
cat >recipe.yaml <<'YAML'
merge_method: linear
base_model: c
parameters: {weight: 1}
models:
  - model: a
  - model: b
YAML

card() # MODEL LINE...: its card's front matter
{
    local model=$1
    shift
    printf '%s\n' --- 'language: en' "$@" --- '' '# A model' 'license: gpl-3.0' >"$model/README.md"
}

merge()
{
    run merge recipe.yaml out --overwrite --progress none
    expect_exit 0
    sed -n '2,/^---$/p' out/README.md >front
    sed '1,/^## Models$/d; /^## Method$/,$d' out/README.md >text
}

has() { grep -qxF -e "$2" "$1" || fail "$1 lacks: $2"; }
lacks() { ! grep -qiF -e "$2" "$1" || fail "$1 has: $2"; }

# No cards: nothing is said.
merge
lacks front licen
lacks text licen

# The same in all.
for model in a b c; do card $model 'license: apache-2.0'; done
merge
has front 'license: "apache-2.0"'
lacks text licen

# A base's card counts; so does one that is missing, or broken, or states nothing.
card c 'license: mit'
merge
lacks front licen
has text '## Licences'
has text '- a: `apache-2.0`'
has text '- base: `mit`'
rm c/README.md
merge
lacks front licen
has text '- base: none stated'
card c 'license: [apache-2.0'
merge
has text '- base: none stated'
rm c/README.md
mkfifo c/README.md
merge
has text '- base: none stated'
rm c/README.md

# "other" takes its name and link along, where they agree.
for model in a b c; do card $model 'license: other' 'license_name: llama3' "license_link: 'LICENSE: x'"; done
merge
has front 'license: "other"'
has front 'license_name: "llama3"'
has front 'license_link: "LICENSE: x"'
lacks text licen
card b 'license: other' 'license_name: gemma' "license_link: 'LICENSE: x'"
merge
has front 'license: "other"'
lacks front license_name
has front 'license_link: "LICENSE: x"'
has text '- b: `other`, `gemma`, `LICENSE: x`'

# Words that are no words stay between their quotes.
for model in a b c; do card $model 'license: "`m\"it: # [x](y)"'; done
merge
has front 'license: "`m\"it: # [x](y)"'
card b 'license: "``<b>"'
merge
has text '- b: ``` ``<b> ```'
for model in a b c; do card $model 'license: "mit\nlicense_name: x"'; done
merge
lacks front licen

# A card longer than is read still counts; front matter longer than that does not.
for model in a b c; do
    card $model 'license: mit'
    truncate -s 3M $model/README.md
done
merge
has front 'license: "mit"'
{ echo ---; yes '# a comment' | head -c 1100000; echo; echo 'license: mit'; echo ---; } >b/README.md
merge
lacks front licen

# One file has no card of its own.
sed -i 's,model: b,model: b/model.safetensors,' recipe.yaml
merge
lacks front licen
has text '- model: none stated'
