/* module_pattern.h - keys of rank_pattern and alpha_pattern: regular expressions over module paths.
 *
 * PEFT matches key K against path M as Python's re.match("(.*\.)?(K)$", M). Understood are
 * literals,
 * '.', '^', '$', '|', groups "( )" and "(?: )", classes "[ ]", the escapes \d \D \w \W \s \S and
 * those of punctuation, and the quantifiers * + ? with their lazy forms; anything else is refused
 * with its text. Matching takes time linear in the path, whatever the pattern.
 */
#ifndef WF_MODULE_PATTERN_H
#define WF_MODULE_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "../base/mem.h"
#include "../base/status.h"

#define WF_MODULE_PATTERN_MAX 1024 /* bytes of text */

struct wf_pattern_step;

struct wf_module_pattern {
    struct wf_pattern_step *steps;
    size_t n;
};

/* `where` begins messages (WF_USAGE). The pattern lives in `a`. */
int wf_module_pattern_compile(struct wf_err *e, struct wf_arena *a, const char *where,
                              const char *text, struct wf_module_pattern *out);

bool wf_module_pattern_matches(const struct wf_module_pattern *p, const char *path);

#endif
