/* fake_linalg.h - what computes behind the fake plugin's linalg_ entries. C11 and C++. */
#ifndef WF_FAKE_LINALG_H
#define WF_FAKE_LINALG_H

#include <stdbool.h>
#include <stdio.h>

#include "../../kernels/dense_work.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 0, or why there is no linear algebra here. */
int fake_dense_open(char text[256]);
uint64_t fake_dense_bytes(const struct wf_dense *work);
int fake_dense_run(struct wf_dense *work, char text[256]);

#ifdef __cplusplus
}
#endif

#endif
