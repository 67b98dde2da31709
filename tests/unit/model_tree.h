/* model_tree.h - model folders for tests, made below a temporary folder and removed with it. */
#ifndef WF_MODEL_TREE_H
#define WF_MODEL_TREE_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../src/base/file.h"
#include "../../src/base/mem.h"
#include "../../src/base/status.h"

struct tree {
    char root[256];
    struct wf_arena arena;
    struct wf_err err;
};

static inline int tree_setup(void **state)
{
    struct tree *t = test_calloc(1, sizeof *t);
    const char *tmp = getenv("TMPDIR");
    snprintf(t->root, sizeof t->root, "%s/weft-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(t->root))
        return -1;
    char *real = realpath(t->root, NULL);
    snprintf(t->root, sizeof t->root, "%s", real);
    (free)(real);
    *state = t;
    return 0;
}

static inline int tree_teardown(void **state)
{
    struct tree *t = *state;
    struct wf_err err = {0};
    wf_arena_destroy(&t->arena);
    int s = wf_remove_tree(&err, t->root);
    test_free(t);
    return s;
}

/* root/relative in the arena. */
static inline char *tree_path(struct tree *t, const char *relative)
{
    char *p = wf_path_join(&t->arena, &t->err, t->root, relative);
    assert_non_null(p);
    return p;
}

/* Makes the folders above `relative`. */
static inline char *tree_parents(struct tree *t, const char *relative)
{
    char *path = tree_path(t, relative);
    for (char *p = path + strlen(t->root) + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        mkdir(path, 0777);
        *p = '/';
    }
    return path;
}

static inline char *tree_folder(struct tree *t, const char *relative)
{
    char *path = tree_parents(t, relative);
    mkdir(path, 0777);
    return path;
}

static inline char *tree_bytes(struct tree *t, const char *relative, const void *data, size_t n)
{
    char *path = tree_parents(t, relative);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

static inline char *tree_file(struct tree *t, const char *relative, const char *text)
{
    return tree_bytes(t, relative, text, strlen(text));
}

static inline void tree_link(struct tree *t, const char *relative, const char *target)
{
    assert_int_equal(symlink(target, tree_parents(t, relative)), 0);
}

/* A safetensors file of F32 scalars in arrays of one, with the given names (ends with NULL). */
static inline char *tree_tensors(struct tree *t, const char *relative, ...)
{
    char text[8192];
    size_t n = 8, count = 0;
    va_list names;
    va_start(names, relative);
    n += (size_t)snprintf(text + n, sizeof text - n, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (const char *name; (name = va_arg(names, const char *)); count++)
        n +=
            (size_t)snprintf(text + n, sizeof text - n,
                             ",\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}",
                             name, 4 * count, 4 * count + 4);
    va_end(names);
    n += (size_t)snprintf(text + n, sizeof text - n, "}");
    assert_true(n + 4 * count < sizeof text);
    for (int i = 0; i < 8; i++)
        text[i] = (char)((n - 8) >> (8 * i));
    memset(text + n, 0, 4 * count);
    return tree_bytes(t, relative, text, n + 4 * count);
}

/* The last call failed with this status and a sentence that holds `words`. */
#define assert_failed(t, got, wanted, words)                                                       \
    do {                                                                                           \
        int got_ = (got);                                                                          \
        if (got_ != (int)(wanted) || !strstr((t)->err.text, (words)))                              \
            fail_msg("status %d, wanted %d with '%s': %s", got_, (int)(wanted), (words),           \
                     (t)->err.text);                                                               \
        assert_int_equal(wf_err_status(&(t)->err), got_);                                          \
        assert_null(strchr((t)->err.text, '\n'));                                                  \
        wf_err_clear(&(t)->err);                                                                   \
    } while (0)

#define assert_worked(t, got)                                                                      \
    do {                                                                                           \
        int got_ = (got);                                                                          \
        if (got_)                                                                                  \
            fail_msg("status %d: %s", got_, (t)->err.text);                                        \
    } while (0)

#endif
