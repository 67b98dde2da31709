/* fuzz_manifest.c - any text as weft_manifest.json: what is accepted keeps its promises. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/format/manifest.h"

static void require(int condition)
{
    if (!condition)
        abort();
}

/* The name, joined to a folder, stays below it. */
static void check_name(const char *name)
{
    size_t n = strlen(name);
    require(n > 0 && name[0] != '/' && name[n - 1] != '/');
    require(!strstr(name, "//") && !strstr(name, "/../") && !strstr(name, "/./"));
    require(strncmp(name, "../", 3) && strcmp(name, "..") && strncmp(name, "./", 2));
    require(strcmp(name, ".") && (n < 3 || strcmp(name + n - 3, "/..")));
    for (size_t i = 0; i < n; i++)
        require((unsigned char)name[i] >= 0x20 && name[i] != 0x7f);
}

static void check_file(const struct wf_manifest_file *f)
{
    check_name(f->name);
    require(!f->sha256 || strlen(f->sha256) == 64);
    if (!f->n_blocks)
        return;
    /* The blocks cover the file exactly: every offset that verify computes lies inside it. */
    require(f->block_bytes > 0 && (f->n_blocks - 1) * f->block_bytes < f->bytes);
    require(f->n_blocks * f->block_bytes >= f->bytes);
    volatile uint8_t last = f->blocks[f->n_blocks - 1].bytes[15];
    (void)last;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct wf_err e = {0};
    struct wf_arena a = {0};
    struct wf_manifest m;
    int s = wf_manifest_parse(&e, &a, "manifest", (const char *)data, n, &m);
    require(s == wf_err_status(&e));
    require(s == WF_OK || s == WF_INPUT);
    require(s == WF_OK || !strchr(e.text, '\n'));
    for (size_t i = 0; !s && i < m.n_files; i++) {
        check_file(&m.files[i]);
        require(i == 0 || strcmp(m.files[i - 1].name, m.files[i].name) < 0);
    }
    wf_arena_destroy(&a);
    return 0;
}
