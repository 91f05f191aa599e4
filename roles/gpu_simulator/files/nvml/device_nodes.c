/* SPDX-License-Identifier: MIT */
#include "device_nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CAPS_DIRECTORY "/dev/nvidia-caps"

#define REMEMBERED 64

/* A node that was opened once stays open with the real driver; here its number is remembered, because each open of a node without
 * a driver makes the kernel look for a module. */
static dev_t opened[REMEMBERED];
static unsigned int opened_count;
static int of_the_system;

/* Whether this is root outside of people's sessions and containers: there the kernel fences nothing, and nothing has to be tried. */
static int runs_for_the_system(void)
{
    char line[128] = "";
    FILE *file = geteuid() == 0 ? fopen("/proc/self/cgroup", "re") : NULL;
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file) && strncmp(line, "0::", 3) != 0)
        continue;
    fclose(file);
    return strncmp(line, "0::/system.slice/", 17) == 0 || strncmp(line, "0::/init.scope", 14) == 0;
}

void node_session_begins(void)
{
    opened_count = 0;
    of_the_system = runs_for_the_system();
}

/* 0, or the errno that says that the kernel does not let us open the node. */
static int denied(const char *path, int flags)
{
    struct stat node;
    if (stat(path, &node) != 0)
        return errno;
    if (of_the_system)
        return 0;
    for (unsigned int i = 0; i < opened_count; i++)
        if (opened[i] == node.st_rdev)
            return 0;
    int fd = open(path, flags | O_CLOEXEC);
    int reason = fd >= 0 || errno == ENXIO || errno == ENODEV ? 0 : errno;
    if (fd >= 0)
        close(fd);
    if (reason == 0 && opened_count < REMEMBERED)
        opened[opened_count++] = node.st_rdev;
    return reason;
}

nvmlReturn_t node_open_control(const struct host *host)
{
    int reason = host->nodes ? denied("/dev/nvidiactl", O_RDWR) : 0;
    if (reason == 0)
        return NVML_SUCCESS;
    return reason == ENOENT ? NVML_ERROR_DRIVER_NOT_LOADED : NVML_ERROR_UNKNOWN;
}

int node_gpu_visible(const struct host *host, const struct gpu *gpu)
{
    char path[32];
    if (!host->nodes)
        return 1;
    snprintf(path, sizeof path, "/dev/nvidia%u", (unsigned int)gpu->minor);
    return !denied(path, O_RDWR);
}

static void cap_path(char *path, size_t size, unsigned int minor)
{
    snprintf(path, size, CAPS_DIRECTORY "/nvidia-cap%u", minor);
}

int node_instance_visible(const struct host *host, const struct gpu *gpu, unsigned int gi, unsigned int ci)
{
    char gi_path[48], ci_path[48];
    if (!host->nodes)
        return 1;
    cap_path(gi_path, sizeof gi_path, gpu_instance_minor(gpu, gi));
    cap_path(ci_path, sizeof ci_path, compute_instance_minor(gpu, gi, ci));
    return !denied(gi_path, O_RDONLY) && !denied(ci_path, O_RDONLY);
}

unsigned int gpu_instance_minor(const struct gpu *gpu, unsigned int gi)
{
    return 3 + 135 * (unsigned int)gpu->minor + 9 * gi;
}

unsigned int compute_instance_minor(const struct gpu *gpu, unsigned int gi, unsigned int ci)
{
    return gpu_instance_minor(gpu, gi) + 1 + ci;
}

static void add_node(const struct host *host, unsigned int minor)
{
    char path[48];
    if (!host->nodes || !host->caps_major)
        return;
    cap_path(path, sizeof path, minor);
    mkdir(CAPS_DIRECTORY, 0755);
    if (mknod(path, S_IFCHR | 0444, makedev((unsigned int)host->caps_major, minor)) == 0)
        (void)chmod(path, 0444);
}

static void remove_node(const struct host *host, unsigned int minor)
{
    char path[48];
    if (!host->nodes || !host->caps_major)
        return;
    cap_path(path, sizeof path, minor);
    unlink(path);
}

void node_add_gpu_instance(const struct host *host, const struct gpu *gpu, unsigned int gi)
{
    add_node(host, gpu_instance_minor(gpu, gi));
}

void node_add_compute_instance(const struct host *host, const struct gpu *gpu, unsigned int gi, unsigned int ci)
{
    add_node(host, compute_instance_minor(gpu, gi, ci));
}

void node_remove_gpu_instance(const struct host *host, const struct gpu *gpu, unsigned int gi)
{
    remove_node(host, gpu_instance_minor(gpu, gi));
}

void node_remove_compute_instance(const struct host *host, const struct gpu *gpu, unsigned int gi, unsigned int ci)
{
    remove_node(host, compute_instance_minor(gpu, gi, ci));
}
