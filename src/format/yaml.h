/* yaml.h - recipes as a tree with line numbers, by way of libyaml (the only module that includes
 * it).
 *
 * JSON is read by the same parser, so every message has a line; what libyaml does not know of it is
 * put into libyaml's words first (yaml_text.h). Limits: 16 MiB of text, depth 32, 1,000,000 nodes
 * after aliases are expanded (each use of an alias counts its whole subtree). Duplicate keys in one
 * map are errors; merge keys (<<) are applied; keys are plain scalars.
 */
#ifndef WF_YAML_H
#define WF_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "../base/mem.h"
#include "../base/status.h"

enum wf_yaml_kind { WF_YAML_NULL, WF_YAML_SCALAR, WF_YAML_LIST, WF_YAML_MAP };

struct wf_yaml {
    enum wf_yaml_kind kind; /* NULL: empty, ~ or null, unquoted */
    int line;               /* 1-based, of the value; of the key for a map's member: key_line */
    int key_line;
    const char *key;  /* in a map, else NULL */
    const char *text; /* SCALAR: the text; "" for NULL */
    size_t text_n;
    bool quoted;               /* SCALAR: '...', "..." or block style: never a number or boolean */
    struct wf_yaml **children; /* LIST, MAP: n of them, in file order */
    size_t n;
};

/* Parses the documents of text[0..n) into *docs (count *n_docs >= 1). Errors are WF_USAGE as
 * "PATH:LINE: ...". An empty file is an error. */
int wf_yaml_parse(struct wf_err *e, struct wf_arena *a, const char *path, const char *text,
                  size_t n, struct wf_yaml ***docs, size_t *n_docs);

/* A member by exact key; NULL if absent or `map` is not a map. */
const struct wf_yaml *wf_yaml_get(const struct wf_yaml *map, const char *key);

/* The value as a number (unquoted scalars; numbers per wf_parse_f64, and 0x..; not
 * "010", which YAML's versions read differently), or as a boolean (true/false/yes/no/on/off in
 * YAML 1.1's cases). False if it is neither. */
bool wf_yaml_number(const struct wf_yaml *v, double *out);
bool wf_yaml_bool(const struct wf_yaml *v, bool *out);

#endif
