/* mem.c - the only caller of malloc and friends. */
#include "mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fault.h"
#include "num.h"

/* Each block:  [ kind | bytes ][ caller's memory ... ]  ; 16 bytes keep the caller's part aligned.
 */
struct block_head {
    uint64_t kind;
    uint64_t bytes;
};

static _Atomic uint64_t now[WF_MEM_KINDS];

static void *block_new(enum wf_mem_kind kind, size_t bytes)
{
    if (wf_fault(WF_FAULT_ALLOC))
        return NULL;
    struct block_head *h = calloc(1, sizeof *h + bytes);
    if (!h)
        return NULL;
    h->kind = kind;
    h->bytes = bytes;
    atomic_fetch_add(&now[kind], bytes);
    return h + 1;
}

void *wf_alloc(struct wf_err *e, enum wf_mem_kind kind, size_t count, size_t size, const char *what)
{
    uint64_t bytes;
    void *block = NULL;
    if (wf_mul_u64(count, size, &bytes) && bytes < SIZE_MAX / 2)
        block = block_new(kind, bytes);
    if (!block)
        wf_fail(e, WF_MACHINE, "out of memory: %zu x %zu bytes for %s", count, size, what);
    return block;
}

void *wf_realloc(struct wf_err *e, void *block, size_t count, size_t size, const char *what)
{
    if (!block)
        return wf_alloc(e, WF_MEM_META, count, size, what);
    struct block_head *h = (struct block_head *)block - 1;
    uint64_t old = h->bytes, bytes;
    if (!wf_mul_u64(count, size, &bytes) || bytes >= SIZE_MAX / 2 || wf_fault(WF_FAULT_ALLOC) ||
        !(h = realloc(h, sizeof *h + bytes))) {
        wf_fail(e, WF_MACHINE, "out of memory: %zu x %zu bytes for %s", count, size, what);
        return NULL;
    }
    if (bytes > old)
        memset((char *)(h + 1) + old, 0, bytes - old);
    h->bytes = bytes;
    atomic_fetch_add(&now[h->kind], bytes - old); /* wraps correctly when it shrinks */
    return h + 1;
}

void wf_free(void *block)
{
    if (!block)
        return;
    struct block_head *h = (struct block_head *)block - 1;
    atomic_fetch_sub(&now[h->kind], h->bytes);
    free(h);
}

void *wf_plain_malloc(size_t bytes)
{
    return bytes < SIZE_MAX / 2 ? block_new(WF_MEM_TEXT, bytes) : NULL;
}

void wf_plain_free(void *block)
{
    wf_free(block);
}

void *wf_map_pages(struct wf_err *e, size_t bytes, const char *what)
{
    void *p = wf_fault(WF_FAULT_ALLOC) ? MAP_FAILED
                                       : mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        wf_fail(e, WF_MACHINE, "out of memory: %zu bytes for %s", bytes, what);
        return NULL;
    }
    madvise(p, bytes, MADV_HUGEPAGE); /* a hint: fewer faults, shorter lists for direct I/O */
    atomic_fetch_add(&now[WF_MEM_RING], bytes);
    return p;
}

void wf_unmap_pages(void *block, size_t bytes)
{
    if (!block)
        return;
    munmap(block, bytes);
    atomic_fetch_sub(&now[WF_MEM_RING], bytes);
}

uint64_t wf_mem_now(enum wf_mem_kind kind)
{
    return atomic_load(&now[kind]);
}

/* VmHWM of /proc: getrusage's figure survives exec, so it would be that of a larger parent. */
uint64_t wf_mem_peak_rss(void)
{
    char line[128];
    unsigned long long kib = 0;
    struct rusage u;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %llu", &kib) == 1)
            break;
    if (f)
        fclose(f);
    if (kib)
        return kib * 1024;
    return getrusage(RUSAGE_SELF, &u) ? 0 : (uint64_t)u.ru_maxrss * 1024;
}

/* The cgroup's limit ("max" or absent: none). */
static uint64_t cgroup_limit(const char *path)
{
    char text[32] = "";
    FILE *f = fopen(path, "r");
    if (!f)
        return UINT64_MAX;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    while (n && text[n - 1] == '\n')
        n--;
    uint64_t limit;
    return wf_parse_u64(text, n, &limit) ? limit : UINT64_MAX;
}

uint64_t wf_mem_total(void)
{
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    total = wf_min_u64(total, cgroup_limit("/sys/fs/cgroup/memory.max"));
    return wf_min_u64(total, cgroup_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
}

void wf_mem_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

uint64_t wf_mem_default(void)
{
    return wf_mem_total() / 4;
}

/* Arena: a list of growing blocks, newest first.
 *   [ previous | used | capacity ][ bytes ........ ]
 */
struct wf_arena_block {
    struct wf_arena_block *previous;
    size_t used, capacity;
    uint64_t pad; /* keeps what follows 16-byte aligned */
};

static struct wf_arena_block *add_block(struct wf_arena *a, struct wf_err *e, size_t bytes)
{
    size_t capacity = a->last ? a->last->capacity * 2 : 4096;
    if (capacity > (1u << 20))
        capacity = 1u << 20;
    if (capacity < bytes)
        capacity = bytes;
    struct wf_arena_block *b =
        wf_alloc(e, WF_MEM_META, 1, sizeof *b + capacity, "tables of tensors");
    if (!b)
        return NULL;
    b->capacity = capacity;
    b->previous = a->last;
    a->last = b;
    return b;
}

void *wf_arena_alloc(struct wf_arena *a, struct wf_err *e, size_t count, size_t size)
{
    uint64_t bytes;
    if (!wf_mul_u64(count, size, &bytes) || bytes > SIZE_MAX / 4) {
        wf_fail(e, WF_MACHINE, "out of memory: %zu x %zu bytes", count, size);
        return NULL;
    }
    bytes = wf_round_up(bytes ? bytes : 1, 16);
    struct wf_arena_block *b = a->last;
    if (!b || b->capacity - b->used < bytes)
        b = add_block(a, e, bytes);
    if (!b)
        return NULL;
    void *p = (char *)(b + 1) + b->used;
    b->used += bytes;
    return p;
}

void *wf_arena_grow(struct wf_arena *a, struct wf_err *e, void *items, size_t n, size_t *max,
                    size_t size)
{
    if (items && n < *max)
        return items;
    size_t wanted = n < 32 ? 32 : 2 * n;
    void *grown = wf_arena_alloc(a, e, wanted, size);
    if (!grown)
        return NULL;
    if (n)
        memcpy(grown, items, n * size);
    *max = wanted;
    return grown;
}

char *wf_arena_strndup(struct wf_arena *a, struct wf_err *e, const char *text, size_t n)
{
    char *p = wf_arena_alloc(a, e, n + 1, 1);
    if (p)
        memcpy(p, text, n);
    return p;
}

char *wf_arena_strdup(struct wf_arena *a, struct wf_err *e, const char *text)
{
    return wf_arena_strndup(a, e, text, strlen(text));
}

char *wf_arena_printf(struct wf_arena *a, struct wf_err *e, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *p = n < 0 ? NULL : wf_arena_alloc(a, e, (size_t)n + 1, 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, format, again);
    va_end(again);
    va_end(args);
    return p;
}

void wf_arena_destroy(struct wf_arena *a)
{
    while (a->last) {
        struct wf_arena_block *previous = a->last->previous;
        wf_free(a->last);
        a->last = previous;
    }
}
