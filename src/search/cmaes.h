/* cmaes.h - CMA-ES in the unit cube: asks for the fitness of one candidate after the other, and
 * moves a normal distribution to where it is good.
 *
 * (mu/mu_w, lambda) with full covariance, rank-one and rank-mu updates and cumulative step size
 * (Hansen, The CMA Evolution Strategy: A Tutorial, 2016). Candidates outside the cube are moved to
 * its nearest point, as which they count. Draws are Philox's, a function of seed, candidate and
 * coordinate; with the same fitnesses everything is the same on every machine.
 */
#ifndef WF_CMAES_H
#define WF_CMAES_H

#include <stdbool.h>
#include <stdint.h>

#define WF_CMAES_MAX 64       /* dimensions */
#define WF_CMAES_CROWD_MAX 16 /* 4 + floor(3 ln 64) */

struct wf_cmaes {
    unsigned d, crowd, parents; /* dimensions; candidates of a generation, and those that count */
    uint64_t seed, asked;       /* candidates so far */
    unsigned told;              /* of this generation */
    double weight[WF_CMAES_CROWD_MAX], together; /* of parents; 1 / sum of their squares */
    double sigma, mean[WF_CMAES_MAX];
    double path_sigma[WF_CMAES_MAX], path_c[WF_CMAES_MAX]; /* evolution paths */
    double c[WF_CMAES_MAX][WF_CMAES_MAX]; /* covariance = axes diag(length^2) axes' */
    double axes[WF_CMAES_MAX][WF_CMAES_MAX], length[WF_CMAES_MAX];
    double x[WF_CMAES_CROWD_MAX][WF_CMAES_MAX], cost[WF_CMAES_CROWD_MAX];
};

/* d: 1 to WF_CMAES_MAX; start: in the cube. */
void wf_cmaes_begin(struct wf_cmaes *s, unsigned d, const double *start, double sigma,
                    uint64_t seed);
/* The next candidate; valid until the next one is asked for. */
const double *wf_cmaes_ask(struct wf_cmaes *s);
/* Its cost: less is better; NaN is worst. */
void wf_cmaes_tell(struct wf_cmaes *s, double cost);

#endif
