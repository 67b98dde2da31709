/* fuzz_index.c - any bytes as a shard index: refused, or sorted, unique, and inside the folder. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/base/str.h"
#include "../../src/format/st_index.h"
#include "check.h"

/* Says it in another way than the reader does: walks the path and counts how deep it stands. */
static void check_inside(const char *file)
{
    CHECK(wf_ends_with(file, ".safetensors"));
    CHECK(*file != '/' && !strpbrk(file, "\\:\r\n\t"));
    int depth = 0;
    for (const char *p = file; *p;) {
        size_t n = strcspn(p, "/");
        CHECK(n > 0);
        depth += (n == 2 && !memcmp(p, "..", 2)) ? -1 : 1;
        CHECK(depth > 0);
        p += n;
        p += *p == '/';
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct wf_err err;
    struct wf_arena a = {0};
    struct wf_st_index index;
    int s = wf_st_index_parse(&err, &a, "index.json", (const char *)data, n, &index);
    if (s) {
        CHECK(s == WF_INPUT && *err.text && !strchr(err.text, '\n'));
        wf_err_clear(&err);
    } else {
        CHECK(index.n && index.n_files && index.n_files <= index.n);
        for (size_t i = 0; i < index.n_files; i++) {
            check_inside(index.files[i]);
            CHECK(!i || strcmp(index.files[i - 1], index.files[i]) < 0);
        }
        for (size_t i = 0; i < index.n; i++) {
            CHECK(*index.entries[i].name && index.entries[i].file < index.n_files);
            CHECK(!i || strcmp(index.entries[i - 1].name, index.entries[i].name) < 0);
        }
    }
    wf_arena_destroy(&a);
    return 0;
}
