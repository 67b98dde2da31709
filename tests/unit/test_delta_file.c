/* test_delta_file.c - task deltas: what is read from a file, and that no damaged file gets further.
 *
 * Files are built by hand, byte by byte, so that reader and writer cannot agree on a mistake.
 */
#include "model_tree.h"
#include "st_rows.h"

#include <fcntl.h>

#include "../../kernels/dtype_conv.h"
#include "../../src/base/num.h"
#include "../../src/format/delta_file.h"
#include "../../src/format/infile.h"
#include "../../src/format/overlay_delta.h"

#define PAIRS_MAX 16

/* One tensor of a delta, as it is to stand in the file. */
struct given {
    const char *name;
    const void *positions;
    size_t n_positions;
    const void *values;
    size_t n_values;
    uint8_t dtype;
};

struct file {
    struct given tensors[4];
    size_t n_tensors;
    struct wf_st_pair pairs[PAIRS_MAX];
    size_t n_pairs;
};

static const struct wf_st_pair plain[] = {
    {"base", "shared"}, {"task", "math"}, {"store", "replace"}, {"density", "0.1"}};

static void add_pair(struct file *f, const char *key, const char *value)
{
    assert_true(f->n_pairs < PAIRS_MAX);
    f->pairs[f->n_pairs++] = (struct wf_st_pair){key, value};
}

static struct file new_file(void)
{
    struct file f = {0};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        add_pair(&f, plain[i].key, plain[i].value);
    return f;
}

static void add_given(struct file *f, const char *name, const void *positions, size_t n_positions,
                      const uint16_t *values, size_t n_values)
{
    f->tensors[f->n_tensors++] =
        (struct given){name, positions, n_positions, values, n_values, WF_BF16};
}

/* Writes the file and opens it as a checkpoint. */
static void write_file(struct tree *t, const struct file *f, const char *relative,
                       struct wf_ckpt *ckpt)
{
    struct wf_st_tensor rows[8];
    uint64_t shapes[8];
    size_t n = 0;
    struct wf_str s = {0};
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct given *g = &f->tensors[i];
        const char *suffix[] = {".positions", ".values"};
        for (int k = 0; k < 2; k++, n++) {
            if (k ? !g->values : !g->positions) {
                n--;
                continue;
            }
            shapes[n] = k ? g->n_values : g->n_positions;
            rows[n] = (struct wf_st_tensor){
                .name = wf_arena_printf(&t->arena, &t->err, "%s%s", g->name, suffix[k]),
                .dtype = k ? g->dtype : WF_U8,
                .n_dims = 1,
                .shape = &shapes[n]};
        }
    }
    uint64_t bytes = st_rows_lay_out(rows, n);
    assert_worked(t, wf_st_format_with(&t->err, rows, n, 8, f->pairs, f->n_pairs, &s));
    size_t start = s.n;
    char *data = wf_arena_alloc(&t->arena, &t->err, start + bytes, 1);
    memcpy(data, s.text, start);
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < f->n_tensors; i++) {
            const struct given *g = &f->tensors[i];
            size_t own = strlen(g->name);
            if (strncmp(rows[r].name, g->name, own) != 0)
                continue;
            const void *from = rows[r].name[own + 1] == 'p' ? g->positions : g->values;
            memcpy(data + start + rows[r].begin, from, rows[r].end - rows[r].begin);
        }
    struct wf_place place = {.path = tree_bytes(t, relative, data, start + bytes)};
    wf_str_free(&s);
    assert_worked(t, wf_ckpt_open(&t->err, &t->arena, &place, ckpt));
}

static void open_infile(struct tree *t, const struct wf_ckpt *c, struct wf_infile *f)
{
    assert_worked(t, wf_infile_open(&t->err, c->files[0].path, &c->files[0].id, WF_IO_BUFFERED, f));
}

/* Opens the delta, binds its first part to a tensor of `count` elements, if count, and looks at all
 * positions. */
static int look(struct tree *t, const struct file *file, uint64_t count)
{
    struct wf_ckpt c;
    struct wf_delta d;
    struct wf_infile f;
    write_file(t, file, "d.safetensors", &c);
    int s = wf_delta_open(&t->err, &t->arena, &c, &d);
    if (s)
        return s;
    struct wf_tensor whole = {
        .name = "w", .dtype = WF_BF16, .n_dims = 1, .shape = &count, .count = count};
    if (count)
        s = wf_delta_bind(&t->err, "weft apply", &d.parts[0], &whole);
    open_infile(t, &c, &f);
    if (!s)
        s = wf_delta_check(&t->err, &d.parts[0], &f);
    if (!s && count && !(s = wf_delta_load(&t->err, &d.parts[0], &f)))
        wf_delta_unload(&d.parts[0]);
    wf_infile_close(&f);
    return s;
}

static const uint16_t halves[] = {0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0, 0x40e0, 0x4100};

/* ---- a delta of many places, looked at through every window -----------------------------------
 */

enum { BIG = 3 * 32768 + 100 };

/* Which elements the big tensor keeps: dense, empty and thin stretches, and every edge. */
static bool is_kept(uint64_t i)
{
    if (i == 0 || i == BIG - 1 || i == 32767 || i == 32768)
        return true;
    if (i < 20000)
        return true;
    if (i < 70000)
        return false;
    return i % 61 == 0;
}

static size_t big_file(struct tree *t, bool bitmap, const char *store, struct wf_ckpt *c)
{
    struct file f = new_file();
    uint8_t *positions = wf_arena_alloc(&t->arena, &t->err, BIG + 16, 1), *at = positions;
    uint16_t *values = wf_arena_alloc(&t->arena, &t->err, BIG, sizeof *values);
    uint64_t previous = 0;
    size_t n = 0;
    for (uint64_t i = 0; i < BIG; i++) {
        if (!is_kept(i))
            continue;
        if (bitmap)
            positions[i / 8] |= (uint8_t)(1u << (i % 8));
        else
            at = wf_leb128_put(at, i - previous);
        previous = i;
        values[n] = (uint16_t)(0x3f80 + (n + 1) % 97);
        n++;
    }
    if (bitmap)
        at = positions + (BIG + 7) / 8;
    f.pairs[2].value = store;
    add_given(&f, "w", positions, (size_t)(at - positions), values, n);
    add_pair(&f, "w.encoding", bitmap ? "bitmap" : "leb128");
    write_file(t, &f, bitmap ? "bits.safetensors" : "gaps.safetensors", c);
    return n;
}

static void check_window(struct tree *t, const struct wf_addend *addend, struct wf_infile *f,
                         uint64_t from, uint64_t to, void *scratch)
{
    static float got[WF_DELTA_CHUNK];
    static double wide[WF_DELTA_CHUNK];
    static uint16_t stored[WF_DELTA_CHUNK];
    for (uint64_t i = from; i < to; i++) {
        got[i - from] = 10;
        wide[i - from] = 10;
        stored[i - from] = 7;
    }
    assert_worked(t, wf_delta_apply(&t->err, addend, f, from, to, false, got, scratch));
    assert_worked(t, wf_delta_apply(&t->err, addend, f, from, to, true, wide, scratch));
    assert_worked(t, wf_delta_patch(&t->err, addend->part, f, from, to, stored, scratch));
    size_t n = 0;
    for (uint64_t i = 0; i < from; i++)
        n += is_kept(i);
    for (uint64_t i = from; i < to; i++) {
        bool kept = is_kept(i);
        uint16_t half = (uint16_t)(0x3f80 + (n + 1) % 97);
        double value = (double)wf_bf16_to_f32(half);
        double wanted = !kept ? 10 : addend->replace ? value : 10 + addend->scale * value;
        if (got[i - from] != (float)wanted || wide[i - from] != wanted ||
            stored[i - from] != (kept ? half : 7))
            fail_msg("element %llu of [%llu, %llu)", (unsigned long long)i,
                     (unsigned long long)from, (unsigned long long)to);
        n += kept;
    }
}

static void every_window_sees_its_own_places(void **state)
{
    struct tree *t = *state;
    static const uint64_t windows[][2] = {{0, 1},         {0, 32768},     {1, 32769},
                                          {20000, 52768}, {30000, 40000}, {32767, 32769},
                                          {65536, 98304}, {69999, 80001}, {BIG - 1, BIG},
                                          {98304, BIG},   {500, 500}};
    void *scratch = wf_map_pages(&t->err, wf_delta_scratch_bytes(), "scratch");
    for (int k = 0; k < 4; k++) {
        struct wf_ckpt c;
        struct wf_delta d;
        struct wf_infile f;
        size_t kept = big_file(t, k & 1, k & 2 ? "add" : "replace", &c);
        uint64_t count = BIG;
        struct wf_tensor whole = {
            .name = "w", .dtype = WF_BF16, .n_dims = 1, .shape = &count, .count = count};
        assert_worked(t, wf_delta_open(&t->err, &t->arena, &c, &d));
        assert_int_equal(d.n_parts, 1);
        assert_int_equal(d.parts[0].kept, kept);
        assert_int_equal(d.parts[0].encoding, k & 1 ? WF_DELTA_BITMAP : WF_DELTA_LEB128);
        assert_worked(t, wf_delta_bind(&t->err, "here", &d.parts[0], &whole));
        open_infile(t, &c, &f);
        assert_worked(t, wf_delta_load(&t->err, &d.parts[0], &f));
        struct wf_addend addend = {.kind = WF_ADDEND_SPARSE,
                                   .scale = 0.5,
                                   .part = &d.parts[0],
                                   .replace = d.store == WF_DELTA_REPLACE};
        for (size_t w = 0; w < sizeof windows / sizeof *windows; w++)
            check_window(t, &addend, &f, windows[w][0], windows[w][1], scratch);
        wf_delta_unload(&d.parts[0]);
        wf_infile_close(&f);
    }
    wf_unmap_pages(scratch, wf_delta_scratch_bytes());
}

/* ---- what is said of a sound file --------------------------------------------------------------
 */

static void the_header_says_what_the_delta_is(void **state)
{
    struct tree *t = *state;
    struct file f = new_file();
    struct wf_ckpt c;
    struct wf_delta d;
    add_given(&f, "b", "\x05", 1, halves, 2);
    add_given(&f, "a.positions", "\x00\x80\x02", 3, halves, 2);
    add_pair(&f, "b.encoding", "bitmap");
    add_pair(&f, "b.shape", "[2,4]");
    add_pair(&f, "a.positions.encoding", "leb128");
    write_file(t, &f, "d.safetensors", &c);
    assert_true(wf_delta_is(&c));
    assert_worked(t, wf_delta_open(&t->err, &t->arena, &c, &d));
    assert_string_equal(d.base, "shared");
    assert_string_equal(d.task, "math");
    assert_string_equal(d.density, "0.1");
    assert_int_equal(d.store, WF_DELTA_REPLACE);
    assert_int_equal(d.n_parts, 2);
    assert_string_equal(d.parts[0].name, "a.positions");
    assert_false(d.parts[0].known);
    assert_string_equal(d.parts[1].name, "b");
    assert_int_equal(d.parts[1].count, 8);
    assert_int_equal(look(t, &f, 0), WF_OK);
}

static void a_delta_may_change_nothing(void **state)
{
    struct tree *t = *state;
    struct file f = new_file();
    struct wf_ckpt c;
    struct wf_delta d;
    write_file(t, &f, "d.safetensors", &c);
    assert_worked(t, wf_delta_open(&t->err, &t->arena, &c, &d));
    assert_int_equal(d.n_parts, 0);
}

static void the_smaller_encoding_is_chosen(void **state)
{
    (void)state;
    uint64_t bytes;
    assert_int_equal(wf_delta_choose(80, 10, &bytes), WF_DELTA_BITMAP);
    assert_int_equal(bytes, 10);
    assert_int_equal(wf_delta_choose(81, 10, &bytes), WF_DELTA_LEB128);
    assert_int_equal(bytes, 10);
    assert_int_equal(wf_delta_choose(80, 11, &bytes), WF_DELTA_BITMAP);
}

static void leb128_takes_the_fewest_bytes(void **state)
{
    (void)state;
    static const uint64_t edges[] = {
        0, 1, 127, 128, 16383, 16384, 1u << 21, UINT64_MAX >> 1, UINT64_MAX};
    static const unsigned sizes[] = {1, 1, 1, 2, 2, 3, 4, 9, 10};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        uint8_t text[10];
        uint64_t back = 0;
        size_t n = (size_t)(wf_leb128_put(text, edges[i]) - text);
        assert_int_equal(n, sizes[i]);
        assert_int_equal(wf_leb128_bytes(edges[i]), n);
        for (size_t b = n; b--;)
            back = back << 7 | (text[b] & 0x7f);
        assert_true(back == edges[i]);
    }
}

/* ---- damage -----------------------------------------------------------------------------------
 */

static void metadata_that_are_missing_or_wrong_are_refused(void **state)
{
    struct tree *t = *state;
    static const char *const bad[][2] = {{"store", "swap"},  {"store", ""},     {"density", "x"},
                                         {"density", "1.5"}, {"density", "-1"}, {"density", "nan"}};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        struct file f = new_file();
        f.pairs[i] = f.pairs[--f.n_pairs];
        assert_failed(t, look(t, &f, 0), WF_INPUT, plain[i].key);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct file f = new_file();
        for (size_t k = 0; k < f.n_pairs; k++)
            if (!strcmp(f.pairs[k].key, bad[i][0]))
                f.pairs[k].value = bad[i][1];
        assert_failed(t, look(t, &f, 0), WF_INPUT, bad[i][0]);
    }
}

static void tensors_that_are_no_pair_are_refused(void **state)
{
    struct tree *t = *state;
    struct file f = new_file();
    add_given(&f, "w", "\x05", 1, NULL, 0);
    add_pair(&f, "w.encoding", "bitmap");
    assert_failed(t, look(t, &f, 0), WF_INPUT, "d.safetensors: tensor 'w");
    f = new_file();
    add_given(&f, "w", NULL, 0, halves, 2);
    assert_failed(t, look(t, &f, 0), WF_INPUT, "no positions");
    f = new_file();
    add_given(&f, "w", "\x05", 1, halves, 2);
    assert_failed(t, look(t, &f, 0), WF_INPUT, "tensor 'w': the metadata do not say its encoding");
    add_pair(&f, "w.encoding", "rle");
    assert_failed(t, look(t, &f, 0), WF_INPUT, "unknown encoding 'rle'");
    f.pairs[f.n_pairs - 1].value = "bitmap";
    f.tensors[0].dtype = WF_I16;
    assert_failed(t, look(t, &f, 0), WF_INPUT, "tensor 'w': its values");
}

static void positions_that_lie_are_refused(void **state)
{
    struct tree *t = *state;
    static const struct {
        const char *encoding, *positions;
        size_t n_positions, n_values;
        const char *words;
    } cases[] = {
        {"leb128", "\x03\x00", 2, 2, "do not ascend"},
        {"leb128", "\x03\x81", 2, 2, "cut off"},
        {"leb128", "\x83\x00\x01", 3, 2, "more bytes than it needs"},
        {"leb128", "\x03\x80\x00", 3, 2, "more bytes than it needs"},
        {"leb128", "\x63\x01", 2, 2, "outside the tensor"},
        {"leb128", "\x64", 1, 1, "outside the tensor"},
        {"leb128", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, 2, "outside the tensor"},
        {"leb128", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, 2, "beyond 64 bits"},
        {"leb128", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, 2, "beyond 64 bits"},
        {"leb128", "\x01\x01\x01", 3, 2, "more positions than values"},
        {"leb128", "\x01", 1, 2, "do not fit"},
        {"leb128", "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01", 11, 1, "do not fit"},
        {"bitmap", "\x03\0\0\0\0\0\0\0\0\0\0\0\0", 13, 1, "2 positions and 1 values"},
        {"bitmap", "\x03\0\0\0\0\0\0\0\0\0\0\0\0", 13, 3, "2 positions and 3 values"},
        {"bitmap", "\x01\0\0\0\0\0\0\0\0\0\0\0\x10", 13, 2, "a bit outside"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct file f = new_file();
        add_given(&f, "w", cases[i].positions, cases[i].n_positions, halves, cases[i].n_values);
        add_pair(&f, "w.encoding", cases[i].encoding);
        assert_failed(t, look(t, &f, 100), WF_INPUT, cases[i].words);
        add_pair(&f, "w.shape", "[10,10]"); /* known by itself: found without the shared model */
        assert_failed(t, look(t, &f, 0), WF_INPUT, "tensor 'w'");
    }
}

static void shapes_that_are_no_shape_are_refused(void **state)
{
    struct tree *t = *state;
    static const char *const shapes[] = {"",
                                         "[",
                                         "]",
                                         "[2",
                                         "[2,]",
                                         "[,2]",
                                         "[2]x",
                                         "[2 ]",
                                         "[-2]",
                                         "[1.5]",
                                         "2",
                                         "[2,,2]",
                                         "[1]",
                                         "[4294967296,4294967296]",
                                         "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,8]"};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct file f = new_file();
        add_given(&f, "w", "\x05", 1, halves, 2);
        add_pair(&f, "w.encoding", "bitmap");
        add_pair(&f, "w.shape", shapes[i]);
        assert_failed(t, look(t, &f, 0), WF_INPUT, "tensor 'w'");
    }
}

/* Every cut and every flipped bit of a header-less part gives an answer, never a crash. */
static void flipped_bits_of_positions_are_found_or_harmless(void **state)
{
    struct tree *t = *state;
    static const uint8_t sound[] = {0x03, 0x85, 0x01, 0x02, 0xc0, 0x02};
    for (size_t bit = 0; bit < 8 * sizeof sound; bit++) {
        uint8_t positions[sizeof sound];
        struct file f = new_file();
        memcpy(positions, sound, sizeof sound);
        positions[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        add_given(&f, "w", positions, sizeof positions, halves, 4);
        add_pair(&f, "w.encoding", "leb128");
        int s = look(t, &f, 600);
        assert_true(s == WF_OK || s == WF_INPUT);
        wf_err_clear(&t->err);
    }
}

/* ---- on top of a shared model -----------------------------------------------------------------
 */

static void other_types_and_shapes_are_usage(void **state)
{
    struct tree *t = *state;
    struct file f = new_file();
    struct wf_ckpt c;
    struct wf_delta d;
    uint64_t shape[] = {4, 2}, count = 9;
    struct wf_tensor w = {.name = "w", .dtype = WF_BF16, .n_dims = 2, .shape = shape, .count = 8};
    add_given(&f, "w", "\x05", 1, halves, 2);
    add_pair(&f, "w.encoding", "bitmap");
    write_file(t, &f, "d.safetensors", &c);
    assert_worked(t, wf_delta_open(&t->err, &t->arena, &c, &d));
    assert_worked(t, wf_delta_bind(&t->err, "here", &d.parts[0], &w));
    add_pair(&f, "w.shape", "[2,4]");
    write_file(t, &f, "d.safetensors", &c);
    assert_worked(t, wf_delta_open(&t->err, &t->arena, &c, &d));
    assert_failed(t, wf_delta_bind(&t->err, "here", &d.parts[0], &w), WF_USAGE,
                  "is for shape [2, 4], the shared model has [4, 2]");
    w.dtype = WF_F16;
    assert_failed(t, wf_delta_bind(&t->err, "here", &d.parts[0], &w), WF_USAGE, "values of BF16");
    f.n_pairs--;
    write_file(t, &f, "d.safetensors", &c);
    assert_worked(t, wf_delta_open(&t->err, &t->arena, &c, &d));
    w = (struct wf_tensor){.name = "w", .dtype = WF_BF16, .n_dims = 1, .shape = &count, .count = 9};
    assert_failed(t, wf_delta_bind(&t->err, "here", &d.parts[0], &w), WF_USAGE, "do not fit");
}

static void an_overlay_appends_and_leaves_the_shared_model_alone(void **state)
{
    struct tree *t = *state;
    struct file f = new_file();
    struct wf_ckpt shared, delta, once, twice;
    struct wf_place place = {.path = tree_tensors(t, "s.safetensors", "v", "w", NULL)};
    static const float one[] = {1};
    f.tensors[f.n_tensors++] = (struct given){"w", "\x01", 1, one, 1, WF_F32};
    add_pair(&f, "w.encoding", "bitmap");
    f.pairs[2].value = "add";
    assert_worked(t, wf_ckpt_open(&t->err, &t->arena, &place, &shared));
    write_file(t, &f, "d.safetensors", &delta);
    assert_worked(t, wf_overlay_delta(&t->err, &t->arena, "here", &shared, &delta, 0.5, &once));
    assert_worked(t, wf_overlay_delta(&t->err, &t->arena, "here", &once, &delta, 2, &twice));
    assert_null(wf_ckpt_find(&shared, "w")->addend);
    assert_null(wf_ckpt_find(&once, "w")->addend->next);
    assert_null(wf_ckpt_find(&twice, "v")->addend);
    assert_int_equal(twice.n_files, 3);
    const struct wf_addend *first = wf_ckpt_find(&twice, "w")->addend;
    assert_true(first->scale == 0.5);
    assert_int_equal(first->part->values->file, 1);
    assert_true(first->next->scale == 2);
    assert_int_equal(first->next->part->positions->file, 2);
    assert_false(first->next->replace);
    f.tensors[0].name = "x";
    f.pairs[f.n_pairs - 1].key = "x.encoding";
    write_file(t, &f, "d.safetensors", &delta);
    assert_failed(t, wf_overlay_delta(&t->err, &t->arena, "weft apply", &shared, &delta, 1, &once),
                  WF_USAGE, "tensor 'x' is not in");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_window_sees_its_own_places, tree_setup,
                                        tree_teardown),
        cmocka_unit_test_setup_teardown(the_header_says_what_the_delta_is, tree_setup,
                                        tree_teardown),
        cmocka_unit_test_setup_teardown(a_delta_may_change_nothing, tree_setup, tree_teardown),
        cmocka_unit_test(the_smaller_encoding_is_chosen),
        cmocka_unit_test(leb128_takes_the_fewest_bytes),
        cmocka_unit_test_setup_teardown(metadata_that_are_missing_or_wrong_are_refused, tree_setup,
                                        tree_teardown),
        cmocka_unit_test_setup_teardown(tensors_that_are_no_pair_are_refused, tree_setup,
                                        tree_teardown),
        cmocka_unit_test_setup_teardown(positions_that_lie_are_refused, tree_setup, tree_teardown),
        cmocka_unit_test_setup_teardown(shapes_that_are_no_shape_are_refused, tree_setup,
                                        tree_teardown),
        cmocka_unit_test_setup_teardown(flipped_bits_of_positions_are_found_or_harmless, tree_setup,
                                        tree_teardown),
        cmocka_unit_test_setup_teardown(other_types_and_shapes_are_usage, tree_setup,
                                        tree_teardown),
        cmocka_unit_test_setup_teardown(an_overlay_appends_and_leaves_the_shared_model_alone,
                                        tree_setup, tree_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
