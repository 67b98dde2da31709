/* test_philox.c - random words: known answers, and the same words from every frame's vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>

#include "../../kernels/philox.h"
#include "../../src/backend/frame_draw.h"

/* philox4x32, 10 rounds, from the kat_vectors file of the Random123 distribution. */
static void known_answers(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], words[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        uint32_t c[4];
        memcpy(c, cases[k].counter, sizeof c);
        wf_philox(cases[k].key[0], cases[k].key[1], c);
        assert_memory_equal(c, cases[k].words, sizeof c);
    }
}

static void a_draw_is_the_word_of_its_element(void **state)
{
    (void)state;
    assert_int_equal(wf_draw(0, 0, 0), 0x6627e8);
    assert_int_equal(wf_draw(0, 1, 0), 0xe169c5);
    assert_int_equal(wf_draw(0, 2, 0), 0xbc57ac);
    assert_int_equal(wf_draw(0, 3, 0), 0x9b00db);
    uint64_t key = 0x299f31d0a4093822u, index = ((uint64_t)7 << 40) + 5;
    uint32_t c[4] = {(uint32_t)(index / 4), (uint32_t)(index / 4 >> 32), 9, 0};
    wf_philox((uint32_t)key, (uint32_t)(key >> 32), c);
    assert_int_equal(wf_draw(key, index, 9), c[1] >> 8);
}

static void vectors_draw_the_same_words(void **state)
{
    static const uint64_t starts[] = {0, 1, 0xfffffffd, ((uint64_t)1 << 40) - 3,
                                      ((uint64_t)1 << 62) - 64};
    enum { COUNTERS = 37 };
    (void)state;
    for (size_t k = 0; k < sizeof starts / sizeof *starts; k++)
        for (size_t counters = 1; counters < COUNTERS; counters++) {
            uint64_t words[2 * (COUNTERS + DRAW_AT_ONCE)], key = 0x9e3779b97f4a7c15u * (k + 1);
            uint32_t got[4 * COUNTERS];
            draw_words(key, (uint32_t)counters, starts[k], counters, words);
            memcpy(got, words, counters * 16);
            for (size_t c = 0; c < counters; c++) {
                uint64_t at = starts[k] + c;
                uint32_t wanted[4] = {(uint32_t)at, (uint32_t)(at >> 32), (uint32_t)counters, 0};
                wf_philox((uint32_t)key, (uint32_t)(key >> 32), wanted);
                assert_memory_equal(got + 4 * c, wanted, sizeof wanted);
            }
        }
}

/* Each of 64 bins of a million draws within five standard deviations. */
static void draws_are_uniform(void **state)
{
    enum { N = 1 << 20, BINS = 64 };
    size_t bins[BINS] = {0};
    double mean = (double)N / BINS, deviation = sqrt(mean * (1 - 1.0 / BINS));
    (void)state;
    for (uint64_t e = 0; e < N; e++) {
        uint32_t draw = wf_draw(12345, e, 3);
        assert_true(draw < 1u << 24);
        bins[draw >> 18]++;
    }
    for (size_t b = 0; b < BINS; b++)
        assert_true(fabs((double)bins[b] - mean) < 5 * deviation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(a_draw_is_the_word_of_its_element),
        cmocka_unit_test(vectors_draw_the_same_words),
        cmocka_unit_test(draws_are_uniform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
