//go:build cloudsyncs3

#include "pollers.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "translator.h"

enum {
    BASE = 128,        /* FUSE has at most 64 reads under way (max_background), seen */
    STEP = 32,         /* more when all of them are blocked */
    TICK_MS = 200,     /* how often that is looked at; a blocked mount waits two at most */
    STOP_TICKS = 25,   /* how long a stop waits for the last ping */
};

struct pollers {
    struct pollers *next;
    struct event_pool *pool;
    int users;
    bool stopping;
    bool started;
    pthread_t thread;
    pthread_cond_t wake;
    int fd;  /* an eventfd that is registered with the pool, or -1 */
    int idx; /* its slot there */
    unsigned sent; /* pings; never more than one is unanswered */
    atomic_uint answered;
};

/* A mount has one pool, an application of gfapi one for each volume it uses. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pollers *all;

/* Runs in an event thread. Once answered is written, p may be gone. */
static void
on_ping(int fd, int idx, int gen, void *data, int in, int out, int err, poller_flag dying)
{
    struct pollers *p = data;
    uint64_t count;

    (void)out, (void)err, (void)dying;
    bool ping = in && read(fd, &count, sizeof count) == sizeof count;
    gf_event_handled(p->pool, fd, idx, gen);
    if (ping)
        atomic_fetch_add(&p->answered, 1);
}

/* The number of event threads that the pool is to have; 0 if it ends, or has
 * none yet. */
static int
thread_count(struct event_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    int count = pool->destroy ? 0 : pool->eventthreadcount;
    pthread_mutex_unlock(&pool->mutex);
    return count;
}

static void
raise_to(struct event_pool *pool, int wanted)
{
    int count = thread_count(pool);
    if (count > 0 && count < wanted && count < EVENT_MAX_THREADS)
        gf_event_reconfigure_threads(pool, wanted);
}

static void
ping(struct pollers *p)
{
    uint64_t one = 1;
    if (write(p->fd, &one, sizeof one) == sizeof one)
        p->sent++;
}

static bool
pause_or_stop(struct pollers *p)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TICK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;

    pthread_mutex_lock(&all_lock);
    int err = 0;
    while (!p->stopping && err != ETIMEDOUT)
        err = pthread_cond_timedwait(&p->wake, &all_lock, &until);
    bool stop = p->stopping;
    pthread_mutex_unlock(&all_lock);
    return stop;
}

static void *
watch(void *arg)
{
    struct pollers *p = arg;

    while (!pause_or_stop(p)) {
        /* Each new graph sets the number of its own option again. */
        raise_to(p->pool, BASE);
        if (p->fd < 0 || thread_count(p->pool) == 0)
            continue;
        if (atomic_load(&p->answered) == p->sent) {
            ping(p);
            continue;
        }
        int more = thread_count(p->pool) + STEP;
        gf_log("coldbrick", GF_LOG_WARNING, "all event threads are busy recalling: raising their number to %d", more);
        raise_to(p->pool, more);
    }
    return NULL;
}

static struct pollers *
start(struct event_pool *pool)
{
    struct pollers *p = calloc(1, sizeof *p);
    pthread_condattr_t monotonic;

    if (!p)
        return NULL;
    p->pool = pool;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&p->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);

    p->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (p->fd >= 0) {
        p->idx = gf_event_register(pool, p->fd, on_ping, p, 1, 0, 0);
        if (p->idx < 0) {
            close(p->fd);
            p->fd = -1;
        }
    }
    p->started = gf_thread_create(&p->thread, NULL, watch, p, "coldbrk") == 0;
    if (p->fd < 0 || !p->started)
        gf_log("coldbrick", GF_LOG_ERROR, "cannot watch the event threads: more than %d recalls at once stop this mount", BASE);
    return p;
}

/* Called without the lock, once p is in no list. */
static void
stop(struct pollers *p)
{
    const struct timespec tick = {0, TICK_MS * 1000000L};

    if (p->started)
        pthread_join(p->thread, NULL);
    for (int i = 0; i < STOP_TICKS && p->fd >= 0 && atomic_load(&p->answered) != p->sent; i++)
        nanosleep(&tick, NULL);
    if (p->fd >= 0)
        gf_event_unregister_close(p->pool, p->fd, p->idx);
    if (atomic_load(&p->answered) != p->sent)
        return; /* a handler may still look at p: better lose it */
    pthread_cond_destroy(&p->wake);
    free(p);
}

struct pollers *
pollers_acquire(struct event_pool *pool)
{
    struct pollers *p;

    pthread_mutex_lock(&all_lock);
    for (p = all; p && p->pool != pool; p = p->next)
        ;
    if (!p && (p = start(pool))) {
        p->next = all;
        all = p;
    }
    if (p)
        p->users++;
    pthread_mutex_unlock(&all_lock);
    if (p)
        pollers_assert(p);
    return p;
}

void
pollers_assert(struct pollers *p)
{
    raise_to(p->pool, BASE);
}

void
pollers_release(struct pollers *p, int last)
{
    pthread_mutex_lock(&all_lock);
    bool over = --p->users == 0 || last;
    if (over) {
        struct pollers **at = &all;
        while (*at && *at != p)
            at = &(*at)->next;
        if (*at)
            *at = p->next;
        p->stopping = true;
        pthread_cond_signal(&p->wake);
    }
    pthread_mutex_unlock(&all_lock);
    if (over)
        stop(p);
}
