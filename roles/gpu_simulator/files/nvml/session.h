/* SPDX-License-Identifier: MIT
 * The frame of every entry point: one call at a time in this process, the state as it is now, and the handle resolved.
 *
 *   NVML_API nvmlReturn_t nvmlDeviceGetX(nvmlHandle_t device, unsigned int *x)
 *   {
 *       READ_DEVICE(device);          // declares `session`, returns on error
 *       NEED(x);
 *       *x = session.gpu->x;
 *       return NVML_SUCCESS;
 *   }
 *
 * The session ends when the function returns, by the cleanup attribute. Entry points that change something begin with a
 * CHANGE_ macro, which takes the writers' lock and needs privilege, and return session_commit().
 */
#ifndef SESSION_H
#define SESSION_H

#include "nvml_abi.h"
#include "state.h"

enum handle_kind { HANDLE_NONE, HANDLE_GPU, HANDLE_MIG, HANDLE_GPU_INSTANCE, HANDLE_COMPUTE_INSTANCE };
enum access { ACCESS_READ, ACCESS_CHANGE };

struct session {
    struct host *host;
    struct gpu *gpu;
    struct gpu_instance *instance;    /* of a MIG device, GPU instance or compute instance */
    struct compute_instance *compute; /* of a MIG device or compute instance */
    enum handle_kind kind;
};

/* A handle names a place, not a memory address: GPU, GPU instance id, compute instance id. */
nvmlHandle_t handle_make(enum handle_kind kind, unsigned int gpu, unsigned int gi, unsigned int ci);

/* wanted: HANDLE_NONE (no handle), HANDLE_GPU (a GPU or a MIG device), or exactly the kind that is named. */
nvmlReturn_t session_begin(struct session *session, enum access access, enum handle_kind wanted, nvmlHandle_t handle);
nvmlReturn_t session_commit(struct session *session);
void session_end(struct session *session);

/* nvmlInit and nvmlShutdown. */
nvmlReturn_t session_attach(void);
nvmlReturn_t session_detach(void);

/* Whether the caller may change things: root, or the state's admin_uid. */
int session_is_admin(const struct host *host);

/* Whether a process of the state is alive, and the one that was meant. */
int process_is_alive(const struct process *process);

/* Copy text out; INSUFFICIENT_SIZE where it does not fit. */
nvmlReturn_t copy_text(char *to, unsigned int size, const char *from);

/* The k-th MIG device of a GPU that the caller may see, in order of GPU instance and compute instance. 0 where there are fewer. */
int nth_mig_device(const struct host *host, struct gpu *gpu, unsigned int k, struct gpu_instance **instance, struct compute_instance **compute);

#define SESSION(access, wanted, handle) \
    struct session session __attribute__((cleanup(session_end))); \
    nvmlReturn_t begun = session_begin(&session, access, wanted, handle); \
    if (begun != NVML_SUCCESS) \
        return begun

#define READ_HOST() SESSION(ACCESS_READ, HANDLE_NONE, 0)
#define READ_DEVICE(handle) SESSION(ACCESS_READ, HANDLE_GPU, handle)
#define READ_MIG_DEVICE(handle) SESSION(ACCESS_READ, HANDLE_MIG, handle)
#define READ_GPU_INSTANCE(handle) SESSION(ACCESS_READ, HANDLE_GPU_INSTANCE, handle)
#define READ_COMPUTE_INSTANCE(handle) SESSION(ACCESS_READ, HANDLE_COMPUTE_INSTANCE, handle)
#define CHANGE_DEVICE(handle) SESSION(ACCESS_CHANGE, HANDLE_GPU, handle)
#define CHANGE_GPU_INSTANCE(handle) SESSION(ACCESS_CHANGE, HANDLE_GPU_INSTANCE, handle)
#define CHANGE_COMPUTE_INSTANCE(handle) SESSION(ACCESS_CHANGE, HANDLE_COMPUTE_INSTANCE, handle)

#define NEED(pointer) \
    if (!(pointer)) \
        return NVML_ERROR_INVALID_ARGUMENT

/* Some questions about instances are for administrators too. */
#define NEED_ADMIN() \
    if (!session_is_admin(session.host)) \
        return NVML_ERROR_NO_PERMISSION

/* What a MIG device cannot answer, only its GPU. */
#define NEED_WHOLE_GPU() \
    if (session.kind == HANDLE_MIG) \
        return NVML_ERROR_NOT_SUPPORTED

#endif
