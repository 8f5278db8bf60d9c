/*
 * Text built in place: numbers, times and JSON strings, in buffers that the caller owns.
 * What doesn't fit is cut off, never written past the end.
 */
#ifndef RL_TEXT_H
#define RL_TEXT_H

#include <time.h>

#include "sys.h"

struct text {
    char *start;
    size_t size;
    size_t used;
};

/* A byte sequence on its way into a JSON string: the bytes of a character that isn't
 * complete yet. All zero at the start. */
struct utf8 {
    unsigned char bytes[4];
    unsigned char have;
    unsigned char need;
};

#define TIME_LENGTH 30 /* 2026-01-02T03:04:05.000000006Z */
#define JSON_MOST 9    /* most that one byte can become: U+FFFD, then itself as \u00XX */

static inline void put(struct text *text, const char *bytes, size_t length)
{
    if (length > text->size - text->used)
        length = text->size - text->used;
    copy_bytes(text->start + text->used, bytes, length);
    text->used += length;
}

static inline void put_text(struct text *text, const char *more)
{
    put(text, more, text_length(more));
}

static inline void put_number(struct text *text, long long value)
{
    char digits[24];
    size_t at = sizeof digits;
    unsigned long long rest = value < 0 ? -(unsigned long long)value : (unsigned long long)value;

    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (value < 0)
        digits[--at] = '-';
    put(text, digits + at, sizeof digits - at);
}

static inline void put_digits(char *to, unsigned long value, int count)
{
    while (count-- > 0) {
        to[count] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* Writes TIME_LENGTH bytes: RFC 3339 in UTC with nanoseconds. Days become a date by
 * counting in years that begin in March, so that the leap day is the last one. */
static inline void format_time(char *to, const struct timespec *moment)
{
    unsigned long seconds = (unsigned long)moment->tv_sec % 86400;
    unsigned long days = (unsigned long)moment->tv_sec / 86400 + 719468;
    unsigned long era = days / 146097, day_of_era = days % 146097;
    unsigned long year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned long day = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned long shifted = (5 * day + 2) / 153;
    unsigned long month = shifted < 10 ? shifted + 3 : shifted - 9;

    copy_bytes(to, "0000-00-00T00:00:00.000000000Z", TIME_LENGTH);
    put_digits(to, year_of_era + era * 400 + (month <= 2), 4);
    put_digits(to + 5, month, 2);
    put_digits(to + 8, day - (153 * shifted + 2) / 5 + 1, 2);
    put_digits(to + 11, seconds / 3600, 2);
    put_digits(to + 14, seconds / 60 % 60, 2);
    put_digits(to + 17, seconds % 60, 2);
    put_digits(to + 20, (unsigned long)moment->tv_nsec, 9);
}

static inline void put_time(struct text *text, const struct timespec *moment)
{
    char formatted[TIME_LENGTH];

    format_time(formatted, moment);
    put(text, formatted, sizeof formatted);
}

static inline size_t json_replace(char *to)
{
    copy_bytes(to, "\xef\xbf\xbd", 3);
    return 3;
}

/* Bytes that mean themselves in a JSON string. */
static inline int json_plain(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

static inline size_t json_ascii(char *to, unsigned char byte)
{
    const char *hex = "0123456789abcdef";

    if (json_plain(byte)) {
        *to = (char)byte;
        return 1;
    }
    to[0] = '\\';
    to[1] = byte == '\n' ? 'n' : byte == '\t' ? 't' : byte == '\r' ? 'r' : (char)byte;
    if (byte >= 0x20 || byte == '\n' || byte == '\t' || byte == '\r')
        return 2;
    copy_bytes(to + 1, "u00", 3);
    to[4] = hex[byte >> 4];
    to[5] = hex[byte & 15];
    return 6;
}

/* Whether this byte may follow what is there: no overlong forms, no surrogates, nothing
 * above U+10FFFF (RFC 3629 section 4). */
static inline int utf8_continues(const struct utf8 *state, unsigned char byte)
{
    unsigned char low = 0x80, high = 0xbf;

    if (state->have == 1) {
        low = state->bytes[0] == 0xe0 ? 0xa0 : state->bytes[0] == 0xf0 ? 0x90 : low;
        high = state->bytes[0] == 0xed ? 0x9f : state->bytes[0] == 0xf4 ? 0x8f : high;
    }
    return byte >= low && byte <= high;
}

/* The next byte of a JSON string; returns how many bytes it became (0: more to come). */
static inline size_t json_byte(struct utf8 *state, char *to, unsigned char byte)
{
    size_t used = 0;

    if (state->need != 0) {
        if (utf8_continues(state, byte)) {
            state->bytes[state->have++] = byte;
            if (state->have < state->need)
                return 0;
            used = state->need;
            copy_bytes(to, state->bytes, used);
            state->need = 0;
            return used;
        }
        used = json_replace(to);
        state->need = 0;
    }
    if (byte < 0x80)
        return used + json_ascii(to + used, byte);
    if (byte < 0xc2 || byte > 0xf4)
        return used + json_replace(to + used);
    state->bytes[0] = byte;
    state->have = 1;
    state->need = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    return used;
}

/* Ends a JSON string: a character that was cut off is replaced. */
static inline size_t json_end(struct utf8 *state, char *to)
{
    if (state->need == 0)
        return 0;
    state->need = 0;
    return json_replace(to);
}

static inline void put_json(struct text *text, const char *bytes, size_t length)
{
    struct utf8 state = {{0}, 0, 0};
    char piece[JSON_MOST];

    put(text, "\"", 1);
    for (size_t i = 0; i < length; i++)
        put(text, piece, json_byte(&state, piece, (unsigned char)bytes[i]));
    put(text, piece, json_end(&state, piece));
    put(text, "\"", 1);
}

static inline const char *find_newline(const char *at, size_t length)
{
    const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
    const char *end = at + length;
    uint64_t word;

    for (; end - at >= 8; at += 8) {
        __builtin_memcpy(&word, at, 8);
        word ^= ones * '\n';
        word = (word - ones) & ~word & tops;
        if (word != 0)
            return at + __builtin_ctzll(word) / 8;
    }
    for (; at < end; at++)
        if (*at == '\n')
            return at;
    return NULL;
}

/* For pieces that are often a few bytes long, where "rep movsb" takes longest to start. */
static inline char *append(char *to, const char *from, size_t length)
{
    for (; length >= 16; length -= 16, to += 16, from += 16)
        __builtin_memcpy(to, from, 16);
    if (length >= 8) {
        __builtin_memcpy(to, from, 8);
        length -= 8, to += 8, from += 8;
    }
    while (length-- > 0)
        *to++ = *from++;
    return to;
}

#endif
