/* licence.c - licences out of the front matter of other people's model cards. */
#include "licence.h"

#include <string.h>

#include "../base/file.h"
#include "../base/num.h"
#include "../format/folder.h"
#include "../format/yaml.h"

#define CARD_BYTES_MAX ((size_t)1 << 20)
#define WORD_BYTES_MAX 1024

/* The length of the line at text, with its end. */
static size_t line_length(const char *text, size_t n)
{
    const char *end = memchr(text, '\n', n);
    return end ? (size_t)(end - text) + 1 : n;
}

/* "---" and nothing else. */
static bool is_rule(const char *line, size_t n)
{
    while (n > 3 && memchr(" \t\r\n", line[n - 1], 4))
        n--;
    return n == 3 && !memcmp(line, "---", 3);
}

/* The front matter of a card: YAML between a first line "---" and the next such line. False if
 * text[0..n) does not have one. */
static bool front_matter(const char *text, size_t n, const char **matter, size_t *matter_n)
{
    size_t at = n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
    size_t line = line_length(text + at, n - at);
    if (!is_rule(text + at, line))
        return false;
    size_t start = at + line;
    for (at = start; at < n; at += line) {
        line = line_length(text + at, n - at);
        if (is_rule(text + at, line)) {
            *matter = text + start;
            *matter_n = at - start;
            return true;
        }
    }
    return false;
}

/* One line that a card can repeat: no control characters, none of Unicode's line ends. */
static bool is_plain(const char *text, size_t n)
{
    if (n == 0 || n > WORD_BYTES_MAX)
        return false;
    for (const char *c = text; *c; c++) {
        unsigned char first = (unsigned char)c[0], second = (unsigned char)c[1];
        if (first < 0x20 || first == 0x7f || (first == 0xc2 && second < 0xa0))
            return false;
    }
    return !strstr(text, "\xe2\x80\xa8") && !strstr(text, "\xe2\x80\xa9");
}

/* A key's text into the arena; *out stays NULL where there is none to repeat. */
static int take(struct wf_err *e, struct wf_arena *a, const struct wf_yaml *map, const char *key,
                const char **out)
{
    const struct wf_yaml *v = wf_yaml_get(map, key);
    if (!v || v->kind != WF_YAML_SCALAR || !is_plain(v->text, v->text_n))
        return WF_OK;
    *out = wf_arena_strndup(a, e, v->text, v->text_n);
    return *out ? WF_OK : WF_MACHINE;
}

static int take_licence(struct wf_err *e, struct wf_arena *a, const struct wf_yaml *map,
                        struct wf_licence *out)
{
    int s = take(e, a, map, "license", &out->id);
    if (s || !out->id || strcmp(out->id, "other") != 0)
        return s;
    s = take(e, a, map, "license_name", &out->name);
    return s ? s : take(e, a, map, "license_link", &out->link);
}

/* A failure over somebody's card: only the machine's counts. */
static int judge(struct wf_err *e, struct wf_err *of_card)
{
    return wf_err_status(of_card) == WF_MACHINE ? wf_fail(e, WF_MACHINE, "%s", of_card->text)
                                                : WF_OK;
}

int wf_licence_of_card(struct wf_err *e, struct wf_arena *a, const char *path, const char *text,
                       size_t n, struct wf_licence *out)
{
    const char *matter;
    size_t matter_n, n_docs;
    *out = (struct wf_licence){0};
    if (!front_matter(text, n, &matter, &matter_n))
        return WF_OK;
    struct wf_err of_card = {0};
    struct wf_arena tree = {0};
    struct wf_yaml **docs;
    int s = wf_yaml_parse(&of_card, &tree, path, matter, matter_n, &docs, &n_docs)
                ? judge(e, &of_card)
                : take_licence(e, a, docs[0], out);
    wf_arena_destroy(&tree);
    return s;
}

/* The start of a card, CARD_BYTES_MAX at most; freed with wf_free. */
static int read_start(struct wf_err *e, const char *path, char **text, size_t *n)
{
    struct wf_file_id id;
    int fd, s = wf_open_read(e, WF_INPUT, path, &fd, &id);
    if (s)
        return s;
    *n = (size_t)wf_min_u64(id.bytes, CARD_BYTES_MAX);
    *text = wf_alloc(e, WF_MEM_TEXT, *n + 1, 1, path);
    s = *text ? wf_pread(e, fd, path, *text, *n, 0) : WF_MACHINE;
    wf_close(fd);
    return s;
}

static int read_licence(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *ckpt,
                        struct wf_licence *out)
{
    if (!ckpt->is_folder)
        return WF_OK;
    const char *path = wf_path_join(a, e, ckpt->place.path, "README.md");
    if (!path)
        return WF_MACHINE;
    struct wf_err of_card = {0};
    char *text = NULL;
    size_t n = 0;
    int s = wf_place_check(&of_card, &ckpt->place, path);
    if (!s)
        s = read_start(&of_card, path, &text, &n);
    s = s ? judge(e, &of_card) : wf_licence_of_card(e, a, path, text, n, out);
    wf_free(text);
    return s;
}

struct wf_licence wf_licence_shared(const struct wf_licence *of, size_t n)
{
    struct wf_licence shared = of[0];
    for (size_t c = 1; c < n; c++) {
        if (!wf_licence_equal(shared.id, of[c].id))
            return (struct wf_licence){0};
        if (!wf_licence_equal(shared.name, of[c].name))
            shared.name = NULL;
        if (!wf_licence_equal(shared.link, of[c].link))
            shared.link = NULL;
    }
    return shared;
}

/* Stages within stages go as deep as recipes have documents. */
static int read_all(struct wf_err *e, struct wf_arena *a, const struct wf_plan *plan,
                    struct wf_licence **out)
{
    int s = WF_OK;
    *out = wf_arena_alloc(a, e, plan->n_ckpts, sizeof **out);
    if (!*out)
        return WF_MACHINE;
    for (size_t c = 0; c < plan->n_ckpts && !s; c++) {
        const struct wf_ckpt *k = plan->ckpts[c].ckpt;
        struct wf_licence *inner;
        s = k->fused ? read_all(e, a, k->fused, &inner) : read_licence(e, a, k, &(*out)[c]);
        if (!s && k->fused)
            (*out)[c] = wf_licence_shared(inner, k->fused->n_ckpts);
    }
    return s;
}

int wf_licences_read(struct wf_err *e, const struct wf_plan *plan, struct wf_licence **out)
{
    return read_all(e, plan->arena, plan, out);
}

bool wf_licence_equal(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}
