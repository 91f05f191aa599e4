/* SPDX-License-Identifier: MIT
 * The build fails where a structure does not have the size that the public interface gives it.
 */
#include "nvml_abi.h"

#define CHECK_SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " has the wrong size")

CHECK_SIZE(nvmlPciInfo_t, 68);
CHECK_SIZE(nvmlPciInfoExt_v1_t, 0x40);
CHECK_SIZE(nvmlUUID_v1_t, 0x34);
CHECK_SIZE(nvmlMemory_v2_t, 0x28);
CHECK_SIZE(nvmlTemperature_v1_t, 0x0c);
CHECK_SIZE(nvmlFieldValue_t, 40);
CHECK_SIZE(nvmlProcessInfo_v1_t, 16);
CHECK_SIZE(nvmlProcessInfo_t, 24);
CHECK_SIZE(nvmlProcessDetailList_v1_t, 0x18);
CHECK_SIZE(nvmlProcessUtilizationSample_t, 32);
CHECK_SIZE(nvmlProcessesUtilizationInfo_v1_t, 0x18);
CHECK_SIZE(nvmlAccountingStats_t, 56);
CHECK_SIZE(nvmlEventData_t, 32);
CHECK_SIZE(nvmlGpuInstanceProfileInfo_t, 48);
CHECK_SIZE(nvmlGpuInstanceProfileInfo_v2_t, 0x98);
CHECK_SIZE(nvmlGpuInstanceProfileInfo_v3_t, 0x98);
CHECK_SIZE(nvmlGpuInstanceInfo_t, 24);
CHECK_SIZE(nvmlComputeInstanceProfileInfo_v2_t, 0x88);
CHECK_SIZE(nvmlComputeInstanceProfileInfo_v3_t, 0x8c);
CHECK_SIZE(nvmlComputeInstanceInfo_t, 32);
CHECK_SIZE(nvmlDeviceAttributes_t, 40);
CHECK_SIZE(nvmlGpmMetric_t, 40);
CHECK_SIZE(nvmlGpmMetricsGet_t, 24);
