/* tokenizer_json.h - tokens and ids from the JSON files of a tokenizer, in one pass over the text.
 *
 * A tokenizer.json has up to 260,000 tokens and 580,000 merges; a tree of it costs hundreds of
 * megabytes, and tokens may hold NUL. So the text is walked once: tokens go into a vocabulary, the
 * rest is checked for grammar and skipped. Damage is WF_INPUT, naming file and byte.
 */
#ifndef WF_TOKENIZER_JSON_H
#define WF_TOKENIZER_JSON_H

#include "vocab.h"

enum wf_segmentation {
    WF_SEGMENTATION_UNKNOWN,
    WF_SEGMENTATION_BPE,
    WF_SEGMENTATION_UNIGRAM,
    WF_SEGMENTATION_WORDPIECE,
    WF_SEGMENTATION_WORDLEVEL,
};

const char *wf_segmentation_name(enum wf_segmentation s);

struct wf_tokenizer_json {
    enum wf_segmentation segmentation;
    bool byte_level;   /* bytes as letters ("Ġ"), as GPT-2 has them */
    size_t added_open; /* offset behind the '[' of added_tokens; 0: there is none */
    size_t added_end;  /* behind its last element; added_open if it is empty */
};

/* tokenizer.json. Ids of added tokens are reckoned as the tokenizers library does when it loads the
 * file, and compared with those that stand there: WF_INPUT, naming the first token, if they
 * differ. */
int wf_tokenizer_json_scan(struct wf_err *e, const char *path, const char *text, size_t n,
                           struct wf_vocab *v, struct wf_tokenizer_json *out);

/* vocab.json, added_tokens.json: a map from token to id. `flags` of those that are new. */
int wf_token_map_scan(struct wf_err *e, const char *path, const char *text, size_t n,
                      uint32_t flags, struct wf_vocab *v);

/* A token that a role names: "bos_token" and the like. */
struct wf_token_role {
    const char *text;
    size_t n;
    struct wf_token_role *next;
};

struct wf_tokenizer_config {
    const char *class;           /* tokenizer_class; NULL if it does not say */
    struct wf_token_role *roles; /* in file order */
    size_t decoder_open;         /* offset behind the '{' of added_tokens_decoder; 0: none */
    size_t decoder_end;          /* behind its last member; decoder_open if it is empty */
};

/* tokenizer_config.json. Tokens of added_tokens_decoder that are new are added, in order of id;
 * with `reckoned` each must get the id that it is given there. One that is not new must have it. */
int wf_tokenizer_config_scan(struct wf_err *e, const char *path, const char *text, size_t n,
                             bool reckoned, struct wf_vocab *v, struct wf_tokenizer_config *out);

#endif
