/*
 * Notes the beginning and end of every function of the library that it is linked into, compiled with
 * -finstrument-functions, and of the system calls that it makes (linked with --wrap).
 *
 * Whoever may write to this process's memory says until when (`until`); notes lie in a ring for each thread, which is
 * read from outside. Nobody has to be told to stop: the time simply passes.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <x86intrin.h>

#define QUIET __attribute__((no_instrument_function))
#define THREADS 8
#define NOTES (1u << 19) /* of a ring; a power of two */

struct note {
    uint64_t time;     /* TSC */
    uint64_t function; /* its address, times two; one more at its end */
};

struct ring {
    uint64_t head; /* notes that were ever written */
    uint64_t unused;
    struct note notes[NOTES];
};

/* Read from outside by `instrumented.py`, which has the same layout. */
struct {
    uint64_t until;   /* TSC up to which notes are taken */
    uint32_t threads; /* rings in use; more threads are not noted */
    uint32_t notes;
    struct ring rings[THREADS];
} nfsleuth_state = {.notes = NOTES};

static __thread int mine __attribute__((tls_model("initial-exec"))) = -1;

QUIET static inline void note(uint64_t word)
{
    uint64_t now = __rdtsc();
    if (now >= __atomic_load_n(&nfsleuth_state.until, __ATOMIC_RELAXED)) {
        return;
    }
    if (mine < 0) {
        mine = (int)__atomic_fetch_add(&nfsleuth_state.threads, 1, __ATOMIC_RELAXED);
    }
    if (mine >= THREADS) {
        return;
    }
    struct ring *ring = &nfsleuth_state.rings[mine];
    uint64_t head = ring->head;
    ring->notes[head % NOTES] = (struct note){now, word};
    __atomic_store_n(&ring->head, head + 1, __ATOMIC_RELEASE);
}

QUIET void __cyg_profile_func_enter(void *function, void *caller)
{
    (void)caller;
    note((uint64_t)function << 1);
}

QUIET void __cyg_profile_func_exit(void *function, void *caller)
{
    (void)caller;
    note((uint64_t)function << 1 | 1);
}

#define WRAP(type, name, parameters, arguments)               \
    type __real_##name parameters;                            \
    QUIET type __wrap_##name parameters                       \
    {                                                         \
        note((uint64_t)(uintptr_t)__wrap_##name << 1);        \
        type result = __real_##name arguments;                \
        note((uint64_t)(uintptr_t)__wrap_##name << 1 | 1);    \
        return result;                                        \
    }

WRAP(ssize_t, send, (int file, const void *from, size_t length, int flags), (file, from, length, flags))
WRAP(ssize_t, recv, (int file, void *into, size_t length, int flags), (file, into, length, flags))
WRAP(ssize_t, sendto,
     (int file, const void *from, size_t length, int flags, const struct sockaddr *to, socklen_t size),
     (file, from, length, flags, to, size))
WRAP(ssize_t, recvfrom,
     (int file, void *into, size_t length, int flags, struct sockaddr *from, socklen_t *size),
     (file, into, length, flags, from, size))
WRAP(ssize_t, sendmsg, (int file, const struct msghdr *message, int flags), (file, message, flags))
WRAP(ssize_t, recvmsg, (int file, struct msghdr *message, int flags), (file, message, flags))
WRAP(ssize_t, readv, (int file, const struct iovec *parts, int count), (file, parts, count))
WRAP(ssize_t, writev, (int file, const struct iovec *parts, int count), (file, parts, count))
WRAP(int, socket, (int domain, int kind, int protocol), (domain, kind, protocol))
WRAP(int, connect, (int file, const struct sockaddr *to, socklen_t size), (file, to, size))
WRAP(int, bind, (int file, const struct sockaddr *to, socklen_t size), (file, to, size))
WRAP(int, shutdown, (int file, int how), (file, how))
WRAP(int, close, (int file), (file))
WRAP(int, setsockopt, (int file, int level, int option, const void *value, socklen_t size),
     (file, level, option, value, size))
WRAP(int, getsockopt, (int file, int level, int option, void *value, socklen_t *size),
     (file, level, option, value, size))

/* What a note costs, for calibration in a process of our own. */

QUIET uint64_t nfsleuth_now(void)
{
    return __rdtsc();
}

#define REPETITIONS 200
#define CALLS 1000

__attribute__((noinline)) static void noted(void)
{
    __asm__ volatile("");
}

QUIET __attribute__((noinline)) static void not_noted(void)
{
    __asm__ volatile("");
}

QUIET static uint64_t ticks(void (*function)(void))
{
    uint64_t least = UINT64_MAX;
    for (int repetition = 0; repetition < REPETITIONS; repetition++) {
        uint64_t begin = __rdtsc();
        for (int call = 0; call < CALLS; call++) {
            function();
        }
        uint64_t took = __rdtsc() - begin;
        least = took < least ? took : least;
    }
    return least;
}

/* Ticks per second; ticks of a noted call beyond those of another; the part between its two notes. */
QUIET void nfsleuth_calibrate(double results[3])
{
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    uint64_t first = __rdtsc();
    nfsleuth_state.until = UINT64_MAX;
    uint64_t with = ticks(noted), without = ticks(not_noted);
    double inside = 1e18;
    struct ring *ring = &nfsleuth_state.rings[mine];
    for (uint64_t at = ring->head - 40 * CALLS; at < ring->head; at += 2 * 100) {
        double sum = 0;
        for (int call = 0; call < 100; call++) {
            sum += (double)(ring->notes[(at + 2 * call + 1) % NOTES].time - ring->notes[(at + 2 * call) % NOTES].time);
        }
        inside = sum / 100 < inside ? sum / 100 : inside;
    }
    nfsleuth_state.until = 0;
    double passed;
    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
        passed = (double)(now.tv_sec - begin.tv_sec) + (double)(now.tv_nsec - begin.tv_nsec) / 1e9;
    } while (passed < 0.05);
    results[0] = (double)(__rdtsc() - first) / passed;
    results[1] = (double)(with - (with < without ? with : without)) / CALLS;
    results[2] = inside;
}
