/* adapter_name.c - the names of an adapter's tensors, taken apart; see adapter_name.h. */
#include "adapter_name.h"

#include <stdbool.h>
#include <string.h>

#include "../base/str.h"

/* The components of a name, terminated in place. */
struct parts {
    char **part;
    size_t n;
};

static int split(struct wf_err *e, struct wf_arena *a, const char *name, struct parts *out)
{
    char *text = wf_arena_strdup(a, e, name);
    size_t n = 1;
    for (const char *p = name; (p = strchr(p, '.')); p++)
        n++;
    *out = (struct parts){.part = wf_arena_alloc(a, e, n, sizeof *out->part)};
    if (!text || !out->part)
        return WF_MACHINE;
    for (char *next; text; text = next) {
        next = strchr(text, '.');
        if (next)
            *next++ = 0;
        out->part[out->n++] = text;
    }
    return WF_OK;
}

/* Takes out parts [from, from + n). */
static void drop(struct parts *p, size_t from, size_t n)
{
    memmove(&p->part[from], &p->part[from + n], (p->n - from - n) * sizeof *p->part);
    p->n -= n;
}

static void drop_all(struct parts *p, const char *word)
{
    for (size_t i = 0; i < p->n;)
        if (!strcmp(p->part[i], word))
            drop(p, i, 1);
        else
            i++;
}

static void drop_first(struct parts *p, const char *word)
{
    while (p->n > 1 && !strcmp(p->part[0], word))
        drop(p, 0, 1);
}

/* What compilers and data parallelism put anywhere, then what PEFT puts first. */
static void strip_wrapping(struct parts *p)
{
    drop_all(p, "_orig_mod");
    drop_all(p, "_fsdp_wrapped_module");
    drop_first(p, "module");
    if (p->n > 1 && !strcmp(p->part[0], "base_model"))
        drop(p, 0, !strcmp(p->part[1], "model") && p->n > 2 ? 2 : 1);
    drop_first(p, "module");
}

static int join(struct wf_err *e, struct wf_arena *a, const struct parts *p, const char **out)
{
    size_t bytes = 1;
    for (size_t i = 0; i < p->n; i++)
        bytes += strlen(p->part[i]) + 1;
    char *text = wf_arena_alloc(a, e, bytes, 1);
    if (!text)
        return WF_MACHINE;
    *out = text;
    for (size_t i = 0; i < p->n; i++) {
        size_t n = strlen(p->part[i]);
        memcpy(text, p->part[i], n);
        text[n] = i + 1 < p->n ? '.' : 0;
        text += n + 1;
    }
    return WF_OK;
}

/* A component that says what kind of tensor this is, and what may follow it. */
struct word {
    const char *text;
    enum wf_adapter_part part;
    enum { TAIL_WEIGHT, TAIL_BARE, TAIL_ANY } tail;
};

static const struct word words[] = {
    {"lora_A", WF_PART_A, TAIL_WEIGHT},
    {"lora_B", WF_PART_B, TAIL_WEIGHT},
    {"lora_embedding_A", WF_PART_EMBEDDING_A, TAIL_BARE},
    {"lora_embedding_B", WF_PART_EMBEDDING_B, TAIL_BARE},
    {"lora_magnitude_vector", WF_PART_MAGNITUDE, TAIL_ANY},
    {"token_adapter", WF_PART_TOKENS, TAIL_ANY},
    {"trainable_tokens_delta", WF_PART_TOKENS, TAIL_ANY},
    {"lora_diag", WF_PART_DIAGONAL, TAIL_ANY},
    {"lora_monteclora_sampler", WF_PART_IGNORED, TAIL_ANY},
    {"original_module", WF_PART_IGNORED, TAIL_ANY},
    {"lora_down", WF_PART_FOREIGN, TAIL_ANY},
    {"lora_up", WF_PART_FOREIGN, TAIL_ANY},
};

static const struct word *find_word(const struct parts *p, size_t *at)
{
    for (*at = 0; *at < p->n; ++*at)
        for (size_t w = 0; w < sizeof words / sizeof *words; w++)
            if (!strcmp(p->part[*at], words[w].text))
                return &words[w];
    return NULL;
}

/* Reads what follows the word at `at`: [ADAPTER] and "weight" or "bias". False if it is not that.
 */
static bool read_tail(const struct word *w, const struct parts *p, size_t at,
                      struct wf_adapter_name *out)
{
    size_t left = p->n - at - 1;
    out->part = w->part;
    if (w->tail == TAIL_ANY)
        return true;
    if (w->tail == TAIL_WEIGHT) {
        if (!left)
            return false;
        const char *last = p->part[p->n - 1];
        if (w->part == WF_PART_B && !strcmp(last, "bias"))
            out->part = WF_PART_B_BIAS;
        else if (strcmp(last, "weight"))
            return false;
        left--;
    }
    if (left == 1)
        out->adapter = p->part[at + 1];
    return left <= 1;
}

/* Tensors of the other kinds of adapters that PEFT writes: LoKr, LoHa, IA3, VeRA. */
static bool is_of_another_kind(const char *part)
{
    static const char *const starts[] = {"lokr_", "hada_", "ia3_", "vera_lambda_"};
    bool found = false;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        found |= wf_starts_with(part, starts[i]);
    return found;
}

/* Without a word of PEFT's: a tensor that replaces the base's, or something of another tool. */
static void read_whole(struct parts *p, struct wf_adapter_name *out)
{
    out->part = WF_PART_WHOLE;
    for (size_t i = 0; i < p->n; i++) {
        const char *part = p->part[i];
        if (!strcmp(part, "modules_to_save") && i + 1 < p->n) {
            out->adapter = p->part[i + 1];
            drop(p, i, 2);
            return;
        }
        if (wf_starts_with(part, "lora_velora_"))
            out->part = WF_PART_IGNORED;
        else if (wf_starts_with(part, "lora_") || !strcmp(part, "lora") ||
                 wf_ends_with(part, "_lora") || is_of_another_kind(part))
            out->part = WF_PART_FOREIGN;
        if (out->part != WF_PART_WHOLE)
            return;
    }
}

int wf_adapter_name_parse(struct wf_err *e, struct wf_arena *a, const char *name,
                          struct wf_adapter_name *out)
{
    struct parts p;
    size_t at;
    *out = (struct wf_adapter_name){0};
    int s = split(e, a, name, &p);
    if (s)
        return s;
    strip_wrapping(&p);
    drop_all(&p, "base_layer");
    const struct word *w = find_word(&p, &at);
    if (!w) {
        read_whole(&p, out);
    } else {
        if (!read_tail(w, &p, at, out))
            out->part = WF_PART_FOREIGN;
        p.n = at;
    }
    return join(e, a, &p, &out->path);
}
