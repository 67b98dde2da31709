/* bench_svd.c - time and error of truncated singular value decompositions, on the CPU and on a GPU.
 *
 *     bench_svd [--shape OUTSxINS] [--rank R] [--rounds N]
 *
 * Without them 4096 x 4096, 4096 x 14336 and 8192 x 28672, each at ranks 16, 64 and 128, by
 *
 *   CPU sketch   the randomised route of src/lowrank, on one thread
 *   GPU sketch   the same on the first GPU
 *   GPU exact    the eigenvectors of the smaller Gram matrix, in double, there
 *
 * A matrix is a product of rank 256 with falling singular values, and noise. Times are those of the
 * whole call, with matrices in the host's memory before and after: the least of N rounds (2). The
 * error is |D - B A| / |D| in Frobenius norms; beside it is how far that is above the exact
 * route's.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/philox.h"
#include "../src/backend/device_linalg.h"
#include "../src/base/clock.h"
#include "../src/base/mem.h"
#include "../src/base/num.h"
#include "../src/lowrank/delta_svd.h"

#define INNER 256u /* rank of what is no noise */
#define DECAY 0.98
#define NOISE 0.05f
#define KEY 0x5eedu

static struct {
    struct wf_err e;
    const struct wf_linalg *processor;
    struct wf_devices *devices;
    struct wf_device_linalg linalg;
    unsigned rounds;
    uint32_t outs, ins, rank;
    float *d, *copy; /* [outs][ins] */
    double whole;    /* squared norm of d */
} bench;

static void check(int status)
{
    if (!status)
        return;
    fprintf(stderr, "bench_svd: %s\n", bench.e.text);
    exit(4);
}

static float *floats(size_t n)
{
    float *p = wf_alloc(&bench.e, WF_MEM_RING, n, sizeof *p, "a matrix");
    check(p ? WF_OK : WF_MACHINE);
    return p;
}

static float draw(uint64_t stream, size_t i)
{
    return (float)((int32_t)wf_draw(KEY + stream, i, 0) - (1 << 23)) * 0x1p-23f;
}

static void make_matrix(void)
{
    size_t outs = bench.outs, ins = bench.ins, n = outs * ins;
    uint32_t inner = (uint32_t)wf_min_u64(INNER, wf_min_u64(outs, ins));
    float *b = floats(outs * inner), *a = floats(inner * ins);
    bench.d = floats(n);
    bench.copy = floats(n);
    for (size_t i = 0; i < outs * inner; i++)
        b[i] = draw(1, i) * (float)pow(DECAY, (double)(i % inner));
    for (size_t i = 0; i < inner * ins; i++)
        a[i] = draw(2, i);
    for (size_t i = 0; i < n; i++)
        bench.d[i] = NOISE * draw(3, i);
    check(bench.processor->gemm_f32(&bench.e, bench.processor, false, false, (int)ins, (int)outs,
                                    (int)inner, 1, a, (int)ins, b, (int)inner, 1, bench.d,
                                    (int)ins));
    bench.whole = 0;
    for (size_t i = 0; i < n; i++)
        bench.whole += (double)bench.d[i] * (double)bench.d[i];
    wf_free(a);
    wf_free(b);
}

enum path { CPU_SKETCH, GPU_SKETCH, GPU_EXACT, PATHS };
static const char *const names[] = {"CPU sketch", "GPU sketch", "GPU exact"};

/* The cut as the exact route takes it, which is what room is counted for. */
static struct wf_cut cut_of(enum path path)
{
    return (struct wf_cut){
        .rank = bench.rank, .whole = bench.whole, .energy = path == GPU_EXACT ? 1 : 0};
}

static int find_room(struct wf_err *e, const struct wf_linalg *la, const void *arg, uint64_t *bytes)
{
    const struct wf_cut cut = cut_of(*(const enum path *)arg);
    return wf_delta_room(e, la, bench.outs, bench.ins, &cut, false, bytes);
}

static double relative_error(const struct wf_linalg *la, const struct wf_factors *f)
{
    size_t nb = (size_t)f->outs * f->rank, na = (size_t)f->rank * f->ins;
    float *b = floats(nb), *a = floats(na);
    double missed;
    for (size_t i = 0; i < nb; i++)
        b[i] = (float)f->b[i];
    for (size_t i = 0; i < na; i++)
        a[i] = (float)f->a[i];
    memcpy(bench.copy, bench.d, (size_t)f->outs * f->ins * sizeof *bench.d);
    check(wf_delta_residual(&bench.e, la, f->outs, f->ins, f->rank, bench.copy, b, a, &missed));
    wf_free(a);
    wf_free(b);
    return sqrt(missed / bench.whole);
}

/* Seconds and relative error. */
static void measure(enum path path, double *seconds, double *error)
{
    struct wf_linalg_crew crew;
    const struct wf_cut cut = cut_of(path);
    bool exact = path == GPU_EXACT;
    check(wf_linalg_crew_open(&bench.e, path == CPU_SKETCH ? NULL : &bench.linalg.device, 1,
                              find_room, &path, &crew));
    const struct wf_linalg *la = wf_linalg_crew_table(&crew, 0);
    *seconds = INFINITY;
    for (unsigned k = 0; k < bench.rounds; k++) {
        struct wf_factors f;
        uint64_t start = wf_now_ns();
        check(
            exact
                ? wf_delta_truncate_exactly(&bench.e, la, bench.outs, bench.ins, bench.d, &cut, &f)
                : wf_delta_truncate(&bench.e, la, bench.outs, bench.ins, bench.d, KEY, &cut, &f));
        double took = (double)(wf_now_ns() - start) * 1e-9;
        *seconds = took < *seconds ? took : *seconds;
        if (k + 1 == bench.rounds)
            *error = relative_error(la, &f);
        wf_factors_free(&f);
    }
    wf_linalg_crew_close(&crew);
}

static void run_rank(void)
{
    double seconds[PATHS], errors[PATHS];
    for (enum path path = 0; path < PATHS; path++)
        measure(path, &seconds[path], &errors[path]);
    for (enum path path = 0; path < PATHS; path++)
        printf("%6" PRIu32 " x %-6" PRIu32 " %4" PRIu32 "  %-10s %9.3f s  error %.6f  %+.3f %%\n",
               bench.outs, bench.ins, bench.rank, names[path], seconds[path], errors[path],
               100 * (errors[path] / errors[GPU_EXACT] - 1));
    fflush(stdout);
}

static void run_shape(uint32_t outs, uint32_t ins, uint32_t rank)
{
    static const uint32_t ranks[] = {16, 64, 128};
    bench.outs = outs;
    bench.ins = ins;
    make_matrix();
    for (size_t i = 0; i < (rank ? 1 : sizeof ranks / sizeof *ranks); i++) {
        bench.rank = rank ? rank : ranks[i];
        run_rank();
    }
    wf_free(bench.d);
    wf_free(bench.copy);
}

static int usage(void)
{
    fputs("usage: bench_svd [--shape OUTSxINS] [--rank R] [--rounds N]\n", stderr);
    return 2;
}

/* "4096x14336" */
static bool parse_shape(const char *text, uint64_t *outs, uint64_t *ins)
{
    const char *x = strchr(text, 'x');
    return x && wf_parse_u64(text, (size_t)(x - text), outs) &&
           wf_parse_u64(x + 1, strlen(x + 1), ins) && *outs && *ins &&
           *outs <= WF_LINALG_SIZE_MAX && *ins <= WF_LINALG_SIZE_MAX;
}

int main(int argc, char **argv)
{
    static const uint32_t shapes[][2] = {{4096, 4096}, {4096, 14336}, {8192, 28672}};
    uint64_t outs = 0, ins = 0, rank = 0, rounds = 2;
    char why[256];
    for (int k = 1; k < argc; k += 2) {
        const char *value = k + 1 < argc ? argv[k + 1] : "";
        if ((strcmp(argv[k], "--shape") || !parse_shape(value, &outs, &ins)) &&
            (strcmp(argv[k], "--rank") || !wf_parse_u64(value, strlen(value), &rank)) &&
            (strcmp(argv[k], "--rounds") || !wf_parse_u64(value, strlen(value), &rounds)))
            return usage();
    }
    bench.rounds = rounds ? (unsigned)rounds : 1;
    check(wf_linalg_cpu(&bench.e, &bench.processor));
    check(wf_devices_open(&bench.e, &(struct wf_device_options){.required = true}, &bench.devices,
                          why));
    check(wf_device_linalg_init(&bench.e, bench.devices, true, &bench.linalg));
    printf("CPU: %s; GPU: %s\n", bench.processor->name, bench.linalg.library);
    if (outs)
        run_shape((uint32_t)outs, (uint32_t)ins, (uint32_t)rank);
    for (size_t i = 0; !outs && i < sizeof shapes / sizeof *shapes; i++)
        run_shape(shapes[i][0], shapes[i][1], (uint32_t)rank);
    wf_devices_close(bench.devices);
    return 0;
}
