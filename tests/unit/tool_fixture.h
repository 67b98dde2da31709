/* tool_fixture.h - what the tests of the read-only commands share: a scratch folder, small
 * safetensors files, and a command's output as parsed JSON lines.
 */
#ifndef WF_TOOL_FIXTURE_H
#define WF_TOOL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../include/weft.h"
#include "../../src/base/file.h"
#include "../../src/base/mem.h"
#include "../../src/base/str.h"
#include "../../src/format/json.h"
#include "st_rows.h"

#define FX_TENSORS_MAX 64
#define FX_LINES_MAX 512

struct fx {
    char folder[256];
    struct weft_options options;
    struct wf_err e;
    struct wf_arena arena;
    char *text; /* output of the last run */
    size_t text_n;
    struct wf_json *lines[FX_LINES_MAX]; /* of the last fx_json */
    size_t n_lines;
};

struct fx_tensor {
    const char *name;
    enum wf_dtype dtype;
    unsigned n_dims;
    uint64_t shape[4];
    const void *data;
};

static inline int fx_setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    struct fx *f = test_calloc(1, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "%s/weft-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    *state = f;
    return mkdtemp(f->folder) ? 0 : -1;
}

static inline int fx_teardown(void **state)
{
    struct fx *f = *state;
    struct wf_err e = {0};
    int s = wf_remove_tree(&e, f->folder);
    free(f->text);
    wf_arena_destroy(&f->arena);
    test_free(f);
    return s;
}

/* folder/name; lives in the arena. */
static inline char *fx_path(struct fx *f, const char *name)
{
    char *path = wf_path_join(&f->arena, &f->e, f->folder, name);
    assert_non_null(path);
    return path;
}

static inline void fx_write(struct fx *f, const char *name, const void *data, size_t n)
{
    struct wf_err e = {0};
    assert_int_equal(wf_write_small(&e, fx_path(f, name), data, n), WF_OK);
}

static inline void fx_text(struct fx *f, const char *name, const char *text)
{
    fx_write(f, name, text, strlen(text));
}

static inline void fx_folder(struct fx *f, const char *name)
{
    assert_int_equal(mkdir(fx_path(f, name), 0777), 0);
}

/* wf_st_format's header with more metadata behind {"format":"pt"}. */
static inline void fx_st_header(struct fx *f, const struct wf_st_tensor *rows, size_t n,
                                const struct wf_st_pair *metadata, size_t n_metadata,
                                struct wf_str *out)
{
    static const char start[] = "{\"__metadata__\":{\"format\":\"pt\"", no_length[8];
    struct wf_str plain = {0};
    assert_int_equal(wf_st_format(&f->e, rows, n, 8, &plain), WF_OK);
    assert_memory_equal(plain.text + 8, start, sizeof start - 1);
    wf_str_add(out, no_length, 8);
    wf_str_puts(out, start);
    for (size_t i = 0; i < n_metadata; i++) {
        wf_str_puts(out, ",");
        wf_str_json(out, metadata[i].key, strlen(metadata[i].key));
        wf_str_puts(out, ":");
        wf_str_json(out, metadata[i].value, strlen(metadata[i].value));
    }
    wf_str_add(out, plain.text + 8 + sizeof start - 1, plain.n - 8 - (sizeof start - 1));
    assert_int_equal(wf_str_finish(out, &f->e), WF_OK);
    for (int i = 0; i < 8; i++)
        out->text[i] = (char)((out->n - 8) >> (8 * i));
    wf_str_free(&plain);
}

/* Writes a safetensors file with these tensors, in canonical order. */
static inline void fx_st(struct fx *f, const char *name, const struct fx_tensor *tensors, size_t n,
                         const struct wf_st_pair *metadata, size_t n_metadata)
{
    struct wf_st_tensor rows[FX_TENSORS_MAX] = {0};
    struct wf_str file = {0};
    assert_true(n <= FX_TENSORS_MAX);
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct wf_st_tensor){.name = tensors[i].name,
                                        .dtype = (uint8_t)tensors[i].dtype,
                                        .n_dims = (uint8_t)tensors[i].n_dims,
                                        .shape = tensors[i].shape};
    st_rows_lay_out(rows, n);
    fx_st_header(f, rows, n, metadata, n_metadata, &file);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++)
            if (!strcmp(tensors[k].name, rows[i].name) && rows[i].end > rows[i].begin)
                wf_str_add(&file, tensors[k].data, rows[i].end - rows[i].begin);
    assert_int_equal(wf_str_finish(&file, &f->e), WF_OK);
    fx_write(f, name, file.text, file.n);
    wf_str_free(&file);
}

/* Starts a run: the error slot is empty, output goes to memory. */
static inline void fx_begin(struct fx *f)
{
    free(f->text);
    f->text = NULL;
    wf_err_clear(&f->e);
    f->options.out = open_memstream(&f->text, &f->text_n);
    assert_non_null(f->options.out);
}

static inline int fx_end(struct fx *f, int status)
{
    fclose(f->options.out);
    f->options.out = NULL;
    return status;
}

#define FX_RUN(f, call) (fx_begin(f), fx_end(f, call))

/* Parses the output of a run with options.json: every line is one object. */
static inline void fx_json(struct fx *f)
{
    struct wf_err e = {0};
    f->n_lines = 0;
    for (const char *at = f->text; *at;) {
        size_t n = strcspn(at, "\n");
        assert_int_equal(at[n], '\n');
        assert_true(f->n_lines < FX_LINES_MAX);
        int s =
            wf_json_parse(&e, &f->arena, "output", at, n, WF_JSON_STRICT, &f->lines[f->n_lines]);
        if (s)
            fail_msg("%s: %.*s", e.text, (int)n, at);
        assert_int_equal(f->lines[f->n_lines]->kind, WF_JSON_OBJECT);
        f->n_lines++;
        at += n + 1;
    }
}

/* The first line whose `key` is `value` and whose kind is `kind`; fails the test if there is none.
 */
static inline const struct wf_json *fx_line(struct fx *f, const char *kind, const char *key,
                                            const char *value)
{
    for (size_t i = 0; i < f->n_lines; i++) {
        const char *k = wf_json_string(f->lines[i], "kind");
        const char *v = key ? wf_json_string(f->lines[i], key) : NULL;
        if (k && !strcmp(k, kind) && (!key || (v && !strcmp(v, value))))
            return f->lines[i];
    }
    fail_msg("no line of kind %s with %s %s in:\n%s", kind, key ? key : "", key ? value : "",
             f->text);
    return NULL;
}

static inline double fx_number(const struct wf_json *line, const char *key)
{
    const struct wf_json *v = wf_json_get(line, key);
    if (!v || v->kind != WF_JSON_NUMBER)
        fail_msg("'%s' is no number", key);
    return v->number;
}

static inline bool fx_is_null(const struct wf_json *line, const char *key)
{
    const struct wf_json *v = wf_json_get(line, key);
    return v && v->kind == WF_JSON_NULL;
}

static inline bool fx_is_true(const struct wf_json *line, const char *key)
{
    const struct wf_json *v = wf_json_get(line, key);
    assert_non_null(v);
    assert_int_equal(v->kind, WF_JSON_BOOL);
    return v->number != 0;
}

#define fx_assert_string(line, key, expected)                                                      \
    assert_string_equal(wf_json_string(line, key) ? wf_json_string(line, key) : "(none)", expected)

static inline void fx_assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no '%s' in: %s", part, text);
}

#endif
