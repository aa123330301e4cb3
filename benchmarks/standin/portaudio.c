/* A stand-in for PortAudio: its ABI, one device "stand-in", and a clock that can be trusted.
 *
 * Whatever plays through libportaudio plays through this, unchanged, when the loader finds
 * it first.  Each stream has one thread, which asks for a block per period, as a sound card
 * with a small buffer does, and counts what came of it.
 *
 * THE DEVICE.  Period k begins at origin + k periods on CLOCK_MONOTONIC; the clock never
 * stretches.  With a buffer of P periods (setting "periods", 2 unless told) the block that
 * is asked for when period k begins, its *due* time, is played P - 1 periods later, its
 * *deadline*.  A block that is not there before its deadline is replaced by silence and
 * lost; blocks whose deadlines have passed by the time the thread is back are not asked for.
 * The latency that a program suggests is ignored, so that all are held to the same buffer.
 *
 * WHAT BECAME OF A PERIOD.  Each is exactly one of
 *   on time    the callback returned before the deadline;
 *   missed     it did not, and would not have if this thread had never slept too long;
 *   overslept  it did not, but would have: the kernel woke this thread too late.
 * For that, two times are kept: the real one, and that of a thread which always wakes when
 * a block is due and whose callbacks take exactly as long as they really took ("free_at" is
 * when it is free again; a block that was not asked for took it nothing).  A period is held
 * against the callback only if that thread, too, would have been late.  The three add up to
 * the periods that have passed.
 *
 * PUT ASIDE.  A callback that never gave up the processor by itself, not for a lock either
 * (the thread's voluntary context switches tell), and yet has taken longer on the clock than
 * of CPU time, was put aside by the machine for the difference, which is not held against
 * it.  What was late for that alone is counted as overslept, and again as "aside".  Whoever
 * waits in a callback has all of its time held against it.
 *
 * Recordings, input and status flags are those of the thread that never oversleeps: a missed
 * block is silence in the recording and flagged to the next callback; an overslept one is
 * recorded if it was made and leaves no trace if it was not asked for.
 *
 * STEPPING.  standin_step() has the thread make a number of calls back to back, without
 * waiting, between two periods; the pace then begins anew.  Streams opened with the setting
 * "stepped" make no other calls: tests use that, so that time decides nothing.
 *
 * Out of scope: conversions (every format is taken as it is), non-interleaved buffers, host
 * API specific parameters (ignored), stopping a stream from its own callback.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <portaudio.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

enum {
    MAX_STREAMS = 1024,     /* opened in the life of a process; their counts stay readable */
    MAX_CHANNELS = 64,
    DEFAULT_FRAMES = 256,   /* of a period, for paFramesPerBufferUnspecified */
    DEFAULT_RATE = 48000,
    KEPT_DURATIONS = 1 << 18,
};

static const int64_t SECOND = 1000000000;

/* ------------------------------------------------------------------ settings
 *
 * Each stream takes them as it is opened.  standin_set() sets them, and before that the
 * environment does, for programs whose start is not ours. */

/* Misbehaviour on demand.  disturbed() is where each is carried out. */
enum fault {
    FAULT_NONE,
    FAULT_JITTER, /* blocks are asked for up to "amount" ns (less than a period) late, while
                   * their deadlines stay */
};

struct settings {
    long periods;  /* of the device's buffer, at least 2 */
    long stepped;  /* 1: no pace, only standin_step() makes calls */
    long priority; /* SCHED_FIFO of the streams' threads; 0: the usual scheduling */
    long fault;    /* enum fault */
    long amount;   /* of the fault, in its own unit */
};

static struct settings settings = {.periods = 2};

static const struct {
    const char *name, *variable;
    long *place;
} SETTINGS[] = {
    {"periods", "STANDIN_PERIODS", &settings.periods},
    {"stepped", "STANDIN_STEPPED", &settings.stepped},
    {"priority", "STANDIN_PRIORITY", &settings.priority},
    {"fault", "STANDIN_FAULT", &settings.fault},
    {"amount", "STANDIN_AMOUNT", &settings.amount},
};
static const size_t SETTING_COUNT = sizeof SETTINGS / sizeof *SETTINGS;

__attribute__((constructor)) static void read_environment(void)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const char *value = getenv(SETTINGS[i].variable);
        if (value)
            *SETTINGS[i].place = atol(value);
    }
}

/* Sets a setting for the streams opened from now on; -1 if there is none of that name. */
int standin_set(const char *name, long value)
{
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (strcmp(SETTINGS[i].name, name) == 0) {
            *SETTINGS[i].place = value;
            return 0;
        }
    return -1;
}

/* ------------------------------------------------------------------ pace
 *
 * Arithmetic only, no clock: standin_rehearse() runs it in made-up time. */

enum fate { ON_TIME, MISSED, OVERSLEPT };

struct pace {
    int64_t origin; /* ns */
    double period;  /* ns */
    int64_t ahead;  /* periods between a block's due time and its deadline */
    int64_t next;   /* number of the next block */
    int64_t free_at;
};

static struct pace pace_from(int64_t origin, double period, int64_t periods)
{
    return (struct pace){
        .origin = origin, .period = period, .ahead = periods - 1, .free_at = origin};
}

static int64_t tick(const struct pace *pace, int64_t number)
{
    return pace->origin + (int64_t)((double)number * pace->period);
}

static int64_t next_due(const struct pace *pace) { return tick(pace, pace->next); }

static int64_t next_deadline(const struct pace *pace)
{
    return tick(pace, pace->next + pace->ahead);
}

/* What becomes of a block (see the top).  `free_at` is brought up to date. */
int standin_classify(int64_t due, int64_t deadline, int64_t called, int64_t returned,
                     int64_t aside, int64_t *free_at)
{
    int64_t ready = due > *free_at ? due : *free_at;
    *free_at = ready + (returned - called - aside);
    if (returned < deadline)
        return ON_TIME;
    return *free_at >= deadline ? MISSED : OVERSLEPT;
}

static enum fate pass(struct pace *pace, int64_t due, int64_t called, int64_t returned,
                      int64_t aside)
{
    int64_t deadline = next_deadline(pace);
    pace->next++;
    return standin_classify(due, deadline, called, returned, aside, &pace->free_at);
}

/* True if the next block's deadline has passed: it will not be asked for. */
static bool too_late(const struct pace *pace, int64_t now)
{
    return now >= next_deadline(pace);
}

/* Makes `calls` calls in made-up time, call i taking takes[i] ns after a sleep, if there is
 * one, that ends late[i] ns too late; adds the fates to counts[3]; returns the periods. */
int64_t standin_rehearse(int64_t period, int64_t periods, const int64_t *late,
                         const int64_t *takes, int64_t calls, int64_t *counts)
{
    struct pace pace = pace_from(0, (double)period, periods);
    int64_t now = 0;
    for (int64_t i = 0; i < calls; i++) {
        if (now <= next_due(&pace))
            now = next_due(&pace) + late[i];
        while (too_late(&pace, now))
            counts[pass(&pace, next_due(&pace), now, now, 0)]++;
        counts[pass(&pace, next_due(&pace), now, now + takes[i], 0)]++;
        now += takes[i];
    }
    return pace.next;
}

/* ------------------------------------------------------------------ streams */

/* What a stream counts, since it was opened or reset.  Python has the same names in the same
 * order.  The stream's thread writes, anybody may read. */
enum count {
    PERIODS,
    PERIODS_ON_TIME, /* + fate */
    PERIODS_MISSED,
    PERIODS_OVERSLEPT,
    GAPS,      /* runs of missed periods */
    STEPS,     /* calls made by standin_step() */
    SHORT,     /* of the missed: blocks that a blocking writer had not filled */
    LATEST,    /* ns by which the latest of the missed blocks came after its deadline */
    WORST_SLEEP, /* ns by which the thread woke too late, at worst */
    BUSY,      /* ns in callbacks, on the clock */
    BUSY_CPU,  /* ns in callbacks, of this thread's CPU time (measuring it included) */
    LONGEST,   /* ns of the longest callback */
    RECORDED,  /* bytes recorded */
    TIMED,     /* callbacks whose durations were kept */
    ASIDE,     /* of the overslept: periods late because the callback was put aside */
    COUNTS,
};

struct side {
    int channels; /* 0: the stream does not have it */
    PaSampleFormat format;
    size_t frame_bytes;
    unsigned char *block;
    /* Of a stream without a callback: */
    unsigned char *ring;
    int64_t written, read; /* frames */
    bool lost;             /* since the last Pa_ReadStream or Pa_WriteStream */
};

struct stream {
    bool open;
    PaStreamInfo info;
    unsigned long frames;
    double period; /* ns */
    struct settings set;
    struct side in, out;
    int64_t ring_frames;
    PaStreamCallback *callback;
    PaStreamFinishedCallback *finished;
    void *user;

    pthread_t thread;
    bool started;           /* has a thread that is to be joined; the caller's */
    atomic_bool active;     /* the thread's, but for the start */
    atomic_int ending;      /* 0, DRAIN or CUT; the caller's */

    pthread_mutex_t lock;   /* the request, the rings; never held during a callback */
    pthread_cond_t changed;
    atomic_bool requested;
    struct {
        bool reset;
        int64_t steps, limit, record_bytes;
        unsigned char *record;
    } request;

    /* The thread's own. */
    struct pace pace;
    PaStreamCallbackFlags flags; /* for the next callback */
    int64_t captured;            /* frames of input that have passed */
    bool in_gap, primed;
    uint32_t random;
    int64_t limit;               /* periods to count; 0: all, -1: none */
    unsigned char *record;
    int64_t record_bytes;
    uint32_t *durations;         /* ns */
    atomic_llong counts[COUNTS];
    _Atomic double load;
};

enum { DRAIN = 1, CUT = 2 };

static struct stream *streams[MAX_STREAMS];
static int stream_count;
static int initialised;
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static PaHostErrorInfo host_error = {paInDevelopment, 0, ""};
static char host_error_text[120] = "";

static int64_t nanoseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static void sleep_until(int64_t when)
{
    struct timespec at = {when / SECOND, when % SECOND};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}

static int64_t count_of(struct stream *s, int which)
{
    return atomic_load_explicit(&s->counts[which], memory_order_acquire);
}

static void set_count(struct stream *s, int which, int64_t value)
{
    atomic_store_explicit(&s->counts[which], value, memory_order_release);
}

static void add(struct stream *s, int which, int64_t amount)
{
    set_count(s, which, count_of(s, which) + amount);
}

static void raise_to(struct stream *s, int which, int64_t value)
{
    if (value > count_of(s, which))
        set_count(s, which, value);
}

/* True while a measurement of periods is under way. */
static bool counting(struct stream *s)
{
    return s->limit == 0 || count_of(s, PERIODS) < s->limit;
}

/* ------------------------------------------------------------------ samples */

static size_t sample_bytes(PaSampleFormat format)
{
    switch (format) {
    case paFloat32:
    case paInt32:
        return 4;
    case paInt24:
        return 3;
    case paInt16:
        return 2;
    case paInt8:
    case paUInt8:
        return 1;
    default:
        return 0;
    }
}

static void silence(unsigned char *target, const struct side *side, int64_t frames)
{
    memset(target, side->format == paUInt8 ? 128 : 0, side->frame_bytes * (size_t)frames);
}

/* Input is a ramp: channel c of frame n is the 16-bit number n + c, in the stream's format. */
static void ramp(unsigned char *target, const struct side *side, int64_t first, int64_t frames)
{
    for (int64_t i = 0; i < frames; i++)
        for (int channel = 0; channel < side->channels; channel++) {
            int16_t value = (int16_t)(uint16_t)(first + i + channel);
            float as_float = (float)value / 32768.0f;
            int32_t as_long = (int32_t)value * 65536;
            size_t at = (size_t)(i * side->channels + channel);
            switch (side->format) {
            case paFloat32:
                memcpy(target + 4 * at, &as_float, 4);
                break;
            case paInt32:
                memcpy(target + 4 * at, &as_long, 4);
                break;
            case paInt24:
                memcpy(target + 3 * at, (unsigned char *)&as_long + 1, 3);
                break;
            case paInt16:
                memcpy(target + 2 * at, &value, 2);
                break;
            case paInt8:
                target[at] = (unsigned char)(value / 256);
                break;
            default:
                target[at] = (unsigned char)(value / 256 + 128);
            }
        }
}

static void record(struct stream *s, const unsigned char *block)
{
    int64_t done = count_of(s, RECORDED);
    int64_t bytes = (int64_t)(s->frames * s->out.frame_bytes);
    if (bytes > s->record_bytes - done)
        bytes = s->record_bytes - done;
    if (bytes <= 0)
        return;
    if (block)
        memcpy(s->record + done, block, (size_t)bytes);
    else
        silence(s->record + done, &s->out, bytes / (int64_t)s->out.frame_bytes);
    add(s, RECORDED, bytes);
}

/* ------------------------------------------------------------------ one block */

static void copy_ring(struct stream *s, struct side *side, unsigned char *outside, int64_t index,
                      int64_t frames, bool into)
{
    int64_t position = index % s->ring_frames;
    int64_t first = s->ring_frames - position < frames ? s->ring_frames - position : frames;
    size_t width = side->frame_bytes;
    unsigned char *inside = side->ring + position * (int64_t)width;
    size_t bytes = (size_t)first * width, rest = (size_t)(frames - first) * width;
    memcpy(into ? inside : outside, into ? outside : inside, bytes);
    memcpy(into ? side->ring : outside + bytes, into ? outside + bytes : side->ring, rest);
}

/* The callback of streams without one: a block from the writer's ring, and one to the
 * reader's.  Tells whether the block was not there. */
static bool exchange_with_rings(struct stream *s)
{
    int64_t frames = (int64_t)s->frames;
    bool short_of = false;
    pthread_mutex_lock(&s->lock);
    if (s->out.channels) {
        int64_t there = s->out.written - s->out.read;
        if (there > frames)
            there = frames;
        copy_ring(s, &s->out, s->out.block, s->out.read, there, false);
        silence(s->out.block + there * (int64_t)s->out.frame_bytes, &s->out, frames - there);
        s->out.read += there;
        s->primed = s->primed || there == frames;
        short_of = there < frames && s->primed && !atomic_load(&s->ending);
        s->out.lost = s->out.lost || short_of;
    }
    if (s->in.channels) {
        if (s->ring_frames - (s->in.written - s->in.read) >= frames) {
            copy_ring(s, &s->in, s->in.block, s->in.written, frames, true);
            s->in.written += frames;
        } else {
            s->in.lost = true;
        }
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return short_of;
}

struct outcome {
    int64_t called, returned;
    int64_t aside; /* ns between the two in which it neither ran nor waited */
    bool short_of;
    int result; /* PaStreamCallbackResult */
};

/* How often this thread has given up the processor by itself, to wait for something. */
static int64_t voluntary_switches(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) ? -1 : usage.ru_nvcsw;
}

/* Asks for a block; `timed`: the call's duration is part of what is measured. */
static struct outcome call(struct stream *s, double adc, double dac, bool timed)
{
    struct outcome done = {.result = paContinue};
    if (s->in.channels)
        ramp(s->in.block, &s->in, s->captured, (int64_t)s->frames);
    s->captured += (int64_t)s->frames;
    PaStreamCallbackFlags flags = s->flags;
    s->flags = 0;
    int64_t waits = voluntary_switches();
    int64_t cpu = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    done.called = nanoseconds(CLOCK_MONOTONIC);
    if (s->callback) {
        PaStreamCallbackTimeInfo times = {adc, (double)done.called / 1e9, dac};
        done.result = s->callback(s->in.block, s->out.block, s->frames, &times, flags, s->user);
    } else {
        done.short_of = exchange_with_rings(s);
    }
    done.returned = nanoseconds(CLOCK_MONOTONIC);
    cpu = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
    int64_t took = done.returned - done.called;
    if (voluntary_switches() == waits && took > cpu)
        done.aside = took - cpu;
    atomic_store(&s->load, 0.9 * atomic_load(&s->load) + 0.1 * (double)took / s->period);
    if (timed) {
        add(s, BUSY, took);
        add(s, BUSY_CPU, cpu);
        raise_to(s, LONGEST, took);
        int64_t kept = count_of(s, TIMED);
        if (kept < KEPT_DURATIONS) {
            s->durations[kept] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
            set_count(s, TIMED, kept + 1);
        }
    }
    return done;
}

/* ------------------------------------------------------------------ the thread */

static int64_t disturbed(struct stream *s, int64_t due)
{
    switch (s->set.fault) {
    case FAULT_JITTER: /* xorshift32 */
        s->random ^= s->random << 13;
        s->random ^= s->random >> 17;
        s->random ^= s->random << 5;
        return due + (int64_t)s->random * s->set.amount / UINT32_MAX;
    default:
        return due;
    }
}

static void wake_controller(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* Counts a period; `block` is what was made for it, NULL if it was not asked for. */
static void book(struct stream *s, enum fate fate, const unsigned char *block)
{
    if (fate == MISSED)
        s->flags = (s->out.channels ? paOutputUnderflow : 0) |
                   (s->in.channels ? paInputOverflow : 0);
    if (counting(s)) {
        add(s, PERIODS_ON_TIME + (int)fate, 1);
        if (fate == MISSED && !s->in_gap)
            add(s, GAPS, 1);
        if (fate == MISSED)
            record(s, NULL);
        else if (block)
            record(s, block);
        add(s, PERIODS, 1);
        if (s->limit && count_of(s, PERIODS) == s->limit)
            wake_controller(s);
    }
    s->in_gap = fate == MISSED || (s->in_gap && fate == OVERSLEPT);
}

/* One period, slept for, asked for and counted. */
static int paced_period(struct stream *s)
{
    struct pace *pace = &s->pace;
    int64_t now = nanoseconds(CLOCK_MONOTONIC);
    int64_t due = disturbed(s, next_due(pace));
    if (now <= due) {
        sleep_until(due);
        now = nanoseconds(CLOCK_MONOTONIC);
        if (counting(s))
            raise_to(s, WORST_SLEEP, now - due);
    }
    while (too_late(pace, now)) {
        enum fate fate = pass(pace, due, now, now, 0);
        if (fate == MISSED)
            s->captured += (int64_t)s->frames;
        book(s, fate, NULL);
        due = next_due(pace);
    }
    int64_t deadline = next_deadline(pace);
    struct outcome done = call(s, (double)tick(pace, pace->next - 1) / 1e9,
                               (double)deadline / 1e9, counting(s));
    if (!s->callback && s->out.channels && !s->primed) {
        pace->next++; /* nobody has begun to write: not a period yet */
        return done.result;
    }
    int64_t free_at = pace->free_at; /* as it would be, had it not been put aside: */
    int64_t whole = standin_classify(due, deadline, done.called, done.returned, 0, &free_at);
    enum fate fate = pass(pace, due, done.called, done.returned, done.aside);
    if (counting(s)) {
        if (fate == OVERSLEPT && whole == MISSED)
            add(s, ASIDE, 1);
        if (fate == MISSED)
            raise_to(s, LATEST, done.returned - deadline);
        if (done.short_of)
            add(s, SHORT, 1);
    }
    book(s, done.short_of ? MISSED : fate, s->out.block);
    return done.result;
}

static void restart_pace(struct stream *s)
{
    s->pace = pace_from(nanoseconds(CLOCK_MONOTONIC), s->period, s->set.periods);
}

static int step(struct stream *s, int64_t calls)
{
    int result = paContinue;
    for (int64_t i = 0; i < calls && result == paContinue; i++) {
        double now = (double)nanoseconds(CLOCK_MONOTONIC) / 1e9;
        result =
            call(s, now - s->info.inputLatency, now + s->info.outputLatency, true).result;
        add(s, STEPS, 1);
        if (s->out.channels)
            record(s, s->out.block);
    }
    restart_pace(s);
    return result;
}

static void reset(struct stream *s)
{
    for (int i = 0; i < COUNTS; i++)
        set_count(s, i, 0);
    s->limit = s->request.limit;
    s->record = s->request.record;
    s->record_bytes = s->request.record_bytes;
    s->in_gap = false;
}

/* Does what the controller has asked for, and tells it. */
static int obey(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    int64_t steps = s->request.steps;
    if (s->request.reset)
        reset(s);
    pthread_mutex_unlock(&s->lock);
    int result = steps ? step(s, steps) : paContinue;
    pthread_mutex_lock(&s->lock);
    s->request.reset = false;
    s->request.steps = 0;
    atomic_store(&s->requested, false);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return result;
}

static void wait_for_request(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->requested) && !atomic_load(&s->ending))
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

/* True once the stream is to end: at once, or when what was written has been played. */
static bool at_end(struct stream *s)
{
    int ending = atomic_load(&s->ending);
    if (ending != DRAIN || s->callback || !s->out.channels || s->set.stepped)
        return ending != 0;
    pthread_mutex_lock(&s->lock);
    bool empty = s->out.written == s->out.read;
    pthread_mutex_unlock(&s->lock);
    return empty;
}

static void *run(void *argument)
{
    struct stream *s = argument;
    pthread_setname_np(pthread_self(), "stand-in");
    prctl(PR_SET_TIMERSLACK, 1UL); /* the usual 50 us are not for a device's interrupt */
    restart_pace(s);
    int result = paContinue;
    while (result == paContinue && !at_end(s)) {
        if (atomic_load(&s->requested))
            result = obey(s);
        else if (s->set.stepped)
            wait_for_request(s);
        else
            result = paced_period(s);
    }
    if (result == paComplete || atomic_load(&s->ending) == DRAIN) /* what was made is played */
        sleep_until(nanoseconds(CLOCK_MONOTONIC) +
                    (s->set.stepped ? 0 : s->set.periods * (int64_t)s->period));
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->active, false);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->finished)
        s->finished(s->user);
    return NULL;
}

/* ------------------------------------------------------------------ control
 *
 * Streams are known by the order in which they were opened, from 0. */

static struct stream *stream_number(int number)
{
    return number >= 0 && number < stream_count ? streams[number] : NULL;
}

/* How many streams were opened so far. */
int standin_streams(void) { return stream_count; }

/* Copies a stream's counts, as many as there are and fit; returns how many, -1 for none. */
int standin_counts(int number, int64_t *target, int most)
{
    struct stream *s = stream_number(number);
    if (!s)
        return -1;
    int count = most < COUNTS ? most : COUNTS;
    for (int i = 0; i < count; i++)
        target[i] = count_of(s, i);
    return count;
}

/* Copies the durations (ns) of the first callbacks since the reset; returns how many. */
int64_t standin_durations(int number, uint32_t *target, int64_t most)
{
    struct stream *s = stream_number(number);
    if (!s)
        return -1;
    int64_t kept = count_of(s, TIMED);
    if (most > kept)
        most = kept;
    memcpy(target, s->durations, (size_t)most * sizeof *target);
    return most;
}

/* Waits for the thread, if there is one, to have done what was asked; lock held. */
static void hand_over(struct stream *s)
{
    atomic_store(&s->requested, true);
    pthread_cond_broadcast(&s->changed);
    while (atomic_load(&s->requested) && atomic_load(&s->active))
        pthread_cond_wait(&s->changed, &s->lock);
}

/* Begins a measurement: counts from 0, the next `periods` of them (0: for good; -1: only what
 * is stepped), and what is played recorded into a buffer of `bytes` (0: not at all), which
 * must last as long. */
int standin_reset(int number, int64_t periods, void *buffer, int64_t bytes)
{
    struct stream *s = stream_number(number);
    if (!s)
        return -1;
    pthread_mutex_lock(&s->lock);
    s->request.limit = periods;
    s->request.record = buffer;
    s->request.record_bytes = bytes;
    s->request.reset = true;
    hand_over(s);
    if (s->request.reset) { /* no thread is there to do it */
        reset(s);
        s->request.reset = false;
        atomic_store(&s->requested, false);
    }
    pthread_mutex_unlock(&s->lock);
    return 0;
}

/* Makes `calls` callbacks back to back; returns when they are made.  -1 if the stream does
 * not run. */
int standin_step(int number, int64_t calls)
{
    struct stream *s = stream_number(number);
    if (!s || calls <= 0)
        return -1;
    pthread_mutex_lock(&s->lock);
    s->request.steps = calls;
    hand_over(s);
    bool made = s->request.steps == 0;
    s->request.steps = 0;
    if (!made)
        atomic_store(&s->requested, false);
    pthread_mutex_unlock(&s->lock);
    return made ? 0 : -1;
}

/* Waits for the end of a measurement, at most `timeout` ns: 1 if it has ended, -1 if it never
 * will because the stream has stopped, else 0. */
int standin_wait(int number, int64_t timeout)
{
    struct stream *s = stream_number(number);
    if (!s)
        return -1;
    int64_t until = nanoseconds(CLOCK_MONOTONIC) + timeout;
    struct timespec at = {until / SECOND, until % SECOND};
    int late = 0;
    pthread_mutex_lock(&s->lock);
    while (!late && counting(s) && atomic_load(&s->active))
        late = pthread_cond_timedwait(&s->changed, &s->lock, &at);
    int done = !counting(s) ? 1 : atomic_load(&s->active) ? 0 : -1;
    pthread_mutex_unlock(&s->lock);
    return done;
}

/* What standin_control() is to do; its user data. */
struct standin_work {
    int64_t frame_bytes; /* of the output block, which is filled with zeros */
    int64_t burn;        /* ns to be busy for, on the clock */
    int64_t rounds;      /* of an empty loop: what a pause of the machine does not shorten */
};

/* The control: a callback of next to nothing, of a given duration or of given work. */
int standin_control(const void *input, void *output, unsigned long frames,
                    const PaStreamCallbackTimeInfo *times, PaStreamCallbackFlags flags,
                    void *user)
{
    (void)input, (void)times, (void)flags;
    const struct standin_work *work = user;
    if (output)
        memset(output, 0, (size_t)work->frame_bytes * frames);
    if (work->burn)
        for (int64_t end = nanoseconds(CLOCK_MONOTONIC) + work->burn;
             nanoseconds(CLOCK_MONOTONIC) < end;)
            ;
    for (volatile int64_t i = 0; i < work->rounds; i++)
        ;
    return paContinue;
}

/* ------------------------------------------------------------------ PortAudio: the library */

static const PaVersionInfo VERSION = {19, 7, 0, "stand-in", "PortAudio V19 (stand-in)"};

int Pa_GetVersion(void) { return paMakeVersionNumber(19, 7, 0); }
const char *Pa_GetVersionText(void) { return VERSION.versionText; }
const PaVersionInfo *Pa_GetVersionInfo(void) { return &VERSION; }

const char *Pa_GetErrorText(PaError code)
{
    switch (code) {
    case paNoError:
        return "Success";
    case paNotInitialized:
        return "PortAudio not initialized";
    case paUnanticipatedHostError:
        return "Unanticipated host error";
    case paInvalidChannelCount:
        return "Invalid number of channels";
    case paInvalidSampleRate:
        return "Invalid sample rate";
    case paInvalidDevice:
        return "Invalid device";
    case paInvalidFlag:
        return "Invalid flag";
    case paSampleFormatNotSupported:
        return "Sample format not supported";
    case paInsufficientMemory:
        return "Insufficient memory";
    case paBadStreamPtr:
        return "Invalid stream pointer";
    case paStreamIsStopped:
        return "Stream is stopped";
    case paStreamIsNotStopped:
        return "Stream is not stopped";
    case paInputOverflowed:
        return "Input overflowed";
    case paOutputUnderflowed:
        return "Output underflowed";
    case paInvalidHostApi:
        return "Invalid host API";
    case paHostApiNotFound:
        return "Host API not found";
    case paCanNotReadFromACallbackStream:
        return "Can't read from a callback stream";
    case paCanNotWriteToACallbackStream:
        return "Can't write to a callback stream";
    case paCanNotReadFromAnOutputOnlyStream:
        return "Can't read from an output only stream";
    case paCanNotWriteToAnInputOnlyStream:
        return "Can't write to an input only stream";
    default:
        return "Invalid error code";
    }
}

PaError Pa_Initialize(void)
{
    pthread_mutex_lock(&table_lock);
    initialised++;
    pthread_mutex_unlock(&table_lock);
    return paNoError;
}

PaError Pa_Terminate(void)
{
    pthread_mutex_lock(&table_lock);
    if (initialised == 0) {
        pthread_mutex_unlock(&table_lock);
        return paNotInitialized;
    }
    bool last = --initialised == 0;
    pthread_mutex_unlock(&table_lock);
    for (int i = 0; last && i < stream_count; i++)
        if (streams[i]->open)
            Pa_CloseStream(streams[i]);
    return paNoError;
}

static PaError host_failure(const char *doing, int code)
{
    snprintf(host_error_text, sizeof host_error_text, "%s: %s", doing, strerror(code));
    host_error = (PaHostErrorInfo){paInDevelopment, code, host_error_text};
    return paUnanticipatedHostError;
}

const PaHostErrorInfo *Pa_GetLastHostErrorInfo(void) { return &host_error; }

PaError Pa_GetSampleSize(PaSampleFormat format)
{
    size_t bytes = sample_bytes(format & ~paNonInterleaved);
    return bytes ? (PaError)bytes : paSampleFormatNotSupported;
}

void Pa_Sleep(long milliseconds)
{
    sleep_until(nanoseconds(CLOCK_MONOTONIC) + milliseconds * (SECOND / 1000));
}

/* ------------------------------------------------------------------ PortAudio: devices */

static const PaHostApiInfo HOST_API = {1, paInDevelopment, "stand-in", 1, 0, 0};

static const PaDeviceInfo DEVICE = {
    .structVersion = 2,
    .name = "stand-in",
    .hostApi = 0,
    .maxInputChannels = MAX_CHANNELS,
    .maxOutputChannels = MAX_CHANNELS,
    .defaultLowInputLatency = (double)DEFAULT_FRAMES / DEFAULT_RATE,
    .defaultLowOutputLatency = (double)DEFAULT_FRAMES / DEFAULT_RATE,
    .defaultHighInputLatency = 4.0 * DEFAULT_FRAMES / DEFAULT_RATE,
    .defaultHighOutputLatency = 4.0 * DEFAULT_FRAMES / DEFAULT_RATE,
    .defaultSampleRate = DEFAULT_RATE,
};

PaHostApiIndex Pa_GetHostApiCount(void) { return initialised ? 1 : paNotInitialized; }
PaHostApiIndex Pa_GetDefaultHostApi(void) { return initialised ? 0 : paNotInitialized; }
PaDeviceIndex Pa_GetDeviceCount(void) { return initialised ? 1 : paNotInitialized; }
PaDeviceIndex Pa_GetDefaultInputDevice(void) { return initialised ? 0 : paNoDevice; }
PaDeviceIndex Pa_GetDefaultOutputDevice(void) { return initialised ? 0 : paNoDevice; }

const PaHostApiInfo *Pa_GetHostApiInfo(PaHostApiIndex api)
{
    return initialised && api == 0 ? &HOST_API : NULL;
}

PaHostApiIndex Pa_HostApiTypeIdToHostApiIndex(PaHostApiTypeId type)
{
    return !initialised ? paNotInitialized : type == paInDevelopment ? 0 : paHostApiNotFound;
}

PaDeviceIndex Pa_HostApiDeviceIndexToDeviceIndex(PaHostApiIndex api, int index)
{
    return !initialised ? paNotInitialized
           : api != 0   ? paInvalidHostApi
           : index != 0 ? paInvalidDevice
                        : 0;
}

const PaDeviceInfo *Pa_GetDeviceInfo(PaDeviceIndex device)
{
    return initialised && device == 0 ? &DEVICE : NULL;
}

static PaError check_side(const PaStreamParameters *side)
{
    if (!side)
        return paNoError;
    if (side->device != 0)
        return paInvalidDevice;
    if (side->channelCount < 1 || side->channelCount > MAX_CHANNELS)
        return paInvalidChannelCount;
    return sample_bytes(side->sampleFormat) ? paNoError : paSampleFormatNotSupported;
}

PaError Pa_IsFormatSupported(const PaStreamParameters *input, const PaStreamParameters *output,
                             double rate)
{
    if (!initialised)
        return paNotInitialized;
    if (!input && !output)
        return paInvalidDevice;
    PaError wrong = check_side(input);
    if (!wrong)
        wrong = check_side(output);
    if (!wrong && !(rate >= 1000 && rate <= 768000))
        wrong = paInvalidSampleRate;
    return wrong;
}

/* ------------------------------------------------------------------ PortAudio: streams */

/* Returns the stream if it is open, else NULL. */
static struct stream *opened(PaStream *stream)
{
    for (int i = 0; i < stream_count; i++)
        if (streams[i] == stream && streams[i]->open)
            return streams[i];
    return NULL;
}

static bool open_side(struct stream *s, struct side *side, const PaStreamParameters *wanted)
{
    if (!wanted)
        return true;
    side->channels = wanted->channelCount;
    side->format = wanted->sampleFormat;
    side->frame_bytes = (size_t)wanted->channelCount * sample_bytes(wanted->sampleFormat);
    side->block = calloc(s->frames, side->frame_bytes);
    if (!s->callback)
        side->ring = calloc((size_t)s->ring_frames, side->frame_bytes);
    return side->block && (s->callback || side->ring);
}

static void free_side(struct side *side)
{
    free(side->block);
    free(side->ring);
    side->block = side->ring = NULL;
}

PaError Pa_OpenStream(PaStream **stream, const PaStreamParameters *input,
                      const PaStreamParameters *output, double rate, unsigned long frames,
                      PaStreamFlags flags, PaStreamCallback *callback, void *user)
{
    (void)flags;
    PaError wrong = Pa_IsFormatSupported(input, output, rate);
    if (wrong)
        return wrong;
    struct stream *s = calloc(1, sizeof *s);
    if (!s)
        return paInsufficientMemory;
    s->set = settings;
    if (s->set.periods < 2)
        s->set.periods = 2;
    s->frames = frames ? frames : DEFAULT_FRAMES;
    s->period = (double)s->frames * 1e9 / rate;
    s->info = (PaStreamInfo){.structVersion = 1, .sampleRate = rate};
    if (input)
        s->info.inputLatency = s->period / 1e9;
    if (output)
        s->info.outputLatency = (double)(s->set.periods - 1) * s->period / 1e9;
    s->callback = callback;
    s->user = user;
    s->random = 1;
    /* What is written ahead of the device counts towards the latency asked for. */
    double ahead = output ? output->suggestedLatency : input->suggestedLatency;
    s->ring_frames = s->set.periods * (int64_t)s->frames;
    if (ahead * rate > (double)s->ring_frames && ahead < 10)
        s->ring_frames = (int64_t)(ahead * rate);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&s->lock, NULL);
    s->durations = malloc(KEPT_DURATIONS * sizeof *s->durations);
    if (s->durations) /* no page is to be found missing by the stream's thread */
        memset(s->durations, 1, KEPT_DURATIONS * sizeof *s->durations);
    bool whole = s->durations && open_side(s, &s->in, input) && open_side(s, &s->out, output);
    pthread_mutex_lock(&table_lock);
    whole = whole && stream_count < MAX_STREAMS;
    if (whole) {
        s->open = true;
        streams[stream_count++] = s;
    }
    pthread_mutex_unlock(&table_lock);
    if (!whole) {
        free_side(&s->in);
        free_side(&s->out);
        free(s->durations);
        free(s);
        return paInsufficientMemory;
    }
    *stream = s;
    return paNoError;
}

PaError Pa_OpenDefaultStream(PaStream **stream, int inputs, int outputs, PaSampleFormat format,
                             double rate, unsigned long frames, PaStreamCallback *callback,
                             void *user)
{
    PaStreamParameters in = {0, inputs, format, DEVICE.defaultHighInputLatency, NULL};
    PaStreamParameters out = {0, outputs, format, DEVICE.defaultHighOutputLatency, NULL};
    return Pa_OpenStream(stream, inputs ? &in : NULL, outputs ? &out : NULL, rate, frames,
                         paNoFlag, callback, user);
}

PaError Pa_SetStreamFinishedCallback(PaStream *stream, PaStreamFinishedCallback *finished)
{
    struct stream *s = opened(stream);
    if (!s)
        return paBadStreamPtr;
    if (s->started)
        return paStreamIsNotStopped;
    s->finished = finished;
    return paNoError;
}

static int start_thread(struct stream *s)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (s->set.priority) {
        struct sched_param priority = {.sched_priority = (int)s->set.priority};
        pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
        pthread_attr_setschedparam(&attributes, &priority);
    }
    int failed = pthread_create(&s->thread, &attributes, run, s);
    pthread_attr_destroy(&attributes);
    return failed;
}

PaError Pa_StartStream(PaStream *stream)
{
    struct stream *s = opened(stream);
    if (!s)
        return paBadStreamPtr;
    if (s->started)
        return paStreamIsNotStopped;
    s->in.written = s->in.read = s->out.written = s->out.read = 0;
    s->in.lost = s->out.lost = s->primed = false;
    s->flags = 0;
    atomic_store(&s->ending, 0);
    atomic_store(&s->active, true);
    int failed = start_thread(s);
    if (failed) {
        atomic_store(&s->active, false);
        return host_failure("starting the stream's thread", failed);
    }
    s->started = true;
    return paNoError;
}

static PaError end_stream(PaStream *stream, int how)
{
    struct stream *s = opened(stream);
    if (!s)
        return paBadStreamPtr;
    if (!s->started)
        return paStreamIsStopped;
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->ending, how);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    s->started = false;
    return paNoError;
}

PaError Pa_StopStream(PaStream *stream) { return end_stream(stream, DRAIN); }
PaError Pa_AbortStream(PaStream *stream) { return end_stream(stream, CUT); }

PaError Pa_CloseStream(PaStream *stream)
{
    struct stream *s = opened(stream);
    if (!s)
        return paBadStreamPtr;
    if (s->started)
        end_stream(stream, CUT);
    s->open = false;
    free_side(&s->in);
    free_side(&s->out);
    return paNoError; /* the rest stays, with its counts */
}

PaError Pa_IsStreamStopped(PaStream *stream)
{
    struct stream *s = opened(stream);
    return s ? !s->started : paBadStreamPtr;
}

PaError Pa_IsStreamActive(PaStream *stream)
{
    struct stream *s = opened(stream);
    return s ? atomic_load(&s->active) : paBadStreamPtr;
}

const PaStreamInfo *Pa_GetStreamInfo(PaStream *stream)
{
    struct stream *s = opened(stream);
    return s ? &s->info : NULL;
}

PaTime Pa_GetStreamTime(PaStream *stream)
{
    return opened(stream) ? (double)nanoseconds(CLOCK_MONOTONIC) / 1e9 : 0;
}

double Pa_GetStreamCpuLoad(PaStream *stream)
{
    struct stream *s = opened(stream);
    return s && s->callback ? atomic_load(&s->load) : 0;
}

PaHostApiTypeId Pa_GetStreamHostApiType(PaStream *stream)
{
    return opened(stream) ? paInDevelopment : (PaHostApiTypeId)paBadStreamPtr;
}

/* ------------------------------------------------------------------ PortAudio: blocking */

/* Moves frames between the caller's buffer and a ring, waiting for room or for frames. */
static PaError transfer(struct stream *s, struct side *side, unsigned char *buffer,
                        unsigned long frames, PaError lost)
{
    bool writing = side == &s->out;
    pthread_mutex_lock(&s->lock);
    for (int64_t left = (int64_t)frames; left > 0;) {
        int64_t there = side->written - side->read;
        int64_t now = writing ? s->ring_frames - there : there;
        if (now > left)
            now = left;
        if (now == 0) {
            if (!atomic_load(&s->active) || atomic_load(&s->ending)) {
                pthread_mutex_unlock(&s->lock);
                return paStreamIsStopped;
            }
            pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        copy_ring(s, side, buffer, writing ? side->written : side->read, now, writing);
        *(writing ? &side->written : &side->read) += now;
        buffer += now * (int64_t)side->frame_bytes;
        left -= now;
    }
    PaError result = side->lost ? lost : paNoError;
    side->lost = false;
    pthread_mutex_unlock(&s->lock);
    return result;
}

PaError Pa_ReadStream(PaStream *stream, void *buffer, unsigned long frames)
{
    struct stream *s = opened(stream);
    if (!s)
        return paBadStreamPtr;
    if (s->callback)
        return paCanNotReadFromACallbackStream;
    if (!s->in.channels)
        return paCanNotReadFromAnOutputOnlyStream;
    return transfer(s, &s->in, buffer, frames, paInputOverflowed);
}

PaError Pa_WriteStream(PaStream *stream, const void *buffer, unsigned long frames)
{
    struct stream *s = opened(stream);
    if (!s)
        return paBadStreamPtr;
    if (s->callback)
        return paCanNotWriteToACallbackStream;
    if (!s->out.channels)
        return paCanNotWriteToAnInputOnlyStream;
    return transfer(s, &s->out, (unsigned char *)buffer, frames, paOutputUnderflowed);
}

static signed long available(PaStream *stream, bool writing)
{
    struct stream *s = opened(stream);
    if (!s)
        return paBadStreamPtr;
    if (s->callback)
        return writing ? paCanNotWriteToACallbackStream : paCanNotReadFromACallbackStream;
    struct side *side = writing ? &s->out : &s->in;
    if (!side->channels)
        return writing ? paCanNotWriteToAnInputOnlyStream : paCanNotReadFromAnOutputOnlyStream;
    pthread_mutex_lock(&s->lock);
    int64_t there = side->written - side->read;
    pthread_mutex_unlock(&s->lock);
    return (signed long)(writing ? s->ring_frames - there : there);
}

signed long Pa_GetStreamReadAvailable(PaStream *stream) { return available(stream, false); }
signed long Pa_GetStreamWriteAvailable(PaStream *stream) { return available(stream, true); }
