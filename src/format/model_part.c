/* model_part.c - words for the parts of multimodal models; see model_part.h. */
#include "model_part.h"

#include <string.h>

#include "../base/str.h"

/* Other words for a part; the text is what is left. */
static const char *const vision[] = {"vision_tower", "vision_encoder", "vision_model",
                                     "visual",       "image_encoder",  NULL};
static const char *const audio[] = {"audio_tower", "audio_encoder", "audio_model", NULL};
static const char *const projector[] = {
    "multi_modal_projector", "mm_projector", "projector", "connector", "embed_vision", NULL};
static const char *const text[] = {"text_decoder", "language_model", "text_model",
                                   "llm",          "text",           NULL};
static const char *const *const senses[] = {vision, audio, projector};

static bool is_among(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (!strcmp(*words, word))
            return true;
    return false;
}

bool wf_model_part_has(const void *arg, const char *name)
{
    const struct wf_model_part *p = arg;
    for (size_t i = 0; i < p->n_words; i++)
        if (wf_has_word(name, p->words[i]))
            return !p->is_rest;
    return p->is_rest;
}

static bool has_tensors(const struct wf_ckpt *c, const struct wf_model_part *p)
{
    for (size_t i = 0; i < c->n_tensors; i++)
        if (wf_model_part_has(p, c->tensors[i].name))
            return true;
    return false;
}

static void take_words(struct wf_model_part *p, const char *const *words)
{
    for (; *words && p->n_words < WF_PART_WORDS_MAX; words++)
        p->words[p->n_words++] = *words;
}

/* The words of other parts that this checkpoint uses. */
static void take_rest(const struct wf_ckpt *c, struct wf_model_part *p)
{
    p->is_rest = true;
    for (size_t k = 0; k < sizeof senses / sizeof *senses; k++)
        for (const char *const *word = senses[k]; *word; word++) {
            struct wf_model_part one = {.words = {*word}, .n_words = 1};
            if (p->n_words < WF_PART_WORDS_MAX && has_tensors(c, &one))
                p->words[p->n_words++] = *word;
        }
}

bool wf_model_part_find(const struct wf_ckpt *c, const char *module, struct wf_model_part *out)
{
    *out = (struct wf_model_part){.is_rest = !strcmp(module, "default")};
    if (out->is_rest)
        return true;
    if (is_among(module, text)) {
        take_rest(c, out);
        return has_tensors(c, out);
    }
    *out = (struct wf_model_part){.words = {module}, .n_words = 1};
    if (has_tensors(c, out))
        return true;
    out->n_words = 0;
    for (size_t k = 0; k < sizeof senses / sizeof *senses; k++)
        if (is_among(module, senses[k]))
            take_words(out, senses[k]);
    return out->n_words && has_tensors(c, out);
}
