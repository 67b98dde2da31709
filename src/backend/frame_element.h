/* frame_element.h - element functions as loops over a block. Included twice, so it has no guard.
 *
 * Each function of the lists in kernels/methods.h becomes one that takes a block, with the loop
 * written out for 1 to 8 inputs, so that inputs sit in registers and the loop vectorises over
 * elements, and a general loop for more.
 */

/* A block as element functions get it: input i at x[i * stride], its uniform number at
 * x[(n + i) * stride], its rank at x[(2n + i) * stride]. */
struct WF_NAME(block) {
    const wf_real *x;
    size_t stride, count;
    int n;
    int width; /* rows of x that hold anything: n, 2n or 3n */
    const struct WF_NAME(wf_view) * v;
};

#ifndef UNROLLED_MAX
#define UNROLLED_MAX 8 /* inputs; of doubles fewer: REAL_UNROLLED */

/* Elements do not depend on each other: said to gcc, which gives up on comparing the addresses of
 * many rows. */
#ifdef __clang__
#define EACH_ELEMENT for (size_t e = 0; e < count; e++)
#define EACH_TERM(count_of) for (int t = 0; t < (int)(count_of); t++)
#else
#define EACH_ELEMENT _Pragma("GCC ivdep") for (size_t e = 0; e < count; e++)
#define EACH_TERM(count_of) _Pragma("GCC unroll 64") for (int t = 0; t < (int)(count_of); t++)
#endif

/* The loop for N inputs. `in` and `rows` have room for more, since a method that always has a base
 * and a model reads x[1] in code that is compiled for N = 1 as well and never runs. Uniforms and
 * ranks are read where the function looks at them, and only there: other loads vanish. Args are
 * copied to locals: stores cannot alias them. */
#define ELEMENT_LOOP(...)                                                                          \
    do {                                                                                           \
        wf_real rows[UNROLLED_MAX][WF_ARGS_MODEL] = {{0}};                                         \
        memcpy(rows, b->v->m, n * sizeof *rows);                                                   \
        struct WF_NAME(wf_view) v = *b->v;                                                         \
        v.m = (const wf_real(*)[WF_ARGS_MODEL])rows;                                               \
        EACH_ELEMENT                                                                               \
        {                                                                                          \
            wf_real in[3 * UNROLLED_MAX] = {0};                                                    \
            WF_EACH_INPUT (k, 0, n)                                                                \
                in[k] = x[(size_t)k * stride + e];                                                 \
            WF_EACH_INPUT (k, 0, n)                                                                \
                in[n + k] = x[(size_t)(n + k) * stride + e];                                       \
            WF_EACH_INPUT (k, 0, n)                                                                \
                in[2 * n + k] = x[(size_t)(2 * n + k) * stride + e];                               \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    } while (0)

#define GENERAL_LOOP(...)                                                                          \
    do {                                                                                           \
        const int n = b->n;                                                                        \
        const struct WF_NAME(wf_view) v = *b->v;                                                   \
        wf_real in[3 * WF_MODELS_MAX];                                                             \
        for (size_t e = 0; e < count; e++) {                                                       \
            size_t k = 0;                                                                          \
            do                                                                                     \
                in[k] = x[k * stride + e];                                                         \
            while (++k < (size_t)b->width);                                                        \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    } while (0)

#define BLOCK_LOCALS                                                                               \
    const wf_real *restrict x = b->x;                                                              \
    const size_t stride = b->stride, count = b->count

#define EACH_N(X, ...)                                                                             \
    X(1, __VA_ARGS__)                                                                              \
    X(2, __VA_ARGS__)                                                                              \
    X(3, __VA_ARGS__)                                                                              \
    X(4, __VA_ARGS__)                                                                              \
    X(5, __VA_ARGS__)                                                                              \
    X(6, __VA_ARGS__)                                                                              \
    X(7, __VA_ARGS__)                                                                              \
    X(8, __VA_ARGS__)

/* Where the loop for N inputs exists, it is run and ends the function; else the general one is. */
#define UNROLLED_CASE(label, N, wanted, ...)                                                       \
    case label: {                                                                                  \
        enum { n = (N) };                                                                          \
        if ((wanted) && n <= REAL_UNROLLED) {                                                      \
            ELEMENT_LOOP(__VA_ARGS__);                                                             \
            return;                                                                                \
        }                                                                                          \
        break;                                                                                     \
    }

#define MAP_CASE(N, f) UNROLLED_CASE(N, N, 1, result[e] = WF_NAME(f)(in, n, &v);)
#define MAP_BLOCK(f)                                                                               \
    static void WF_NAME(block_##f)(const struct WF_NAME(block) * b, wf_real *restrict result)      \
    {                                                                                              \
        BLOCK_LOCALS;                                                                              \
        switch (b->n) {                                                                            \
            EACH_N(MAP_CASE, f)                                                                    \
        }                                                                                          \
        GENERAL_LOOP(result[e] = WF_NAME(f)(in, n, &v););                                          \
    }

/* Term t of element e goes to terms[t * room + e]. `count_of` is the number of terms, an expression
 * in n. */
#define FOLD_CASE(N, f, count_of)                                                                  \
    UNROLLED_CASE(N, N, 1, double found[(count_of) + 1] = {0}; WF_NAME(f)(in, n, &v, found);       \
                  EACH_TERM(count_of) terms[(size_t)t * room + e] = found[t];)
#define FOLD_BLOCK(f, count_of)                                                                    \
    static void WF_NAME(block_##f)(const struct WF_NAME(block) * b, double *restrict terms,        \
                                   size_t room)                                                    \
    {                                                                                              \
        BLOCK_LOCALS;                                                                              \
        switch (b->n) {                                                                            \
            EACH_N(FOLD_CASE, f, count_of)                                                         \
        }                                                                                          \
        GENERAL_LOOP(double found[WF_TERMS_MAX]; WF_NAME(f)(in, n, &v, found);                     \
                     for (int t = 0; t < (int)(count_of); t++) terms[(size_t)t * room + e] =       \
                         found[t];);                                                               \
    }

/* The key of input i, a constant like n: no array of inputs is looked into at run time. Keys see
 * neither uniforms nor ranks. */
#define KEY_CASE(I, N, f)                                                                          \
    UNROLLED_CASE((N)*16 + (I), N, (I) < n, result[e] = WF_NAME(f)(in, n, &v, (I));)
#define KEY_CASES(N, f)                                                                            \
    KEY_CASE(0, N, f)                                                                              \
    KEY_CASE(1, N, f)                                                                              \
    KEY_CASE(2, N, f)                                                                              \
    KEY_CASE(3, N, f)                                                                              \
    KEY_CASE(4, N, f)                                                                              \
    KEY_CASE(5, N, f)                                                                              \
    KEY_CASE(6, N, f)                                                                              \
    KEY_CASE(7, N, f)
#define KEY_BLOCK(f)                                                                               \
    static void WF_NAME(block_##f)(const struct WF_NAME(block) * b, int i,                         \
                                   wf_real *restrict result)                                       \
    {                                                                                              \
        BLOCK_LOCALS;                                                                              \
        switch (b->n * 16 + i) {                                                                   \
            EACH_N(KEY_CASES, f)                                                                   \
        }                                                                                          \
        GENERAL_LOOP(result[e] = WF_NAME(f)(in, n, &v, i););                                       \
    }

#define BLOCK_ROW(f, ...) WF_NAME(block_##f),
#endif

WF_MAP_LIST(MAP_BLOCK)
WF_FOLD_LIST(FOLD_BLOCK)
WF_KEY_LIST(KEY_BLOCK)

typedef void WF_NAME(map_fn)(const struct WF_NAME(block) * b, wf_real *restrict result);
typedef void WF_NAME(fold_fn)(const struct WF_NAME(block) * b, double *restrict terms, size_t room);
typedef void WF_NAME(key_fn)(const struct WF_NAME(block) * b, int i, wf_real *restrict result);

static WF_NAME(map_fn) *const WF_NAME(maps)[] = {WF_MAP_LIST(BLOCK_ROW)};
static WF_NAME(fold_fn) *const WF_NAME(folds)[] = {WF_FOLD_LIST(BLOCK_ROW)};
static WF_NAME(key_fn) *const WF_NAME(keys)[] = {WF_KEY_LIST(BLOCK_ROW)};
