/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_PATH "/run/ds01-gpusim/state"
#define LARGEST_STATE (4u << 20)

/* File times tick coarsely: two versions within one tick can look alike. A file younger than this is always read. */
#define SETTLED_NS 50000000ll

static char path[PATH_MAX - 16];
static char boot_id[48];
static struct host host;
static struct stat cached; /* st_ino 0: nothing cached */
static int lock_fd = -1;

const char *state_file_path(void)
{
    return path;
}

static void read_boot_id(void)
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    boot_id[0] = '\0';
    if (!file)
        return;
    if (fgets(boot_id, sizeof boot_id, file))
        boot_id[strcspn(boot_id, "\n")] = '\0';
    fclose(file);
}

void state_file_open(void)
{
    const char *wanted = getenv("DS01SIM_STATE");
    state_file_open_at(wanted && *wanted ? wanted : DEFAULT_PATH);
}

void state_file_open_at(const char *wanted)
{
    snprintf(path, sizeof path, "%s", wanted);
    cached.st_ino = 0;
    read_boot_id();
}

static int unchanged_since_cached(const struct stat *now)
{
    struct timespec clock;
    if (cached.st_ino != now->st_ino || cached.st_size != now->st_size ||
        cached.st_mtim.tv_sec != now->st_mtim.tv_sec || cached.st_mtim.tv_nsec != now->st_mtim.tv_nsec)
        return 0;
    clock_gettime(CLOCK_REALTIME, &clock);
    long long age = (clock.tv_sec - now->st_mtim.tv_sec) * 1000000000ll + (clock.tv_nsec - now->st_mtim.tv_nsec);
    return age > SETTLED_NS;
}

/* The whole file as a string to be freed, and what fstat said about it. NULL where it cannot be read. */
static char *read_whole(struct stat *status)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = NULL;
    if (fd < 0)
        return NULL;
    if (fstat(fd, status) == 0 && status->st_size > 0 && status->st_size < LARGEST_STATE && (text = malloc((size_t)status->st_size + 1))) {
        ssize_t got = read(fd, text, (size_t)status->st_size);
        if (got == status->st_size) {
            text[got] = '\0';
        } else {
            free(text);
            text = NULL;
        }
    }
    close(fd);
    return text;
}

static nvmlReturn_t reload(void)
{
    struct stat status;
    char *text = read_whole(&status);
    cached.st_ino = 0;
    if (!text)
        return NVML_ERROR_DRIVER_NOT_LOADED;
    int bad_line = state_parse(&host, text);
    free(text);
    if (bad_line) {
        fprintf(stderr, "ds01-gpusim: %s: line %d is not understood\n", path, bad_line);
        return NVML_ERROR_DRIVER_NOT_LOADED;
    }
    if (boot_id[0] && host.boot[0] && strcmp(boot_id, host.boot) != 0)
        state_reboot(&host, boot_id);
    cached = status;
    return NVML_SUCCESS;
}

nvmlReturn_t state_file_read(struct host **out)
{
    struct stat status;
    nvmlReturn_t result = NVML_SUCCESS;
    if (stat(path, &status) != 0)
        return NVML_ERROR_DRIVER_NOT_LOADED;
    if (!unchanged_since_cached(&status))
        result = reload();
    *out = &host;
    return result;
}

nvmlReturn_t state_file_lock(struct host **out)
{
    char lock_path[PATH_MAX];
    snprintf(lock_path, sizeof lock_path, "%s.lock", path);
    lock_fd = open(lock_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (lock_fd < 0)
        return errno == EACCES || errno == EROFS ? NVML_ERROR_NO_PERMISSION : NVML_ERROR_OPERATING_SYSTEM;
    while (flock(lock_fd, LOCK_EX) != 0)
        if (errno != EINTR)
            return NVML_ERROR_OPERATING_SYSTEM;
    *out = &host;
    return reload();
}

nvmlReturn_t state_file_write(void)
{
    char new_path[PATH_MAX];
    snprintf(new_path, sizeof new_path, "%s.new", path); /* one writer at a time: we hold the lock */
    cached.st_ino = 0;
    FILE *file = fopen(new_path, "we");
    if (!file)
        return errno == EACCES || errno == EROFS ? NVML_ERROR_NO_PERMISSION : NVML_ERROR_OPERATING_SYSTEM;
    int failed = state_format(&host, file) != 0;
    failed |= fchmod(fileno(file), 0644) != 0;
    failed |= fclose(file) != 0;
    if (failed || rename(new_path, path) != 0) {
        unlink(new_path);
        return NVML_ERROR_OPERATING_SYSTEM;
    }
    return NVML_SUCCESS;
}

void state_file_unlock(void)
{
    if (lock_fd < 0)
        return;
    close(lock_fd);
    lock_fd = -1;
    cached.st_ino = 0;
}
