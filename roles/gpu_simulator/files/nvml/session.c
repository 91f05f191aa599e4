/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "session.h"

#include "device_nodes.h"
#include "state_file.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HANDLE_TAG 0x6e76ull
#define HANG_CHECK_MS 20

static pthread_mutex_t one_call_at_a_time = PTHREAD_MUTEX_INITIALIZER; /* the driver has such a lock too */
static unsigned int attached;                                           /* nvmlInit calls without nvmlShutdown */

nvmlHandle_t handle_make(enum handle_kind kind, unsigned int gpu, unsigned int gi, unsigned int ci)
{
    return (nvmlHandle_t)(HANDLE_TAG << 32 | (uint64_t)kind << 24 | (uint64_t)ci << 16 | (uint64_t)gi << 8 | gpu);
}

static enum handle_kind handle_kind(nvmlHandle_t handle)
{
    return (uint64_t)handle >> 32 == HANDLE_TAG ? (enum handle_kind)((handle >> 24) & 0xff) : HANDLE_NONE;
}

static nvmlReturn_t resolve(struct session *session, enum handle_kind wanted, nvmlHandle_t handle)
{
    unsigned int gpu = handle & 0xff, gi = (handle >> 8) & 0xff, ci = (handle >> 16) & 0xff;
    session->kind = handle_kind(handle);
    int accepted = session->kind == wanted || (wanted == HANDLE_GPU && session->kind == HANDLE_MIG);
    if (!accepted || gpu >= session->host->gpu_count || !session->host->gpus[gpu].present)
        return NVML_ERROR_INVALID_ARGUMENT;
    session->gpu = &session->host->gpus[gpu];
    if (session->gpu->lost)
        return NVML_ERROR_GPU_IS_LOST;
    if (session->kind == HANDLE_GPU)
        return NVML_SUCCESS;
    if (gi >= MAX_GPU_INSTANCES || !session->gpu->instances[gi].present)
        return session->kind == HANDLE_MIG ? NVML_ERROR_NOT_FOUND : NVML_ERROR_INVALID_ARGUMENT;
    session->instance = &session->gpu->instances[gi];
    if (session->kind == HANDLE_GPU_INSTANCE)
        return NVML_SUCCESS;
    if (ci >= MAX_COMPUTE_INSTANCES || !session->instance->compute[ci].present)
        return session->kind == HANDLE_MIG ? NVML_ERROR_NOT_FOUND : NVML_ERROR_INVALID_ARGUMENT;
    session->compute = &session->instance->compute[ci];
    return NVML_SUCCESS;
}

static void pause_us(uint64_t us)
{
    struct timespec left = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* The two faults that every call feels: a slow driver and one that does not answer. */
static nvmlReturn_t feel_driver(struct host **host)
{
    nvmlReturn_t result = state_file_read(host);
    while (result == NVML_SUCCESS && (*host)->hang) {
        pause_us(HANG_CHECK_MS * 1000);
        result = state_file_read(host);
    }
    if (result == NVML_SUCCESS && (*host)->latency_us)
        pause_us((*host)->latency_us);
    return result;
}

nvmlReturn_t session_begin(struct session *session, enum access access, enum handle_kind wanted, nvmlHandle_t handle)
{
    memset(session, 0, sizeof *session);
    pthread_mutex_lock(&one_call_at_a_time);
    if (!attached)
        return NVML_ERROR_UNINITIALIZED;
    nvmlReturn_t result = feel_driver(&session->host);
    if (result == NVML_SUCCESS && access == ACCESS_CHANGE)
        result = session_is_admin(session->host) ? state_file_lock(&session->host) : NVML_ERROR_NO_PERMISSION;
    if (result == NVML_SUCCESS && wanted != HANDLE_NONE)
        result = resolve(session, wanted, handle);
    return result;
}

nvmlReturn_t session_commit(struct session *session)
{
    (void)session;
    return state_file_write();
}

void session_end(struct session *session)
{
    (void)session;
    state_file_unlock();
    pthread_mutex_unlock(&one_call_at_a_time);
}

nvmlReturn_t session_attach(void)
{
    struct host *host;
    pthread_mutex_lock(&one_call_at_a_time);
    if (!attached) {
        state_file_open();
        node_session_begins();
    }
    nvmlReturn_t result = feel_driver(&host);
    if (result == NVML_SUCCESS)
        result = node_open_control(host);
    if (result == NVML_SUCCESS)
        attached++;
    pthread_mutex_unlock(&one_call_at_a_time);
    return result;
}

nvmlReturn_t session_detach(void)
{
    nvmlReturn_t result = NVML_SUCCESS;
    pthread_mutex_lock(&one_call_at_a_time);
    if (attached)
        attached--;
    else
        result = NVML_ERROR_UNINITIALIZED;
    pthread_mutex_unlock(&one_call_at_a_time);
    return result;
}

int session_is_admin(const struct host *host)
{
    return geteuid() == 0 || geteuid() == host->admin_uid;
}

/* Field 22 of /proc/<pid>/stat, counted after the command name, which may contain anything. 0 where it cannot be read. */
static uint64_t start_time_of(uint64_t pid)
{
    char name[40], text[1024];
    uint64_t started = 0;
    snprintf(name, sizeof name, "/proc/%llu/stat", (unsigned long long)pid);
    FILE *file = fopen(name, "re");
    if (!file)
        return 0;
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    char *field = strrchr(text, ')');
    for (int i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    if (field)
        started = strtoull(field, NULL, 10);
    return started;
}

int process_is_alive(const struct process *process)
{
    if (kill((pid_t)process->pid, 0) != 0 && errno == ESRCH)
        return 0;
    return process->started == 0 || process->started == start_time_of(process->pid);
}

nvmlReturn_t copy_text(char *to, unsigned int size, const char *from)
{
    if (!to)
        return NVML_ERROR_INVALID_ARGUMENT;
    size_t length = strlen(from);
    if (length >= size)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    memcpy(to, from, length + 1);
    return NVML_SUCCESS;
}

int nth_mig_device(const struct host *host, struct gpu *gpu, unsigned int k, struct gpu_instance **instance, struct compute_instance **compute)
{
    for (int i = 0; i < MAX_GPU_INSTANCES; i++) {
        if (!gpu->instances[i].present)
            continue;
        for (int c = 0; c < MAX_COMPUTE_INSTANCES; c++) {
            if (!gpu->instances[i].compute[c].present || !node_instance_visible(host, gpu, (unsigned int)i, (unsigned int)c))
                continue;
            if (k-- == 0) {
                *instance = &gpu->instances[i];
                *compute = &gpu->instances[i].compute[c];
                return 1;
            }
        }
    }
    return 0;
}
