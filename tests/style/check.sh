#!/usr/bin/env bash
# check.sh - the rules of docs/STYLE.md and docs/ARCHITECTURE.md that a machine can check.
#
# Prints "FAIL  file:line: rule" for each breach; each rule that holds counts as one passed.
source tests/suite/suite.sh
shopt -s lastpipe # so that `... | rule` counts in this shell
weft=build/weft

if git rev-parse --git-dir >/dev/null 2>&1; then
    git ls-files -co --exclude-standard | while read -r f; do [ -f "$f" ] && echo "$f"; done | sort >"$SCRATCH/files"
else
    find . -path ./build -prune -o -type f -print | sed 's,^\./,,' | sort >"$SCRATCH/files"
fi
listed() { grep -E "$1" "$SCRATCH/files"; }
product=$(listed '^(src|include|kernels)/.*\.(c|h|cu|cuh)$')
sources=$(listed '^(src|include|kernels|tests|bench)/.*\.(c|h|cu|cuh|cpp)$')
scripts=$(listed '(\.sh|\.py|\.mk|\.sbatch|^Makefile|^\.ci/run|^bench/compare)$')
documents=$(listed '\.md$' | grep -v '^tests/data/\|^tests/golden/')

# rule NAME: reads breaches, "file:line: ...", from standard input.
rule() {
    local breaches
    breaches=$(head -n 12)
    if [ -z "$breaches" ]; then
        pass
    else
        while IFS= read -r line; do fail "$line" "$1"; done <<<"$breaches"
    fi
}

# Code without comments and without what stands in quotes, as file:line:text.
code() {
    awk '
    FNR == 1 { inside = 0 }
    {
        line = $0
        gsub(/\\./, "", line)
        gsub(/"[^"]*"/, "\"\"", line)
        out = ""
        while (line != "") {
            if (inside) {
                at = index(line, "*/")
                if (!at) break
                line = substr(line, at + 2)
                inside = 0
            } else {
                at = index(line, "/*")
                if (!at) { out = out line; break }
                out = out substr(line, 1, at - 1)
                line = substr(line, at + 2)
                inside = 1
            }
        }
        sub(/\/\/.*/, "", out)
        if (out ~ /[^ \t]/) print FILENAME ":" FNR ":" out
    }' "$@"
}

# ---- layers: which folder may include which ----

# "file:line folder header" for each include with quotes, the header as a path from the root.
includes() {
    grep -nE '^ *# *include "' $product | while IFS=: read -r file line text; do
        header=${text#*\"}
        header=$(realpath -m --relative-to=. "$(dirname "$file")/${header%%\"*}")
        case $file in
        src/*/*) folder=$(cut -d/ -f2 <<<"$file") ;;
        src/main.c | src/cmd_*.c | src/cli.*) folder=program ;;
        src/*) folder=api ;;
        *) folder=${file%%/*} ;;
        esac
        echo "$file:$line $folder $header"
    done
}
below='base|format|linalg|lowrank|recipe|method|plan'
allowed() { # FOLDER: a regular expression of headers
    case $1 in
    base) echo 'src/base/' ;;
    linalg) echo 'src/(base|linalg)/' ;;
    format) echo 'src/(base|format)/|kernels/dtype_conv\.h' ;;
    lowrank) echo 'src/(base|format|linalg|lowrank)/|kernels/(dtype_conv|philox)\.h' ;;
    recipe) echo 'src/(base|format|recipe|method)/' ;;
    method) echo 'src/(base|method)/|src/format/dtype\.h|kernels/' ;;
    # for its version; for sizes of what statistics need
    plan) echo 'src/(base|format|recipe|method|plan)/|include/weft\.h|src/stage/unit\.h|src/backend/scratch\.h' ;;
    stage) echo 'src/(base|method|backend|stage)/' ;;
    backend) echo 'src/(base|backend|linalg)/|src/format/dtype\.h|src/method/method\.h|kernels/' ;;
    dist) echo 'src/(base|dist)/|src/plan/plan\.h|src/stage/join\.h|kernels/plugin\.h' ;;
    publish) echo "src/($below|dist|stream|publish)/"'|src/backend/device(_linalg)?\.h|include/weft\.h' ;;
    search) echo "src/($below|dist|publish|search)/"'|include/weft\.h|kernels/(exact_math|philox)\.h' ;;
    stream) echo 'src/(base|format|method|plan|backend|stage|dist|stream)/' ;;
    tool) echo "src/($below|backend|dist|publish|stream|tool)/"'|include/weft\.h|kernels/dtype_conv\.h' ;;
    api) echo "src/($below|backend|stage|dist|publish|search|stream|tool)/"'|include/weft\.h|src/[a-z_]*\.h' ;;
    program) echo 'include/weft\.h|src/cli\.h' ;;
    kernels) echo 'kernels/|src/method/method\.h|src/format/dtype\.h' ;;
    include) echo 'include/' ;;
    esac
}
includes >"$SCRATCH/includes"
while read -r place folder header; do
    grep -qE "^($(allowed "$folder"))" <<<"$header" || echo "$place: $folder includes $header"
done <"$SCRATCH/includes" | rule "layers (docs/ARCHITECTURE.md)"
grep -E ' stream src/format/(json|yaml|json_lex)\.h' "$SCRATCH/includes" | rule "stream never parses text"

# ---- bright lines ----

only() { # PATTERN FILES-THAT-MAY RULE
    code $product | grep -E "$1" | grep -vE "^($2):" | rule "$3"
}
bare() { echo "(^|[^A-Za-z0-9_.>])($1) *\\("; }
grep -nE '#include <cjson' $product | grep -v '^src/format/json\.c:' | rule "cJSON only in format/json.c"
grep -nE '#include <yaml' $product | grep -v '^src/format/yaml\.c:' | rule "libyaml only in format/yaml.c"
grep -nE '#include <(cuda|cublas|cusolver|nccl)' $product |
    grep -vE '^kernels/[a-z_]*\.(cu|cuh)|^kernels/gpu\.h' | rule "CUDA only in kernels/*.cu"
grep -nE '#include <mpi' $product | grep -v '^src/dist/mpi_plugin\.c:' | rule "MPI only in dist/mpi_plugin.c"
only "$(bare 'malloc|calloc|realloc|free|aligned_alloc|posix_memalign|strdup|strndup|asprintf|vasprintf|getline')" \
    'src/base/mem\.c' "memory comes from base/mem.c"
only "$(bare 'strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof|strtol|strtoul|strtoll|strtoull|strtof|alloca')" \
    'none' "banned function"
only "$(bare 'strtod')" 'src/base/num\.c' "strtod only in base/num.c"
only "$(bare 'mmap')" 'src/base/mem\.c' "inputs are read, never mapped"
only "$(bare 'printf|puts|putchar')" 'src/(cmd_[a-z]*|cli|main)\.c|src/tool/[a-z_]*\.c' "printf outside the commands"
only "$(bare 'dlopen|dlsym')" \
    'src/linalg/linalg_cpu\.c|src/backend/device_open\.c|src/base/library\.c|kernels/open_library\.cuh' \
    "libraries are opened in four places"
only "$(bare 'rand|srand|random|drand48')" 'none' "randomness is Philox"
only "$(bare 'fmin|fmax|fminf|fmaxf|expf?|logf?|powf?|sinf?|cosf?|tanhf?|fmaf?')" 'kernels/dialect\.h|src/plan/.*|src/tool/.*' \
    "no libm decides a byte"
code $(listed '^kernels/method/') |
    grep -E "$(bare 'malloc|wf_alloc|wf_arena_[a-z]*|printf|fprintf|wf_log|wf_warn|open|read|write|pread|pwrite')" |
    rule "element functions do no allocation, logging or I/O"

# ---- shape of the files ----

awk 'FNR == 1 { start = 0 }
    /^\{/ { start = FNR }
    /^\}/ {
        if (start && FNR - start - 1 > 70) print FILENAME ":" start ": function of " FNR - start - 1 " lines"
        start = 0
    }
    /^[a-z].*\) *\{$/ { start = FNR }' $sources | rule "functions have at most 70 lines"
awk '{ gsub(/[\200-\277]/, "") } length($0) > 100 { print FILENAME ":" FNR ": " length($0) " columns" }' $sources |
    rule "100 columns"
awk '{ gsub(/[\200-\277]/, "") } length($0) > 130 { print FILENAME ":" FNR ": " length($0) " columns" }' $scripts |
    rule "130 columns in scripts"
grep -nE '[[:space:]]+$' $sources $scripts | cut -c1-120 | rule "no space at the end of a line"
grep -nP '\t' $sources $(listed '\.(sh|py)$') | cut -c1-120 | rule "no tabs"
for file in $sources $scripts $documents; do
    [ -z "$(tail -c 1 "$file")" ] || echo "$file:1: no newline at the end"
done | rule "files end with a newline"
for file in $product $(listed '^(bench|tests/unit|tests/fuzz)/.*\.[ch]$'); do
    head -n 3 "$file" | grep -qF "$(basename "$file")" || echo "$file:1: does not open with its name and what it is for"
done | rule "each file says what it is for"
listed '^(src|include|kernels|tests|bench|mk|docs|configs)/' |
    grep -vE '^tests/(data|golden|fuzz/corpus|cli/cases)/' |
    awk -F/ '$NF != "run.sh" { if ($NF in seen) print $0 ":1: same name as " seen[$NF]; seen[$NF] = $0 }' |
    rule "file names are unique"
while read -r file; do
    if [[ $file =~ (\.sh|\.py|^\.ci/run|^bench/compare)$ ]] && head -c 2 "$file" | grep -q '#!'; then
        [ -x "$file" ] || echo "$file:1: starts with #! and is not executable"
    else
        [ ! -x "$file" ] || echo "$file:1: is executable"
    fi
done <"$SCRATCH/files" | rule "file modes"

# ---- nothing left behind ----

words='TO''DO|FIX''ME|X''XX|HA''CK|not impl''emented'
grep -nE "\b($words)\b" $sources $scripts $documents | rule "no loose ends"
grep -nE '(^|[^A-Za-z0-9_.])/(work|root|farm|home/[a-z]*/[a-z])' $sources $scripts $documents | rule "no paths of one machine"
for file in $(listed '\.[ch]$'); do
    name=$(basename "$file")
    case $file in
    *.h) grep -qE "include .*[\"/]${name//./\\.}\"" $sources || echo "$file:1: included by nothing" ;;
    kernels/method/*) ;;
    src/*.c | src/*/*.c | tests/fuzz/fuzz_*.c) ;; # built by pattern
    tests/unit/test_*.c | tests/method/test_*.c | tests/device/test_*.c) ;;
    *.c) grep -qE "\b${name%.c}\b" Makefile mk/*.mk $(listed '\.sh$') || echo "$file:1: built by nothing" ;;
    esac
done | rule "no dead files"

# A run in the wrong folder leaves a model there, and `git add -A` takes it.
grep -vE '^(bench|configs|docs|include|kernels|mk|src|tests|\.ci)/|^(Makefile|README\.md|\.clang-format|\.gitignore)$' \
    "$SCRATCH/files" |
    sed 's/$/: is not of the project/' | rule "top level"
for header in $(listed '^kernels/method/.*\.h$'); do
    grep -q "method/$(basename "$header")\"" kernels/methods.h || echo "$header:1: not listed in kernels/methods.h"
done | rule "every method is listed"

# ---- documents ----

for file in $documents; do
    n=$(awk '/^```/ { fence = !fence } !fence && /^# / { n++ } END { print n + 0 }' "$file")
    [ "$n" = 1 ] || echo "$file:1: $n titles"
done | rule "one title in a document"
grep -noE '\]\([^)#: ]+' $documents | while IFS=: read -r file line link; do
    [ -e "$(dirname "$file")/${link#](}" ] || echo "$file:$line: ${link#](} does not exist"
done | rule "links lead somewhere"
grep -q 'for config in configs/\*.yaml' tests/suite/recipes.sh || echo "tests/suite/recipes.sh:1: does not run configs/*.yaml"
if [ -x $weft ]; then
    mk/methods-doc.sh $weft 2>&1 | cmp -s - docs/METHODS.md || echo "docs/METHODS.md:1: is not up to date: make docs"
    $weft gen man 2>&1 | cmp -s - docs/weft.1 || echo "docs/weft.1:1: is not up to date: make docs"
fi | rule "generated documents are up to date"
finish
