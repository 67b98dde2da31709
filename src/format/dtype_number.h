/* dtype_number.h - one stored number of an arithmetic type as a double, and back, rounded once. */
#ifndef WF_DTYPE_NUMBER_H
#define WF_DTYPE_NUMBER_H

#include <stddef.h>
#include <string.h>

#include "../../kernels/dtype_conv.h"
#include "dtype.h"

/* Number i of data, which need not be aligned. */
static inline double wf_number_get(enum wf_dtype dtype, const void *data, size_t i)
{
    uint16_t half;
    float single;
    double value;
    switch (dtype) {
    case WF_BF16:
        memcpy(&half, (const char *)data + 2 * i, sizeof half);
        return (double)wf_bf16_to_f32(half);
    case WF_F16:
        memcpy(&half, (const char *)data + 2 * i, sizeof half);
        return (double)wf_f16_to_f32(half);
    case WF_F32:
        memcpy(&single, (const char *)data + 4 * i, sizeof single);
        return (double)single;
    default:
        memcpy(&value, (const char *)data + 8 * i, sizeof value);
        return value;
    }
}

static inline void wf_number_put(enum wf_dtype dtype, void *data, size_t i, double value)
{
    uint16_t half;
    float single;
    switch (dtype) {
    case WF_BF16:
        half = wf_f64_to_bf16(value);
        memcpy((char *)data + 2 * i, &half, sizeof half);
        break;
    case WF_F16:
        half = wf_f64_to_f16(value);
        memcpy((char *)data + 2 * i, &half, sizeof half);
        break;
    case WF_F32:
        single = (float)value;
        memcpy((char *)data + 4 * i, &single, sizeof single);
        break;
    default:
        memcpy((char *)data + 8 * i, &value, sizeof value);
    }
}

#endif
