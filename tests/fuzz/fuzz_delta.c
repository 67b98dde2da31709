/* fuzz_delta.c - any bytes as a task delta's positions: refused, or every range finds the places
 * that a plain reading of all of them finds.
 *
 *   byte 0      bit 0: leb128, else bitmap
 *   bytes 1, 2  elements of the tensor, low byte first, times 3: up to six chunks
 *   bytes 3, 4  how many values there are
 *   the rest    positions
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../src/format/delta_file.h"
#include "../../src/format/st_header.h"
#include "check.h"

#define ELEMENTS_MAX (3 * 65535)

/* The delta of one F16 tensor as a file in memory, whose values count 1, 2, 3, ... */
static int write_delta(struct wf_err *e, const uint8_t *positions, uint64_t n, uint64_t kept,
                       bool gaps)
{
    struct wf_st_pair pairs[] = {{"base", "b"},
                                 {"task", "t"},
                                 {"store", "replace"},
                                 {"density", "1"},
                                 {"w.encoding", gaps ? "leb128" : "bitmap"}};
    struct wf_st_tensor rows[] = {
        {.name = "w.values", .dtype = WF_F16, .n_dims = 1, .shape = &kept, .end = 2 * kept},
        {.name = "w.positions",
         .dtype = WF_U8,
         .n_dims = 1,
         .shape = &n,
         .begin = 2 * kept,
         .end = 2 * kept + n}};
    struct wf_str header = {0};
    CHECK(!wf_st_format_with(e, rows, 2, 8, pairs, 5, &header));
    int fd = memfd_create("delta", 0);
    CHECK(fd >= 0 && write(fd, header.text, header.n) == (ssize_t)header.n);
    for (uint64_t i = 1; i <= kept; i++)
        CHECK(write(fd, &i, 2) == 2);
    CHECK(write(fd, positions, n) == (ssize_t)n);
    wf_str_free(&header);
    return fd;
}

/* Writes value number k at each place, one after another, as the format's description has it. */
static void apply_plainly(const uint8_t *positions, size_t n, bool gaps, uint16_t *values)
{
    uint64_t at = 0, gap = 0, k = 0;
    unsigned shift = 0;
    for (size_t i = 0; i < n; i++) {
        for (unsigned bit = 0; !gaps && bit < 8; bit++)
            if (positions[i] >> bit & 1)
                values[8 * i + bit] = (uint16_t)++k;
        if (!gaps)
            continue;
        gap |= (uint64_t)(positions[i] & 0x7f) << shift;
        shift += 7;
        if (positions[i] & 0x80)
            continue;
        values[at += gap] = (uint16_t)++k;
        gap = shift = 0;
    }
}

static void apply_in_ranges(struct wf_err *e, struct wf_delta_part *part, struct wf_infile *f,
                            uint64_t count, uint64_t step, uint16_t *values)
{
    void *scratch = wf_map_pages(e, wf_delta_scratch_bytes(), "scratch");
    CHECK(scratch);
    for (uint64_t from = 0; from < count; from += step) {
        uint64_t to = from + step < count ? from + step : count;
        CHECK(!wf_delta_patch(e, part, f, from, to, values + from, scratch));
    }
    wf_unmap_pages(scratch, wf_delta_scratch_bytes());
}

static void check_places(struct wf_err *e, struct wf_delta_part *part, struct wf_infile *f,
                         const uint8_t *positions, size_t n)
{
    static uint16_t plain[ELEMENTS_MAX + 8], ranges[ELEMENTS_MAX + 8];
    static const uint64_t steps[] = {WF_DELTA_CHUNK, 20011};
    uint64_t count = part->count;
    memset(plain, 0, sizeof plain);
    apply_plainly(positions, n, part->encoding == WF_DELTA_LEB128, plain);
    CHECK(!wf_delta_load(e, part, f));
    for (int k = 0; k < 2; k++) {
        memset(ranges, 0, sizeof ranges);
        apply_in_ranges(e, part, f, count, steps[k], ranges);
        CHECK(!memcmp(plain, ranges, count * sizeof *plain));
    }
    wf_delta_unload(part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct wf_err err;
    struct wf_arena a = {0};
    struct wf_ckpt ckpt;
    struct wf_delta d;
    struct wf_infile f = {.fd = -1, .direct_fd = -1};
    if (n < 5)
        return 0;
    uint64_t count = 3u * (data[1] | (uint64_t)data[2] << 8),
             kept = data[3] | (uint64_t)data[4] << 8;
    int fd = write_delta(&err, data + 5, n - 5, kept, data[0] & 1);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct wf_place place = {.path = path};
    struct wf_tensor whole = {
        .name = "w", .dtype = WF_F16, .n_dims = 1, .shape = &count, .count = count};
    int s = wf_ckpt_open(&err, &a, &place, &ckpt);
    CHECK(!s);
    s = wf_delta_open(&err, &a, &ckpt, &d);
    if (!s)
        s = wf_delta_bind(&err, "fuzz", &d.parts[0], &whole);
    if (!s) {
        CHECK(!wf_infile_open(&err, ckpt.files[0].path, &ckpt.files[0].id, WF_IO_BUFFERED, &f));
        s = wf_delta_check(&err, &d.parts[0], &f);
        if (!s)
            check_places(&err, &d.parts[0], &f, data + 5, n - 5);
        wf_infile_close(&f);
    }
    CHECK(s == WF_OK || s == WF_INPUT || s == WF_USAGE);
    CHECK(!s || (*err.text && !strchr(err.text, '\n')));
    wf_err_clear(&err);
    wf_arena_destroy(&a);
    close(fd);
    return 0;
}
