/* fuzz_chain.c - any bytes as a recipe of several documents: stages in an order in which they can
 * run, or one line. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/base/log.h"
#include "../../src/base/str.h"
#include "../../src/recipe/chain.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A reference to a stage is to one that runs before. */
static void check_reference(const struct wf_chain *c, size_t at, const struct wf_reference *ref)
{
    bool found = !ref->stage;
    for (size_t i = 0; i < at && !found; i++)
        found = !strcmp(c->run[i].name, ref->stage);
    CHECK(found);
}

static void check_chain(const struct wf_chain *c)
{
    CHECK(c->n > 0);
    for (size_t i = 0; i < c->n; i++) {
        const struct wf_chain_stage *s = &c->run[i];
        bool last = i + 1 == c->n;
        CHECK(s->recipe.method && (last ? !s->recipe.own : s->recipe.own && s->name));
        CHECK(last || (!strchr(s->name, '/') && s->name[0] != '.'));
        CHECK(last || (!s->recipe.deltas.wanted && !s->recipe.method->adapters));
        if (s->recipe.has_base)
            check_reference(c, i, &s->recipe.base);
        for (size_t m = 0; m < s->recipe.n_models; m++)
            check_reference(c, i, &s->recipe.models[m].ref);
    }
}

static size_t parse(const uint8_t *data, size_t n, bool compat)
{
    struct wf_err e = {0};
    struct wf_arena a = {0};
    struct wf_chain c = {0};
    int s = wf_chain_parse(&e, &a, "dir/r.yaml", (const char *)data, n, compat, &c);
    CHECK(s == wf_err_status(&e));
    if (s == WF_OK)
        check_chain(&c);
    else
        CHECK(s == WF_USAGE && wf_starts_with(e.text, "dir/r.yaml:") && !strchr(e.text, '\n'));
    wf_arena_destroy(&a);
    return s == WF_OK ? c.n : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    wf_log_set_level(WF_LOG_ERROR);
    size_t strict = parse(data, n, false);
    size_t loose = parse(data, n, true);
    CHECK(strict == 0 || strict == loose);
    return 0;
}
