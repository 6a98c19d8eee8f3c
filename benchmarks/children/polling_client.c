/* A load client that polls and never sleeps, for measuring a light wrapper over HTTP.

   polling_client PORT CONNECTIONS SECONDS PATH...

   Keep-alive GETs to 127.0.0.1:PORT, one open request a connection, the paths in turn. A sleeping
   client must be woken by the server's write(), which costs the server some 15 us of kernel time
   whenever it finds the client asleep: a cost of the measurement, far above that of the wrapper.
   epoll_wait with a timeout of 0 never sleeps.

   Prints one line of JSON: responses in the window, those that were not 200, the window in seconds
   and the latency's p50 and p99 in us. Exit 1 with a sentence when the server goes away or sends
   what is not understood. Responses need Content-Length.

   cc -O2 -o polling_client polling_client.c */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 1024
#define MAX_RESPONSE 65536
#define BUCKETS 65536 /* latencies in us; the last bucket holds all above */

struct connection {
    int fd;
    size_t have;
    double sent_us;
    char data[MAX_RESPONSE];
};

static struct connection *connections;
static uint32_t latencies[BUCKETS];
static char **requests;
static size_t *lengths;
static int paths, next_path;

static double now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static void fail(const char *what) {
    fprintf(stderr, "polling_client: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

static void ask(struct connection *connection) {
    int path = next_path;
    next_path = (next_path + 1) % paths;
    connection->have = 0;
    connection->sent_us = now_us();
    /* A request fits the empty send buffer: a short write means the server stopped reading. */
    if (send(connection->fd, requests[path], lengths[path], MSG_NOSIGNAL) != (ssize_t)lengths[path])
        fail("expected to send a whole request");
}

/* Return the status once the whole response is there, 0 before. */
static int answered(struct connection *connection) {
    ssize_t got = recv(connection->fd, connection->data + connection->have,
                       MAX_RESPONSE - 1 - connection->have, 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
    if (got <= 0) { if (!got) errno = 0; fail("the server closed a connection"); }
    connection->have += (size_t)got;
    connection->data[connection->have] = 0;
    char *end = strstr(connection->data, "\r\n\r\n");
    if (!end) {
        if (connection->have >= MAX_RESPONSE - 1) { errno = 0; fail("a response is too large"); }
        return 0;
    }
    char *field = strcasestr(connection->data, "\r\ncontent-length:");
    if (!field || field > end) { errno = 0; fail("expected a response with Content-Length"); }
    size_t whole = (size_t)(end + 4 - connection->data) + strtoul(field + 17, NULL, 10);
    if (whole >= MAX_RESPONSE) { errno = 0; fail("a response is too large"); }
    if (connection->have < whole) return 0;
    return atoi(connection->data + 9);
}

static int opened(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) fail("cannot connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static unsigned long quantile(double share, unsigned long total) {
    unsigned long seen = 0, rank = (unsigned long)(share * (double)total);
    for (unsigned long bucket = 0; bucket < BUCKETS; bucket++)
        if ((seen += latencies[bucket]) > rank) return bucket;
    return BUCKETS - 1;
}

int main(int count, char **words) {
    if (count < 5) {
        fprintf(stderr, "usage: polling_client PORT CONNECTIONS SECONDS PATH...\n");
        return 2;
    }
    int port = atoi(words[1]), wanted = atoi(words[2]), poll = epoll_create1(0);
    double seconds = atof(words[3]);
    unsigned long responses = 0, bad = 0;
    struct epoll_event events[MAX_CONNECTIONS];
    if (poll < 0 || wanted < 1 || wanted > MAX_CONNECTIONS) fail("expected 1 to 1024 connections");
    paths = count - 4;
    requests = calloc((size_t)paths, sizeof *requests);
    lengths = calloc((size_t)paths, sizeof *lengths);
    connections = calloc((size_t)wanted, sizeof *connections);
    if (!requests || !lengths || !connections) fail("no memory");
    for (int path = 0; path < paths; path++)
        lengths[path] = (size_t)asprintf(&requests[path],
            "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: polling-client\r\n"
            "Accept: */*\r\nAccept-Language: en\r\n\r\n", words[4 + path], port);
    for (int each = 0; each < wanted; each++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[each]};
        connections[each].fd = opened(port);
        if (epoll_ctl(poll, EPOLL_CTL_ADD, connections[each].fd, &event)) fail("epoll_ctl");
    }
    double begin = now_us(), until = begin + seconds * 1e6, now = begin;
    for (int each = 0; each < wanted; each++) ask(&connections[each]);
    double heard = begin;
    while (now < until) {
        int ready = epoll_wait(poll, events, MAX_CONNECTIONS, 0);
        now = now_us();
        if (ready < 0 && errno != EINTR) fail("epoll_wait");
        if (ready > 0) heard = now;
        if (now - heard > 5e6) { errno = 0; fail("the server was silent for 5 s"); }
        for (int each = 0; each < ready; each++) {
            struct connection *connection = events[each].data.ptr;
            int status = answered(connection);
            if (!status) continue;
            double took = now_us() - connection->sent_us;
            latencies[took < BUCKETS - 1 ? (unsigned)took : BUCKETS - 1]++;
            responses++;
            bad += status != 200;
            ask(connection);
        }
    }
    printf("{\"responses\": %lu, \"bad\": %lu, \"seconds\": %.6f, \"p50_us\": %lu, \"p99_us\": %lu}\n",
           responses, bad, (now - begin) / 1e6, quantile(0.5, responses), quantile(0.99, responses));
    return 0;
}
