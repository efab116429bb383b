/* The floor under every pooler of one thread: passes bytes between each client and a connection of
 * its own to PostgreSQL, and looks at none of them. What a query costs here, one recv and one send
 * on each side and a share of epoll_wait, no pooler on epoll can go below.
 *
 * relay LISTEN_PORT POSTGRESQL_PORT      both on the loopback interface */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FDS = 65536, BLOCK = 65536, EVENTS = 256 };

static int other[FDS]; /* the descriptor at the other end of each pair; 0 is none */
static char block[BLOCK];

static struct sockaddr_in loopback(const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int epoll, int fd)
{
    int on = 1;
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = fd};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &wanted))
        fail("epoll_ctl");
}

static void pair_up(int epoll, int listener, const struct sockaddr_in *to)
{
    int client = accept(listener, NULL, NULL);
    int server = socket(AF_INET, SOCK_STREAM, 0);
    if (client < 0 || server < 0 || client >= FDS || server >= FDS)
        fail("accept");
    if (connect(server, (const void *)to, sizeof *to)) {
        perror("connect");
        close(client);
        close(server);
        return;
    }
    other[client] = server;
    other[server] = client;
    watch(epoll, client);
    watch(epoll, server);
}

static int pass_on(int from, int to)
{
    ssize_t got = recv(from, block, sizeof block, 0);
    if (got < 0 && errno == EINTR)
        return 1;
    for (ssize_t sent = 0; sent < got;) {
        ssize_t now = send(to, block + sent, got - sent, MSG_NOSIGNAL);
        if (now <= 0)
            return 0;
        sent += now;
    }
    return got > 0;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: relay LISTEN_PORT POSTGRESQL_PORT\n");
        return 2;
    }
    struct sockaddr_in at = loopback(argv[1]), to = loopback(argv[2]);
    int on = 1, epoll = epoll_create1(0), listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&at, sizeof at) || listen(listener, 1024))
        fail("listen");
    watch(epoll, listener);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, -1), has_arrival = 0;
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                has_arrival = 1;
            } else if (other[fd] && !pass_on(fd, other[fd])) {
                int peer = other[fd];
                other[fd] = other[peer] = 0;
                close(fd);
                close(peer);
            }
        }
        /* Last, so that no descriptor is given out again while events of its past are left. */
        if (has_arrival)
            pair_up(epoll, listener, &to);
    }
}
