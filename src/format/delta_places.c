/* delta_places.c - a task delta's places: checking them, finding them, changing what is there.
 *
 *   marks      | 0       | 1       | 2       | ...      one for each WF_DELTA_CHUNK elements
 *   positions  [.........|.........|.........]          read from the chunk's mark on
 *   places        x  x  x   x x                         of the range, relative to `from`
 *   values        v  v  v   v v                         as many, from mark.kept + those skipped
 */
#include "delta_file.h"

#include <inttypes.h>
#include <string.h>

#include "../base/num.h"
#include "dtype_number.h"
#include "outfile.h"

#define READ_BYTES (32u << 10) /* of positions, when all are read */
/* Positions of a chunk: gaps of the fewest bytes add up to the chunk's elements, so there are no
 * more bytes than elements, but for the first gap, which may come from far away. */
#define CHUNK_BYTES_MAX (WF_DELTA_CHUNK + 10u)
#define VALUE_BYTES_MAX 8u

/* ---- reading all ---- */

struct scan {
    struct wf_err *e;
    const struct wf_delta_part *part;
    struct wf_delta_mark *marks; /* NULL: only looks */
    uint64_t n_marks;
    uint64_t limit; /* elements */
    struct wf_delta_mark now;
    uint64_t byte;  /* of the one that is looked at */
    uint64_t gap;   /* LEB128: what is there so far ... */
    unsigned shift; /* ... and where the next seven bits go */
};

static int bad(const struct scan *s, const char *what)
{
    const struct wf_delta_part *p = s->part;
    return wf_fail(s->e, WF_INPUT, "%s: tensor '%s' at byte %" PRIu64 ": %s", p->path, p->name,
                   p->positions->offset + s->byte, what);
}

/* Chunks that begin up to element `end` get what is known: nothing of theirs was seen yet. */
static void mark_up_to(struct scan *s, uint64_t end)
{
    for (; s->marks && s->n_marks <= end / WF_DELTA_CHUNK; s->n_marks++)
        s->marks[s->n_marks] = s->now;
}

static int take_gap(struct scan *s, uint64_t gap)
{
    uint64_t place;
    if (s->now.kept && !gap)
        return bad(s, "positions that do not ascend");
    if (!wf_add_u64(s->now.previous, gap, &place) || place >= s->limit)
        return bad(s, "a position outside the tensor");
    if (s->now.kept == s->part->kept)
        return bad(s, "more positions than values");
    mark_up_to(s, place);
    s->now.previous = place;
    s->now.kept++;
    s->now.byte = s->byte + 1;
    return WF_OK;
}

static int scan_gaps(struct scan *s, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++, s->byte++) {
        uint8_t b = data[i];
        if (s->shift == 63 && b > 1)
            return bad(s, "a position beyond 64 bits");
        if (!b && s->shift)
            return bad(s, "a gap of more bytes than it needs");
        s->gap |= (uint64_t)(b & 0x7f) << s->shift;
        s->shift += 7;
        if (b & 0x80)
            continue;
        int status = take_gap(s, s->gap);
        if (status)
            return status;
        s->gap = 0;
        s->shift = 0;
    }
    return WF_OK;
}

static int scan_bits(struct scan *s, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++, s->byte++) {
        s->now.byte = s->byte;
        mark_up_to(s, s->byte * 8);
        if (!data[i])
            continue;
        s->now.kept += (unsigned)__builtin_popcount(data[i]);
        s->now.previous = s->byte * 8 + 31u - (unsigned)__builtin_clz(data[i]);
        if (s->now.previous >= s->limit)
            return bad(s, "a bit outside the tensor");
    }
    s->now.byte = s->byte;
    return WF_OK;
}

static int scan_all(struct scan *s, struct wf_infile *f)
{
    const struct wf_tensor *t = s->part->positions;
    uint8_t data[READ_BYTES];
    int status = WF_OK;
    for (uint64_t at = 0, n; !status && at < t->bytes; at += n) {
        n = wf_min_u64(READ_BYTES, t->bytes - at);
        status = wf_pread(s->e, f->fd, f->path, data, n, t->offset + at);
        if (!status && s->part->encoding == WF_DELTA_BITMAP)
            status = scan_bits(s, data, n);
        else if (!status)
            status = scan_gaps(s, data, n);
    }
    if (!status && s->shift)
        status = bad(s, "the last position is cut off");
    if (!status && s->now.kept != s->part->kept)
        status =
            wf_fail(s->e, WF_INPUT, "%s: tensor '%s': %" PRIu64 " positions and %" PRIu64 " values",
                    s->part->path, s->part->name, s->now.kept, s->part->kept);
    return status;
}

static struct scan start_scan(struct wf_err *e, const struct wf_delta_part *part)
{
    return (struct scan){.e = e, .part = part, .limit = part->known ? part->count : UINT64_MAX};
}

int wf_delta_check(struct wf_err *e, const struct wf_delta_part *part, struct wf_infile *f)
{
    struct scan s = start_scan(e, part);
    return scan_all(&s, f);
}

static uint64_t count_marks(const struct wf_delta_part *part)
{
    return part->count / WF_DELTA_CHUNK + (part->count % WF_DELTA_CHUNK != 0) + 1;
}

uint64_t wf_delta_index_bytes(const struct wf_delta_part *part)
{
    return count_marks(part) * sizeof *part->marks;
}

int wf_delta_load(struct wf_err *e, struct wf_delta_part *part, struct wf_infile *f)
{
    struct scan s = start_scan(e, part);
    uint64_t n = count_marks(part);
    s.marks = wf_alloc(e, WF_MEM_META, n, sizeof *s.marks, "the index of a task delta");
    if (!s.marks)
        return wf_err_status(e);
    int status = scan_all(&s, f);
    if (status) {
        wf_free(s.marks);
        return status;
    }
    while (s.n_marks < n)
        s.marks[s.n_marks++] = s.now;
    part->marks = s.marks;
    return WF_OK;
}

void wf_delta_unload(struct wf_delta_part *part)
{
    wf_free(part->marks);
    part->marks = NULL;
}

/* ---- one range ---- */

/* What lies in scratch memory. Values and positions land at their offset modulo the page. */
struct range {
    const struct wf_delta_part *part;
    uint64_t from, to;
    uint32_t *places; /* of the range, from `from` on */
    size_t n;
    uint64_t first; /* number of the first among the part's values */
    char *positions, *values;
};

#define PLACES_BYTES (WF_DELTA_CHUNK * sizeof(uint32_t))
#define POSITIONS_BYTES                                                                            \
    ((2 * CHUNK_BYTES_MAX + 3 * WF_DIRECT_ALIGN - 1) / WF_DIRECT_ALIGN * WF_DIRECT_ALIGN)
#define VALUES_BYTES (WF_DELTA_CHUNK * VALUE_BYTES_MAX + 2 * WF_DIRECT_ALIGN)

uint64_t wf_delta_scratch_bytes(void)
{
    return PLACES_BYTES + POSITIONS_BYTES + VALUES_BYTES;
}

/* False if there would be more than the index, which was checked, speaks of: the file changed. */
static bool take_place(struct range *r, uint64_t place)
{
    if (place < r->from)
        r->first++;
    else if (place < r->to && r->n < WF_DELTA_CHUNK)
        r->places[r->n++] = (uint32_t)(place - r->from);
    else
        return place >= r->to;
    return true;
}

static bool find_bits(struct range *r, const uint8_t *at, uint64_t n, uint64_t begin)
{
    for (uint64_t byte = 0; byte < n; byte += 8) {
        uint64_t word = 0;
        memcpy(&word, at + byte, wf_min_u64(8, n - byte));
        for (; word; word &= word - 1)
            if (!take_place(r, begin + byte * 8 + (unsigned)__builtin_ctzll(word)))
                return false;
    }
    return true;
}

static bool find_gaps(struct range *r, const uint8_t *at, uint64_t n, uint64_t previous)
{
    uint64_t gap = 0, place = previous;
    unsigned shift = 0;
    for (const uint8_t *end = at + n; at < end; at++) {
        if (shift > 63)
            return false;
        gap |= (uint64_t)(*at & 0x7f) << shift;
        shift += 7;
        if (*at & 0x80)
            continue;
        place += gap;
        if (!take_place(r, place))
            return false;
        gap = 0;
        shift = 0;
    }
    return true;
}

/* Finds the places of [from, to). */
static int find_places(struct wf_err *e, struct range *r, struct wf_infile *f)
{
    const struct wf_delta_part *p = r->part;
    uint64_t chunk = r->from / WF_DELTA_CHUNK, last = (r->to - 1) / WF_DELTA_CHUNK;
    const struct wf_delta_mark *mark = &p->marks[chunk];
    uint64_t n = p->marks[last + 1].byte - mark->byte, offset = p->positions->offset + mark->byte;
    r->first = mark->kept;
    if (p->marks[last + 1].kept == mark->kept)
        return WF_OK;
    char *at = r->positions + offset % WF_DIRECT_ALIGN;
    int s = n > 2 * CHUNK_BYTES_MAX ? WF_BUG : wf_infile_read(e, f, at, offset, n);
    if (s)
        return s == WF_BUG ? wf_fail(e, s, "%s: tensor '%s': the index is wrong", p->path, p->name)
                           : s;
    bool same = p->encoding == WF_DELTA_BITMAP
                    ? find_bits(r, (uint8_t *)at, n, chunk * WF_DELTA_CHUNK)
                    : find_gaps(r, (uint8_t *)at, n, mark->previous);
    if (!same || r->first + r->n > p->kept)
        return wf_fail(e, WF_INPUT, "%s: the file changed while weft was at work", p->path);
    return WF_OK;
}

/* Finds the places of [from, to) and their values. */
static int open_range(struct wf_err *e, const struct wf_delta_part *part, struct wf_infile *f,
                      uint64_t from, uint64_t to, char *scratch, struct range *r)
{
    *r = (struct range){.part = part, .from = from, .to = to, .places = (uint32_t *)scratch};
    r->positions = scratch + PLACES_BYTES;
    r->values = r->positions + POSITIONS_BYTES;
    int s = from < to ? find_places(e, r, f) : WF_OK;
    if (s || !r->n)
        return s;
    uint64_t size = wf_dtype_info((enum wf_dtype)part->values->dtype)->bits / 8;
    uint64_t offset = part->values->offset + r->first * size;
    r->values += offset % WF_DIRECT_ALIGN;
    return wf_infile_read(e, f, r->values, offset, r->n * size);
}

int wf_delta_apply(struct wf_err *e, const struct wf_addend *addend, struct wf_infile *f,
                   uint64_t from, uint64_t to, bool wide, void *values, void *scratch)
{
    struct range r;
    int s = open_range(e, addend->part, f, from, to, scratch, &r);
    if (s)
        return s;
    enum wf_dtype dtype = (enum wf_dtype)addend->part->values->dtype;
    for (size_t i = 0; i < r.n; i++) {
        double value = wf_number_get(dtype, r.values, i);
        if (wide) {
            double *at = (double *)values + r.places[i];
            *at = addend->replace ? value : *at + addend->scale * value;
        } else {
            float *at = (float *)values + r.places[i];
            *at = addend->replace ? (float)value : *at + (float)addend->scale * (float)value;
        }
    }
    return WF_OK;
}

int wf_delta_patch(struct wf_err *e, const struct wf_delta_part *part, struct wf_infile *f,
                   uint64_t from, uint64_t to, void *stored, void *scratch)
{
    struct range r;
    int s = open_range(e, part, f, from, to, scratch, &r);
    size_t size = wf_dtype_info((enum wf_dtype)part->values->dtype)->bits / 8;
    for (size_t i = 0; !s && i < r.n; i++)
        memcpy((char *)stored + r.places[i] * size, r.values + i * size, size);
    return s;
}
