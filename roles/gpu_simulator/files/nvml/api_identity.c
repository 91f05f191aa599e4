/* SPDX-License-Identifier: MIT
 * Which devices there are, and what they are called.
 */
#include "device_nodes.h"
#include "session.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BRAND_NVIDIA 14
#define BUS_PCIE 2
#define UUID_TYPE_ASCII 1

/* The k-th GPU that the caller may see. */
static struct gpu *nth_gpu(struct host *host, unsigned int k)
{
    for (unsigned int g = 0; g < host->gpu_count; g++)
        if (host->gpus[g].present && node_gpu_visible(host, &host->gpus[g]) && k-- == 0)
            return &host->gpus[g];
    return NULL;
}

static nvmlReturn_t gpu_handle(const struct gpu *gpu, nvmlHandle_t *handle)
{
    if (gpu->lost)
        return NVML_ERROR_GPU_IS_LOST;
    *handle = handle_make(HANDLE_GPU, gpu->index, 0, 0);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count)
{
    READ_HOST();
    NEED(count);
    for (*count = 0; nth_gpu(session.host, *count); ++*count)
        ;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetCount(unsigned int *count)
{
    return nvmlDeviceGetCount_v2(count);
}

NVML_API nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlHandle_t *handle)
{
    READ_HOST();
    const struct gpu *gpu = nth_gpu(session.host, index);
    NEED(handle && gpu);
    return gpu_handle(gpu, handle);
}

NVML_API nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned int index, nvmlHandle_t *handle)
{
    return nvmlDeviceGetHandleByIndex_v2(index, handle);
}

/* Accepts GPU-..., MIG-<uuid>, and the form of older drivers, MIG-GPU-<uuid>/<gi>/<ci>. */
static nvmlReturn_t handle_by_uuid(struct host *host, const char *uuid, nvmlHandle_t *handle)
{
    struct gpu *gpu;
    for (unsigned int k = 0; (gpu = nth_gpu(host, k)); k++) {
        struct gpu_instance *instance;
        struct compute_instance *compute;
        if (strcmp(uuid, gpu->uuid) == 0)
            return gpu_handle(gpu, handle);
        for (unsigned int m = 0; nth_mig_device(host, gpu, m, &instance, &compute); m++) {
            char older[96];
            snprintf(older, sizeof older, "MIG-%s/%u/%u", gpu->uuid, instance->id, compute->id);
            if (strcmp(uuid, compute->uuid) != 0 && strcmp(uuid, older) != 0)
                continue;
            *handle = handle_make(HANDLE_MIG, gpu->index, instance->id, compute->id);
            return gpu->lost ? NVML_ERROR_GPU_IS_LOST : NVML_SUCCESS;
        }
    }
    return NVML_ERROR_NOT_FOUND;
}

NVML_API nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlHandle_t *handle)
{
    READ_HOST();
    NEED(uuid && handle);
    return handle_by_uuid(session.host, uuid, handle);
}

NVML_API nvmlReturn_t nvmlDeviceGetHandleByUUIDV(const nvmlUUID_v1_t *uuid, nvmlHandle_t *handle)
{
    READ_HOST();
    NEED(uuid && handle);
    if (uuid->version != NVML_STRUCT_VERSION(nvmlUUID_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (uuid->type != UUID_TYPE_ASCII)
        return NVML_ERROR_NOT_SUPPORTED;
    return handle_by_uuid(session.host, uuid->value.str, handle);
}

NVML_API nvmlReturn_t nvmlDeviceGetHandleBySerial(const char *serial, nvmlHandle_t *handle)
{
    struct gpu *gpu;
    READ_HOST();
    NEED(serial && handle);
    for (unsigned int k = 0; (gpu = nth_gpu(session.host, k)); k++)
        if (strcmp(serial, gpu->serial) == 0)
            return gpu_handle(gpu, handle);
    return NVML_ERROR_NOT_FOUND;
}

/* The domain may be left out: 0000:17:00.0 and 17:00.0 name 00000000:17:00.0. */
NVML_API nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlHandle_t *handle)
{
    struct gpu *gpu;
    READ_HOST();
    NEED(bus_id && handle);
    for (unsigned int k = 0; (gpu = nth_gpu(session.host, k)); k++) {
        size_t full = strlen(gpu->bus_id), given = strlen(bus_id);
        if (given >= 7 && given <= full && strcasecmp(bus_id, gpu->bus_id + full - given) == 0)
            return gpu_handle(gpu, handle);
    }
    return NVML_ERROR_NOT_FOUND;
}

NVML_API nvmlReturn_t nvmlDeviceGetHandleByPciBusId(const char *bus_id, nvmlHandle_t *handle)
{
    return nvmlDeviceGetHandleByPciBusId_v2(bus_id, handle);
}

NVML_API nvmlReturn_t nvmlDeviceGetIndex(nvmlHandle_t device, unsigned int *index)
{
    READ_DEVICE(device);
    NEED(index);
    if (session.kind == HANDLE_MIG) {
        struct gpu_instance *instance;
        struct compute_instance *compute;
        for (*index = 0; nth_mig_device(session.host, session.gpu, *index, &instance, &compute); ++*index)
            if (compute == session.compute)
                return NVML_SUCCESS;
        return NVML_ERROR_NOT_FOUND;
    }
    const struct gpu *gpu;
    for (*index = 0; (gpu = nth_gpu(session.host, *index)); ++*index)
        if (gpu == session.gpu)
            return NVML_SUCCESS;
    return NVML_ERROR_NOT_FOUND;
}

NVML_API nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlHandle_t device, unsigned int *minor)
{
    READ_DEVICE(device);
    NEED(minor);
    NEED_WHOLE_GPU();
    *minor = (unsigned int)session.gpu->minor;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetName(nvmlHandle_t device, char *name, unsigned int length)
{
    char text[96];
    READ_DEVICE(device);
    if (session.kind != HANDLE_MIG)
        return copy_text(name, length, session.gpu->model->name);
    const struct gpu_profile *profile = session.instance->profile;
    if (session.compute->slices == profile->slices)
        snprintf(text, sizeof text, "%s MIG %s", session.gpu->model->name, profile->name);
    else
        snprintf(text, sizeof text, "%s MIG %uc.%s", session.gpu->model->name, (unsigned int)session.compute->slices, profile->name);
    return copy_text(name, length, text);
}

NVML_API nvmlReturn_t nvmlDeviceGetUUID(nvmlHandle_t device, char *uuid, unsigned int length)
{
    READ_DEVICE(device);
    return copy_text(uuid, length, session.kind == HANDLE_MIG ? session.compute->uuid : session.gpu->uuid);
}

NVML_API nvmlReturn_t nvmlDeviceGetSerial(nvmlHandle_t device, char *serial, unsigned int length)
{
    READ_DEVICE(device);
    NEED_WHOLE_GPU();
    return copy_text(serial, length, session.gpu->serial);
}

static void bus_numbers(const struct gpu *gpu, unsigned int *domain, unsigned int *bus, unsigned int *slot)
{
    *domain = *bus = *slot = 0;
    sscanf(gpu->bus_id, "%x:%x:%x", domain, bus, slot);
}

NVML_API nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlHandle_t device, nvmlPciInfo_t *pci)
{
    READ_DEVICE(device);
    NEED(pci);
    memset(pci, 0, sizeof *pci);
    snprintf(pci->busId, sizeof pci->busId, "%s", session.gpu->bus_id);
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%s", session.gpu->bus_id + 4); /* four digits of domain, not eight */
    bus_numbers(session.gpu, &pci->domain, &pci->bus, &pci->device);
    pci->pciDeviceId = session.gpu->model->pci_device_id;
    pci->pciSubSystemId = session.gpu->model->pci_subsystem_id;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlHandle_t device, nvmlPciInfo_t *pci)
{
    return nvmlDeviceGetPciInfo_v3(device, pci);
}

NVML_API nvmlReturn_t nvmlDeviceGetPciInfo(nvmlHandle_t device, nvmlPciInfo_t *pci)
{
    return nvmlDeviceGetPciInfo_v3(device, pci);
}

NVML_API nvmlReturn_t nvmlDeviceGetPciInfoExt(nvmlHandle_t device, nvmlPciInfoExt_v1_t *pci)
{
    READ_DEVICE(device);
    NEED(pci);
    if (pci->version != NVML_STRUCT_VERSION(nvmlPciInfoExt_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    bus_numbers(session.gpu, &pci->domain, &pci->bus, &pci->device);
    pci->pciDeviceId = session.gpu->model->pci_device_id;
    pci->pciSubSystemId = session.gpu->model->pci_subsystem_id;
    pci->baseClass = 3; /* display controller */
    pci->subClass = 2;  /* 3D */
    snprintf(pci->busId, sizeof pci->busId, "%s", session.gpu->bus_id);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetBrand(nvmlHandle_t device, unsigned int *brand)
{
    READ_DEVICE(device);
    NEED(brand);
    *brand = BRAND_NVIDIA;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetArchitecture(nvmlHandle_t device, unsigned int *architecture)
{
    READ_DEVICE(device);
    NEED(architecture);
    *architecture = session.gpu->model->architecture;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlHandle_t device, int *major, int *minor)
{
    READ_DEVICE(device);
    NEED(major && minor);
    *major = session.gpu->model->cuda_major;
    *minor = session.gpu->model->cuda_minor;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetNumGpuCores(nvmlHandle_t device, unsigned int *cores)
{
    READ_DEVICE(device);
    NEED(cores);
    NEED_WHOLE_GPU();
    *cores = session.gpu->model->cores;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetBusType(nvmlHandle_t device, unsigned int *type)
{
    READ_DEVICE(device);
    NEED(type);
    *type = BUS_PCIE;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetVbiosVersion(nvmlHandle_t device, char *version, unsigned int length)
{
    READ_DEVICE(device);
    NEED_WHOLE_GPU();
    return copy_text(version, length, "92.00.00.00.01");
}
