/* A libnvidia-ml.so for tests: what NVIDIA's nvml.h (R570) says of the calls that evidence takes, and
 * nothing else. It refuses what the library refuses: calls before initialization, handles and indexes
 * that it did not give, structures of another version. GPUS, CC, BOARD and FAULT are set when it is
 * compiled. */

#include <string.h>

#ifndef GPUS
#define GPUS 2
#endif
#ifndef CC
#define CC 1
#endif
#ifndef BOARD
#define BOARD 0
#endif
#define NONE 0
#define NO_REPORT 1
#define EMPTY_REPORT 2
#define LONG_REPORT 3
#define LONG_CHAIN 4
#define SECOND_FAILS 5
#define NO_CALL 6
#ifndef FAULT
#define FAULT NONE
#endif

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, VERSION_MISMATCH = 25, NOT_READY = 27 };

#define CERT_CHAIN_SIZE 0x1000
#define ATTESTATION_CERT_CHAIN_SIZE 0x1400
#define NONCE_SIZE 0x20
#define REPORT_SIZE 0x2000
#define CEC_REPORT_SIZE 0x1000

typedef struct device { unsigned number; } device;

typedef struct {
    unsigned environment, ccFeature, devToolsMode;
} state;

typedef struct {
    unsigned version, environment, ccFeature, devToolsMode, multiGpuMode;
} settings;

typedef struct {
    unsigned certChainSize, attestationCertChainSize;
    unsigned char certChain[CERT_CHAIN_SIZE];
    unsigned char attestationCertChain[ATTESTATION_CERT_CHAIN_SIZE];
} certificate;

typedef struct {
    unsigned isCecAttestationReportPresent, attestationReportSize, cecAttestationReportSize;
    unsigned char nonce[NONCE_SIZE];
    unsigned char attestationReport[REPORT_SIZE];
    unsigned char cecAttestationReport[CEC_REPORT_SIZE];
} report;

static int users;
static device devices[16];

static int known(device *gpu) {
    return gpu >= devices && gpu < devices + GPUS;
}

int nvmlInit_v2(void) {
    users++;
    return SUCCESS;
}

int nvmlShutdown(void) {
    if (users == 0)
        return UNINITIALIZED;
    users--;
    return SUCCESS;
}

int nvmlSystemGetConfComputeState(state *out) {
    if (users == 0)
        return UNINITIALIZED;
    if (!out)
        return INVALID_ARGUMENT;
    out->environment = 2;
    out->ccFeature = CC;
    out->devToolsMode = 0;
    return SUCCESS;
}

int nvmlSystemGetConfComputeSettings(settings *out) {
    if (users == 0)
        return UNINITIALIZED;
    if (!out)
        return INVALID_ARGUMENT;
    if (out->version != (sizeof *out | 1 << 24))
        return VERSION_MISMATCH;
    if (BOARD < 0)
        return NOT_SUPPORTED;
    out->environment = 2;
    out->ccFeature = CC;
    out->devToolsMode = 0;
    out->multiGpuMode = BOARD;
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *out) {
    if (users == 0)
        return UNINITIALIZED;
    if (!out)
        return INVALID_ARGUMENT;
    *out = GPUS;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **out) {
    if (users == 0)
        return UNINITIALIZED;
    if (!out || index >= GPUS)
        return INVALID_ARGUMENT;
    devices[index % 16].number = index;
    *out = &devices[index % 16];
    return SUCCESS;
}

int nvmlDeviceGetConfComputeGpuCertificate(device *gpu, certificate *out) {
    if (users == 0)
        return UNINITIALIZED;
    if (!out || !known(gpu))
        return INVALID_ARGUMENT;
    /* The whole structure is the library's to write. */
    memset(out, 0xcc, sizeof *out);
    out->certChainSize = CERT_CHAIN_SIZE;
    memcpy(out->attestationCertChain, "PEM of GPU 0", 12);
    out->attestationCertChain[11] += gpu->number;
    out->attestationCertChainSize = FAULT == LONG_CHAIN ? ATTESTATION_CERT_CHAIN_SIZE + 1 : 12;
    return SUCCESS;
}

#if FAULT != NO_CALL
int nvmlDeviceGetConfComputeGpuAttestationReport(device *gpu, report *out) {
    unsigned char nonce[NONCE_SIZE];
    if (users == 0)
        return UNINITIALIZED;
    if (!out || !known(gpu))
        return INVALID_ARGUMENT;
    if (FAULT == NO_REPORT)
        return NOT_SUPPORTED;
    if (FAULT == SECOND_FAILS && gpu->number == 1)
        return NOT_READY;
    memcpy(nonce, out->nonce, NONCE_SIZE);
    memset(out, 0xcc, sizeof *out);
    memcpy(out->nonce, nonce, NONCE_SIZE);
    out->attestationReport[0] = gpu->number;
    memcpy(out->attestationReport + 1, nonce, NONCE_SIZE);
    out->attestationReportSize = 1 + NONCE_SIZE;
    if (FAULT == EMPTY_REPORT)
        out->attestationReportSize = 0;
    if (FAULT == LONG_REPORT)
        out->attestationReportSize = REPORT_SIZE + 1;
    out->isCecAttestationReportPresent = 0;
    out->cecAttestationReportSize = 0;
    return SUCCESS;
}
#endif
