/* fuzz_yaml.c - any bytes as a recipe's YAML. What is accepted must keep every promise of yaml.h.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/base/str.h"
#include "../../src/format/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool truth)
{
    if (!truth)
        abort();
}

static void check_scalar(const struct wf_yaml *v)
{
    double number = 0;
    bool truth = false;
    must(v->n == 0 && strlen(v->text) == v->text_n && wf_utf8_valid(v->text, v->text_n, NULL));
    must(v->kind == WF_YAML_SCALAR || (v->text_n == 0 && !v->quoted));
    bool is_number = wf_yaml_number(v, &number), is_bool = wf_yaml_bool(v, &truth);
    must(isfinite(number) && !(is_number && is_bool));
    must(!(v->quoted && (is_number || is_bool)));
}

/* Returns the nodes below and with v. */
static size_t check(const struct wf_yaml *v, int depth, int lines)
{
    size_t nodes = 1;
    must(depth <= 32 && v->line >= 1 && v->line <= lines);
    if (v->kind == WF_YAML_SCALAR || v->kind == WF_YAML_NULL) {
        check_scalar(v);
        return nodes;
    }
    for (size_t i = 0; i < v->n; i++) {
        const struct wf_yaml *child = v->children[i];
        must((child->key != NULL) == (v->kind == WF_YAML_MAP));
        if (v->kind == WF_YAML_MAP) {
            must(child->key_line >= 1 && child->key_line <= lines);
            must(i >= 64 || wf_yaml_get(v, child->key) == child);
        }
        nodes += check(child, depth + 1, lines);
    }
    return nodes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct wf_err e = {0};
    struct wf_arena a = {0};
    struct wf_yaml **docs;
    size_t n_docs, nodes = 0;
    /* Every byte may end a line in libyaml's eyes (CR, NEL, LS count too). */
    int lines = (int)n + 2;
    int s = wf_yaml_parse(&e, &a, "fuzz", (const char *)data, n, &docs, &n_docs);
    must(s == wf_err_status(&e));
    if (s) {
        must(s == WF_USAGE && !docs && n_docs == 0 && wf_starts_with(e.text, "fuzz:"));
        must(!strchr(e.text, '\n'));
    } else {
        must(n_docs >= 1);
        for (size_t i = 0; i < n_docs; i++)
            nodes += check(docs[i], 1, lines);
        must(nodes <= 1000000);
    }
    wf_arena_destroy(&a);
    must(wf_mem_now(WF_MEM_META) == 0);
    return 0;
}
