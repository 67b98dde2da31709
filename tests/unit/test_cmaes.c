/* test_cmaes.c - CMA-ES finds known optima within a few hundred evaluations, draws the same
 * candidates for the same seed and costs, stays in the cube, and bears costs that are no numbers.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "../../src/search/cmaes.h"

typedef double cost_fn(const double *x, unsigned d);

/* An ellipsoid with axes of different lengths that are not the coordinates', around 0.3. */
static double ellipsoid(const double *x, unsigned d)
{
    double sum = 0, along = 0;
    for (unsigned i = 0; i < d; i++) {
        sum += (x[i] - 0.3) * (x[i] - 0.3) * (1 + 20.0 * i / d);
        along += x[i] - 0.3;
    }
    return sum + 30 * along * along;
}

/* The best of the cube is its corner. */
static double corner(const double *x, unsigned d)
{
    double sum = 0;
    for (unsigned i = 0; i < d; i++)
        sum -= x[i];
    return sum;
}

static double best_of(cost_fn *cost, unsigned d, unsigned budget, uint64_t seed)
{
    static struct wf_cmaes s;
    double start[WF_CMAES_MAX], best = INFINITY;
    for (unsigned i = 0; i < d; i++)
        start[i] = 0.6;
    wf_cmaes_begin(&s, d, start, 0.3, seed);
    for (unsigned k = 0; k < budget; k++) {
        const double *x = wf_cmaes_ask(&s);
        for (unsigned i = 0; i < d; i++)
            assert_true(x[i] >= 0 && x[i] <= 1);
        double c = cost(x, d);
        best = c < best ? c : best;
        wf_cmaes_tell(&s, c);
    }
    return best;
}

static void optima_are_found(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed < 6; seed++) {
        assert_true(best_of(ellipsoid, 1, 100, seed) < 1e-6);
        assert_true(best_of(ellipsoid, 3, 400, seed) < 1e-5);
        assert_true(best_of(ellipsoid, 8, 1500, seed) < 1e-4);
        assert_true(best_of(corner, 5, 300, seed) < -4.95);
    }
}

static void most_dimensions_fit(void **unused)
{
    (void)unused;
    assert_true(isfinite(best_of(ellipsoid, WF_CMAES_MAX, 64, 1)));
}

static void the_seed_decides(void **unused)
{
    (void)unused;
    static struct wf_cmaes a, b, c;
    double start[3] = {0.5, 0.5, 0.5};
    bool differs = false;
    wf_cmaes_begin(&a, 3, start, 0.3, 7);
    wf_cmaes_begin(&b, 3, start, 0.3, 7);
    wf_cmaes_begin(&c, 3, start, 0.3, 8);
    for (unsigned k = 0; k < 60; k++) {
        const double *x = wf_cmaes_ask(&a), *y = wf_cmaes_ask(&b), *z = wf_cmaes_ask(&c);
        assert_memory_equal(x, y, 3 * sizeof *x);
        differs |= memcmp(x, z, 3 * sizeof *x) != 0;
        double cost = ellipsoid(x, 3);
        wf_cmaes_tell(&a, cost);
        wf_cmaes_tell(&b, cost);
        wf_cmaes_tell(&c, cost);
    }
    assert_true(differs);
}

static double mostly_nan(const double *x, unsigned d)
{
    return x[0] > 0.35 && d > 1 ? (double)NAN : ellipsoid(x, d);
}

static double always_nan(const double *x, unsigned d)
{
    (void)x;
    (void)d;
    return (double)NAN;
}

static void costs_that_are_no_numbers_are_worst(void **unused)
{
    (void)unused;
    assert_true(best_of(mostly_nan, 3, 400, 3) < 1e-3);
    assert_true(best_of(always_nan, 3, 200, 3) == INFINITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optima_are_found),
        cmocka_unit_test(most_dimensions_fit),
        cmocka_unit_test(the_seed_decides),
        cmocka_unit_test(costs_that_are_no_numbers_are_worst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
