/* SPDX-License-Identifier: MIT
 * Memory errors: ECC counters, remapped rows, retired pages.
 */
#include "session.h"

enum { ERROR_CORRECTED, ERROR_UNCORRECTED };
enum { COUNTER_VOLATILE, COUNTER_AGGREGATE };
enum { LOCATION_L1, LOCATION_L2, LOCATION_DEVICE_MEMORY };

static uint64_t ecc_count(const struct gpu *gpu, unsigned int error, unsigned int counter)
{
    if (counter == COUNTER_VOLATILE)
        return error == ERROR_CORRECTED ? gpu->ecc_corrected : gpu->ecc_uncorrected;
    return error == ERROR_CORRECTED ? gpu->ecc_corrected_total : gpu->ecc_uncorrected_total;
}

NVML_API nvmlReturn_t nvmlDeviceGetEccMode(nvmlHandle_t device, unsigned int *current, unsigned int *pending)
{
    READ_DEVICE(device);
    NEED(current && pending);
    *current = *pending = (unsigned int)session.gpu->ecc_mode;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetDefaultEccMode(nvmlHandle_t device, unsigned int *mode)
{
    READ_DEVICE(device);
    NEED(mode);
    *mode = 1;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlHandle_t device, unsigned int error, unsigned int counter, unsigned long long *count)
{
    READ_DEVICE(device);
    NEED(count && error <= ERROR_UNCORRECTED && counter <= COUNTER_AGGREGATE);
    if (!session.gpu->ecc_mode)
        return NVML_ERROR_NOT_SUPPORTED;
    *count = ecc_count(session.gpu, error, counter);
    return NVML_SUCCESS;
}

/* All simulated errors are in device memory. */
NVML_API nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlHandle_t device, unsigned int error, unsigned int counter, unsigned int location, unsigned long long *count)
{
    READ_DEVICE(device);
    NEED(count && error <= ERROR_UNCORRECTED && counter <= COUNTER_AGGREGATE);
    if (!session.gpu->ecc_mode || location > LOCATION_DEVICE_MEMORY)
        return NVML_ERROR_NOT_SUPPORTED;
    *count = location == LOCATION_DEVICE_MEMORY ? ecc_count(session.gpu, error, counter) : 0;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetDetailedEccErrors(nvmlHandle_t device, unsigned int error, unsigned int counter, nvmlEccErrorCounts_t *counts)
{
    READ_DEVICE(device);
    NEED(counts && error <= ERROR_UNCORRECTED && counter <= COUNTER_AGGREGATE);
    *counts = (nvmlEccErrorCounts_t){.deviceMemory = ecc_count(session.gpu, error, counter)};
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceClearEccErrorCounts(nvmlHandle_t device, unsigned int counter)
{
    CHANGE_DEVICE(device);
    NEED(counter <= COUNTER_AGGREGATE);
    struct gpu *gpu = session.gpu;
    gpu->ecc_corrected = gpu->ecc_uncorrected = 0;
    if (counter == COUNTER_AGGREGATE)
        gpu->ecc_corrected_total = gpu->ecc_uncorrected_total = 0;
    return session_commit(&session);
}

NVML_API nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlHandle_t device, unsigned int *corrected, unsigned int *uncorrected, unsigned int *pending, unsigned int *failure)
{
    READ_DEVICE(device);
    NEED(corrected && uncorrected && pending && failure);
    NEED_WHOLE_GPU();
    *corrected = (unsigned int)session.gpu->remapped_corrected;
    *uncorrected = (unsigned int)session.gpu->remapped_uncorrected;
    *pending = (unsigned int)session.gpu->remap_pending;
    *failure = (unsigned int)session.gpu->remap_failure;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetRemappedRows_v2(nvmlHandle_t device, nvmlRemappedRowsInfo_v2_t *info)
{
    READ_DEVICE(device);
    NEED(info);
    NEED_WHOLE_GPU();
    *info = (nvmlRemappedRowsInfo_v2_t){
        .corrActive = (unsigned int)session.gpu->remapped_corrected,
        .uncActive = (unsigned int)session.gpu->remapped_uncorrected,
        .pending = (unsigned int)session.gpu->remap_pending,
        .failure = (unsigned int)session.gpu->remap_failure,
    };
    return NVML_SUCCESS;
}

/* How many banks have all, most, some, few or none of their spare rows left. One bank is hit by every remapped row. */
NVML_API nvmlReturn_t nvmlDeviceGetRowRemapperHistogram(nvmlHandle_t device, nvmlRowRemapperHistogramValues_t *histogram)
{
    READ_DEVICE(device);
    NEED(histogram);
    NEED_WHOLE_GPU();
    unsigned int rows = (unsigned int)(session.gpu->remapped_corrected + session.gpu->remapped_uncorrected);
    *histogram = (nvmlRowRemapperHistogramValues_t){.max = 640};
    if (rows) {
        histogram->max--;
        *(session.gpu->remap_failure ? &histogram->none : rows < 4 ? &histogram->high : rows < 8 ? &histogram->partial : &histogram->low) = 1;
    }
    return NVML_SUCCESS;
}
