/* The kernels of audiostream.dsp in C, and what times both; see benchmarks/kernels.py.

   Each is the loop of the file that it names, on the same memory and with the same arguments:
   the kernel's state, its buffers and its parameters.  The number of channels is a constant, as
   it is for the kernels. */

#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#ifdef __SSE2__
#include <xmmintrin.h>
#endif

#ifndef CHANNELS
#define CHANNELS 2
#endif

#define PI 3.14159265358979323846
#define DB 0.11512925464970229 /* ln(10) / 20 */

/* The words of a buffer are its address and its shape. */
#define ARGUMENTS(state_of) \
    float *restrict block, int64_t frames, int64_t channels, state_of *restrict state, \
        const int64_t *restrict buffers, void *const *restrict params, int64_t rate_of

#define UNUSED (void)channels, (void)buffers, (void)params, (void)rate_of
#define ARRAY(name, number) const float *restrict name = params[number]
#define SCALAR(name, number) const double name = *(const double *)params[number]

static inline double least(double a, double b) { return b < a ? b : a; }
static inline double most(double a, double b) { return b > a ? b : a; }

/* --- biquad.py ------------------------------------------------------------------------ */

struct filter {
    double z[CHANNELS][2];
};

struct coefficients {
    double b0, b1, b2, a1, a2;
};

static struct coefficients divided(
    double b0, double b1, double b2, double a0, double a1, double a2)
{
    return (struct coefficients){b0 / a0, b1 / a0, b2 / a0, a1 / a0, a2 / a0};
}

static inline void run_biquad(
    float *restrict block, int64_t frames, struct filter *restrict state, struct coefficients k)
{
    for (int64_t i = 0; i < frames; i++)
        for (int c = 0; c < CHANNELS; c++) {
            double x = block[i * CHANNELS + c];
            double y = k.b0 * x + state->z[c][0];
            state->z[c][0] = k.b1 * x - k.a1 * y + state->z[c][1];
            state->z[c][1] = k.b2 * x - k.a2 * y;
            block[i * CHANNELS + c] = y;
        }
}

#define COSINE_ALPHA \
    double angle = 2.0 * PI * least(frequency / rate_of, 0.49); \
    double cosine = cos(angle), alpha = sin(angle) / (2.0 * q)

#define BIQUAD(name, ...) \
    int64_t name(ARGUMENTS(struct filter)) \
    { \
        UNUSED; \
        SCALAR(frequency, 0); \
        SCALAR(q, 1); \
        COSINE_ALPHA; \
        run_biquad(block, frames, state, divided(__VA_ARGS__)); \
        return frames; \
    }

#define EQUALISER(name, ...) \
    int64_t name(ARGUMENTS(struct filter)) \
    { \
        UNUSED; \
        SCALAR(frequency, 0); \
        SCALAR(q, 1); \
        SCALAR(gain_db, 2); \
        COSINE_ALPHA; \
        double a = pow(10.0, gain_db / 40.0); \
        double slope = 2.0 * sqrt(a) * alpha; \
        (void)slope; \
        run_biquad(block, frames, state, divided(__VA_ARGS__)); \
        return frames; \
    }

#define FALLING 1.0 + alpha, -2.0 * cosine, 1.0 - alpha

BIQUAD(lowpass, (1.0 - cosine) / 2.0, 1.0 - cosine, (1.0 - cosine) / 2.0, FALLING)
BIQUAD(highpass, (1.0 + cosine) / 2.0, -(1.0 + cosine), (1.0 + cosine) / 2.0, FALLING)
BIQUAD(bandpass, alpha, 0.0, -alpha, FALLING)
BIQUAD(notch, 1.0, -2.0 * cosine, 1.0, FALLING)
BIQUAD(allpass, 1.0 - alpha, -2.0 * cosine, 1.0 + alpha, FALLING)
EQUALISER(
    peaking, 1.0 + alpha * a, -2.0 * cosine, 1.0 - alpha * a, 1.0 + alpha / a, -2.0 * cosine,
    1.0 - alpha / a)
EQUALISER(
    lowshelf, a * (a + 1.0 - (a - 1.0) * cosine + slope),
    2.0 * a * (a - 1.0 - (a + 1.0) * cosine), a * (a + 1.0 - (a - 1.0) * cosine - slope),
    a + 1.0 + (a - 1.0) * cosine + slope, -2.0 * (a - 1.0 + (a + 1.0) * cosine),
    a + 1.0 + (a - 1.0) * cosine - slope)
EQUALISER(
    highshelf, a * (a + 1.0 + (a - 1.0) * cosine + slope),
    -2.0 * a * (a - 1.0 + (a + 1.0) * cosine), a * (a + 1.0 + (a - 1.0) * cosine - slope),
    a + 1.0 - (a - 1.0) * cosine + slope, 2.0 * (a - 1.0 - (a + 1.0) * cosine),
    a + 1.0 - (a - 1.0) * cosine - slope)

/* --- state_variable.py ---------------------------------------------------------------- */

int64_t svf(ARGUMENTS(struct filter))
{
    UNUSED;
    ARRAY(cutoff, 0);
    ARRAY(resonance, 1);
    ARRAY(low, 2);
    ARRAY(band, 3);
    ARRAY(high, 4);
    double rate = rate_of, g = 0.0;
    float known = 0.0f;
    for (int64_t i = 0; i < frames; i++) {
        if (cutoff[i] != known) {
            known = cutoff[i];
            g = tan(PI * least(known / rate, 0.49));
        }
        double k = 2.0 - 2.0 * resonance[i];
        double a1 = 1.0 / (1.0 + g * (g + k));
        double a2 = g * a1, a3 = g * a2;
        double m1 = ((double)band[i] - high[i]) * k, m2 = (double)low[i] - high[i];
        for (int c = 0; c < CHANNELS; c++) {
            double *z = state->z[c];
            double x = block[i * CHANNELS + c];
            double v3 = x - z[1];
            double v1 = a1 * z[0] + a2 * v3;
            double v2 = z[1] + a2 * z[0] + a3 * v3;
            z[0] = 2.0 * v1 - z[0];
            z[1] = 2.0 * v2 - z[1];
            block[i * CHANNELS + c] = high[i] * x + m1 * v1 + m2 * v2;
        }
    }
    return frames;
}

/* --- oscillators.py ------------------------------------------------------------------- */

struct oscillator {
    double phase;
};

static inline double wrapped(double phase) { return phase - floor(phase); }

static inline double blep(double phase, double step)
{
    if (phase < step) {
        double x = phase / step;
        return x + x - x * x - 1.0;
    }
    if (phase > 1.0 - step) {
        double x = (phase - 1.0) / step;
        return x * x + x + x + 1.0;
    }
    return 0.0;
}

static inline double blamp(double phase, double step)
{
    double distance = least(phase, 1.0 - phase);
    if (distance >= step)
        return 0.0;
    double x = 1.0 - distance / step;
    return x * x * x / 6.0;
}

#define FILL(value) \
    for (int c = 0; c < CHANNELS; c++) \
        block[i * CHANNELS + c] = value

int64_t sine(ARGUMENTS(struct oscillator))
{
    UNUSED;
    ARRAY(frequency, 0);
    ARRAY(level, 1);
    double rate = rate_of, phase = state->phase;
    for (int64_t i = 0; i < frames; i++) {
        FILL(level[i] * sin(2.0 * PI * phase));
        phase = wrapped(phase + frequency[i] / rate);
    }
    state->phase = phase;
    return frames;
}

int64_t saw(ARGUMENTS(struct oscillator))
{
    UNUSED;
    ARRAY(frequency, 0);
    ARRAY(level, 1);
    double rate = rate_of, phase = state->phase;
    for (int64_t i = 0; i < frames; i++) {
        double step = frequency[i] / rate;
        double at = wrapped(phase + 0.5);
        double value = level[i] * (2.0 * at - 1.0 - blep(at, least(fabs(step), 0.5)));
        FILL(value);
        phase = wrapped(phase + step);
    }
    state->phase = phase;
    return frames;
}

int64_t square(ARGUMENTS(struct oscillator))
{
    UNUSED;
    ARRAY(frequency, 0);
    ARRAY(width, 1);
    ARRAY(level, 2);
    double rate = rate_of, phase = state->phase;
    for (int64_t i = 0; i < frames; i++) {
        double step = frequency[i] / rate;
        double smooth = least(fabs(step), 0.5);
        double high = width[i];
        double value = phase < high ? 1.0 : -1.0;
        value += blep(phase, smooth) - blep(wrapped(phase - high), smooth);
        value *= level[i];
        FILL(value);
        phase = wrapped(phase + step);
    }
    state->phase = phase;
    return frames;
}

int64_t triangle(ARGUMENTS(struct oscillator))
{
    UNUSED;
    ARRAY(frequency, 0);
    ARRAY(level, 1);
    double rate = rate_of, phase = state->phase;
    for (int64_t i = 0; i < frames; i++) {
        double step = frequency[i] / rate;
        double smooth = least(fabs(step), 0.5);
        double top = wrapped(phase - 0.25), bottom = wrapped(phase + 0.25);
        double value = 4.0 * fabs(top - 0.5) - 1.0;
        value += 8.0 * smooth * (blamp(bottom, smooth) - blamp(top, smooth));
        value *= level[i];
        FILL(value);
        phase = wrapped(phase + step);
    }
    state->phase = phase;
    return frames;
}

/* --- noise_generators.py -------------------------------------------------------------- */

static inline uint32_t xorshift(uint32_t x)
{
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return x;
}

#define SCALE 0x1p-31

struct white {
    int64_t random;
};

int64_t noise(ARGUMENTS(struct white))
{
    UNUSED;
    ARRAY(level, 0);
    uint32_t x = state->random;
    for (int64_t i = 0; i < frames; i++)
        for (int c = 0; c < CHANNELS; c++) {
            x = xorshift(x);
            block[i * CHANNELS + c] = level[i] * (x * SCALE - 1.0);
        }
    state->random = x;
    return frames;
}

struct pink {
    int64_t random;
    double z[CHANNELS][7];
};

int64_t pink(ARGUMENTS(struct pink))
{
    UNUSED;
    ARRAY(level, 0);
    uint32_t x = state->random;
    for (int64_t i = 0; i < frames; i++)
        for (int c = 0; c < CHANNELS; c++) {
            double *z = state->z[c];
            x = xorshift(x);
            double white = x * SCALE - 1.0;
            z[0] = 0.99886 * z[0] + 0.0555179 * white;
            z[1] = 0.99332 * z[1] + 0.0750759 * white;
            z[2] = 0.96900 * z[2] + 0.1538520 * white;
            z[3] = 0.86650 * z[3] + 0.3104856 * white;
            z[4] = 0.55000 * z[4] + 0.5329522 * white;
            z[5] = -0.7616 * z[5] - 0.0168980 * white;
            double value = z[0] + z[1] + z[2] + z[3] + z[4] + z[5] + z[6];
            z[6] = 0.115926 * white;
            block[i * CHANNELS + c] = level[i] * 0.11 * (value + 0.5362 * white);
        }
    state->random = x;
    return frames;
}

/* --- envelope.py ---------------------------------------------------------------------- */

enum { IDLE, ATTACK, DECAY, SUSTAIN, RELEASE };

#define ABOVE 0.3
#define BELOW 0.001

struct envelope {
    double envelope;
    int64_t stage, gated;
    double height;
};

static double approach(double seconds, double beyond, double rate)
{
    return exp(log(beyond / (1.0 + beyond)) / most(seconds * rate, 1.0));
}

int64_t adsr(ARGUMENTS(struct envelope))
{
    UNUSED;
    ARRAY(gate, 0);
    SCALAR(attack, 1);
    SCALAR(decay, 2);
    ARRAY(sustain, 3);
    SCALAR(release, 4);
    double rate = rate_of;
    double rising = approach(attack, ABOVE, rate);
    double falling = approach(decay, BELOW, rate);
    double releasing = approach(release, BELOW, rate);
    double level = state->envelope, height = state->height;
    int64_t stage = state->stage;
    for (int64_t i = 0; i < frames; i++) {
        double held = sustain[i];
        if (gate[i] > 0.0f) {
            if (state->gated == 0) {
                state->gated = 1;
                stage = ATTACK;
            }
        } else if (state->gated == 1) {
            state->gated = 0;
            height = level;
            stage = RELEASE;
        }
        if (stage == ATTACK) {
            level = 1.0 + ABOVE + (level - 1.0 - ABOVE) * rising;
            if (level >= 1.0) {
                level = 1.0;
                stage = DECAY;
            }
        } else if (stage == DECAY) {
            double aim = held - BELOW * (1.0 - held);
            level = aim + (level - aim) * falling;
            if (level <= held)
                stage = SUSTAIN;
        } else if (stage == RELEASE) {
            double aim = -BELOW * height;
            level = aim + (level - aim) * releasing;
            if (level <= 0.0) {
                level = 0.0;
                stage = IDLE;
            }
        }
        if (stage == SUSTAIN)
            level = held;
        for (int c = 0; c < CHANNELS; c++)
            block[i * CHANNELS + c] *= level;
    }
    state->envelope = level;
    state->height = height;
    state->stage = stage;
    return frames;
}

/* --- delay_line.py -------------------------------------------------------------------- */

struct delay {
    int64_t now;
};

static inline double hermite(double a, double b, double c, double d, double x)
{
    double c1 = 0.5 * (c - a);
    double c3 = 1.5 * (b - c) + 0.5 * (d - a);
    double c2 = a - b + c1 - c3;
    return ((c3 * x + c2) * x + c1) * x + b;
}

static inline int64_t before(int64_t place, int64_t size)
{
    return place > 0 ? place - 1 : size - 1;
}

static inline int64_t after(int64_t place, int64_t size)
{
    return place + 1 < size ? place + 1 : 0;
}

int64_t delay(ARGUMENTS(struct delay))
{
    UNUSED;
    ARRAY(seconds, 0);
    ARRAY(feedback, 1);
    ARRAY(mix, 2);
    float *restrict line = (float *)buffers[0];
    const int64_t size = buffers[1];
    double rate = rate_of;
    int64_t now = state->now;
    for (int64_t i = 0; i < frames; i++) {
        double delayed = least(most(seconds[i] * rate, 2.0), size - 3.0);
        int64_t whole = delayed;
        double part = delayed - whole;
        int64_t newer = now - whole + 1;
        if (newer < 0)
            newer += size;
        int64_t here = before(newer, size);
        int64_t older = before(here, size);
        int64_t oldest = before(older, size);
        for (int c = 0; c < CHANNELS; c++) {
            double wet = hermite(
                line[newer * CHANNELS + c], line[here * CHANNELS + c],
                line[older * CHANNELS + c], line[oldest * CHANNELS + c], part);
            double dry = block[i * CHANNELS + c];
            line[now * CHANNELS + c] = dry + feedback[i] * wet;
            block[i * CHANNELS + c] = dry + mix[i] * (wet - dry);
        }
        now++;
        if (now == size)
            now = 0;
    }
    state->now = now;
    return frames;
}

/* --- compression.py ------------------------------------------------------------------- */

struct compressor {
    double held_db, reduction_db;
};

static inline double static_curve(double above, double ratio, double knee)
{
    double slope = 1.0 - 1.0 / ratio;
    if (above <= -0.5 * knee)
        return 0.0;
    if (above < 0.5 * knee)
        return slope * (above + 0.5 * knee) * (above + 0.5 * knee) / (2.0 * knee);
    return slope * above;
}

static inline double peak_of(const float *block, int64_t i, double peak)
{
    for (int c = 0; c < CHANNELS; c++)
        peak = most(peak, fabs((double)block[i * CHANNELS + c]));
    return peak;
}

int64_t compressor(ARGUMENTS(struct compressor))
{
    UNUSED;
    ARRAY(threshold, 0);
    ARRAY(ratio, 1);
    SCALAR(attack, 2);
    SCALAR(release, 3);
    ARRAY(knee, 4);
    ARRAY(makeup, 5);
    double rate = rate_of;
    double turning_down = exp(-1.0 / (attack * rate));
    double turning_up = exp(-1.0 / (release * rate));
    double held = state->held_db, reduction = state->reduction_db;
    for (int64_t i = 0; i < frames; i++) {
        double above = 20.0 * log10(peak_of(block, i, 1e-10)) - threshold[i];
        double wanted = static_curve(above, ratio[i], knee[i]);
        held = most(wanted, wanted + (held - wanted) * turning_up);
        reduction = held + (reduction - held) * turning_down;
        double gain = exp(DB * (makeup[i] - reduction));
        for (int c = 0; c < CHANNELS; c++)
            block[i * CHANNELS + c] *= gain;
    }
    state->held_db = held;
    state->reduction_db = reduction;
    return frames;
}

/* --- gating.py ------------------------------------------------------------------------ */

struct gate {
    double gain;
    int64_t holding;
};

int64_t gate(ARGUMENTS(struct gate))
{
    UNUSED;
    SCALAR(threshold_db, 0);
    SCALAR(attack, 1);
    SCALAR(hold, 2);
    SCALAR(release, 3);
    SCALAR(range_db, 4);
    double rate = rate_of;
    double threshold = exp(DB * threshold_db), closed = exp(-DB * range_db);
    double opening = exp(-1.0 / (attack * rate)), closing = exp(-1.0 / (release * rate));
    double gain = state->gain;
    int64_t holding = state->holding;
    for (int64_t i = 0; i < frames; i++) {
        if (peak_of(block, i, 0.0) >= threshold)
            holding = (int64_t)(hold * rate) + 1;
        if (holding > 0) {
            holding--;
            gain = 1.0 + (gain - 1.0) * opening;
        } else {
            gain = closed + (gain - closed) * closing;
        }
        for (int c = 0; c < CHANNELS; c++)
            block[i * CHANNELS + c] *= gain;
    }
    state->gain = gain;
    state->holding = holding;
    return frames;
}

/* --- limiting.py ---------------------------------------------------------------------- */

#define STEPS 0x1p24
#define MARGIN (1.0 - 1e-7)

struct limiter {
    int64_t now, first, end, count;
    double held, total, reduction_db;
};

int64_t limiter(ARGUMENTS(struct limiter))
{
    UNUSED;
    SCALAR(ceiling_db, 0);
    SCALAR(release, 1);
    float *restrict line = (float *)buffers[0];
    float *restrict cuts = (float *)buffers[3];
    float *restrict wedge = (float *)buffers[5];
    const int64_t size = buffers[1];
    double ceiling = exp(DB * ceiling_db);
    double releasing = exp(-1.0 / (release * rate_of));
    int64_t now = state->now, first = state->first, end = state->end, count = state->count;
    double held = state->held, total = state->total, gain = 1.0;
    for (int64_t i = 0; i < frames; i++) {
        double peak = peak_of(block, i, 0.0), cut = 0.0;
        if (peak > ceiling)
            cut = ceil((1.0 - ceiling * MARGIN / peak) * STEPS) / STEPS;
        if (count > 0 && wedge[2 * first + 1] == now) {
            first = after(first, size);
            count--;
        }
        while (count > 0 && wedge[2 * before(end, size)] <= cut) {
            end = before(end, size);
            count--;
        }
        wedge[2 * end] = cut;
        wedge[2 * end + 1] = now;
        end = after(end, size);
        count++;
        double largest = wedge[2 * first];
        held = most(largest, largest + (held - largest) * releasing);
        if (held * STEPS < 1.0)
            held = 0.0;
        double rounded = ceil(held * STEPS) / STEPS;
        total += rounded - cuts[now];
        cuts[now] = rounded;
        gain = 1.0 - total / size;
        int64_t following = after(now, size);
        for (int c = 0; c < CHANNELS; c++) {
            line[now * CHANNELS + c] = block[i * CHANNELS + c];
            block[i * CHANNELS + c] = line[following * CHANNELS + c] * gain;
        }
        now = following;
    }
    state->now = now;
    state->first = first;
    state->end = end;
    state->count = count;
    state->held = held;
    state->total = total;
    state->reduction_db = log(1.0 / most(gain, 1e-10)) / DB;
    return frames;
}

/* --- timing --------------------------------------------------------------------------- */

typedef int64_t entry(float *, int64_t, int64_t, void *, const int64_t *, void *const *, int64_t);

struct job {
    entry *call; /* none: what the copies take */
    float *block;
    const float *source; /* `blocks` blocks, taken in turn */
    int64_t blocks, frames, channels;
    void *state;
    const int64_t *buffers;
    void *const *params;
    int64_t rate;
};

static double cpu(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

/* Call it so often, each time on a block of the source; CPU seconds.  Less than 0: a call has
   failed. */
double timed(const struct job *job, int64_t calls)
{
    int64_t values = job->frames * job->channels;
    int64_t failed = 0;
#ifdef __SSE2__
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040); /* denormal numbers are zero, as on the audio thread */
#endif
    double begun = cpu();
    for (int64_t number = 0; number < calls; number++) {
        memcpy(job->block, job->source + number % job->blocks * values, values * sizeof(float));
        __asm__ volatile("" ::: "memory");
        if (job->call)
            failed |= job->call(
                job->block, job->frames, job->channels, job->state, job->buffers, job->params,
                job->rate) != job->frames;
    }
    double spent = cpu() - begun;
#ifdef __SSE2__
    _mm_setcsr(mode);
#endif
    return failed ? -1.0 : spent;
}
