/* tokenizer_edit.h - appends added tokens to tokenizer.json and tokenizer_config.json by inserting
 * text: everything else stays byte for byte.
 */
#ifndef WF_TOKENIZER_EDIT_H
#define WF_TOKENIZER_EDIT_H

#include "../base/str.h"
#include "tokenizer_json.h"

/* `json` is what a scan of text[0..n) found. Tokens come in order of id. */
int wf_tokenizer_json_append(struct wf_err *e, const char *text, size_t n,
                             const struct wf_tokenizer_json *json, const struct wf_token *tokens,
                             size_t n_tokens, struct wf_str *out);

/* The same for added_tokens_decoder; a file without it stays as it is. */
int wf_tokenizer_config_append(struct wf_err *e, const char *text, size_t n,
                               const struct wf_tokenizer_config *config,
                               const struct wf_token *tokens, size_t n_tokens, struct wf_str *out);

#endif
