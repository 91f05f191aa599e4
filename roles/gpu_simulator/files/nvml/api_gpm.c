/* SPDX-License-Identifier: MIT
 * GPU performance monitoring, which has utilisation for MIG instances too; Hopper and later.
 * A metric is the mean of the two samples.
 */
#include "session.h"

#include <stdlib.h>

#define ARCHITECTURE_HOPPER 9
#define SAMPLE_MAGIC 0x6e7673616d706c65ull

enum { METRIC_GRAPHICS_UTIL = 1, METRIC_SM_UTIL = 2, METRIC_SM_OCCUPANCY = 3, METRIC_ANY_TENSOR_UTIL = 5, METRIC_DRAM_BW_UTIL = 10 };

struct gpm_sample {
    uint64_t magic;
    int taken;
    double sm_util, memory_util;
};

static struct gpm_sample *sample_of(nvmlHandle_t handle)
{
    struct gpm_sample *sample = (struct gpm_sample *)handle;
    return sample && sample->magic == SAMPLE_MAGIC ? sample : NULL;
}

NVML_API nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlHandle_t device, nvmlGpmSupport_t *support)
{
    READ_DEVICE(device);
    NEED(support);
    if (support->version != 1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    support->isSupportedDevice = session.gpu->model->architecture >= ARCHITECTURE_HOPPER;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpmSampleAlloc(nvmlHandle_t *handle)
{
    READ_HOST();
    NEED(handle);
    struct gpm_sample *sample = calloc(1, sizeof *sample);
    if (!sample)
        return NVML_ERROR_MEMORY;
    sample->magic = SAMPLE_MAGIC;
    *handle = (nvmlHandle_t)sample;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpmSampleFree(nvmlHandle_t handle)
{
    struct gpm_sample *sample = sample_of(handle);
    NEED(sample);
    sample->magic = 0;
    free(sample);
    return NVML_SUCCESS;
}

static nvmlReturn_t take(struct gpm_sample *sample, const struct gpu *gpu, uint64_t sm_util, uint64_t memory_util)
{
    if (gpu->model->architecture < ARCHITECTURE_HOPPER)
        return NVML_ERROR_NOT_SUPPORTED;
    sample->taken = 1;
    sample->sm_util = (double)sm_util;
    sample->memory_util = (double)memory_util;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpmSampleGet(nvmlHandle_t device, nvmlHandle_t handle)
{
    READ_DEVICE(device);
    struct gpm_sample *sample = sample_of(handle);
    NEED(sample);
    return take(sample, session.gpu, session.gpu->util, session.gpu->mem_util);
}

NVML_API nvmlReturn_t nvmlGpmMigSampleGet(nvmlHandle_t device, unsigned int gi, nvmlHandle_t handle)
{
    READ_DEVICE(device);
    struct gpm_sample *sample = sample_of(handle);
    NEED(sample);
    if (!session.gpu->mig_mode)
        return NVML_ERROR_NOT_SUPPORTED;
    NEED(gi < MAX_GPU_INSTANCES && session.gpu->instances[gi].present);
    uint64_t util = session.gpu->instances[gi].sm_util;
    return take(sample, session.gpu, util, util / 2);
}

static int metric_value(const struct gpm_sample *sample, unsigned int metric, double *value)
{
    switch (metric) {
    case METRIC_GRAPHICS_UTIL:
    case METRIC_SM_UTIL: *value = sample->sm_util; return 1;
    case METRIC_SM_OCCUPANCY:
    case METRIC_ANY_TENSOR_UTIL: *value = sample->sm_util / 2; return 1;
    case METRIC_DRAM_BW_UTIL: *value = sample->memory_util; return 1;
    default: return 0;
    }
}

NVML_API nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *request)
{
    READ_HOST();
    NEED(request);
    if (request->version != 1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    const struct gpm_sample *first = sample_of(request->sample1), *second = sample_of(request->sample2);
    NEED(first && second && first->taken && second->taken);
    for (unsigned int m = 0; m < request->numMetrics; m++) {
        nvmlGpmMetric_t *metric = &request->metrics[m];
        double before, after;
        if (metric_value(first, metric->metricId, &before) && metric_value(second, metric->metricId, &after)) {
            metric->nvmlReturn = NVML_SUCCESS;
            metric->value = (before + after) / 2;
        } else {
            metric->nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
        }
    }
    return NVML_SUCCESS;
}
