/* test_device_layout.c - memory of devices: what is claimed fits, parts do not overlap, too little
 * is refused with the number that is enough; and leaves are numbered as kernels number them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "../../src/backend/device_walk.h"

static const struct wf_device_need needs[] = {
    {{1, 0, 0, 0, 0, 0}, 4096, 2048, 1, 1},
    {{4, 0, 0, 0, 3, 0}, 1 << 20, 1 << 18, 3, 9},
    {{2, 3, 0, 0, 0, 3}, 1 << 20, 1 << 19, 2, 6},
    {{9, 45, 4096, 8, 24, 110}, 64 << 20, 8 << 20, 4, 8},
    {{3, 4, 1 << 24, 2, 0, 0}, 64 << 20, 16 << 20, 1, 2},
    {{64, 2080, 0, 0, 0, 0}, 16 << 20, 1 << 18, 3, 3},
    {{1024, 2046, 70000, 1023, 3069, 0}, 32 << 20, 1 << 14, 2, 12},
};
#define NEEDS (sizeof needs / sizeof *needs)

static bool fits(const struct wf_device_need *need, uint64_t memory, struct wf_device_layout *l)
{
    struct wf_err e = {0};
    int status = wf_device_lay_out(&e, need, memory, l);
    assert_true(status == WF_OK || status == WF_MACHINE);
    return status == WF_OK;
}

static uint64_t least(const struct wf_device_need *need)
{
    struct wf_device_layout l;
    uint64_t low = 0, high = (uint64_t)1 << 45;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        *(fits(need, middle, &l) ? &high : &low) = middle;
    }
    return high;
}

static void layouts_stay_within_the_memory_they_are_given(void **state)
{
    (void)state;
    for (size_t k = 0; k < NEEDS; k++) {
        struct wf_device_layout l;
        uint64_t memory = least(&needs[k]), area = 0, mirrors = 0;
        for (; memory < (uint64_t)1 << 45; memory += memory / 3 + 1) {
            assert_true(fits(&needs[k], memory, &l));
            assert_true(l.device_bytes <= memory);
            assert_true(l.mirrors >= needs[k].lanes);
            assert_true(l.mirrors <= needs[k].slots || l.mirrors == needs[k].lanes);
            uint64_t each = l.area.device_bytes;
            assert_true(l.device_bytes >=
                        each * needs[k].lanes + (uint64_t)l.mirrors * needs[k].input_bytes);
            assert_true(each >= area); /* more memory is never a smaller area */
            mirrors = each > area ? 0 : mirrors;
            assert_true(l.mirrors >= mirrors);
            area = each;
            mirrors = l.mirrors;
        }
        assert_true(fits(&needs[k], UINT64_MAX, &l));
        assert_true(l.mirrors >= needs[k].slots);
    }
}

static void too_little_memory_is_refused_with_the_number_needed(void **state)
{
    (void)state;
    for (size_t k = 0; k < NEEDS; k++) {
        struct wf_err e = {0};
        struct wf_device_layout l;
        uint64_t enough = least(&needs[k]);
        char wants[32];
        assert_int_equal(wf_device_lay_out(&e, &needs[k], enough - 1, &l), WF_MACHINE);
        snprintf(wants, sizeof wants, "at least %zu bytes", (size_t)enough);
        if (!strstr(e.text, wants) || !strstr(e.text, "--device-memory"))
            fail_msg("'%s' does not name %s", e.text, wants);
    }
}

/* Parts lie one behind the other, and the shared ones come first. */
static void check_parts(const struct wf_area *a)
{
    const struct wf_part *on_device[] = {&a->bad,     &a->counts, &a->brackets, &a->pointers,
                                         &a->types,   &a->views,  &a->data,     &a->ranks,
                                         &a->scratch, &a->results};
    uint64_t at = 0;
    for (size_t p = 0; p < sizeof on_device / sizeof *on_device; p++) {
        if (!on_device[p]->bytes)
            continue;
        assert_int_equal(on_device[p]->at % WF_DEVICE_ALIGN, 0);
        assert_true(on_device[p]->at >= at);
        at = on_device[p]->at + on_device[p]->bytes;
    }
    assert_true(at <= a->device_bytes);
    assert_true(a->data.at + a->data.bytes <= a->shared_bytes);
    assert_true(a->rows.at >= a->shared_bytes && a->tree.at >= a->rows.at + a->rows.bytes);
    assert_true(a->tree.at + a->tree.bytes <= a->host_bytes);
}

static void host_memory_depends_on_tiles_and_outputs_alone(void **state)
{
    (void)state;
    for (size_t k = 0; k < NEEDS; k++) {
        struct wf_device_need need = needs[k];
        uint64_t last = 0;
        for (need.output_bytes = 4096; need.output_bytes <= 4 << 20; need.output_bytes *= 2) {
            uint64_t bytes = wf_lane_host_bytes(&need.tiles, need.output_bytes);
            for (unsigned shrink = 0; shrink < WF_AREA_SHRINKS; shrink++) {
                struct wf_area a;
                wf_area_lay_out(&need, shrink, &a);
                assert_int_equal(a.host_bytes, bytes);
            }
            assert_true(bytes >= last);
            last = bytes;
        }
    }
    /* Small spans have small lanes, so that any memory has room for some. */
    assert_true(wf_lane_host_bytes(&(struct wf_need){.inputs = 3}, 4096) < 8 << 10);
    assert_true(wf_lane_host_bytes(&(struct wf_need){.inputs = 3}, 4 << 20) < 8 << 10);
    assert_true(wf_lane_host_bytes(&(struct wf_need){.inputs = 3, .brackets = 2}, 4096) < 32 << 10);
    assert_true(wf_lane_host_bytes(&(struct wf_need){.inputs = 3, .terms = 6}, 4096) < 32 << 10);
}

static void areas_have_room_for_what_no_launch_may_divide(void **state)
{
    (void)state;
    for (size_t k = 0; k < NEEDS; k++) {
        const struct wf_need *t = &needs[k].tiles;
        uint64_t view = wf_view_values(t->inputs) * sizeof(double), last = UINT64_MAX;
        for (unsigned shrink = 0; shrink < WF_AREA_SHRINKS; shrink++) {
            struct wf_area a;
            wf_area_lay_out(&needs[k], shrink, &a);
            check_parts(&a);
            assert_true(a.device_bytes <= last);
            last = a.device_bytes;
            assert_true(a.views.bytes >= view + sizeof(uint64_t));
            assert_true(a.data.bytes >= t->terms * sizeof(double));
            assert_true(a.data.bytes >= 2 * t->brackets * sizeof(uint64_t));
            assert_int_equal(!a.data.bytes, !t->terms && !t->brackets);
            assert_true(a.counts.bytes >= 2 * t->brackets * sizeof(struct wf_work_counts));
            assert_true(a.brackets.bytes >= 2 * t->brackets * sizeof(struct wf_work_bracket));
            assert_true(a.results.bytes >= needs[k].output_bytes + WF_DEVICE_ALIGN);
            assert_true(!t->terms || a.rows.bytes >= view);
            assert_true(a.ranks.bytes >= t->ranked * t->rank_row * sizeof(double));
            assert_true(a.tree.bytes >= (WF_TREE_LEVELS + 1) * t->terms * sizeof(double));
        }
    }
}

static void leaves_are_numbered_through_all_groups(void **state)
{
    (void)state;
    static const struct {
        uint64_t group, leaf, element, before;
    } cases[] = {{10000, 4096, 0, 0},     {10000, 4096, 4096, 1},  {10000, 4096, 8192, 2},
                 {10000, 4096, 10000, 3}, {10000, 4096, 14096, 4}, {10000, 4096, 20000, 6},
                 {1, 4096, 7, 7},         {4096, 4096, 8192, 2},   {4097, 4096, 8194, 4},
                 {4097, 4096, 4096, 1},   {100, 4096, 300, 3}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        assert_int_equal(
            wf_leaves_before((struct wf_granule){cases[k].group, cases[k].leaf}, cases[k].element),
            cases[k].before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts_stay_within_the_memory_they_are_given),
        cmocka_unit_test(too_little_memory_is_refused_with_the_number_needed),
        cmocka_unit_test(host_memory_depends_on_tiles_and_outputs_alone),
        cmocka_unit_test(areas_have_room_for_what_no_launch_may_divide),
        cmocka_unit_test(leaves_are_numbered_through_all_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
