/* SPDX-License-Identifier: MIT
 * Values by field number. Each has a result of its own: a field that is not simulated is NOT_SUPPORTED, the call succeeds.
 */
#include "session.h"

#include <time.h>

enum {
    FIELD_ECC_CURRENT = 1,
    FIELD_ECC_PENDING = 2,
    FIELD_ECC_CORRECTED = 3,
    FIELD_ECC_UNCORRECTED = 4,
    FIELD_ECC_CORRECTED_TOTAL = 5,
    FIELD_ECC_UNCORRECTED_TOTAL = 6,
    FIELD_MEMORY_TEMPERATURE = 82,
    FIELD_TOTAL_ENERGY = 83,
    FIELD_PCIE_REPLAYS = 94,
    FIELD_REMAPPED_CORRECTED = 142,
    FIELD_REMAPPED_UNCORRECTED = 143,
    FIELD_REMAPPED_PENDING = 144,
    FIELD_REMAPPED_FAILURE = 145,
    FIELD_RESETLESS_MIG = 184,
    FIELD_POWER_AVERAGE = 185,
    FIELD_POWER_INSTANT = 186,
    FIELD_POWER_MIN_LIMIT = 187,
    FIELD_POWER_MAX_LIMIT = 188,
    FIELD_POWER_DEFAULT_LIMIT = 189,
    FIELD_POWER_CURRENT_LIMIT = 190,
};

static void put(nvmlFieldValue_t *field, unsigned int type, uint64_t value)
{
    field->nvmlReturn = NVML_SUCCESS;
    field->valueType = type;
    if (type == NVML_VALUE_TYPE_UNSIGNED_INT)
        field->value.uiVal = (unsigned int)value;
    else
        field->value.ullVal = value;
}

static void answer(const struct gpu *gpu, nvmlFieldValue_t *field)
{
    const unsigned int number = NVML_VALUE_TYPE_UNSIGNED_INT, large = NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
    switch (field->fieldId) {
    case FIELD_ECC_CURRENT:
    case FIELD_ECC_PENDING: put(field, number, gpu->ecc_mode); break;
    case FIELD_ECC_CORRECTED: put(field, large, gpu->ecc_corrected); break;
    case FIELD_ECC_UNCORRECTED: put(field, large, gpu->ecc_uncorrected); break;
    case FIELD_ECC_CORRECTED_TOTAL: put(field, large, gpu->ecc_corrected_total); break;
    case FIELD_ECC_UNCORRECTED_TOTAL: put(field, large, gpu->ecc_uncorrected_total); break;
    case FIELD_MEMORY_TEMPERATURE: put(field, number, gpu->memory_temperature); break;
    case FIELD_TOTAL_ENERGY: put(field, large, state_energy_mj(gpu)); break;
    case FIELD_PCIE_REPLAYS: put(field, number, gpu->pcie_replays); break;
    case FIELD_REMAPPED_CORRECTED: put(field, number, gpu->remapped_corrected); break;
    case FIELD_REMAPPED_UNCORRECTED: put(field, number, gpu->remapped_uncorrected); break;
    case FIELD_REMAPPED_PENDING: put(field, number, gpu->remap_pending); break;
    case FIELD_REMAPPED_FAILURE: put(field, number, gpu->remap_failure); break;
    case FIELD_RESETLESS_MIG: put(field, number, (uint64_t)gpu->model->resetless_mig); break;
    case FIELD_POWER_AVERAGE:
    case FIELD_POWER_INSTANT: put(field, number, gpu->power_mw); break;
    case FIELD_POWER_MIN_LIMIT: put(field, number, gpu->model->power_min_mw); break;
    case FIELD_POWER_MAX_LIMIT:
    case FIELD_POWER_DEFAULT_LIMIT: put(field, number, gpu->model->power_limit_mw); break;
    case FIELD_POWER_CURRENT_LIMIT: put(field, number, gpu->power_limit_mw ? gpu->power_limit_mw : gpu->model->power_limit_mw); break;
    default: field->nvmlReturn = NVML_ERROR_NOT_SUPPORTED; break;
    }
}

NVML_API nvmlReturn_t nvmlDeviceGetFieldValues(nvmlHandle_t device, int count, nvmlFieldValue_t *fields)
{
    struct timespec now;
    READ_DEVICE(device);
    NEED(fields && count > 0);
    clock_gettime(CLOCK_REALTIME, &now);
    for (int i = 0; i < count; i++) {
        fields[i].timestamp = (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
        fields[i].latencyUsec = 0;
        if (session.kind == HANDLE_MIG)
            fields[i].nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
        else
            answer(session.gpu, &fields[i]);
    }
    return NVML_SUCCESS;
}
