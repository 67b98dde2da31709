/* adapter_fixture.h - small adapters and bases for tests: tensors of zeros, one line of text each.
 */
#ifndef WF_ADAPTER_FIXTURE_H
#define WF_ADAPTER_FIXTURE_H

#include "tool_fixture.h"

#include "../../src/format/adapter.h"

#define LORA "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4"

/* A safetensors file with tensors "NAME 2x3" or "NAME 2x3 BF16" (F32 otherwise); ends with NULL. */
static inline void fx_tensors(struct fx *f, const char *path, const char *const *list)
{
    static const double zeros[1024];
    static char names[FX_TENSORS_MAX][256];
    struct fx_tensor tensors[FX_TENSORS_MAX] = {0};
    size_t n = 0;
    for (; list[n]; n++) {
        struct fx_tensor *t = &tensors[n];
        char shape[64] = "", type[16] = "F32";
        assert_true(n < FX_TENSORS_MAX);
        assert_true(sscanf(list[n], "%255s %63s %15s", names[n], shape, type) >= 2);
        t->name = names[n];
        t->dtype = wf_dtype_by_name(type, strlen(type));
        t->data = zeros;
        for (char *at = shape; *at; at += *at == 'x')
            t->shape[t->n_dims++] = strtoull(at, &at, 10);
    }
    fx_st(f, path, tensors, n, NULL, 0);
}

/* An adapter folder, made anew. */
static inline void fx_adapter(struct fx *f, const char *name, const char *config,
                              const char *const *tensors)
{
    char path[64];
    wf_remove_tree(&f->e, fx_path(f, name));
    fx_folder(f, name);
    snprintf(path, sizeof path, "%s/adapter_config.json", name);
    fx_text(f, path, config);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", name);
    fx_tensors(f, path, tensors);
}

static inline const struct wf_ckpt *fx_open(struct fx *f, const char *name)
{
    struct wf_place place = {.path = fx_path(f, name)};
    struct wf_ckpt *c = wf_arena_alloc(&f->arena, &f->e, 1, sizeof *c);
    assert_non_null(c);
    if (wf_ckpt_open(&f->e, &f->arena, &place, c))
        fail_msg("%s", f->e.text);
    return c;
}

/* The last call failed with this status and a sentence of one line that holds `words`. */
#define fx_assert_failed(f, got, wanted, words)                                                    \
    do {                                                                                           \
        int got_ = (got);                                                                          \
        if (got_ != (int)(wanted) || !strstr((f)->e.text, (words)))                                \
            fail_msg("status %d, wanted %d with '%s': %s", got_, (int)(wanted), (words),           \
                     (f)->e.text);                                                                 \
        assert_null(strchr((f)->e.text, '\n'));                                                    \
        wf_err_clear(&(f)->e);                                                                     \
    } while (0)

#define fx_assert_worked(f, got)                                                                   \
    do {                                                                                           \
        int got_ = (got);                                                                          \
        if (got_)                                                                                  \
            fail_msg("status %d: %s", got_, (f)->e.text);                                          \
    } while (0)

#endif
