/* A stand-in for libnvidia-ml.so.1 of a large machine: 8 GPUs, and on them the processes in $NVML_PIDS.

   For measuring what reading costs: the answers are made up on the spot from the number of the GPU,
   no file is read, and no call takes time, so that whatever asks more than another pays for its own
   work alone. Its own prototypes of the calls that exporters make. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, INSUFFICIENT_SIZE = 7, TIMEOUT = 10 };
enum { GPUS = 8 };
#define GIB (1ull << 30)
#define SECOND (2u << 24)

typedef int result;
typedef void *device;
typedef unsigned long long count;
typedef struct { count total, free, used; } memory_v1;
typedef struct { unsigned version; count total, reserved, free, used; } memory_v2;
typedef struct { unsigned gpu, memory; } rates;
typedef struct { unsigned pid; count used; unsigned gpu_instance, compute_instance; } process;

static unsigned of(device d) { return (unsigned)(size_t)d - 1; }
static result put(unsigned *out, unsigned value) { *out = value; return SUCCESS; }
static result put_long(count *out, count value) { *out = value; return SUCCESS; }

result nvmlInit_v2(void) { return SUCCESS; }
result nvmlInitWithFlags(unsigned flags) { (void)flags; return SUCCESS; }
result nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(result code) { return code == NOT_SUPPORTED ? "Not Supported" : "Unknown Error"; }
result nvmlSystemGetDriverVersion(char *out, unsigned size) { snprintf(out, size, "580.00"); return SUCCESS; }
result nvmlSystemGetCudaDriverVersion_v2(int *out) { *out = 13000; return SUCCESS; }
result nvmlDeviceGetCount_v2(unsigned *out) { return put(out, GPUS); }
result nvmlDeviceGetHandleByIndex_v2(unsigned index, device *out) {
    if (index >= GPUS) return INVALID_ARGUMENT;
    *out = (device)(size_t)(index + 1);
    return SUCCESS;
}
result nvmlDeviceGetHandleByUUID(const char *uuid, device *out) {
    return nvmlDeviceGetHandleByIndex_v2((unsigned)atoi(uuid + strlen(uuid) - 1), out);
}
result nvmlDeviceGetIndex(device d, unsigned *out) { return put(out, of(d)); }
result nvmlDeviceGetName(device d, char *out, unsigned size) {
    (void)d;
    snprintf(out, size, "Stand-in GPU");
    return SUCCESS;
}
result nvmlDeviceGetUUID(device d, char *out, unsigned size) {
    snprintf(out, size, "GPU-00000000-0000-0000-0000-00000000000%u", of(d));
    return SUCCESS;
}
result nvmlDeviceGetMemoryInfo(device d, memory_v1 *m) {
    m->total = 80 * GIB;
    m->used = (40 + of(d)) * GIB;
    m->free = m->total - m->used;
    return SUCCESS;
}
result nvmlDeviceGetMemoryInfo_v2(device d, memory_v2 *m) {
    if (m->version != (sizeof *m | SECOND)) return 25;
    m->total = 80 * GIB;
    m->reserved = GIB / 2;
    m->used = (40 + of(d)) * GIB;
    m->free = m->total - m->used - m->reserved;
    return SUCCESS;
}
result nvmlDeviceGetUtilizationRates(device d, rates *r) {
    r->gpu = 90 + of(d);
    r->memory = 40;
    return SUCCESS;
}
result nvmlDeviceGetTemperature(device d, int sensor, unsigned *out) { (void)sensor; return put(out, 60 + of(d)); }
result nvmlDeviceGetFanSpeed(device d, unsigned *out) { (void)d; return put(out, 50); }
result nvmlDeviceGetPerformanceState(device d, int *out) { (void)d; *out = 0; return SUCCESS; }
result nvmlDeviceGetPowerUsage(device d, unsigned *out) { return put(out, 300000 + of(d)); }
result nvmlDeviceGetPowerManagementLimit(device d, unsigned *out) { (void)d; return put(out, 400000); }
result nvmlDeviceGetEnforcedPowerLimit(device d, unsigned *out) { (void)d; return put(out, 400000); }
result nvmlDeviceGetClockInfo(device d, int kind, unsigned *out) { (void)kind; return put(out, 1500 + of(d)); }
result nvmlDeviceGetMaxClockInfo(device d, int kind, unsigned *out) { (void)d; (void)kind; return put(out, 1980); }
result nvmlDeviceGetEncoderUtilization(device d, unsigned *out, unsigned *period) { (void)d; *period = 1; return put(out, 0); }
result nvmlDeviceGetDecoderUtilization(device d, unsigned *out, unsigned *period) { (void)d; *period = 1; return put(out, 0); }
result nvmlDeviceGetPcieThroughput(device d, int which, unsigned *out) { (void)d; (void)which; return put(out, 1000); }
result nvmlDeviceGetCurrentClocksEventReasons(device d, count *out) { (void)d; return put_long(out, 0); }
result nvmlDeviceGetCurrentClocksThrottleReasons(device d, count *out) { (void)d; return put_long(out, 0); }
result nvmlDeviceGetTotalEccErrors(device d, int kind, int since, count *out) {
    (void)d; (void)kind; (void)since;
    return put_long(out, 0);
}
static result listed(device d, unsigned *found, process *list) {
    const char *text = getenv("NVML_PIDS");
    unsigned number = 0, mine = 0;
    char *rest;
    for (; text && *text; text = *rest ? rest + 1 : rest, number++) {
        unsigned pid = (unsigned)strtoul(text, &rest, 10);
        if (number % GPUS != of(d)) continue;
        if (list && mine < *found) {
            list[mine].pid = pid;
            list[mine].used = 5 * GIB;
            list[mine].gpu_instance = list[mine].compute_instance = ~0u;
        }
        mine++;
    }
    result code = mine > (list ? *found : 0) ? INSUFFICIENT_SIZE : SUCCESS;
    *found = mine;
    return code;
}
result nvmlDeviceGetComputeRunningProcesses_v3(device d, unsigned *found, process *list) {
    return listed(d, found, list);
}
result nvmlDeviceGetGraphicsRunningProcesses_v3(device d, unsigned *found, process *list) {
    (void)d; (void)list;
    return put(found, 0);
}
result nvmlEventSetCreate(void **set) { static int one; *set = &one; return SUCCESS; }
result nvmlEventSetFree(void *set) { (void)set; return SUCCESS; }
result nvmlDeviceGetSupportedEventTypes(device d, count *types) { (void)d; return put_long(types, 8); }
result nvmlDeviceRegisterEvents(device d, count types, void *set) { (void)d; (void)types; (void)set; return SUCCESS; }
result nvmlEventSetWait_v2(void *set, void *event, unsigned ms) { (void)set; (void)event; (void)ms; return TIMEOUT; }
