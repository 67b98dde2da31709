/* cmaes.c - sampling, update, and the eigenvectors that sampling needs. */
#include "cmaes.h"

#include <math.h>
#include <string.h>

#include "../../kernels/exact_math.h"
#include "../../kernels/philox.h"

#define SWEEPS_MAX 60
#define SIGMA_LEAST 1e-9

void wf_cmaes_begin(struct wf_cmaes *s, unsigned d, const double *start, double sigma,
                    uint64_t seed)
{
    double sum = 0, squares = 0;
    *s = (struct wf_cmaes){.d = d, .sigma = sigma, .seed = seed};
    s->crowd = 4 + (unsigned)(3 * wf_ln((double)d));
    s->parents = s->crowd / 2;
    memcpy(s->mean, start, d * sizeof *start);
    for (unsigned i = 0; i < d; i++)
        s->c[i][i] = s->axes[i][i] = s->length[i] = 1;
    for (unsigned k = 0; k < s->parents; k++) {
        s->weight[k] = wf_ln((double)(s->parents + 0.5)) - wf_ln((double)(k + 1));
        sum += s->weight[k];
    }
    for (unsigned k = 0; k < s->parents; k++) {
        s->weight[k] /= sum;
        squares += s->weight[k] * s->weight[k];
    }
    s->together = 1 / squares;
}

/* ---- sampling ---- */

/* A number from (0, 1]. */
static double uniform(uint32_t high, uint32_t low)
{
    return ((double)((uint64_t)high << 21 ^ low >> 11) + 1) * 0x1p-53;
}

static double normal(const struct wf_cmaes *s, unsigned coordinate)
{
    uint32_t c[4] = {(uint32_t)s->asked, (uint32_t)(s->asked >> 32), coordinate, 0};
    wf_philox((uint32_t)s->seed, (uint32_t)(s->seed >> 32), c);
    double r = sqrt(-2 * wf_ln(uniform(c[0], c[1])));
    return r * wf_cos(6.283185307179586 * uniform(c[2], c[3]));
}

const double *wf_cmaes_ask(struct wf_cmaes *s)
{
    double *x = s->x[s->told], z[WF_CMAES_MAX];
    for (unsigned i = 0; i < s->d; i++)
        z[i] = normal(s, i) * s->length[i];
    for (unsigned i = 0; i < s->d; i++) {
        double at = s->mean[i];
        for (unsigned k = 0; k < s->d; k++)
            at += s->sigma * s->axes[i][k] * z[k];
        x[i] = at < 0 ? 0 : at > 1 ? 1 : at;
    }
    return x;
}

/* ---- eigenvectors: cyclic Jacobi ---- */

/* Rotates rows and columns p and q of a symmetric matrix so that a[p][q] is zero. */
static void rotate(unsigned d, double a[][WF_CMAES_MAX], double v[][WF_CMAES_MAX], unsigned p,
                   unsigned q)
{
    double half = (a[q][q] - a[p][p]) / (2 * a[p][q]);
    double t = (half < 0 ? -1 : 1) / ((half < 0 ? -half : half) + sqrt(half * half + 1));
    double c = 1 / sqrt(t * t + 1), s = t * c;
    for (unsigned k = 0; k < d; k++) {
        double x = a[k][p], y = a[k][q];
        a[k][p] = c * x - s * y;
        a[k][q] = s * x + c * y;
    }
    for (unsigned k = 0; k < d; k++) {
        double x = a[p][k], y = a[q][k], u = v[k][p], w = v[k][q];
        a[p][k] = c * x - s * y;
        a[q][k] = s * x + c * y;
        v[k][p] = c * u - s * w;
        v[k][q] = s * u + c * w;
    }
}

static void decompose(struct wf_cmaes *s)
{
    double a[WF_CMAES_MAX][WF_CMAES_MAX];
    memcpy(a, s->c, sizeof a);
    memset(s->axes, 0, sizeof s->axes);
    for (unsigned i = 0; i < s->d; i++)
        s->axes[i][i] = 1;
    for (unsigned sweep = 0; sweep < SWEEPS_MAX; sweep++) {
        double off = 0, all = 0;
        for (unsigned p = 0; p < s->d; p++)
            for (unsigned q = 0; q < s->d; q++) {
                all += a[p][q] * a[p][q];
                off += p == q ? 0 : a[p][q] * a[p][q];
            }
        if (off <= 1e-30 * all)
            break;
        for (unsigned p = 0; p < s->d; p++)
            for (unsigned q = p + 1; q < s->d; q++)
                if (a[p][q] != 0)
                    rotate(s->d, a, s->axes, p, q);
    }
    for (unsigned i = 0; i < s->d; i++)
        s->length[i] = sqrt(a[i][i] > 1e-20 ? a[i][i] : 1e-20);
}

/* ---- update ---- */

/* Places of the generation's candidates, best first; equal ones in their order. */
static void rank(const struct wf_cmaes *s, unsigned *order)
{
    for (unsigned k = 0; k < s->crowd; k++) {
        unsigned at = k;
        for (; at && !(s->cost[order[at - 1]] <= s->cost[k]) && s->cost[k] == s->cost[k]; at--)
            order[at] = order[at - 1];
        order[at] = k;
    }
}

/* axes diag(1 / length) axes' y, and its length. */
static double whiten(const struct wf_cmaes *s, const double *y, double *out)
{
    double squares = 0;
    memset(out, 0, s->d * sizeof *out);
    for (unsigned k = 0; k < s->d; k++) {
        double along = 0;
        for (unsigned i = 0; i < s->d; i++)
            along += s->axes[i][k] * y[i];
        for (unsigned i = 0; i < s->d; i++)
            out[i] += s->axes[i][k] * along / s->length[k];
        squares += along * along / (s->length[k] * s->length[k]);
    }
    return sqrt(squares);
}

static void adapt_covariance(struct wf_cmaes *s, const unsigned *order, const double *old,
                             bool steady)
{
    double d = s->d, mu = s->together;
    double c1 = 2 / ((d + 1.3) * (d + 1.3) + mu);
    double cmu = 2 * (mu - 2 + 1 / mu) / ((d + 2) * (d + 2) + mu),
           cc = (4 + mu / d) / (d + 4 + 2 * mu / d);
    cmu = cmu < 1 - c1 ? cmu : 1 - c1;
    for (unsigned i = 0; i < s->d; i++)
        for (unsigned k = 0; k <= i; k++) {
            double sum = 0;
            for (unsigned p = 0; p < s->parents; p++) {
                const double *x = s->x[order[p]];
                sum += s->weight[p] * (x[i] - old[i]) * (x[k] - old[k]) / (s->sigma * s->sigma);
            }
            double kept = 1 - c1 - cmu + (steady ? 0 : c1 * cc * (2 - cc));
            s->c[i][k] = kept * s->c[i][k] + c1 * s->path_c[i] * s->path_c[k] + cmu * sum;
            s->c[k][i] = s->c[i][k];
        }
}

static void update(struct wf_cmaes *s)
{
    unsigned order[WF_CMAES_CROWD_MAX];
    double old[WF_CMAES_MAX], y[WF_CMAES_MAX], white[WF_CMAES_MAX], d = s->d, mu = s->together;
    double cs = (mu + 2) / (d + mu + 5), cc = (4 + mu / d) / (d + 4 + 2 * mu / d), length = 0;
    double over = sqrt((mu - 1) / (d + 1)) - 1, damp = 1 + cs + 2 * (over > 0 ? over : 0);
    double usual = sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d * d)); /* E |N(0, I)| */
    rank(s, order);
    memcpy(old, s->mean, sizeof old);
    for (unsigned i = 0; i < s->d; i++) {
        s->mean[i] = 0;
        for (unsigned p = 0; p < s->parents; p++)
            s->mean[i] += s->weight[p] * s->x[order[p]][i];
        y[i] = (s->mean[i] - old[i]) / s->sigma;
    }
    whiten(s, y, white);
    for (unsigned i = 0; i < s->d; i++) {
        s->path_sigma[i] = (1 - cs) * s->path_sigma[i] + sqrt(cs * (2 - cs) * mu) * white[i];
        length += s->path_sigma[i] * s->path_sigma[i];
    }
    length = sqrt(length);
    double begun = 1 - wf_exp(2 * (double)(s->asked / s->crowd) * wf_ln(1 - cs));
    bool steady = length / sqrt(begun) < (1.4 + 2 / (d + 1)) * usual;
    for (unsigned i = 0; i < s->d; i++)
        s->path_c[i] = (1 - cc) * s->path_c[i] + (steady ? sqrt(cc * (2 - cc) * mu) * y[i] : 0);
    adapt_covariance(s, order, old, steady);
    s->sigma *= wf_exp(cs / damp * (length / usual - 1));
    s->sigma = s->sigma > 1 ? 1 : s->sigma < SIGMA_LEAST ? SIGMA_LEAST : s->sigma;
    decompose(s);
}

void wf_cmaes_tell(struct wf_cmaes *s, double cost)
{
    s->cost[s->told++] = cost;
    s->asked++;
    if (s->told < s->crowd)
        return;
    update(s);
    s->told = 0;
}
