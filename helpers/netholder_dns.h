/*
 * DNS messages (RFC 1035): reading a question, answering it from the members' names.
 *
 * Messages come from containers: every length is checked before it is used, a name may not
 * be compressed in a question, and what isn't one plain question is refused.
 */
#ifndef RL_NETHOLDER_DNS_H
#define RL_NETHOLDER_DNS_H

#include "netholder.h"

#define DNS_HEADER 12
#define DNS_UDP_MOST 512
#define DNS_NAME 256
#define DNS_MESSAGE 65535
#define ANSWERS 64
#define NOBODY (-1)

enum { TYPE_A = 1, TYPE_PTR = 12, TYPE_AAAA = 28, TYPE_ANY = 255, CLASS_IN = 1, CLASS_ANY = 255 };
enum { NO_ERROR = 0, FORMAT_ERROR = 1, SERVER_FAILURE = 2, NO_SUCH_NAME = 3, NOT_DONE = 4, REFUSED = 5 };

struct question {
    char name[DNS_NAME]; /* in small letters, with dots, without the last one */
    size_t length;
    unsigned type, class;
    size_t end; /* of the question in the message */
};

/* Who asks: what it may see and whom we may ask for it. */
struct asker {
    int member; /* NOBODY: no container has that address */
    uint64_t networks;
    const struct servers *servers; /* of the member or the network; NULL: the host's */
    int forward;
};

static inline unsigned read16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static inline void write16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline char small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* NO_ERROR, or what to answer instead; -1 where nothing is to be answered. */
static inline int read_question(const uint8_t *message, size_t length, struct question *question)
{
    size_t at = DNS_HEADER, used = 0;

    question->end = DNS_HEADER;
    if (length < DNS_HEADER || message[2] & 0x80)
        return -1; /* an answer is no question: two servers would talk forever */
    if (message[2] & 0x78)
        return NOT_DONE;
    if (read16(message + 4) != 1 || read16(message + 6) != 0)
        return FORMAT_ERROR;
    for (;;) {
        size_t part;

        if (at >= length)
            return FORMAT_ERROR;
        part = message[at++];
        if (part == 0)
            break;
        if (part > 63 || at + part > length || used + part + 2 > sizeof question->name)
            return FORMAT_ERROR;
        if (used > 0)
            question->name[used++] = '.';
        for (size_t i = 0; i < part; i++)
            question->name[used++] = small((char)message[at + i]);
        at += part;
    }
    if (at + 4 > length)
        return FORMAT_ERROR;
    question->name[used] = '\0';
    question->length = used;
    question->type = read16(message + at);
    question->class = read16(message + at + 2);
    question->end = at + 4;
    return NO_ERROR;
}

static inline void who_asks(struct asker *asker, int network, const struct address *from)
{
    struct endpoint *own = endpoint_at(network, from);

    asker->member = own != NULL ? own->member : NOBODY;
    asker->networks = 1ULL << network;
    asker->servers = networks[network].servers.count ? &networks[network].servers : NULL;
    for (int i = 0; own != NULL && i < endpoint_top; i++)
        if (endpoints[i].used && endpoints[i].member == own->member)
            asker->networks |= 1ULL << endpoints[i].network;
    if (own != NULL && members[own->member].servers.count)
        asker->servers = &members[own->member].servers;
    asker->forward = 0;
    for (int i = 0; i < NETWORKS; i++)
        if (asker->networks >> i & 1 && !networks[i].internal)
            asker->forward = 1;
}

static inline int has_name(const struct endpoint *endpoint, const char *name, size_t length)
{
    for (size_t at = 0; at < endpoint->names_length;) {
        size_t part = text_length(endpoint->names + at);

        if (part == length && same_bytes(endpoint->names + at, name, length))
            return 1;
        at += part + 1;
    }
    return 0;
}

/* The address that a name of in-addr.arpa or ip6.arpa (RFC 1035 3.5, RFC 3596 2.5) is for. */
static inline int reverse_address(const struct question *question, struct address *address)
{
    static const char four[] = ".in-addr.arpa", six[] = ".ip6.arpa";
    const char *name = question->name;
    size_t length = question->length;

    if (length > sizeof four - 1 &&
        same_bytes(name + length - (sizeof four - 1), four, sizeof four - 1)) {
        uint8_t bytes[4];
        size_t at = 0, end = length - (sizeof four - 1);

        for (int i = 3; i >= 0; i--) {
            unsigned value = 0, digits = 0;

            for (; at < end && name[at] >= '0' && name[at] <= '9' && digits < 4; at++, digits++)
                value = value * 10 + (unsigned)(name[at] - '0');
            if (digits == 0 || digits > 3 || value > 255)
                return 0;
            bytes[i] = (uint8_t)value;
            if (i > 0 && (at >= end || name[at++] != '.'))
                return 0;
        }
        if (at != end)
            return 0;
        from_ipv4(address, bytes);
        return 1;
    }
    if (length != 63 + sizeof six - 1 || !same_bytes(name + 63, six, sizeof six - 1))
        return 0;
    clear(address->bytes, sizeof address->bytes);
    for (int i = 0; i < 32; i++) {
        char c = name[2 * i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

        if (digit < 0 || (i < 31 && name[2 * i + 1] != '.'))
            return 0;
        address->bytes[15 - i / 2] |= (uint8_t)(i & 1 ? digit << 4 : digit);
    }
    return 1;
}

/* A resource record that points back to the question's name; lives for no time at all,
 * because a container may be gone the next moment. Returns the new end, or 0: no room. */
static inline size_t put_record(uint8_t *message, size_t at, size_t most, unsigned type,
                                const void *data, size_t length)
{
    if (at + 12 + length > most)
        return 0;
    write16(message + at, 0xc000 | DNS_HEADER);
    write16(message + at + 2, type);
    write16(message + at + 4, CLASS_IN);
    clear(message + at + 6, 4);
    write16(message + at + 10, (unsigned)length);
    copy_bytes(message + at + 12, data, length);
    return at + 12 + length;
}

/* A container's name as the data of a PTR record; names with dots are several labels. */
static inline size_t encode_name(uint8_t *to, size_t most, const char *name)
{
    size_t used = 0;

    while (*name != '\0') {
        size_t part = 0;

        while (name[part] != '\0' && name[part] != '.')
            part++;
        if (part == 0 || part > 63 || used + part + 2 > most)
            return 0;
        to[used++] = (uint8_t)part;
        copy_bytes(to + used, name, part);
        used += part;
        name += part + (name[part] == '.');
    }
    to[used++] = 0;
    return used;
}

/* Turns the question in `message` into an answer without records. */
static inline void begin_answer(uint8_t *message, int code, size_t *end)
{
    int asked = *end > DNS_HEADER;

    message[2] = (uint8_t)((message[2] & 0x79) | 0x80);
    message[3] = (uint8_t)(0x80 | code); /* recursion is available */
    write16(message + 4, asked ? 1 : 0);
    clear(message + 6, 6);
}

/*
 * Answers from what is known of the members, in place: the new length; 0 if the name is
 * nobody's here. `most` is what the message may become; beyond that it is cut and says so.
 */
static inline size_t answer_here(uint8_t *message, size_t most, const struct question *question,
                                 const struct asker *asker)
{
    size_t end = question->end, more;
    unsigned count = 0, known = 0, start = (unsigned)h.now; /* another one first each time */
    struct address reverse;
    uint8_t name[DNS_NAME];
    int pointer = question->type == TYPE_PTR && reverse_address(question, &reverse);

    if (question->class != CLASS_IN && question->class != CLASS_ANY)
        return 0;
    for (int n = 0; n < endpoint_top && count < ANSWERS; n++) {
        const struct endpoint *endpoint = &endpoints[(start + (unsigned)n) % (unsigned)endpoint_top];

        if (!endpoint->used || !(asker->networks >> endpoint->network & 1))
            continue;
        if (!pointer && !has_name(endpoint, question->name, question->length))
            continue;
        known += !pointer;
        for (int i = 0; i < endpoint->ip_count; i++) {
            const struct address *ip = &endpoint->ips[i];
            unsigned type = is_ipv4(ip) ? TYPE_A : TYPE_AAAA;

            if (pointer && same_address(ip, &reverse)) {
                known++;
                more = encode_name(name, sizeof name, endpoint->names);
                more = more ? put_record(message, end, most, TYPE_PTR, name, more) : end;
            } else if (!pointer && (question->type == type || question->type == TYPE_ANY)) {
                more = type == TYPE_A
                           ? put_record(message, end, most, type, ip->bytes + 12, 4)
                           : put_record(message, end, most, type, ip->bytes, 16);
            } else {
                continue;
            }
            if (more == 0) {
                begin_answer(message, NO_ERROR, &end);
                message[2] |= 2; /* truncated */
                write16(message + 6, count);
                return end;
            }
            count += more > end;
            end = more;
        }
    }
    if (!known)
        return 0;
    begin_answer(message, NO_ERROR, &end);
    message[2] |= 4; /* authoritative */
    write16(message + 6, count);
    return end;
}

/* An answer that only says a code, in place: its length. */
static inline size_t answer_code(uint8_t *message, const struct question *question, int code)
{
    size_t end = question->end;

    begin_answer(message, code, &end);
    return end;
}

/* The size that the asker can take over UDP: EDNS's if it says one (RFC 6891), else 512. */
static inline size_t udp_room(const uint8_t *message, size_t length, const struct question *question)
{
    size_t at = question->end, size;

    if (read16(message + 10) == 0 || at + 11 > length || message[at] != 0 ||
        read16(message + at + 1) != 41)
        return DNS_UDP_MOST;
    size = read16(message + at + 3);
    return size < DNS_UDP_MOST ? DNS_UDP_MOST : size > 4096 ? 4096 : size;
}

#endif
