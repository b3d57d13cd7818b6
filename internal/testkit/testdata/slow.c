/* The clock of a host that is wrong: preloaded into a glusterfs, it adds the
 * seconds that the file $CLOCK_FILE holds at the time to what features/utime
 * stamps the client's requests with, and to nothing else. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int timespec_get(struct timespec *ts, int base) {
    int (*real)(struct timespec *, int) = (int (*)(struct timespec *, int))dlsym(RTLD_NEXT, "timespec_get");
    int ret = real(ts, base);
    Dl_info caller;
    long off = 0;
    if (dladdr(__builtin_return_address(0), &caller) && caller.dli_fname && strstr(caller.dli_fname, "/utime.so")) {
        FILE *f = fopen(getenv("CLOCK_FILE"), "re");
        if (!f || fscanf(f, "%ld", &off) != 1)
            abort(); /* the test would show nothing */
        fclose(f);
    }
    ts->tv_sec += off;
    return ret;
}
