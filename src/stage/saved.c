/* saved.c - the text of a unit's conclusions, written and read. */
#include "saved.h"

#include <inttypes.h>
#include <string.h>

#include "keybits.h"
#include "unit_state.h"

/* ---- writing ---- */

static void put_numbers(struct wf_str *s, const char *word, const void *numbers, size_t n)
{
    wf_str_puts(s, word);
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, (const char *)numbers + i * sizeof bits, sizeof bits);
        wf_str_printf(s, " %" PRIx64, bits);
    }
    wf_str_puts(s, "\n");
}

/* Its ranks are known, and of each cut a range that holds it. */
static bool has_counted(const struct wf_unit *u)
{
    return u->step == WF_STEP_TIES || u->step == WF_STEP_LOCATE ||
           (u->step == WF_STEP_COUNT && u->select.ranked);
}

static void put_conclusion(struct wf_str *s, const struct wf_conclusion *c,
                           const struct wf_unit_places *places)
{
    uint64_t tensor = c->split ? places->tensor(places->arg, c->piece) : 0;
    const uint64_t numbers[] = {c->keys.first, c->keys.rest, tensor, c->index};
    put_numbers(s, c->split ? "split" : "found", numbers, c->split ? 4 : 2);
}

void wf_unit_save(const struct wf_unit *u, const struct wf_unit_places *places, struct wf_str *text)
{
    const uint64_t stage = u->stage;
    put_numbers(text, "stage", &stage, 1);
    put_numbers(text, "g", u->args.g, WF_ARGS_GLOBAL);
    for (uint32_t i = 0; i < u->args.n; i++)
        put_numbers(text, "m", u->args.m[i], WF_ARGS_MODEL);
    put_numbers(text, "t", u->args.t, u->args.n_t);
    for (uint32_t i = 0; i < u->n_conclusions; i++)
        put_conclusion(text, &u->conclusions[i], places);
    for (uint32_t i = 0; has_counted(u) && i < wf_n_cuts(&u->select); i++) {
        const struct wf_cut *c = &u->select.cuts[i];
        const uint64_t numbers[] = {c->state, c->rank, c->least, c->most, c->before, c->through};
        put_numbers(text, "cut", numbers, 6);
    }
    wf_str_puts(text, "end\n");
}

/* ---- reading ---- */

struct reader {
    const char *at, *end;
};

static bool read_text(struct reader *r, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, text, n) != 0)
        return false;
    r->at += n;
    return true;
}

/* A space and 1 to 16 digits, as they are written: no zeros before others, no capitals. */
static bool read_number(struct reader *r, uint64_t *number)
{
    static const char digits[] = "0123456789abcdef";
    unsigned n = 0;
    *number = 0;
    if (!read_text(r, " "))
        return false;
    for (; r->at < r->end && n < 16; n++, r->at++) {
        const char *digit = *r->at ? strchr(digits, *r->at) : NULL;
        if (!digit)
            break;
        if (n == 1 && *number == 0)
            return false;
        *number = *number << 4 | (uint64_t)(digit - digits);
    }
    return n > 0;
}

static bool read_line(struct reader *r, const char *word, void *numbers, size_t n)
{
    if (!read_text(r, word))
        return false;
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        if (!read_number(r, &bits))
            return false;
        memcpy((char *)numbers + i * sizeof bits, &bits, sizeof bits);
    }
    return read_text(r, "\n");
}

static bool is_key(const struct wf_unit *u, uint64_t key)
{
    return key == WF_KEY_NONE || key <= wf_key_max(u->group.wide);
}

/* What a conclusion is about follows from the method. */
static bool read_conclusion(struct reader *r, struct wf_unit *u,
                            const struct wf_unit_places *places, int32_t input, uint8_t slot)
{
    uint64_t numbers[4];
    struct wf_conclusion c = {.input = input, .slot = slot};
    if (r->at < r->end && *r->at == 's') {
        c.split = read_line(r, "split", numbers, 4);
        if (!c.split || !places->piece(places->arg, numbers[2], numbers[3], &c.piece))
            return false;
        c.index = numbers[3];
    } else if (!read_line(r, "found", numbers, 2)) {
        return false;
    }
    if (!is_key(u, numbers[0]) || !is_key(u, numbers[1]))
        return false;
    c.keys = (struct wf_cut_keys){numbers[0], numbers[1]};
    wf_unit_conclude(u, &c);
    return true;
}

static bool read_conclusions(struct reader *r, struct wf_unit *u,
                             const struct wf_unit_places *places, uint64_t stage)
{
    for (unsigned s = 0; s < stage; s++) {
        const struct wf_select *select = &u->group.method->stages[s].select;
        if (u->group.method->stages[s].kind != WF_STAGE_SELECT || !wf_unit_has_stage(u, s))
            continue;
        uint32_t streams = select->per_model ? u->args.n - 1 : 1;
        for (uint32_t i = 0; i < streams * select->n_ranks; i++) {
            int32_t input = select->per_model ? (int32_t)(i / select->n_ranks) + 1 : -1;
            uint8_t slot = (uint8_t)(select->cut + i % select->n_ranks);
            if (!read_conclusion(r, u, places, input, slot))
                return false;
        }
    }
    return true;
}

/* A cut as it can be after a COUNT. */
static bool is_possible(const struct wf_cut *c, uint64_t count, uint64_t key_max)
{
    if (c->least > c->most || c->most > key_max || c->before > c->through || c->through > count)
        return false;
    if (c->state == WF_CUT_NONE)
        return c->rank == count;
    return c->rank >= c->before && c->rank < c->through &&
           (c->state == WF_CUT_FOUND) == (c->least == c->most);
}

static bool read_cuts(struct reader *r, struct wf_unit *u)
{
    struct wf_selecting *s = &u->select;
    for (uint32_t i = 0; i < wf_n_cuts(s); i++) {
        uint64_t numbers[6];
        struct wf_cut *c = &s->cuts[i];
        if (!read_line(r, "cut", numbers, 6) || numbers[0] > WF_CUT_NONE)
            return false;
        *c = (struct wf_cut){.state = (enum wf_cut_state)numbers[0],
                             .rank = numbers[1],
                             .least = numbers[2],
                             .most = numbers[3],
                             .before = numbers[4],
                             .through = numbers[5]};
        if (!is_possible(c, u->group.count, wf_key_max(u->group.wide)))
            return false;
    }
    return true;
}

static bool read_all(struct reader *r, struct wf_unit *u, const struct wf_unit_places *places)
{
    uint64_t stage;
    size_t last = u->group.method->n_stages;
    if (!read_line(r, "stage", &stage, 1) || stage > last ||
        (stage < last && !wf_unit_has_stage(u, (unsigned)stage)))
        return false;
    bool ok = read_line(r, "g", u->args.g, WF_ARGS_GLOBAL);
    for (uint32_t i = 0; ok && i < u->args.n; i++)
        ok = read_line(r, "m", u->args.m[i], WF_ARGS_MODEL);
    ok = ok && read_line(r, "t", u->args.t, u->args.n_t);
    if (!ok || !read_conclusions(r, u, places, stage))
        return false;
    wf_unit_begin_stage(u, (unsigned)stage);
    if (read_text(r, "end\n"))
        return r->at == r->end;
    if (stage == last || u->group.method->stages[stage].kind != WF_STAGE_SELECT ||
        !read_cuts(r, u) || !read_text(r, "end\n"))
        return false;
    wf_selecting_go_on(&u->select);
    u->step = u->select.step;
    return r->at == r->end;
}

bool wf_unit_restore(struct wf_unit *u, const struct wf_unit_places *places, const char *text,
                     size_t n)
{
    const struct wf_unit_group group = u->group;
    struct reader r = {text, text + n};
    wf_unit_begin(u, &group);
    if (read_all(&r, u, places))
        return true;
    wf_unit_begin(u, &group);
    return false;
}
