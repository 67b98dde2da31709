/* tokenizer.h - a model's vocabulary, from whichever tokenizer files its folder has.
 *
 *   tokenizer.json                                    all that there is
 *   tokenizer.model, spiece.model  + added_tokens.json   SentencePiece
 *   vocab.json                     + added_tokens.json   BPE
 *   vocab.txt                      + added_tokens.json   WordPiece, one token a line
 *   *.tiktoken, tekken.json                           opaque: equal files, or nothing
 *
 * then, upon any of these, what tokenizer_config.json adds.
 */
#ifndef WF_TOKENIZER_H
#define WF_TOKENIZER_H

#include "../base/hash.h"
#include "sidecar.h"
#include "tokenizer_json.h"

struct wf_tokenizer {
    struct wf_vocab vocab; /* settled; empty for an opaque form */
    const char *path;      /* of the file that has the vocabulary; NULL: no tokenizer here */
    const char *folder;
    bool is_json; /* that is tokenizer.json */
    bool opaque;
    struct wf_tokenizer_json json;
    struct wf_tokenizer_config config;
    const char *config_path;                  /* tokenizer_config.json; NULL: none */
    struct wf_hash128 text_hash, config_hash; /* of the bytes of `path` and of `config_path` */
    struct wf_hash128 hash; /* of the files read: those of equal hash are one vocabulary */
};

/* Where the files are: in a folder, or, of a model that is planned, those that will be copied and
 * those that are made (sidecar.h). */
struct wf_tokenizer_source {
    const struct wf_place *place;
    const struct wf_sidecars *cars;   /* NULL: the folder's */
    const struct wf_side_text *texts; /* with `cars` */
    const struct wf_hash128 *plan;    /* of the merge that makes the model; NULL: none does */
    const struct wf_json *config;     /* with `cars`: config.json as it will be; NULL: none */
};

/* Reads a model's tokenizer; everything lives in `a`. A folder without one, or a single file, is
 * WF_OK with path NULL. Forms whose ids are shifted by their class are WF_USAGE;
 * damage is WF_INPUT. */
int wf_tokenizer_open(struct wf_err *e, struct wf_arena *a, const struct wf_tokenizer_source *from,
                      struct wf_tokenizer *out);

/* One of its files: its path, in `a`, and its bytes, which are freed with wf_free. */
int wf_tokenizer_read(struct wf_err *e, struct wf_arena *a, const struct wf_tokenizer_source *from,
                      const char *name, const char **path, char **text, size_t *n);

/* The hash alone, of what wf_tokenizer_open would read; *found false if there is nothing. */
int wf_tokenizer_hash(struct wf_err *e, const struct wf_tokenizer_source *from, bool *found,
                      struct wf_hash128 *hash);

#define WF_TOKENIZER_BYTES_MAX ((size_t)256 << 20)

#endif
