/* SPDX-License-Identifier: MIT
 * Settings that an administrator makes: persistence, compute mode, display.
 */
#include "session.h"

#define COMPUTE_MODE_MAX 3

NVML_API nvmlReturn_t nvmlDeviceGetPersistenceMode(nvmlHandle_t device, unsigned int *mode)
{
    READ_DEVICE(device);
    NEED(mode);
    *mode = (unsigned int)session.gpu->persistence;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceSetPersistenceMode(nvmlHandle_t device, unsigned int mode)
{
    CHANGE_DEVICE(device);
    NEED(mode <= 1);
    session.gpu->persistence = mode;
    return session_commit(&session);
}

NVML_API nvmlReturn_t nvmlDeviceGetComputeMode(nvmlHandle_t device, unsigned int *mode)
{
    READ_DEVICE(device);
    NEED(mode);
    *mode = (unsigned int)session.gpu->compute_mode;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceSetComputeMode(nvmlHandle_t device, unsigned int mode)
{
    CHANGE_DEVICE(device);
    NEED(mode <= COMPUTE_MODE_MAX);
    session.gpu->compute_mode = mode;
    return session_commit(&session);
}

static nvmlReturn_t answer_zero(nvmlHandle_t device, unsigned int *value)
{
    READ_DEVICE(device);
    NEED(value);
    *value = 0;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetDisplayMode(nvmlHandle_t device, unsigned int *mode)
{
    return answer_zero(device, mode);
}

NVML_API nvmlReturn_t nvmlDeviceGetDisplayActive(nvmlHandle_t device, unsigned int *active)
{
    return answer_zero(device, active);
}
