/* tokenizer_edit.c - text inserted at the end of a list or object, in the layout of its last entry.
 */
#include "tokenizer_edit.h"

#include <inttypes.h>
#include <string.h>

#include "json_lex.h"

static const char *truth(const struct wf_token *t, uint32_t flag)
{
    return t->flags & flag ? "true" : "false";
}

static void write_flags(struct wf_str *s, const struct wf_token *t)
{
    wf_str_printf(s,
                  ", \"single_word\": %s, \"lstrip\": %s, \"rstrip\": %s, \"normalized\": %s, "
                  "\"special\": %s}",
                  truth(t, WF_TOKEN_SINGLE_WORD), truth(t, WF_TOKEN_LSTRIP),
                  truth(t, WF_TOKEN_RSTRIP), truth(t, WF_TOKEN_NORMALIZED),
                  truth(t, WF_TOKEN_SPECIAL));
}

static void write_element(struct wf_str *s, const struct wf_token *t)
{
    wf_str_printf(s, "{\"id\": %" PRIu32 ", \"content\": ", t->id);
    wf_str_json(s, t->text, t->n);
    write_flags(s, t);
}

static void write_member(struct wf_str *s, const struct wf_token *t)
{
    wf_str_printf(s, "\"%" PRIu32 "\": {\"content\": ", t->id);
    wf_str_json(s, t->text, t->n);
    write_flags(s, t);
}

/* Inserts the tokens at `end`, behind the last entry of what opens at `open`; the space before the
 * first entry goes before each of them. */
static void insert(struct wf_str *s, const char *text, size_t n, size_t open, size_t end,
                   const struct wf_token *tokens, size_t n_tokens,
                   void (*write)(struct wf_str *, const struct wf_token *))
{
    size_t first = end > open ? wf_json_skip_space(text, n, open) : open;
    wf_str_add(s, text, end);
    for (size_t i = 0; i < n_tokens; i++) {
        if (i || end > open)
            wf_str_puts(s, ",");
        wf_str_add(s, text + open, first - open);
        write(s, &tokens[i]);
    }
    wf_str_add(s, text + end, n - end);
}

int wf_tokenizer_json_append(struct wf_err *e, const char *text, size_t n,
                             const struct wf_tokenizer_json *json, const struct wf_token *tokens,
                             size_t n_tokens, struct wf_str *out)
{
    if (json->added_open) {
        insert(out, text, n, json->added_open, json->added_end, tokens, n_tokens, write_element);
        return wf_str_finish(out, e);
    }
    /* A file without the list gets one, before all that is there. */
    size_t open = wf_json_skip_space(text, n, 0) + 1;
    wf_str_add(out, text, open);
    wf_str_puts(out, "\"added_tokens\": [");
    insert(out, "", 0, 0, 0, tokens, n_tokens, write_element);
    wf_str_puts(out, "],");
    wf_str_add(out, text + open, n - open);
    return wf_str_finish(out, e);
}

int wf_tokenizer_config_append(struct wf_err *e, const char *text, size_t n,
                               const struct wf_tokenizer_config *config,
                               const struct wf_token *tokens, size_t n_tokens, struct wf_str *out)
{
    if (config->decoder_open)
        insert(out, text, n, config->decoder_open, config->decoder_end, tokens, n_tokens,
               write_member);
    else
        wf_str_add(out, text, n);
    return wf_str_finish(out, e);
}
