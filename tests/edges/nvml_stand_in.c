/* A stand-in for libnvidia-ml.so.1, with its own prototypes of the few calls that are made.

   Its GPUs are described by lines KEY=VALUE in the file $NVML_STAND_IN, read at each call and to be
   replaced by renaming: count, init (an error code), and for each GPU N: N.total, N.used,
   N.reserved, N.util, N.temp, N.mw, N.mwlimit, N.reasons (a mask), N.ecc (corrected:uncorrected),
   N.procs (pid:bytes,pid:bytes) and N.error.CALL (an error code; N.error for all calls). Each change
   of xid=NUMBER@GPU#SERIAL is an event. With hang=1 every call about a GPU waits until it is 0. With
   -DOLD_DRIVER it lacks what drivers before 510 lack. */

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED };
enum { INSUFFICIENT_SIZE = 7, NO_PERMISSION = 4, TIMEOUT = 10, GPU_IS_LOST = 15, VERSION_MISMATCH = 25 };

typedef int result;
typedef void *device;
typedef struct { unsigned long long total, free, used; } memory_v1;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process;

static int initialised;

static int lookup(const char *key, char *out, size_t size) {
    const char *path = getenv("NVML_STAND_IN");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[4096];
    int found = 0;
    size_t length = strlen(key);
    if (!file) return 0;
    while (!found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, key, length) && line[length] == '=') {
            snprintf(out, size, "%s", line + length + 1);
            found = 1;
        }
    }
    fclose(file);
    return found;
}

static int of(device d, const char *name, char *out, size_t size) {
    char key[128];
    snprintf(key, sizeof key, "%d.%s", (int)(size_t)d - 1, name);
    return lookup(key, out, size);
}

static unsigned long long number(device d, const char *name) {
    char value[64];
    return of(d, name, value, sizeof value) ? strtoull(value, NULL, 10) : 0;
}

static result failure(device d, const char *call) {
    char key[128], value[64];
    if (!initialised) return UNINITIALIZED;
    while (lookup("hang", value, sizeof value) && atoi(value)) usleep(10000);
    snprintf(key, sizeof key, "error.%s", call);
    if (of(d, key, value, sizeof value) || of(d, "error", value, sizeof value)) return atoi(value);
    return SUCCESS;
}

#define FAIL_OR_GO_ON(d) do { result code = failure(d, __func__); if (code) return code; } while (0)

result nvmlInitWithFlags(unsigned flags) {
    char value[64];
    (void)flags;
    if (lookup("init", value, sizeof value)) return atoi(value);
    initialised++;
    return SUCCESS;
}
result nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
result nvmlShutdown(void) {
    if (!initialised) return UNINITIALIZED;
    initialised--;
    return SUCCESS;
}
const char *nvmlErrorString(result code) {
    switch (code) {
    case NOT_SUPPORTED: return "Not Supported";
    case NO_PERMISSION: return "Insufficient Permissions";
    case GPU_IS_LOST: return "GPU is lost";
    default: return "Unknown Error";
    }
}
result nvmlDeviceGetCount_v2(unsigned *count) {
    char value[64] = "0";
    if (lookup("error.count", value, sizeof value)) return atoi(value);
    lookup("count", value, sizeof value);
    *count = atoi(value);
    return initialised ? SUCCESS : UNINITIALIZED;
}
result nvmlDeviceGetHandleByIndex_v2(unsigned index, device *d) {
    unsigned count = 0;
    result code = nvmlDeviceGetCount_v2(&count);
    if (code) return code;
    if (index >= count) return INVALID_ARGUMENT;
    *d = (device)(size_t)(index + 1);
    return failure(*d, "handle");
}
result nvmlDeviceGetName(device d, char *out, unsigned size) {
    FAIL_OR_GO_ON(d);
    snprintf(out, size, "Stand-in GPU");
    return SUCCESS;
}
result nvmlDeviceGetUUID(device d, char *out, unsigned size) {
    FAIL_OR_GO_ON(d);
    snprintf(out, size, "GPU-%d", (int)(size_t)d - 1);
    return SUCCESS;
}
result nvmlDeviceGetMemoryInfo(device d, memory_v1 *m) {
    FAIL_OR_GO_ON(d);
    m->total = number(d, "total");
    m->used = number(d, "used") + number(d, "reserved");
    m->free = m->total - m->used;
    return SUCCESS;
}
#ifndef OLD_DRIVER
result nvmlDeviceGetMemoryInfo_v2(device d, memory_v2 *m) {
    FAIL_OR_GO_ON(d);
    if (m->version != (sizeof *m | 2u << 24)) return VERSION_MISMATCH;
    m->total = number(d, "total");
    m->used = number(d, "used");
    m->reserved = number(d, "reserved");
    m->free = m->total - m->used - m->reserved;
    return SUCCESS;
}
#endif
result nvmlDeviceGetUtilizationRates(device d, utilization *u) {
    FAIL_OR_GO_ON(d);
    u->gpu = number(d, "util");
    u->memory = 0;
    return SUCCESS;
}
result nvmlDeviceGetTemperature(device d, int sensor, unsigned *celsius) {
    FAIL_OR_GO_ON(d);
    (void)sensor;
    *celsius = number(d, "temp");
    return SUCCESS;
}
result nvmlDeviceGetPowerUsage(device d, unsigned *milliwatts) {
    FAIL_OR_GO_ON(d);
    *milliwatts = number(d, "mw");
    return SUCCESS;
}
result nvmlDeviceGetComputeRunningProcesses_v3(device d, unsigned *count, process *list) {
    char text[4096] = "", *rest = text, *each;
    unsigned found = 0;
    FAIL_OR_GO_ON(d);
    of(d, "procs", text, sizeof text);
    while ((each = strsep(&rest, ","))) {
        char *colon = strchr(each, ':');
        if (!colon) continue;
        if (list && found < *count) {
            list[found].pid = strtoul(each, NULL, 10);
            list[found].used = strtoull(colon + 1, NULL, 10);
            list[found].gpu_instance = list[found].compute_instance = ~0u;
        }
        found++;
    }
    if (found > (list ? *count : 0)) { *count = found; return INSUFFICIENT_SIZE; }
    *count = found;
    return SUCCESS;
}
result nvmlDeviceGetIndex(device d, unsigned *index) {
    FAIL_OR_GO_ON(d);
    *index = (unsigned)(size_t)d - 1;
    return SUCCESS;
}
#ifndef OLD_DRIVER
static result told(device d, const char *call, const char *name, unsigned long long *out) {
    char value[64];
    result code = failure(d, call);
    if (code) return code;
    if (!of(d, name, value, sizeof value)) return NOT_SUPPORTED;
    *out = strtoull(value, NULL, 0);
    return SUCCESS;
}
result nvmlDeviceGetEnforcedPowerLimit(device d, unsigned *milliwatts) {
    unsigned long long value = 0;
    result code = told(d, __func__, "mwlimit", &value);
    *milliwatts = (unsigned)value;
    return code;
}
/* The newer name of this question is missing on purpose: drivers of some years know only this one. */
result nvmlDeviceGetCurrentClocksThrottleReasons(device d, unsigned long long *mask) {
    return told(d, __func__, "reasons", mask);
}
result nvmlDeviceGetTotalEccErrors(device d, int kind, int since, unsigned long long *count) {
    char value[64], *colon;
    result code = failure(d, __func__);
    if (code) return code;
    if (since != 0) return INVALID_ARGUMENT;
    if (!of(d, "ecc", value, sizeof value) || !(colon = strchr(value, ':'))) return NOT_SUPPORTED;
    *count = strtoull(kind ? colon + 1 : value, NULL, 10);
    return SUCCESS;
}

typedef struct { device d; unsigned long long type, data; unsigned instance, compute; } event;

static char taken[128];

result nvmlEventSetCreate(void **set) {
    if (!lookup("xid", taken, sizeof taken)) taken[0] = 0;
    *set = taken;
    return SUCCESS;
}
result nvmlDeviceRegisterEvents(device d, unsigned long long types, void *set) {
    FAIL_OR_GO_ON(d);
    (void)set;
    return types == 8 ? SUCCESS : NOT_SUPPORTED;
}
result nvmlEventSetWait_v2(void *set, event *found, unsigned milliseconds) {
    char value[128];
    (void)set;
    if (milliseconds) return INVALID_ARGUMENT; /* nobody may wait here */
    if (!lookup("xid", value, sizeof value) || !strcmp(value, taken)) return TIMEOUT;
    snprintf(taken, sizeof taken, "%s", value);
    memset(found, 0, sizeof *found);
    found->type = 8;
    found->data = strtoull(value, NULL, 10);
    found->d = (device)(size_t)(atoi(strchr(value, '@') + 1) + 1);
    return SUCCESS;
}
#endif
