/* recipe_chat.c - `chat_template`: auto, the name of a format, or a template's text. */
#include <string.h>

#include "../base/str.h"
#include "chat_format.h"
#include "recipe_read.h"

#define TEMPLATE_CHARACTERS_MIN 20u

static size_t characters(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

int wf_recipe_chat_template(struct wf_recipe_reader *r, const struct wf_yaml *document)
{
    const struct wf_yaml *v = wf_recipe_get(document, "chat_template");
    struct wf_recipe *recipe = r->out;
    if (!v)
        return WF_OK;
    recipe->chat_template_line = v->key_line;
    if (v->kind != WF_YAML_SCALAR)
        return wf_recipe_fail(r, v->key_line, "'chat_template' needs a text, not %s",
                              wf_recipe_kind(v));
    recipe->chat_auto = !strcmp(v->text, "auto");
    recipe->chat_template = recipe->chat_auto ? NULL : wf_chat_format(v->text);
    if (recipe->chat_auto || recipe->chat_template)
        return WF_OK;
    struct wf_clip clip;
    char hint[128];
    if (strlen(v->text) != v->text_n)
        return wf_recipe_fail(r, v->key_line, "'chat_template' holds a NUL character");
    if (characters(v->text) < TEMPLATE_CHARACTERS_MIN || !strchr(v->text, '{'))
        return wf_recipe_fail(
            r, v->key_line,
            "chat_template '%s' is no format that weft knows%s, and too short or plain for a "
            "template (%u characters and a '{' at least); write auto, alpaca, chatml, exaone, "
            "llama3, mistral, or Jinja",
            wf_clip(v->text, &clip),
            wf_did_you_mean(v->text, wf_chat_format_names(), hint, sizeof hint),
            TEMPLATE_CHARACTERS_MIN);
    recipe->chat_template = wf_arena_strndup(r->arena, r->e, v->text, v->text_n);
    return recipe->chat_template ? WF_OK : WF_MACHINE;
}
