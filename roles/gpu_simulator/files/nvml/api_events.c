/* SPDX-License-Identifier: MIT
 * Event sets. Events are lines of the state file; a waiter sleeps in inotify until the file is replaced.
 */
#define _GNU_SOURCE
#include "session.h"

#include "state_file.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define SET_MAGIC 0x6e76657365747331ull

struct event_set {
    uint64_t magic; /* gone once freed, so that a stale handle is noticed in most cases */
    int changes;    /* inotify descriptor */
    uint64_t next;  /* sequence of the first event that has not been delivered */
    uint64_t types[MAX_GPUS];
};

static struct event_set *set_of(nvmlHandle_t handle)
{
    struct event_set *set = (struct event_set *)handle;
    return set && set->magic == SET_MAGIC ? set : NULL;
}

NVML_API nvmlReturn_t nvmlEventSetCreate(nvmlHandle_t *handle)
{
    char directory[PATH_MAX];
    READ_HOST();
    NEED(handle);
    struct event_set *set = calloc(1, sizeof *set);
    if (!set)
        return NVML_ERROR_MEMORY;
    set->magic = SET_MAGIC;
    set->next = session.host->next_event;
    set->changes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    strncpy(directory, state_file_path(), sizeof directory - 1);
    directory[sizeof directory - 1] = '\0';
    if (set->changes < 0 || inotify_add_watch(set->changes, dirname(directory), IN_MOVED_TO) < 0) {
        if (set->changes >= 0)
            close(set->changes);
        free(set);
        return NVML_ERROR_OPERATING_SYSTEM;
    }
    *handle = (nvmlHandle_t)set;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlEventSetFree(nvmlHandle_t handle)
{
    READ_HOST();
    struct event_set *set = set_of(handle);
    NEED(set);
    close(set->changes);
    set->magic = 0;
    free(set);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlHandle_t device, unsigned long long *types)
{
    READ_DEVICE(device);
    NEED(types);
    *types = EVENT_DOUBLE_BIT_ECC | EVENT_XID | EVENT_MIG_CONFIG_CHANGE;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceRegisterEvents(nvmlHandle_t device, unsigned long long types, nvmlHandle_t handle)
{
    READ_DEVICE(device);
    struct event_set *set = set_of(handle);
    NEED(set);
    NEED_WHOLE_GPU();
    if (types & ~(EVENT_DOUBLE_BIT_ECC | EVENT_XID | EVENT_MIG_CONFIG_CHANGE))
        return NVML_ERROR_NOT_SUPPORTED;
    set->types[session.gpu->index] |= types;
    return NVML_SUCCESS;
}

/* The oldest event that the set wants and has not delivered. TIMEOUT where there is none yet. */
static nvmlReturn_t take_event(struct event_set *set, nvmlEventData_t *data)
{
    READ_HOST();
    for (unsigned int e = 0; e < session.host->event_count; e++) {
        const struct event *event = &session.host->events[e];
        if (event->sequence < set->next || event->gpu >= MAX_GPUS || !(set->types[event->gpu] & event->type))
            continue;
        set->next = event->sequence + 1;
        *data = (nvmlEventData_t){handle_make(HANDLE_GPU, (unsigned int)event->gpu, 0, 0), event->type, event->data,
            (unsigned int)event->gi, (unsigned int)event->ci};
        return NVML_SUCCESS;
    }
    return NVML_ERROR_TIMEOUT;
}

static void forget_notices(int changes)
{
    char buffer[4096];
    while (read(changes, buffer, sizeof buffer) > 0)
        ;
}

/* No session is held while waiting: other threads go on. */
NVML_API nvmlReturn_t nvmlEventSetWait_v2(nvmlHandle_t handle, nvmlEventData_t *data, unsigned int timeout_ms)
{
    struct event_set *set = set_of(handle);
    NEED(set && data);
    uint64_t deadline = state_now_ms() + timeout_ms;
    for (;;) {
        forget_notices(set->changes); /* before looking, so that what happens after the look wakes us */
        nvmlReturn_t result = take_event(set, data);
        uint64_t now = state_now_ms();
        if (result != NVML_ERROR_TIMEOUT || now >= deadline)
            return result;
        struct pollfd notice = {.fd = set->changes, .events = POLLIN};
        if (poll(&notice, 1, deadline - now > INT_MAX ? INT_MAX : (int)(deadline - now)) < 0 && errno != EINTR)
            return NVML_ERROR_OPERATING_SYSTEM;
    }
}

NVML_API nvmlReturn_t nvmlEventSetWait(nvmlHandle_t handle, nvmlEventData_t *data, unsigned int timeout_ms)
{
    return nvmlEventSetWait_v2(handle, data, timeout_ms);
}
