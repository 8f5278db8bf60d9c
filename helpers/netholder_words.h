/*
 * The control socket: what rl tells the holder, and the helper that the holder runs for it.
 * docs/networking.md describes the messages.
 */
#ifndef RL_NETHOLDER_WORDS_H
#define RL_NETHOLDER_WORDS_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/prctl.h>

#include "netholder.h"
#include "netholder_forward.h"
#include "netholder_inner.h"

#define PACKET 16384
#define ARGUMENTS 128
#define HELPER_FDS 6
#define RESTARTS 5
#define SETTLED 10000

/* pasta or slirp4netns: the command line and descriptors are kept to start it again. */
struct helper {
    int pid, wanted;
    int fds[HELPER_FDS]; /* number in the program → ours; -1: /dev/null */
    int fd_count;
    char words[PACKET];
    size_t length;
    int64_t started, again;
    int restarts;
};

static struct helper helper;
static char packet[PACKET + 1];
static size_t packet_length;

/* --- fields: NUL-terminated KEY=VALUE texts behind the packet's first byte ------------------ */

/* The value of the next field `key` after `at` (NULL: from the start), or NULL. */
static inline const char *next_field(const char *key, const char *at)
{
    const char *end = packet + packet_length;
    size_t length = text_length(key);

    at = at == NULL ? packet + 1 : at + text_length(at) + 1;
    for (; at < end; at += text_length(at) + 1)
        if (text_length(at) > length && same_bytes(at, key, length) && at[length] == '=')
            return at + length + 1;
    return NULL;
}

static inline const char *field(const char *key)
{
    return next_field(key, NULL);
}

static inline int copy_name(char *to, const char *from)
{
    size_t length = from == NULL ? 0 : text_length(from);

    if (length == 0 || length > NAME_LENGTH)
        return 0;
    copy_bytes(to, from, length + 1);
    return 1;
}

static inline long number_field(const char *key)
{
    const char *text = field(key);

    return text == NULL ? -1 : number_of(text);
}

static inline int read_servers(struct servers *servers)
{
    servers->count = 0;
    for (const char *at = field("server"); at != NULL; at = next_field("server", at))
        if (servers->count < SERVERS &&
            parse_address(at, text_length(at), &servers->list[servers->count]))
            servers->count++;
    return servers->count;
}

static inline int find_network(const char *name)
{
    for (int i = 0; name != NULL && i < NETWORKS; i++)
        if (networks[i].name[0] != '\0' && same_text(networks[i].name, name))
            return i;
    return -1;
}

static inline int find_member(const char *id)
{
    for (int i = 0; id != NULL && i < MEMBERS; i++)
        if (members[i].id[0] != '\0' && same_text(members[i].id, id))
            return i;
    return -1;
}

/* --- links ----------------------------------------------------------------------------------- */

static inline void delete_link(unsigned link)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
    } request;
    char answer[512];

    clear(&request, sizeof request);
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = RTM_DELLINK;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    request.link.ifi_index = (int)link;
    if (link != 0 && SYS6(__NR_sendto, h.route, &request, sizeof request, 0, 0, 0) > 0)
        SYS6(__NR_recvfrom, h.route, answer, sizeof answer, 0, 0, 0);
}

static inline void endpoint_end(struct endpoint *endpoint, int with_link)
{
    if (with_link)
        delete_link(endpoint->link);
    endpoint->used = 0;
    while (endpoint_top > 0 && !endpoints[endpoint_top - 1].used)
        endpoint_top--;
}

static inline void member_end(int index)
{
    struct member *member = &members[index];

    if (member->id[0] == '\0')
        return;
    for (int i = endpoint_top - 1; i >= 0; i--)
        if (endpoints[i].used && endpoints[i].member == index)
            endpoint_end(&endpoints[i], 1);
    close_fd(&member->pidfd);
    member->id[0] = '\0';
    member_count--;
}

/* --- the helper ------------------------------------------------------------------------------ */

__attribute__((noreturn)) static inline void helper_main(long parent)
{
    static char *arguments[ARGUMENTS + 1];
    static char *environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
    int copies[HELPER_FDS], count = 0;

    SYS5(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (SYS0(__NR_getppid) != parent)
        sys_exit(0);
    SYS2(__NR_setpgid, 0, 0); /* what it starts is ended with it */
    for (size_t at = 0; at < helper.length && count < ARGUMENTS;) {
        arguments[count++] = helper.words + at;
        at += text_length(helper.words + at) + 1;
    }
    for (int i = 0; i < helper.fd_count; i++) {
        long null = SYS4(__NR_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
        int from = helper.fds[i] >= 0 ? helper.fds[i] : (int)null;

        copies[i] = (int)SYS3(__NR_fcntl, from, F_DUPFD_CLOEXEC, 100);
    }
    for (int i = 0; i < helper.fd_count; i++)
        SYS3(__NR_dup3, copies[i], i, 0);
    SYS3(__NR_close_range, helper.fd_count, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */);
    sys_signal(SIGPIPE, 0);
    sys_sigmask(SIG_SETMASK, 0);
    SYS3(__NR_execve, arguments[0], arguments, environment);
    sys_exit(127);
}

static inline long helper_start(void)
{
    long parent = SYS0(__NR_getpid), pid = sys_fork();

    if (pid == 0)
        helper_main(parent);
    if (pid > 0) {
        helper.pid = (int)pid;
        helper.started = h.now;
        helper.again = FOREVER;
    } else if (helper.again != FOREVER) {
        helper.again = h.now + 500; /* no process to be had now: not at once again */
    }
    return pid;
}

static inline void helper_kill(void)
{
    int status;

    helper.wanted = 0;
    helper.again = FOREVER;
    if (helper.pid > 0) {
        SYS2(__NR_kill, -helper.pid, SIGKILL);
        SYS2(__NR_kill, helper.pid, SIGKILL);
        SYS4(__NR_wait4, helper.pid, &status, 0, 0);
    }
    helper.pid = 0;
    for (int i = 0; i < helper.fd_count; i++)
        close_fd(&helper.fds[i]);
    helper.fd_count = 0;
}

/* It ended though it is needed: once more, at once if it had served for a while. */
static inline void helper_ended(void)
{
    helper.pid = 0;
    if (!helper.wanted) {
        for (int i = 0; i < helper.fd_count; i++)
            close_fd(&helper.fds[i]); /* who waits for its word hears the end */
        return;
    }
    if (h.now - helper.started > SETTLED)
        helper.restarts = 0;
    if (helper.restarts++ < RESTARTS)
        helper.again = h.now + (helper.restarts > 1 ? 500 : 0);
}

/* --- the words -------------------------------------------------------------------------------- */

static inline long say_error(int client, const char *text)
{
    static char said[256];
    struct text answer = {said, sizeof said, 0};

    put_text(&answer, "e");
    put_text(&answer, text);
    return pass(client, said, answer.used, NULL, 0);
}

static inline long say_done(int client)
{
    return pass(client, "d", 1, NULL, 0);
}

/* O: what one needs to work on the namespace; answers with the pid inside and two sockets. */
static inline long word_open(int client)
{
    char said[32] = "d";
    struct text answer = {said, sizeof said, 1};
    int fds[2];
    long route = inner_ask("r", 1), filter = inner_ask("f", 1), result;

    fds[0] = (int)route, fds[1] = (int)filter;
    if (route < 0) {
        if (filter >= 0)
            close_fd(&fds[1]);
        return say_error(client, "no rtnetlink socket can be made");
    }
    put_number(&answer, h.inner_pid);
    put_text(&answer, helper.wanted && (helper.pid > 0 || helper.again != FOREVER) ? " helper" : " -");
    result = pass(client, said, answer.used, fds, filter < 0 ? 1 : 2);
    close_fd(&fds[0]);
    if (filter >= 0)
        close_fd(&fds[1]);
    return result;
}

/* P: run a helper. fd-N=K says that its descriptor N is the Kth that came along. */
static inline long word_helper(int client, int *fds, int count)
{
    const char *words = field("words");
    char said[32] = "d";
    struct text answer = {said, sizeof said, 1};
    long pid;

    if (words == NULL || count > HELPER_FDS)
        return say_error(client, "bad helper");
    helper_kill();
    /* `words` is the last field: its value and all that follows are the command line. */
    helper.length = (size_t)(packet + packet_length - words);
    copy_bytes(helper.words, words, helper.length);
    for (int i = 0; i < count; i++) {
        helper.fds[i] = fds[i];
        fds[i] = -1;
    }
    helper.fd_count = count;
    helper.restarts = 0;
    pid = helper_start();
    if (pid < 0)
        return say_error(client, "no process can be made");
    helper.wanted = 0; /* until it is known to serve: see word_serves */
    put_number(&answer, pid);
    return pass(client, said, answer.used, NULL, 0);
}

/* W: the helper serves; should it end it is started again, with nobody to be told. */
static inline long word_serves(int client)
{
    long ready = number_field("ready");

    helper.wanted = 1;
    if (ready >= 0 && ready < helper.fd_count)
        close_fd(&helper.fds[ready]);
    if (helper.pid == 0)
        helper_ended();
    return say_done(client);
}

/* N: there is a network of this name. */
static inline long word_network(int client)
{
    int index = find_network(field("name"));
    long link = number_field("link");

    for (int i = 0; index < 0 && i < NETWORKS; i++)
        if (networks[i].name[0] == '\0')
            index = i;
    if (index < 0)
        return say_error(client, "more networks are in use than one namespace can have");
    if (link <= 0 || !copy_name(networks[index].name, field("name")))
        return say_error(client, "bad network");
    networks[index].link = (unsigned)link;
    networks[index].dns = number_field("dns") == 1;
    networks[index].internal = number_field("internal") == 1;
    read_servers(&networks[index].servers);
    return say_done(client);
}

/* X: and now there isn't. */
static inline long word_no_network(int client)
{
    int index = find_network(field("name"));

    if (index >= 0) {
        for (int i = endpoint_top - 1; i >= 0; i--)
            if (endpoints[i].used && endpoints[i].network == index)
                endpoint_end(&endpoints[i], 1);
        networks[index].name[0] = '\0';
    }
    return say_done(client);
}

/* The member that a message names, made if need be from the pidfd that came along. */
static inline int member_of_packet(int *fds, int count)
{
    const char *id = field("id");
    int index = find_member(id);

    if (index >= 0 && count > 0)
        member_end(index); /* another run of it */
    if (index >= 0 && count == 0)
        return index;
    if (count == 0)
        return -1;
    for (index = 0; index < MEMBERS && members[index].id[0] != '\0'; index++)
        ;
    if (index == MEMBERS || !copy_name(members[index].id, id))
        return -1;
    if (watch(fds[0], EPOLLIN, MEMBER, index) < 0) {
        members[index].id[0] = '\0';
        return -1;
    }
    members[index].pidfd = fds[0];
    fds[0] = -1;
    read_servers(&members[index].servers);
    member_count++;
    return index;
}

static inline struct endpoint *free_endpoint(int member, int network)
{
    struct endpoint *found = NULL;

    for (int i = 0; i < ENDPOINTS; i++) {
        if (endpoints[i].used && endpoints[i].member == member &&
            endpoints[i].network == network)
            return &endpoints[i];
        if (!endpoints[i].used && found == NULL)
            found = &endpoints[i];
        if (i >= endpoint_top && found != NULL)
            break;
    }
    return found;
}

/* M: a container is in a network: its link here (the one it has, if none is named), addresses
 * and names. */
static inline long word_member(int client, int *fds, int count)
{
    int network = find_network(field("network")), member;
    long link = number_field("link");
    struct endpoint *endpoint;
    size_t used = 0;

    if (network < 0)
        return say_error(client, "no such network");
    member = member_of_packet(fds, count);
    if (member < 0)
        return say_error(client, "too many containers for one namespace");
    endpoint = free_endpoint(member, network);
    if (endpoint == NULL)
        return say_error(client, "too many containers for one namespace");
    if (link <= 0 && !endpoint->used)
        return say_error(client, "no such container in that network");
    endpoint->used = 1;
    endpoint->member = member;
    endpoint->network = network;
    if (link > 0)
        endpoint->link = (unsigned)link;
    endpoint->ip_count = 0;
    if (endpoint - endpoints >= endpoint_top)
        endpoint_top = (int)(endpoint - endpoints) + 1;
    for (const char *at = field("ip"); at != NULL; at = next_field("ip", at))
        if (endpoint->ip_count < IPS &&
            parse_address(at, text_length(at), &endpoint->ips[endpoint->ip_count]))
            endpoint->ip_count++;
    for (const char *at = field("alias"); at != NULL; at = next_field("alias", at)) {
        size_t length = text_length(at) + 1;

        if (used + length > sizeof endpoint->names) {
            endpoint->names_length = used;
            return say_error(client, "the names of this container are too long together");
        }
        for (size_t i = 0; i < length; i++)
            endpoint->names[used + i] = small(at[i]);
        used += length;
    }
    endpoint->names_length = used;
    return say_done(client);
}

/* D: a container left a network (or all) while it goes on. */
static inline long word_leaves(int client)
{
    int member = find_member(field("id")), network = find_network(field("network"));

    for (int i = endpoint_top - 1; i >= 0 && member >= 0 && network >= 0; i--)
        if (endpoints[i].used && endpoints[i].member == member &&
            endpoints[i].network == network)
            endpoint_end(&endpoints[i], 1);
    if (member >= 0) {
        int left = 0;

        for (int i = 0; i < endpoint_top; i++)
            left += endpoints[i].used && endpoints[i].member == member;
        if (left == 0)
            member_end(member);
    }
    return say_done(client);
}

/* Y: write a sysctl of the namespace. */
static inline long word_sysctl(int client)
{
    static char request[512];
    const char *path = field("path"), *value = field("value");
    size_t first, second;

    if (path == NULL || value == NULL)
        return say_error(client, "bad sysctl");
    first = text_length(path) + 1;
    second = text_length(value);
    if (first + second + 2 > sizeof request)
        return say_error(client, "bad sysctl");
    request[0] = 'w';
    copy_bytes(request + 1, path, first);
    copy_bytes(request + 1 + first, value, second);
    inner_ask(request, 1 + first + second);
    return say_done(client);
}

/* S: the names of the networks there are, and the ids of the members. */
static inline long word_state(int client)
{
    static char said[PACKET];
    struct text answer = {said, sizeof said, 0};

    put_text(&answer, "d");
    for (int i = 0; i < NETWORKS; i++)
        if (networks[i].name[0] != '\0') {
            put_text(&answer, "network=");
            put(&answer, networks[i].name, text_length(networks[i].name) + 1);
        }
    for (int i = 0; i < endpoint_top; i++)
        if (endpoints[i].used && answer.size - answer.used > 256) {
            put_text(&answer, "member=");
            put_text(&answer, members[endpoints[i].member].id);
            put_text(&answer, " ");
            put(&answer, networks[endpoints[i].network].name,
                text_length(networks[endpoints[i].network].name) + 1);
        }
    return pass(client, said, answer.used, NULL, 0);
}

/* One message; a client whose message is none of these is dropped. */
static inline long obey(int client, int *fds, int count)
{
    switch (packet[0]) {
    case 'O':
        return word_open(client);
    case 'P':
        return word_helper(client, fds, count);
    case 'K':
        helper_kill();
        return say_done(client);
    case 'W':
        return word_serves(client);
    case 'N':
        return word_network(client);
    case 'X':
        return word_no_network(client);
    case 'M':
        return word_member(client, fds, count);
    case 'D':
        return word_leaves(client);
    case 'Y':
        return word_sysctl(client);
    case 'S':
        return word_state(client);
    default:
        return -EINVAL;
    }
}

static inline void client_event(int index)
{
    int fds[FDS], count = 0;
    long length;

    if (h.clients[index] < 0)
        return;
    length = take(h.clients[index], packet, PACKET, fds, &count);
    if (length == -EAGAIN)
        return;
    if (length > 0) {
        packet[length] = '\0';
        packet_length = (size_t)length;
        if (obey(h.clients[index], fds, count) < 0)
            length = -1;
    }
    for (int i = 0; i < count; i++)
        close_fd(&fds[i]);
    if (length <= 0)
        close_fd(&h.clients[index]);
}

static inline void client_arrives(void)
{
    struct ucred who;
    unsigned size = sizeof who;
    long fd = SYS4(__NR_accept4, h.listen, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    if (SYS5(__NR_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
        (who.uid == 0 || who.uid == (unsigned)SYS0(__NR_geteuid)))
        for (int i = 0; i < CLIENTS; i++)
            if (h.clients[i] < 0) {
                h.clients[i] = (int)fd;
                watch((int)fd, EPOLLIN, CLIENT, i);
                return;
            }
    SYS1(__NR_close, fd);
}

#endif
