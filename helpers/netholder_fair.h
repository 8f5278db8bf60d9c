/*
 * Places for questions that wait for an answer: there are few, and members share them.
 *
 * Nobody has a place of its own, so that one may use what the others don't. When all are
 * taken, the member that would have the most then gives its oldest one up: whoever has fewer
 * than its share gets one, however many others ask for. All that is no member counts as one, so
 * that addresses that somebody made up give him nothing.
 */
#ifndef RL_NETHOLDER_FAIR_H
#define RL_NETHOLDER_FAIR_H

#include "netholder.h"

struct claim {
    uint64_t since; /* which claim this is, counted from 1; 0: the place is free */
    int member;
};

static inline void claim(struct claim *place, int member)
{
    static uint64_t count;

    place->since = ++count;
    place->member = member;
}

/* The place that a member gets: a free one, or one that its holder has to leave. */
static inline int claim_place(struct claim *(*at)(int), int places, int member)
{
    int found = 0, most = 0;

    for (int i = 0; i < places; i++)
        if (at(i)->since == 0)
            return i;
    for (int i = 0; i < places; i++) {
        int has = at(i)->member == member; /* the one that it is about to get */

        for (int k = 0; k < places; k++)
            has += at(k)->member == at(i)->member;
        if (has > most || (has == most && at(i)->since < at(found)->since)) {
            most = has;
            found = i;
        }
    }
    return found;
}

#endif
