/* /dev/sev-guest and /dev/tdx_guest for tests, loaded before the C library (LD_PRELOAD): the paths lead to
 * /dev/null, and requests to what was opened there are answered by the rules of the kernel's headers
 * (include/uapi/linux/sev-guest.h) and of Intel's driver with quote requests (tdx_guest_ioctl).
 *
 * ADYTON_FAKE names the devices and their behaviour, space separated. No other device, TPM or configfs of
 * the machine that the test runs on is seen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *hidden[] = {"/dev/sev-guest", "/dev/tdx_guest",   "/dev/tdx-guest",
                               "/dev/tdx-attest", "/dev/tpmrm0",     "/sys/kernel/config/tsm/report",
                               "/sys/firmware/acpi/tables/data/CCEL"};
static int opened[1024]; /* 1: SNP, 2: TDX */

static int is(const char *word) {
    const char *all = getenv("ADYTON_FAKE");
    size_t length = strlen(word);
    for (const char *at = all; at && (at = strstr(at, word)); at += length)
        if ((at == all || at[-1] == ' ') && (at[length] == 0 || at[length] == ' ' || at[length] == '='))
            return 1;
    return 0;
}

static const char *value(const char *word) {
    static char found[4096];
    const char *all = getenv("ADYTON_FAKE");
    const char *at = all ? strstr(all, word) : NULL;
    if (!at || sscanf(at + strlen(word), "=%4095s", found) != 1)
        return NULL;
    return found;
}

/* Where a path leads: NULL where nothing is to be there. */
static const char *led(const char *path, int *kind) {
    *kind = 0;
    for (size_t at = 0; at < sizeof hidden / sizeof *hidden; at++) {
        if (strncmp(path, hidden[at], strlen(hidden[at])) != 0)
            continue;
        if (strcmp(path, "/dev/sev-guest") == 0 && is("snp"))
            *kind = 1;
        else if (strcmp(path, "/dev/tdx_guest") == 0 && is("tdx"))
            *kind = 2;
        else if (strcmp(path, "/dev/tdx-guest") == 0 && is("tdx1"))
            *kind = 3;
        return *kind ? "/dev/null" : NULL;
    }
    return path;
}

static int open_led(const char *path, int flags, mode_t mode) {
    static int (*real)(const char *, int, ...);
    int kind;
    if (!real)
        real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    path = led(path, &kind);
    if (!path) {
        errno = ENOENT;
        return -1;
    }
    int fd = real(path, flags, mode);
    if (fd >= 0 && fd < 1024)
        opened[fd] = kind;
    return fd;
}

static mode_t mode_of(int flags, va_list rest) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return open_led(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return open_led(path, flags, mode);
}

int statx(int folder, const char *restrict path, int flags, unsigned mask, struct statx *restrict out) {
    static int (*real)(int, const char *, int, unsigned, struct statx *);
    int kind;
    if (!real)
        real = (int (*)(int, const char *, int, unsigned, struct statx *))dlsym(RTLD_NEXT, "statx");
    /* Rust asks without a path whether the call exists; the header says that nobody does. */
    const char *volatile given = path;
    if (!given)
        return real(folder, path, flags, mask, out);
    path = led(path, &kind);
    if (!path) {
        errno = ENOENT;
        return -1;
    }
    return real(folder, path, flags, mask, out);
}

int stat64(const char *restrict path, struct stat64 *restrict out) {
    static int (*real)(const char *, struct stat64 *);
    int kind;
    if (!real)
        real = (int (*)(const char *, struct stat64 *))dlsym(RTLD_NEXT, "stat64");
    path = led(path, &kind);
    if (!path) {
        errno = ENOENT;
        return -1;
    }
    return real(path, out);
}

/* include/uapi/linux/sev-guest.h */
struct report_request {
    uint8_t user_data[64];
    uint32_t vmpl;
    uint8_t reserved[28];
};
struct extended_request {
    struct report_request data;
    uint64_t certs_address;
    uint32_t certs_len;
};
struct guest_request {
    uint8_t msg_version;
    uint64_t req_data, resp_data, exitinfo2;
};
#define SNP_GET_REPORT _IOWR('S', 0x0, struct guest_request)
#define SNP_GET_EXT_REPORT _IOWR('S', 0x2, struct guest_request)
#define VMM_ERROR(code) ((uint64_t)(code) << 32)

static int failed(struct guest_request *request, uint64_t exitinfo2) {
    request->exitinfo2 = exitinfo2;
    errno = EIO;
    return -1;
}

static int report(struct guest_request *request, const struct report_request *of) {
    static int busy = -1;
    uint8_t *out = (uint8_t *)request->resp_data;
    if (busy < 0)
        busy = value("busy") ? atoi(value("busy")) : 0;
    if (busy > 0) {
        busy--;
        return failed(request, VMM_ERROR(2));
    }
    for (size_t at = 0; at < sizeof of->reserved; at++)
        if (of->reserved[at])
            return failed(request, 0x16);
    if (of->vmpl > 3 || is("refuses"))
        return failed(request, 0x16);
    memset(out, 0, 4000);
    *(uint32_t *)(out + 4) = 1184;
    out[32] = 3;
    *(uint32_t *)(out + 32 + 0x30) = of->vmpl;
    memcpy(out + 32 + 0x50, of->user_data, 64);
    request->exitinfo2 = 0;
    return 0;
}

static int extended_report(struct guest_request *request) {
    struct extended_request *of = (struct extended_request *)request->req_data;
    uint8_t table[64 * 1024];
    size_t bytes = 0;
    if (of->certs_len % 4096 || of->certs_len > 16 * 1024) {
        errno = EINVAL;
        return -1;
    }
    if (is("basic"))
        return failed(request, VMM_ERROR(1));
    if (value("table")) {
        FILE *file = fopen(value("table"), "r");
        bytes = file ? fread(table, 1, sizeof table, file) : 0;
        if (file)
            fclose(file);
    }
    if (bytes > of->certs_len) {
        of->certs_len = (bytes + 4095) / 4096 * 4096;
        return failed(request, VMM_ERROR(1));
    }
    if (report(request, &of->data))
        return -1;
    /* The kernel copies whole pages. */
    memset((void *)of->certs_address, 0, of->certs_len);
    memcpy((void *)of->certs_address, table, bytes);
    return 0;
}

static int snp(unsigned long number, struct guest_request *request) {
    if (number != SNP_GET_REPORT && number != SNP_GET_EXT_REPORT) {
        errno = ENOTTY;
        return -1;
    }
    if (!request->req_data || !request->resp_data || request->msg_version != 1) {
        errno = EINVAL;
        return -1;
    }
    request->exitinfo2 = 0xff;
    if (number == SNP_GET_EXT_REPORT)
        return extended_report(request);
    return report(request, (const struct report_request *)request->req_data);
}

/* Intel's driver, and the messages of the quote generation service */
struct td_report_request {
    uint8_t reportdata[64], tdreport[1024];
};
struct quote_request {
    uint64_t buf, len;
};
struct quote_buffer {
    uint64_t version, status;
    uint32_t in_len, out_len;
    uint8_t message_length[4]; /* big-endian */
    uint16_t major, minor;
    uint32_t type, size, error_code;
    uint32_t first, second; /* report and id list, or selected id and quote: their sizes */
    uint8_t data[16384 - 24];
} __attribute__((packed));
#define TDX_GET_REPORT _IOWR('T', 1, struct td_report_request)
#define TDX_GET_QUOTE _IOR('T', 4, struct quote_request)

static int tdx(unsigned long number, void *argument) {
    if (number == TDX_GET_REPORT) {
        struct td_report_request *request = argument;
        memset(request->tdreport, 0, 1024);
        memcpy(request->tdreport + 128, request->reportdata, 64);
        return 0;
    }
    if (number != TDX_GET_QUOTE || is("mainline")) {
        errno = ENOTTY;
        return -1;
    }
    struct quote_buffer *buffer = (struct quote_buffer *)((struct quote_request *)argument)->buf;
    uint8_t reportdata[64];
    if (buffer->version != 1 || buffer->major != 1 || buffer->type != 0 || buffer->first != 1024) {
        errno = EINVAL;
        return -1;
    }
    if (is("slow"))
        usleep(200000);
    memcpy(reportdata, buffer->data + 128, 64);
    if (is("other"))
        reportdata[0] ^= 1;
    memset(buffer->data, 0, sizeof buffer->data);
    buffer->data[0] = 4;
    memcpy(buffer->data + 568, reportdata, 64);
    uint32_t quote = value("quote") ? atoi(value("quote")) : 5000;
    uint32_t message = 24 + quote;
    buffer->type = 1;
    buffer->error_code = is("qgs") ? 0x12001 : 0;
    buffer->size = message;
    buffer->first = 0;
    buffer->second = quote;
    for (int at = 0; at < 4; at++)
        buffer->message_length[at] = message >> (24 - 8 * at);
    buffer->out_len = is("short") ? 3 : message + 4;
    return 0;
}

int ioctl(int fd, unsigned long number, ...) {
    static int (*real)(int, unsigned long, ...);
    va_list rest;
    va_start(rest, number);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    int kind = fd >= 0 && fd < 1024 ? opened[fd] : 0;
    if (kind == 1)
        return snp(number & 0xffffffff, argument);
    if (kind == 2)
        return tdx(number & 0xffffffff, argument);
    if (!real)
        real = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
    return real(fd, number, argument);
}
