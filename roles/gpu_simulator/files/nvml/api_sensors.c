/* SPDX-License-Identifier: MIT
 * What is measured on a whole GPU: utilisation, temperature, power, energy, clocks. A MIG device has none of these.
 */
#include "session.h"

#define IDLE_SM_MHZ 210
#define THROTTLE_SLOWDOWN 0xE8ull /* hardware slowdown, software thermal, hardware thermal, power brake */

enum { CLOCK_GRAPHICS, CLOCK_SM, CLOCK_MEMORY, CLOCK_VIDEO };

NVML_API nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlHandle_t device, nvmlUtilization_t *utilization)
{
    READ_DEVICE(device);
    NEED(utilization);
    if (session.gpu->mig_mode)
        return NVML_ERROR_NOT_SUPPORTED;
    *utilization = (nvmlUtilization_t){(unsigned int)session.gpu->util, (unsigned int)session.gpu->mem_util};
    return NVML_SUCCESS;
}

static nvmlReturn_t engine_utilization(const struct session *session, uint64_t value, unsigned int *utilization, unsigned int *period_us)
{
    NEED(utilization && period_us);
    if (session->gpu->mig_mode)
        return NVML_ERROR_NOT_SUPPORTED;
    *utilization = (unsigned int)value;
    *period_us = 166667;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlHandle_t device, unsigned int *utilization, unsigned int *period_us)
{
    READ_DEVICE(device);
    return engine_utilization(&session, session.gpu->enc_util, utilization, period_us);
}

NVML_API nvmlReturn_t nvmlDeviceGetDecoderUtilization(nvmlHandle_t device, unsigned int *utilization, unsigned int *period_us)
{
    READ_DEVICE(device);
    return engine_utilization(&session, session.gpu->dec_util, utilization, period_us);
}

NVML_API nvmlReturn_t nvmlDeviceGetTemperature(nvmlHandle_t device, unsigned int sensor, unsigned int *celsius)
{
    READ_DEVICE(device);
    NEED(celsius && sensor == 0);
    *celsius = (unsigned int)session.gpu->temperature;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlHandle_t device, nvmlTemperature_v1_t *temperature)
{
    READ_DEVICE(device);
    NEED(temperature && temperature->sensorType == 0);
    if (temperature->version != NVML_STRUCT_VERSION(nvmlTemperature_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    temperature->temperature = (int)session.gpu->temperature;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlHandle_t device, unsigned int kind, unsigned int *celsius)
{
    static const unsigned int thresholds[] = {92, 89, 95, 85}; /* shutdown, slowdown, memory, GPU */
    READ_DEVICE(device);
    NEED(celsius);
    if (kind >= sizeof thresholds / sizeof thresholds[0])
        return NVML_ERROR_NOT_SUPPORTED;
    *celsius = thresholds[kind];
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlHandle_t device, unsigned int *milliwatts)
{
    READ_DEVICE(device);
    NEED(milliwatts);
    NEED_WHOLE_GPU();
    *milliwatts = (unsigned int)session.gpu->power_mw;
    return NVML_SUCCESS;
}

static unsigned int power_limit(const struct gpu *gpu)
{
    return gpu->power_limit_mw ? (unsigned int)gpu->power_limit_mw : gpu->model->power_limit_mw;
}

NVML_API nvmlReturn_t nvmlDeviceGetPowerManagementLimit(nvmlHandle_t device, unsigned int *milliwatts)
{
    READ_DEVICE(device);
    NEED(milliwatts);
    NEED_WHOLE_GPU();
    *milliwatts = power_limit(session.gpu);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlHandle_t device, unsigned int *milliwatts)
{
    return nvmlDeviceGetPowerManagementLimit(device, milliwatts);
}

NVML_API nvmlReturn_t nvmlDeviceGetPowerManagementDefaultLimit(nvmlHandle_t device, unsigned int *milliwatts)
{
    READ_DEVICE(device);
    NEED(milliwatts);
    NEED_WHOLE_GPU();
    *milliwatts = session.gpu->model->power_limit_mw;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlHandle_t device, unsigned int *lowest, unsigned int *highest)
{
    READ_DEVICE(device);
    NEED(lowest && highest);
    NEED_WHOLE_GPU();
    *lowest = session.gpu->model->power_min_mw;
    *highest = session.gpu->model->power_limit_mw;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceSetPowerManagementLimit(nvmlHandle_t device, unsigned int milliwatts)
{
    CHANGE_DEVICE(device);
    NEED_WHOLE_GPU();
    NEED(milliwatts >= session.gpu->model->power_min_mw && milliwatts <= session.gpu->model->power_limit_mw);
    session.gpu->power_limit_mw = milliwatts;
    return session_commit(&session);
}

NVML_API nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlHandle_t device, unsigned long long *millijoules)
{
    READ_DEVICE(device);
    NEED(millijoules);
    NEED_WHOLE_GPU();
    *millijoules = state_energy_mj(session.gpu);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetPerformanceState(nvmlHandle_t device, unsigned int *state)
{
    READ_DEVICE(device);
    NEED(state);
    *state = 0; /* data centre GPUs stay in P0 */
    return NVML_SUCCESS;
}

static unsigned int clock_now(const struct gpu *gpu, unsigned int type)
{
    if (type == CLOCK_MEMORY)
        return gpu->model->memory_mhz;
    if (gpu->util == 0 && gpu->process_count == 0)
        return IDLE_SM_MHZ;
    return gpu->throttle & THROTTLE_SLOWDOWN ? gpu->model->max_sm_mhz / 2 : gpu->model->max_sm_mhz;
}

NVML_API nvmlReturn_t nvmlDeviceGetClockInfo(nvmlHandle_t device, unsigned int type, unsigned int *mhz)
{
    READ_DEVICE(device);
    NEED(mhz && type <= CLOCK_VIDEO);
    *mhz = clock_now(session.gpu, type);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlHandle_t device, unsigned int type, unsigned int *mhz)
{
    READ_DEVICE(device);
    NEED(mhz && type <= CLOCK_VIDEO);
    *mhz = type == CLOCK_MEMORY ? session.gpu->model->memory_mhz : session.gpu->model->max_sm_mhz;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetClock(nvmlHandle_t device, unsigned int type, unsigned int id, unsigned int *mhz)
{
    return id == 0 ? nvmlDeviceGetClockInfo(device, type, mhz) : nvmlDeviceGetMaxClockInfo(device, type, mhz);
}

NVML_API nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlHandle_t device, unsigned long long *reasons)
{
    READ_DEVICE(device);
    NEED(reasons);
    *reasons = session.gpu->throttle;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlHandle_t device, unsigned long long *reasons)
{
    return nvmlDeviceGetCurrentClocksEventReasons(device, reasons);
}

NVML_API nvmlReturn_t nvmlDeviceGetSupportedClocksEventReasons(nvmlHandle_t device, unsigned long long *reasons)
{
    READ_DEVICE(device);
    NEED(reasons);
    *reasons = 0x1ff;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetSupportedClocksThrottleReasons(nvmlHandle_t device, unsigned long long *reasons)
{
    return nvmlDeviceGetSupportedClocksEventReasons(device, reasons);
}

NVML_API nvmlReturn_t nvmlDeviceGetCurrPcieLinkGeneration(nvmlHandle_t device, unsigned int *generation)
{
    READ_DEVICE(device);
    NEED(generation);
    *generation = session.gpu->model->pcie_generation;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMaxPcieLinkGeneration(nvmlHandle_t device, unsigned int *generation)
{
    return nvmlDeviceGetCurrPcieLinkGeneration(device, generation);
}

NVML_API nvmlReturn_t nvmlDeviceGetCurrPcieLinkWidth(nvmlHandle_t device, unsigned int *lanes)
{
    READ_DEVICE(device);
    NEED(lanes);
    *lanes = 16;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMaxPcieLinkWidth(nvmlHandle_t device, unsigned int *lanes)
{
    return nvmlDeviceGetCurrPcieLinkWidth(device, lanes);
}

NVML_API nvmlReturn_t nvmlDeviceGetPcieReplayCounter(nvmlHandle_t device, unsigned int *replays)
{
    READ_DEVICE(device);
    NEED(replays);
    *replays = (unsigned int)session.gpu->pcie_replays;
    return NVML_SUCCESS;
}
