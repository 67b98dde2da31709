/* reference.c - the text that names a model, taken apart.
 *
 *     org/name@revision+adapter@revision
 *     '------ model ---''--- adapter ---'
 */
#include "reference.h"

#include <stdbool.h>
#include <string.h>

#include "../base/str.h"
#include "recipe_read.h"

/* The longest path Linux takes; a longer text names nothing. */
#define REFERENCE_MAX 4095

static int check_text(struct wf_err *e, const char *where, int line, const char *text)
{
    size_t n = strlen(text);
    if (n == 0)
        return wf_fail(e, WF_USAGE, "%s:%d: a model reference is empty", where, line);
    if (n > REFERENCE_MAX)
        return wf_fail(e, WF_USAGE, "%s:%d: a model reference of %zu bytes; at most %d name a path",
                       where, line, n, REFERENCE_MAX);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f)
            return wf_fail(e, WF_USAGE,
                           "%s:%d: a model reference holds a control character (byte %zu, 0x%02x)",
                           where, line, i, c);
    }
    return WF_OK;
}

/* One side of the '+': something, and not only a revision or only its '@'. */
static int check_part(struct wf_err *e, const char *where, int line, const char *text,
                      const char *part)
{
    size_t n = strlen(part);
    struct wf_clip clip;
    wf_clip(text, &clip);
    if (n == 0)
        return wf_fail(e, WF_USAGE, "%s:%d: '%s' has nothing on one side of its '+'", where, line,
                       clip.text);
    if (part[0] == '@')
        return wf_fail(e, WF_USAGE, "%s:%d: '%s' has a revision but no model before its '@'", where,
                       line, clip.text);
    if (part[n - 1] == '@')
        return wf_fail(e, WF_USAGE, "%s:%d: '%s' has no revision after its '@'", where, line,
                       clip.text);
    return WF_OK;
}

int wf_reference_parse(struct wf_err *e, struct wf_arena *a, const char *where, int line,
                       const char *text, int (*exists)(void *arg, const char *text), void *arg,
                       struct wf_reference *out)
{
    *out = (struct wf_reference){.line = line};
    int s = check_text(e, where, line, text);
    if (s)
        return s;
    out->text = wf_arena_strdup(a, e, text);
    if (!out->text)
        return WF_MACHINE;
    out->model = out->text;
    out->is_path = exists && exists(arg, text);
    if (out->is_path)
        return WF_OK;

    struct wf_clip clip;
    const char *plus = strchr(text, '+');
    if (plus && strchr(plus + 1, '+'))
        return wf_fail(e, WF_USAGE,
                       "%s:%d: '%s' has more than one '+', and is no existing path; "
                       "write MODEL+ADAPTER",
                       where, line, wf_clip(text, &clip));
    if (plus) {
        out->model = wf_arena_strndup(a, e, text, (size_t)(plus - text));
        out->adapter = wf_arena_strdup(a, e, plus + 1);
        if (!out->model || !out->adapter)
            return WF_MACHINE;
        s = check_part(e, where, line, text, out->adapter);
        if (s)
            return s;
    }
    return check_part(e, where, line, text, out->model);
}

static bool in_hub_id(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

/* Length of `org/name` if `text` is org/name@revision, else 0. A path that starts with '.', '~',
 * '$' or '/' has no such form. */
static size_t hub_id_length(const char *text)
{
    size_t slashes = 0, i = 0;
    for (; text[i] && text[i] != '@'; i++) {
        if (text[i] == '/')
            slashes++;
        else if (!in_hub_id(text[i]))
            return 0;
    }
    bool named = i > 0 && text[0] != '.' && text[0] != '/' && text[i - 1] != '/';
    return text[i] == '@' && slashes == 1 && named ? i : 0;
}

int wf_reference_task_name(struct wf_err *e, struct wf_arena *a, const struct wf_reference *r,
                           const char **out)
{
    static const char suffix[] = ".safetensors";
    const size_t suffix_n = sizeof suffix - 1;
    const char *text = r->adapter ? r->adapter : r->model;
    size_t hub = r->is_path ? 0 : hub_id_length(text);
    const char *last;
    size_t n;
    if (hub) {
        last = strchr(text, '/') + 1;
        n = (size_t)(text + hub - last);
    } else {
        last = wf_path_last(text, &n);
    }
    if (n > suffix_n && !memcmp(last + n - suffix_n, suffix, suffix_n))
        n -= suffix_n;
    /* "/", "." and "..", and what holds "..", are places and not names. */
    if (n == 0 || *last == '/' || (n == 1 && *last == '.') || memmem(last, n, "..", 2)) {
        last = "model";
        n = strlen(last);
    }
    *out = wf_arena_strndup(a, e, last, n);
    return *out ? WF_OK : WF_MACHINE;
}
