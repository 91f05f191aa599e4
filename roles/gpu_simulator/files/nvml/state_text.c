/* SPDX-License-Identifier: MIT
 * The text form of the state: one thing a line, `kind ids... key=value ...`. No value contains a blank.
 *
 *   sys format=1 driver=580.65.06-sim boot=... admin_uid=0 ...
 *   gpu <index> model=a100-40gb uuid=GPU-... bus_id=... minor=0 mig_mode=1 ...
 *   gi <gpu> <gi id> profile=9 start=4 sm_util=0 name=3g.20gb slices=3 size=4
 *   ci <gpu> <gi id> <ci id> slices=3 start=0 uuid=MIG-...
 *   proc <gpu> <pid> gi=2 ci=0 memory=1073741824 kind=C started=81234 ...
 *   acct <gpu> <pid> max_memory=... time_ms=...
 *   event <sequence> gpu=0 type=8 data=79 gi=4294967295 ci=4294967295
 *
 * Keys that are not known are skipped (name, slices and size of a gi line are for human readers).
 */
#include "state.h"

#include "mig_geometry.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct number_field {
    const char *key;
    size_t offset;
};

struct text_field {
    const char *key;
    size_t offset, size;
};

#define NUMBER(type, member) {#member, offsetof(struct type, member)}
#define TEXT(type, key, member) {key, offsetof(struct type, member), sizeof(((struct type *)0)->member)}
#define END {NULL, 0}
#define TEXT_END {NULL, 0, 0}

static const struct number_field host_numbers[] = {
    NUMBER(host, format), NUMBER(host, admin_uid), NUMBER(host, latency_us), NUMBER(host, hang),
    NUMBER(host, nodes), NUMBER(host, caps_major), NUMBER(host, uvm_major), NUMBER(host, next_event), END};
static const struct text_field host_texts[] = {TEXT(host, "driver", driver), TEXT(host, "boot", boot), TEXT_END};

static const struct number_field gpu_numbers[] = {
    NUMBER(gpu, minor), NUMBER(gpu, mig_mode), NUMBER(gpu, mig_pending), NUMBER(gpu, reset_blocked), NUMBER(gpu, resets),
    NUMBER(gpu, persistence), NUMBER(gpu, accounting), NUMBER(gpu, compute_mode),
    NUMBER(gpu, util), NUMBER(gpu, mem_util), NUMBER(gpu, enc_util), NUMBER(gpu, dec_util),
    NUMBER(gpu, temperature), NUMBER(gpu, memory_temperature),
    NUMBER(gpu, power_mw), NUMBER(gpu, power_limit_mw), NUMBER(gpu, energy_mj), NUMBER(gpu, energy_at_ms), NUMBER(gpu, throttle),
    NUMBER(gpu, ecc_mode), NUMBER(gpu, ecc_corrected), NUMBER(gpu, ecc_uncorrected),
    NUMBER(gpu, ecc_corrected_total), NUMBER(gpu, ecc_uncorrected_total),
    NUMBER(gpu, remapped_corrected), NUMBER(gpu, remapped_uncorrected), NUMBER(gpu, remap_pending), NUMBER(gpu, remap_failure),
    NUMBER(gpu, pcie_replays), NUMBER(gpu, lost), END};
static const struct text_field gpu_texts[] = {
    TEXT(gpu, "model", model_key), TEXT(gpu, "uuid", uuid), TEXT(gpu, "bus_id", bus_id), TEXT(gpu, "serial", serial), TEXT_END};

static const struct number_field instance_numbers[] = {
    {"profile", offsetof(struct gpu_instance, profile_id)}, NUMBER(gpu_instance, start), NUMBER(gpu_instance, sm_util), END};
static const struct text_field no_texts[] = {TEXT_END};

static const struct number_field compute_numbers[] = {NUMBER(compute_instance, slices), NUMBER(compute_instance, start), END};
static const struct text_field compute_texts[] = {TEXT(compute_instance, "uuid", uuid), TEXT_END};

static const struct number_field process_numbers[] = {
    NUMBER(process, started), NUMBER(process, gi), NUMBER(process, ci), NUMBER(process, memory),
    NUMBER(process, sm_util), NUMBER(process, mem_util), NUMBER(process, since_us), END};
static const struct text_field process_texts[] = {TEXT(process, "kind", kind), TEXT_END};

static const struct number_field account_numbers[] = {
    NUMBER(account, sm_util), NUMBER(account, mem_util), NUMBER(account, max_memory), NUMBER(account, time_ms), NUMBER(account, since_us), END};

static const struct number_field event_numbers[] = {
    NUMBER(event, gpu), NUMBER(event, type), NUMBER(event, data), NUMBER(event, gi), NUMBER(event, ci), END};

static void set_field(void *record, const struct number_field *numbers, const struct text_field *texts, const char *key, const char *value)
{
    for (; numbers->key; numbers++)
        if (strcmp(numbers->key, key) == 0) {
            *(uint64_t *)((char *)record + numbers->offset) = strtoull(value, NULL, 10);
            return;
        }
    for (; texts->key; texts++)
        if (strcmp(texts->key, key) == 0) {
            snprintf((char *)record + texts->offset, texts->size, "%s", value);
            return;
        }
}

/* Reads the rest of a line, `key=value ...`, into a record. */
static void parse_fields(void *record, const struct number_field *numbers, const struct text_field *texts, char **rest)
{
    char *word;
    while ((word = strtok_r(NULL, " ", rest)) != NULL) {
        char *equals = strchr(word, '=');
        if (!equals)
            continue;
        *equals = '\0';
        set_field(record, numbers, texts, word, equals + 1);
    }
}

/* Reads the next word as a number below `limit`. Returns 0 where there is none. */
static int parse_id(char **rest, uint64_t limit, uint64_t *id)
{
    char *word = strtok_r(NULL, " ", rest), *end;
    if (!word)
        return 0;
    *id = strtoull(word, &end, 10);
    return *end == '\0' && *id < limit;
}

static struct gpu *parse_known_gpu(struct host *host, char **rest)
{
    uint64_t index;
    if (!parse_id(rest, MAX_GPUS, &index) || !host->gpus[index].present)
        return NULL;
    return &host->gpus[index];
}

static int parse_gpu(struct host *host, char **rest)
{
    uint64_t index;
    if (!parse_id(rest, MAX_GPUS, &index))
        return 0;
    struct gpu *gpu = &host->gpus[index];
    parse_fields(gpu, gpu_numbers, gpu_texts, rest);
    gpu->model = model_by_key(gpu->model_key);
    gpu->index = (unsigned int)index;
    gpu->present = gpu->model != NULL;
    if (gpu->present && index >= host->gpu_count)
        host->gpu_count = (unsigned int)index + 1;
    return gpu->present;
}

static int parse_gpu_instance(struct host *host, char **rest)
{
    struct gpu *gpu = parse_known_gpu(host, rest);
    uint64_t id;
    if (!gpu || !parse_id(rest, MAX_GPU_INSTANCES, &id))
        return 0;
    struct gpu_instance *instance = &gpu->instances[id];
    parse_fields(instance, instance_numbers, no_texts, rest);
    instance->id = (unsigned int)id;
    instance->profile = profile_by_id(gpu->model, (unsigned int)instance->profile_id);
    instance->present = instance->profile && placement_is_possible(instance->profile, (unsigned int)instance->start) && instance->start < 8 &&
                        gpu_instance_id(instance->profile, (unsigned int)instance->start) == id;
    return instance->present;
}

static int parse_compute_instance(struct host *host, char **rest)
{
    struct gpu *gpu = parse_known_gpu(host, rest);
    uint64_t gi, id;
    if (!gpu || !parse_id(rest, MAX_GPU_INSTANCES, &gi) || !parse_id(rest, MAX_COMPUTE_INSTANCES, &id) || !gpu->instances[gi].present)
        return 0;
    struct compute_instance *instance = &gpu->instances[gi].compute[id];
    parse_fields(instance, compute_numbers, compute_texts, rest);
    instance->id = (unsigned int)id;
    instance->present = compute_profile_of((unsigned int)instance->slices) < COMPUTE_PROFILES && instance->start + instance->slices <= COMPUTE_SLICES;
    return instance->present;
}

static int parse_process(struct host *host, char **rest)
{
    struct gpu *gpu = parse_known_gpu(host, rest);
    uint64_t pid;
    if (!gpu || !parse_id(rest, UINT32_MAX, &pid) || gpu->process_count == MAX_PROCESSES)
        return 0;
    struct process *process = &gpu->processes[gpu->process_count++];
    *process = (struct process){.pid = pid, .gi = NO_INSTANCE, .ci = NO_INSTANCE, .kind = "C"};
    parse_fields(process, process_numbers, process_texts, rest);
    return 1;
}

static int parse_account(struct host *host, char **rest)
{
    struct gpu *gpu = parse_known_gpu(host, rest);
    uint64_t pid;
    if (!gpu || !parse_id(rest, UINT32_MAX, &pid) || gpu->account_count == MAX_ACCOUNTS)
        return 0;
    struct account *account = &gpu->accounts[gpu->account_count++];
    account->pid = pid;
    parse_fields(account, account_numbers, no_texts, rest);
    return 1;
}

static int parse_event(struct host *host, char **rest)
{
    uint64_t sequence;
    if (!parse_id(rest, UINT64_MAX, &sequence) || host->event_count == MAX_EVENTS)
        return 0;
    struct event *event = &host->events[host->event_count++];
    *event = (struct event){.sequence = sequence, .gi = NO_INSTANCE, .ci = NO_INSTANCE};
    parse_fields(event, event_numbers, no_texts, rest);
    return 1;
}

static int parse_line(struct host *host, char *line)
{
    char *rest, *kind = strtok_r(line, " ", &rest);
    if (!kind)
        return 1;
    if (strcmp(kind, "sys") == 0) {
        parse_fields(host, host_numbers, host_texts, &rest);
        return host->format == 1;
    }
    if (strcmp(kind, "gpu") == 0)
        return parse_gpu(host, &rest);
    if (strcmp(kind, "gi") == 0)
        return parse_gpu_instance(host, &rest);
    if (strcmp(kind, "ci") == 0)
        return parse_compute_instance(host, &rest);
    if (strcmp(kind, "proc") == 0)
        return parse_process(host, &rest);
    if (strcmp(kind, "acct") == 0)
        return parse_account(host, &rest);
    if (strcmp(kind, "event") == 0)
        return parse_event(host, &rest);
    return 0;
}

int state_parse(struct host *host, char *text)
{
    char *rest;
    int number = 0;
    memset(host, 0, sizeof *host);
    for (char *line = text; line && *line; line = rest) {
        rest = strchr(line, '\n');
        if (rest)
            *rest++ = '\0';
        number++;
        if (!parse_line(host, line))
            return number;
    }
    return host->format == 1 ? 0 : number + 1;
}

static void format_fields(const void *record, const struct number_field *numbers, const struct text_field *texts, FILE *stream)
{
    for (; texts->key; texts++)
        fprintf(stream, " %s=%s", texts->key, (const char *)record + texts->offset);
    for (; numbers->key; numbers++)
        fprintf(stream, " %s=%llu", numbers->key, (unsigned long long)*(const uint64_t *)((const char *)record + numbers->offset));
}

static void format_instance(const struct gpu *gpu, const struct gpu_instance *instance, FILE *stream)
{
    fprintf(stream, "gi %u %u name=%s slices=%u size=%u", gpu->index, instance->id, instance->profile->name, instance->profile->slices, instance->profile->size);
    format_fields(instance, instance_numbers, no_texts, stream);
    fputc('\n', stream);
    for (int c = 0; c < MAX_COMPUTE_INSTANCES; c++) {
        const struct compute_instance *compute = &instance->compute[c];
        if (!compute->present)
            continue;
        fprintf(stream, "ci %u %u %u", gpu->index, instance->id, compute->id);
        format_fields(compute, compute_numbers, compute_texts, stream);
        fputc('\n', stream);
    }
}

static void format_gpu(const struct gpu *gpu, FILE *stream)
{
    fprintf(stream, "gpu %u", gpu->index);
    format_fields(gpu, gpu_numbers, gpu_texts, stream);
    fputc('\n', stream);
    for (int i = 0; i < MAX_GPU_INSTANCES; i++)
        if (gpu->instances[i].present)
            format_instance(gpu, &gpu->instances[i], stream);
    for (unsigned int p = 0; p < gpu->process_count; p++) {
        fprintf(stream, "proc %u %llu", gpu->index, (unsigned long long)gpu->processes[p].pid);
        format_fields(&gpu->processes[p], process_numbers, process_texts, stream);
        fputc('\n', stream);
    }
    for (unsigned int a = 0; a < gpu->account_count; a++) {
        fprintf(stream, "acct %u %llu", gpu->index, (unsigned long long)gpu->accounts[a].pid);
        format_fields(&gpu->accounts[a], account_numbers, no_texts, stream);
        fputc('\n', stream);
    }
}

int state_format(const struct host *host, FILE *stream)
{
    fputs("sys", stream);
    format_fields(host, host_numbers, host_texts, stream);
    fputc('\n', stream);
    for (unsigned int g = 0; g < host->gpu_count; g++)
        if (host->gpus[g].present)
            format_gpu(&host->gpus[g], stream);
    for (unsigned int e = 0; e < host->event_count; e++) {
        fprintf(stream, "event %llu", (unsigned long long)host->events[e].sequence);
        format_fields(&host->events[e], event_numbers, no_texts, stream);
        fputc('\n', stream);
    }
    return ferror(stream) ? -1 : 0;
}
