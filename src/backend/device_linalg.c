/* device_linalg.c - calls of linalg.h as work for a plugin; see device_linalg.h. */
#include "device_linalg.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../base/log.h"
#include "../base/mem.h"

/* A table with its queue. */
struct wf_linalg_lane {
    struct wf_linalg table;
    const struct wf_plugin *plugin;
    uint32_t index; /* of the device */
    struct wf_plugin_linalg *queue;
    const void *held;
};

static int fail(struct wf_err *e, const struct wf_linalg_lane *lane,
                const struct wf_plugin_err *fault)
{
    return wf_fail(e, WF_MACHINE, "GPU %" PRIu32 ": %s", lane->index, fault->text);
}

/* Of a queue that is not ready yet. */
static int fail_to_ready(struct wf_err *e, const struct wf_linalg_lane *lane,
                         const struct wf_plugin_err *fault)
{
    return fault->code == WF_PLUGIN_NO_MEMORY
               ? wf_fail(e, WF_NO, "GPU %" PRIu32 ": %s", lane->index, fault->text)
               : fail(e, lane, fault);
}

static struct wf_dense_matrix matrix(const void *p, int ld)
{
    return (struct wf_dense_matrix){.p = (void *)p, .ld = ld};
}

static int run(struct wf_err *e, const struct wf_linalg *la, struct wf_dense *w)
{
    struct wf_linalg_lane *lane = la->lane;
    struct wf_plugin_err fault = {0};
    w->a_held = lane->held && w->a.p == lane->held;
    w->b_held = lane->held && w->b.p == lane->held;
    return lane->plugin->linalg_run(&fault, lane->queue, w) ? fail(e, lane, &fault) : WF_OK;
}

/* A factorisation that says itself how it went: WF_NO, and no error, where the matrix is to blame.
 * Nothing is written then. QR is good for any. */
static int run_factorisation(struct wf_err *e, const struct wf_linalg *la, const char *what,
                             struct wf_dense *w)
{
    int s = run(e, la, w);
    if (!s && (w->info < 0 || (w->info && w->kind == WF_DENSE_QR)))
        s = wf_fail(e, WF_BUG, "internal: %s: cuSOLVER reports %d", what, (int)w->info);
    return s || !w->info ? s : WF_NO;
}

/* The processor's table, for a matrix with which cuSOLVER's iterations do not converge: LAPACK's
 * are others. */
static int find_processor(struct wf_err *e, const struct wf_linalg *la, const char *what,
                          const struct wf_dense *w, const struct wf_linalg **processor)
{
    wf_log(WF_LOG_DEBUG, "GPU %" PRIu32 ": %s does not converge (info %d): computed on the CPU",
           la->lane->index, what, (int)w->info);
    return wf_linalg_cpu(e, processor);
}

/* ---- products ---------------------------------------------------------------------------------
 */

static int gemm(struct wf_err *e, const struct wf_linalg *la, bool a_turned, bool b_turned, int m,
                int n, int k, double alpha, const double *a, int lda, const double *b, int ldb,
                double beta, double *c, int ldc)
{
    struct wf_dense w = {.kind = WF_DENSE_GEMM,
                         .wide = true,
                         .a_turned = a_turned,
                         .b_turned = b_turned,
                         .m = m,
                         .n = n,
                         .k = k,
                         .alpha = alpha,
                         .beta = beta,
                         .a = matrix(a, lda),
                         .b = matrix(b, ldb),
                         .c = matrix(c, ldc)};
    return run(e, la, &w);
}

static int gemm_f32(struct wf_err *e, const struct wf_linalg *la, bool a_turned, bool b_turned,
                    int m, int n, int k, float alpha, const float *a, int lda, const float *b,
                    int ldb, float beta, float *c, int ldc)
{
    struct wf_dense w = {.kind = WF_DENSE_GEMM,
                         .a_turned = a_turned,
                         .b_turned = b_turned,
                         .m = m,
                         .n = n,
                         .k = k,
                         .alpha = (double)alpha,
                         .beta = (double)beta,
                         .a = matrix(a, lda),
                         .b = matrix(b, ldb),
                         .c = matrix(c, ldc)};
    return run(e, la, &w);
}

static int syrk(struct wf_err *e, const struct wf_linalg *la, bool a_turned, int n, int k,
                double alpha, const double *a, int lda, double beta, double *c, int ldc)
{
    struct wf_dense w = {.kind = WF_DENSE_SYRK,
                         .wide = true,
                         .a_turned = a_turned,
                         .n = n,
                         .k = k,
                         .alpha = alpha,
                         .beta = beta,
                         .a = matrix(a, lda),
                         .c = matrix(c, ldc)};
    int s = run(e, la, &w);
    for (int j = 0; !s && j < n; j++)
        for (int i = j + 1; i < n; i++)
            c[j + (size_t)i * (size_t)ldc] = c[i + (size_t)j * (size_t)ldc];
    return s;
}

/* ---- factorisations ---------------------------------------------------------------------------
 */

static int eigh(struct wf_err *e, const struct wf_linalg *la, int n, double *a, int lda, double *w)
{
    const struct wf_linalg *cpu;
    struct wf_dense d = {
        .kind = WF_DENSE_EIGH, .wide = true, .n = n, .a = matrix(a, lda), .values = w};
    int s = run_factorisation(e, la, "eigh", &d);
    if (s != WF_NO)
        return s;
    s = find_processor(e, la, "eigh", &d, &cpu);
    return s ? s : cpu->eigh(e, cpu, n, a, lda, w);
}

static int svd(struct wf_err *e, const struct wf_linalg *la, int m, int n, double *a, int lda,
               double *s, double *u, int ldu, double *vt, int ldvt)
{
    const struct wf_linalg *cpu;
    struct wf_dense w = {.kind = WF_DENSE_SVD,
                         .wide = true,
                         .m = m,
                         .n = n,
                         .a = matrix(a, lda),
                         .b = matrix(u, ldu),
                         .c = matrix(vt, ldvt),
                         .values = s};
    int status = run_factorisation(e, la, "svd", &w);
    if (status != WF_NO)
        return status;
    status = find_processor(e, la, "svd", &w, &cpu);
    return status ? status : cpu->svd(e, cpu, m, n, a, lda, s, u, ldu, vt, ldvt);
}

static int qr(struct wf_err *e, const struct wf_linalg *la, int m, int n, double *a, int lda,
              double *r, int ldr)
{
    struct wf_dense w = {.kind = WF_DENSE_QR,
                         .wide = true,
                         .m = m,
                         .n = n,
                         .a = matrix(a, lda),
                         .c = matrix(r, ldr)};
    int s = run_factorisation(e, la, "qr", &w);
    for (int j = 0; !s && j < n; j++)
        for (int i = j + 1; i < n; i++)
            r[i + (size_t)j * (size_t)ldr] = 0;
    return s;
}

static int qr_f32(struct wf_err *e, const struct wf_linalg *la, int m, int n, float *a, int lda)
{
    struct wf_dense w = {.kind = WF_DENSE_QR, .m = m, .n = n, .a = matrix(a, lda)};
    return run_factorisation(e, la, "qr", &w);
}

static int cholesky(struct wf_err *e, const struct wf_linalg *la, int n, double *a, int lda)
{
    struct wf_dense w = {.kind = WF_DENSE_CHOLESKY, .wide = true, .n = n, .a = matrix(a, lda)};
    int s = run_factorisation(e, la, "cholesky", &w);
    for (int j = 0; !s && j < n; j++)
        for (int i = 0; i < j; i++)
            a[i + (size_t)j * (size_t)lda] = 0;
    return s;
}

/* ---- memory -----------------------------------------------------------------------------------
 */

static int hold(struct wf_err *e, const struct wf_linalg *la, const void *operand, uint64_t bytes)
{
    struct wf_linalg_lane *lane = la->lane;
    struct wf_plugin_err fault = {0};
    lane->held = NULL;
    if (lane->plugin->linalg_hold(&fault, lane->queue, operand, bytes))
        return fail(e, lane, &fault);
    lane->held = operand;
    return WF_OK;
}

static void let_go(const struct wf_linalg *la)
{
    struct wf_linalg_lane *lane = la->lane;
    struct wf_plugin_err ignored = {0}; /* nothing is brought */
    (void)lane->plugin->linalg_hold(&ignored, lane->queue, NULL, 0);
    lane->held = NULL;
}

static int room(struct wf_err *e, const struct wf_linalg *la, const struct wf_linalg_shape *shape,
                uint64_t *bytes)
{
    static const uint8_t kinds[] = {
        [WF_LINALG_GEMM] = WF_DENSE_GEMM, [WF_LINALG_GEMM_F32] = WF_DENSE_GEMM,
        [WF_LINALG_SYRK] = WF_DENSE_SYRK, [WF_LINALG_EIGH] = WF_DENSE_EIGH,
        [WF_LINALG_SVD] = WF_DENSE_SVD,   [WF_LINALG_QR] = WF_DENSE_QR,
        [WF_LINALG_QR_F32] = WF_DENSE_QR, [WF_LINALG_CHOLESKY] = WF_DENSE_CHOLESKY,
    };
    struct wf_linalg_lane *lane = la->lane;
    struct wf_plugin_err fault = {0};
    const struct wf_dense w = {.kind = kinds[shape->op],
                               .wide =
                                   shape->op != WF_LINALG_GEMM_F32 && shape->op != WF_LINALG_QR_F32,
                               .a_held = shape->a_held,
                               .b_held = shape->b_held,
                               .m = shape->m,
                               .n = shape->n,
                               .k = shape->k};
    return lane->plugin->linalg_bytes(&fault, lane->queue, &w, bytes) ? fail(e, lane, &fault)
                                                                      : WF_OK;
}

/* ---- tables -----------------------------------------------------------------------------------
 */

static const struct wf_linalg functions = {
    .gemm = gemm,
    .gemm_f32 = gemm_f32,
    .syrk = syrk,
    .eigh = eigh,
    .svd = svd,
    .qr = qr,
    .qr_f32 = qr_f32,
    .cholesky = cholesky,
    .hold = hold,
    .let_go = let_go,
    .room = room,
};

static int open_table(struct wf_err *e, const struct wf_linalg_device *d, unsigned nth,
                      struct wf_linalg **out)
{
    const struct wf_device_linalg *own = (const struct wf_device_linalg *)d;
    struct wf_plugin_err fault = {0};
    struct wf_linalg_lane *lane = wf_alloc(e, WF_MEM_META, 1, sizeof *lane, "a table for a GPU");
    if (!lane)
        return WF_MACHINE;
    lane->table = functions;
    lane->table.lane = lane;
    snprintf(lane->table.name, sizeof lane->table.name, "%s", own->library);
    lane->plugin = wf_devices_plugin(own->devices);
    lane->index = wf_devices_index(own->devices, nth % wf_devices_count(own->devices));
    if (lane->plugin->linalg_open(&fault, lane->index, &lane->queue)) {
        int s = fail_to_ready(e, lane, &fault);
        wf_free(lane);
        return s;
    }
    *out = &lane->table;
    return WF_OK;
}

static int claim(struct wf_err *e, struct wf_linalg *la, uint64_t bytes)
{
    struct wf_plugin_err fault = {0};
    return la->lane->plugin->linalg_claim(&fault, la->lane->queue, bytes)
               ? fail_to_ready(e, la->lane, &fault)
               : WF_OK;
}

static void close_table(struct wf_linalg *la)
{
    struct wf_linalg_lane *lane = la->lane;
    lane->plugin->linalg_close(lane->queue);
    wf_free(lane);
}

int wf_device_linalg_init(struct wf_err *e, const struct wf_devices *devices, bool required,
                          struct wf_device_linalg *out)
{
    struct wf_plugin_err fault = {0};
    *out = (struct wf_device_linalg){.device = {.required = required,
                                                .count = wf_devices_count(devices),
                                                .memory_bytes = wf_devices_memory(devices),
                                                .open = open_table,
                                                .claim = claim,
                                                .close = close_table},
                                     .devices = devices};
    if (wf_devices_plugin(devices)->linalg_library(&fault, out->library))
        return wf_fail(e, WF_MACHINE, "%s", fault.text);
    return WF_OK;
}
