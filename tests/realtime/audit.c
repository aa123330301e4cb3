/* Counts what a callback's thread must never do; preloaded into a process by test_audit.py.
 *
 * The functions below stand before the C library's own.  Each counts if the calling thread
 * is inside a callback, which a thread-local flag tells, and then does its work.  The flag is
 * set by audit_call(), which has PortAudio's signature, and audit_run() calls that on a thread
 * of its own, as PortAudio would: one that Python knows nothing of.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { ALLOCATIONS, FREES, LOCKS, WAITS, INTERPRETER, WRITES, KINDS };

/* initial-exec: the first look at it allocates nothing. */
static __thread int inside __attribute__((tls_model("initial-exec")));
static long counts[KINDS];

static void note(int kind)
{
    if (inside)
        __atomic_add_fetch(&counts[kind], 1, __ATOMIC_RELAXED);
}

void audit_counts(long *into) { memcpy(into, counts, sizeof counts); }

/* --- finding the real ones ------------------------------------------------------------ */

/* dlsym() itself may allocate before malloc is found: from here, and never given back. */
static char early[1 << 16] __attribute__((aligned(16)));
static size_t early_used;
/* This thread's own: numpy's threads come to life while others allocate. */
static __thread int finding __attribute__((tls_model("initial-exec")));

static void *from_early(size_t size)
{
    size_t whole = (size + 15) & ~(size_t)15;
    size_t end = __atomic_add_fetch(&early_used, whole, __ATOMIC_RELAXED);
    if (end > sizeof early)
        abort();
    return early + end - whole;
}

static int is_early(const void *p)
{
    return (const char *)p >= early && (const char *)p < early + sizeof early;
}

static void *real(const char *name)
{
    void *found = NULL;
    int was = finding;
    finding = 1;
    /* pthread_cond_* exist twice on x86-64; without a version the old ones are found. */
#ifdef __GLIBC__
    if (strncmp(name, "pthread_cond", 12) == 0)
        found = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
#endif
    if (!found)
        found = dlsym(RTLD_NEXT, name);
    finding = was;
    if (!found)
        abort();
    return found;
}

#define REAL(name) \
    static __typeof__(name) *next; \
    if (!next) \
        next = (__typeof__(name) *)real(#name)

/* --- memory --------------------------------------------------------------------------- */

void *malloc(size_t size)
{
    note(ALLOCATIONS);
    if (finding)
        return from_early(size);
    REAL(malloc);
    return next(size);
}

void *calloc(size_t count, size_t size)
{
    note(ALLOCATIONS);
    if (finding)
        return from_early(count * size); /* zeroed: nothing is given back */
    REAL(calloc);
    return next(count, size);
}

void *realloc(void *p, size_t size)
{
    note(ALLOCATIONS);
    if (finding || is_early(p)) {
        void *block = finding ? from_early(size) : malloc(size);
        size_t rest = is_early(p) ? (size_t)(early + sizeof early - (char *)p) : 0;
        if (p && block)
            memmove(block, p, size < rest ? size : rest);
        return block;
    }
    REAL(realloc);
    return next(p, size);
}

int posix_memalign(void **into, size_t alignment, size_t size)
{
    note(ALLOCATIONS);
    REAL(posix_memalign);
    return next(into, alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    note(ALLOCATIONS);
    REAL(aligned_alloc);
    return next(alignment, size);
}

void free(void *p)
{
    note(FREES);
    if (!p || is_early(p))
        return;
    REAL(free);
    next(p);
}

/* --- locks and waits ------------------------------------------------------------------ */

#define COUNTED(kind, type, name, parameters, arguments) \
    type name parameters \
    { \
        note(kind); \
        REAL(name); \
        return next arguments; \
    }

COUNTED(LOCKS, int, pthread_mutex_lock, (pthread_mutex_t *m), (m))
COUNTED(LOCKS, int, pthread_mutex_trylock, (pthread_mutex_t *m), (m))
COUNTED(LOCKS, int, pthread_mutex_unlock, (pthread_mutex_t *m), (m))
COUNTED(LOCKS, int, pthread_rwlock_rdlock, (pthread_rwlock_t *l), (l))
COUNTED(LOCKS, int, pthread_rwlock_wrlock, (pthread_rwlock_t *l), (l))
COUNTED(LOCKS, int, pthread_spin_lock, (pthread_spinlock_t *l), (l))
COUNTED(LOCKS, int, sem_wait, (sem_t *s), (s))
COUNTED(LOCKS, int, sem_trywait, (sem_t *s), (s))
COUNTED(LOCKS, int, sem_post, (sem_t *s), (s))
COUNTED(WAITS, int, pthread_cond_wait, (pthread_cond_t *c, pthread_mutex_t *m), (c, m))
COUNTED(WAITS, int, pthread_cond_timedwait,
        (pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t), (c, m, t))
COUNTED(WAITS, int, nanosleep, (const struct timespec *t, struct timespec *r), (t, r))
COUNTED(WAITS, int, usleep, (useconds_t t), (t))
COUNTED(WRITES, ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))

/* --- the interpreter ------------------------------------------------------------------ */

/* Where Python's own symbols come first (a static python), these are reached by the names
 * that test_audit.py gives them; the locks tell of the interpreter's lock in any case. */
#define PYTHON(type, name, parameters, arguments) \
    type name parameters \
    { \
        static type (*next) parameters; \
        note(INTERPRETER); \
        if (!next) \
            next = (type (*) parameters)real(#name); \
        return next arguments; \
    }

PYTHON(int, PyGILState_Ensure, (void), ())
PYTHON(void, PyGILState_Release, (int state), (state))
PYTHON(void *, PyEval_SaveThread, (void), ())
PYTHON(void, PyEval_RestoreThread, (void *state), (state))
PYTHON(void, PyEval_AcquireThread, (void *state), (state))
PYTHON(void *, PyErr_Occurred, (void), ())

/* --- the audio thread ----------------------------------------------------------------- */

typedef int callback(const void *, void *, unsigned long, const void *, unsigned long, void *);

struct job {
    callback *function;
    const void *input;
    void *output;
    const void *times;
    void *user;
    const unsigned long *frames;
    long calls;
    int status;
};

int audit_call(callback *function, const void *input, void *output, unsigned long frames,
               const void *times, unsigned long flags, void *user)
{
    int status;
    inside = 1;
    status = function(input, output, frames, times, flags, user);
    inside = 0;
    return status;
}

static void *run(void *data)
{
    struct job *job = data;
    for (long i = 0; i < job->calls; i++)
        job->status |= audit_call(job->function, job->input, job->output, job->frames[i],
                                  job->times, i % 7 == 0 ? 6 : 0, job->user);
    return NULL;
}

/* Call a callback so many times on a thread that is made for it; 0 if all is well. */
int audit_run(callback *function, const void *input, void *output, const void *times,
              void *user, const unsigned long *frames, long calls)
{
    struct job job = {function, input, output, times, user, frames, calls, 0};
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, &job) || pthread_join(thread, NULL))
        return -1;
    return job.status;
}

/* A callback that does wrong on purpose: the counters must show it. */
int audit_offender(const void *input, void *output, unsigned long frames, const void *times,
                   unsigned long flags, void *user)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    struct timespec moment = {0, 1};
    char *volatile block = malloc(frames + 1);
    (void)input, (void)output, (void)times, (void)flags, (void)user;
    free(block);
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    nanosleep(&moment, NULL);
    return 0;
}
