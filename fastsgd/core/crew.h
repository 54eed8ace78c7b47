/* Threads that meet: a barrier whose waiting is short, since all have as much to do. */
#ifndef FASTSGD_CREW_H
#define FASTSGD_CREW_H

#ifdef _MSC_VER
#include <intrin.h>
__declspec(dllimport) void __stdcall Sleep(unsigned long milliseconds); /* of windows.h, which has names like ours */
typedef volatile long fastsgd_word;
#define FASTSGD_LOAD_WORD(word) _InterlockedOr(word, 0)
#define FASTSGD_STORE_WORD(word, value) _InterlockedExchange(word, value)
#define FASTSGD_NEXT_WORD(word) _InterlockedIncrement(word)
#define FASTSGD_PAUSE() ((void)0)
#else
#include <sched.h>
#include <time.h>
typedef int fastsgd_word;
#define FASTSGD_LOAD_WORD(word) __atomic_load_n(word, __ATOMIC_ACQUIRE)
#define FASTSGD_STORE_WORD(word, value) __atomic_store_n(word, value, __ATOMIC_RELEASE)
#define FASTSGD_NEXT_WORD(word) __atomic_add_fetch(word, 1, __ATOMIC_ACQ_REL)
#if defined(__x86_64__) || defined(__i386__)
#define FASTSGD_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define FASTSGD_PAUSE() __asm__ volatile("yield")
#else
#define FASTSGD_PAUSE() ((void)0)
#endif
#endif

/* Other threads have the CPU; for some time, if this one has waited long. */
static inline void fastsgd_let_others_run(int long_since)
{
#ifdef _MSC_VER
    Sleep(long_since);
#else
    const struct timespec moment = {0, 50000};
    if (long_since)
        nanosleep(&moment, NULL);
    else
        sched_yield();
#endif
}

enum {
    FASTSGD_PAUSES = 1000, /* some hundredths of a millisecond: waking a thread that sleeps takes longer */
    FASTSGD_YIELDS = 1000  /* and after these it sleeps: others want the CPU */
};

typedef struct {
    int count;
    fastsgd_word arrived, round, broken;
} fastsgd_barrier;

/* Until all `count` have come here; 0 if somebody never will. What each has written before, all see after. */
static inline int fastsgd_meet(fastsgd_barrier *barrier)
{
    const int round = FASTSGD_LOAD_WORD(&barrier->round);
    if (FASTSGD_NEXT_WORD(&barrier->arrived) == barrier->count) {
        FASTSGD_STORE_WORD(&barrier->arrived, 0);
        FASTSGD_STORE_WORD(&barrier->round, round + 1);
        return 1;
    }
    for (int i = 0; FASTSGD_LOAD_WORD(&barrier->round) == round; i++) {
        if (FASTSGD_LOAD_WORD(&barrier->broken))
            return 0;
        if (i < FASTSGD_PAUSES)
            FASTSGD_PAUSE();
        else
            fastsgd_let_others_run(i > FASTSGD_PAUSES + FASTSGD_YIELDS);
    }
    return 1;
}

/* Nobody waits any more. */
static inline void fastsgd_break(fastsgd_barrier *barrier)
{
    FASTSGD_STORE_WORD(&barrier->broken, 1);
}

static inline int fastsgd_is_broken(fastsgd_barrier *barrier)
{
    return (int)FASTSGD_LOAD_WORD(&barrier->broken);
}

#endif
