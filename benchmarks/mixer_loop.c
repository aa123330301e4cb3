/* The loops that benchmarks/mixer.py holds the mixer against, and what times callbacks.

   Each mixes `blocks` blocks of stereo float32, clearing the block first, and returns the
   CPU seconds of its thread: the rounds are in here, so that calling costs nothing. */

#define _GNU_SOURCE
#include <string.h>
#include <time.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#define BARRIER __asm__ volatile("" ::: "memory")

struct job {
    long voices, frames, blocks;
    long capacity; /* frames of a ring, a power of two and a multiple of `frames` */
    long position; /* frames; where every ring is read next */
    const float *const *rings;
    float *gains;       /* one of each voice; ramps move them */
    const float *steps; /* of the gain, from one frame to the next */
    float *mix;
    const float *ramp; /* each sample's frame from 1 */
    float *out;        /* the encoded block; both are for ours alone */
};

static double cpu(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

static long next(struct job *job)
{
    long start = job->position & (job->capacity - 1);
    job->position += job->frames;
    memset(job->mix, 0, 2 * job->frames * sizeof(float));
    BARRIER;
    return 2 * start;
}

/* --- the plain loops, as everybody writes them -------------------------------------- */

double plain(struct job *job)
{
    double begun = cpu();
    for (long block = 0; block < job->blocks; block++) {
        long start = next(job);
        float *restrict mix = job->mix;
        for (long v = 0; v < job->voices; v++) {
            const float *restrict src = job->rings[v] + start;
            float gain = job->gains[v];
            for (long i = 0; i < 2 * job->frames; i++)
                mix[i] += src[i] * gain;
        }
    }
    return cpu() - begun;
}

double plain_ramp(struct job *job)
{
    double begun = cpu();
    for (long block = 0; block < job->blocks; block++) {
        long start = next(job);
        float *restrict mix = job->mix;
        for (long v = 0; v < job->voices; v++) {
            const float *restrict src = job->rings[v] + start;
            float gain = job->gains[v], step = job->steps[v];
            for (long i = 0; i < job->frames; i++) {
                gain += step;
                mix[2 * i] += src[2 * i] * gain;
                mix[2 * i + 1] += src[2 * i + 1] * gain;
            }
            job->gains[v] = gain;
        }
    }
    return cpu() - begun;
}

/* --- the limit: four voices a pass by hand, 16 samples at a time ---------------------- */

#ifdef __AVX2__

double limit(struct job *job)
{
    double begun = cpu();
    for (long block = 0; block < job->blocks; block++) {
        long start = next(job), samples = 2 * job->frames, v = 0;
        float *mix = job->mix;
        for (; v + 4 <= job->voices; v += 4) {
            const float *a = job->rings[v] + start, *b = job->rings[v + 1] + start;
            const float *c = job->rings[v + 2] + start, *d = job->rings[v + 3] + start;
            __m256 ga = _mm256_set1_ps(job->gains[v]), gb = _mm256_set1_ps(job->gains[v + 1]);
            __m256 gc = _mm256_set1_ps(job->gains[v + 2]),
                   gd = _mm256_set1_ps(job->gains[v + 3]);
            for (long i = 0; i < samples; i += 16) {
                __m256 x = _mm256_loadu_ps(mix + i), y = _mm256_loadu_ps(mix + i + 8);
                x = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), ga, x);
                y = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), ga, y);
                x = _mm256_fmadd_ps(_mm256_loadu_ps(b + i), gb, x);
                y = _mm256_fmadd_ps(_mm256_loadu_ps(b + i + 8), gb, y);
                x = _mm256_fmadd_ps(_mm256_loadu_ps(c + i), gc, x);
                y = _mm256_fmadd_ps(_mm256_loadu_ps(c + i + 8), gc, y);
                x = _mm256_fmadd_ps(_mm256_loadu_ps(d + i), gd, x);
                y = _mm256_fmadd_ps(_mm256_loadu_ps(d + i + 8), gd, y);
                _mm256_storeu_ps(mix + i, x);
                _mm256_storeu_ps(mix + i + 8, y);
            }
        }
        for (; v < job->voices; v++) {
            const float *a = job->rings[v] + start;
            __m256 ga = _mm256_set1_ps(job->gains[v]);
            for (long i = 0; i < samples; i += 8)
                _mm256_storeu_ps(mix + i, _mm256_fmadd_ps(_mm256_loadu_ps(a + i), ga,
                                                          _mm256_loadu_ps(mix + i)));
        }
    }
    return cpu() - begun;
}

/* Gains of the first four frames, and what takes them eight samples further. */
#define RAMP(v, g, s)                                                                        \
    __m256 g = _mm256_fmadd_ps(_mm256_set1_ps(job->steps[v]), count,                         \
                               _mm256_set1_ps(job->gains[v]));                               \
    const __m256 s = _mm256_set1_ps(4 * job->steps[v]);                                      \
    job->gains[v] += job->frames * job->steps[v]

double limit_ramp(struct job *job)
{
    const __m256 count = _mm256_setr_ps(1, 1, 2, 2, 3, 3, 4, 4);
    double begun = cpu();
    for (long block = 0; block < job->blocks; block++) {
        long start = next(job), samples = 2 * job->frames, v = 0;
        float *mix = job->mix;
        for (; v + 4 <= job->voices; v += 4) {
            const float *a = job->rings[v] + start, *b = job->rings[v + 1] + start;
            const float *c = job->rings[v + 2] + start, *d = job->rings[v + 3] + start;
            RAMP(v, ga, sa);
            RAMP(v + 1, gb, sb);
            RAMP(v + 2, gc, sc);
            RAMP(v + 3, gd, sd);
            for (long i = 0; i < samples; i += 8) {
                __m256 x = _mm256_loadu_ps(mix + i);
                x = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), ga, x);
                x = _mm256_fmadd_ps(_mm256_loadu_ps(b + i), gb, x);
                x = _mm256_fmadd_ps(_mm256_loadu_ps(c + i), gc, x);
                x = _mm256_fmadd_ps(_mm256_loadu_ps(d + i), gd, x);
                _mm256_storeu_ps(mix + i, x);
                ga = _mm256_add_ps(ga, sa);
                gb = _mm256_add_ps(gb, sb);
                gc = _mm256_add_ps(gc, sc);
                gd = _mm256_add_ps(gd, sd);
            }
        }
        for (; v < job->voices; v++) {
            const float *a = job->rings[v] + start;
            RAMP(v, ga, sa);
            for (long i = 0; i < samples; i += 8) {
                _mm256_storeu_ps(mix + i, _mm256_fmadd_ps(_mm256_loadu_ps(a + i), ga,
                                                          _mm256_loadu_ps(mix + i)));
                ga = _mm256_add_ps(ga, sa);
            }
        }
    }
    return cpu() - begun;
}

#endif

/* --- other people's functions -------------------------------------------------------- */

/* ours, with the signature of the loops above, but without the clock */
double timed(void (*sums)(struct job *), struct job *job)
{
    double begun = cpu();
    for (long block = 0; block < job->blocks; block++) {
        next(job);
        job->position -= job->frames;
        sums(job);
        job->position += job->frames;
    }
    return cpu() - begun;
}

/* miniaudio's ma_mix_pcm_frames_f32 */
typedef int mix_frames(float *, const float *, unsigned long long, unsigned, float);

double one_by_one(mix_frames *mix, struct job *job)
{
    double begun = cpu();
    for (long block = 0; block < job->blocks; block++) {
        long start = next(job);
        for (long v = 0; v < job->voices; v++)
            mix(job->mix, job->rings[v] + start, job->frames, 2, job->gains[v]);
    }
    return cpu() - begun;
}

/* A PortAudio callback: `refill` gives `voices` rings a block more before each call, for
   one that would run dry (a hundredth of what it costs to mix it). */
typedef int callback(const void *, void *, unsigned long, const double *, unsigned long,
                     void *);
typedef long refill(void *, long);

double call(callback *render, void *user, struct job *job, double latency, refill *more,
            void **rings)
{
    double begun = cpu(), times[3];
    for (long block = 0; block < job->blocks; block++) {
        times[1] = 1 + job->position / 48000.0;
        times[0] = times[2] = times[1] + latency;
        if (more)
            for (long v = 0; v < job->voices; v++)
                more(rings[v], job->frames);
        render(NULL, job->mix, job->frames, times, 0, user);
        job->position += job->frames;
        BARRIER;
    }
    return cpu() - begun;
}

/* --- SDL_mixer: hooks before and behind its sums, on its audio thread ------------------ */

struct hook {
    long blocks;        /* to time */
    volatile long seen; /* below 0: to warm up */
    double begun;
    double *spent; /* seconds by the clock, for each block */
    float *mix;    /* what was played last */
};

static double clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

void before_sums(void *user, unsigned char *stream, int bytes)
{
    struct hook *hook = user;
    (void)stream, (void)bytes;
    hook->begun = clock_now();
}

void behind_sums(void *user, unsigned char *stream, int bytes)
{
    struct hook *hook = user;
    double spent = clock_now() - hook->begun;
    if (hook->seen == hook->blocks)
        return;
    if (hook->seen >= 0)
        hook->spent[hook->seen] = spent;
    memcpy(hook->mix, stream, bytes);
    BARRIER;
    hook->seen++;
}
