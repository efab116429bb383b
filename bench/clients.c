/* Many clients in one process, which cost the machine little beside what they are to measure: they
 * log in by SCRAM, and then all of them ask, each as soon as it has its answer.
 *
 * clients PORT COUNT DATABASES WAVE
 *
 * With DATABASES 1 all log in to `bench`, else to `idle0`, `idle1` and so on in turn; WAVE of them
 * are on their way in at a time. When all are in, "ready" is printed, and lines are read:
 *   go      all begin to ask
 *   stop    they end; "COUNT P50 P99 MAX" tells how many answers came, and in how many microseconds
 *   again   all say goodbye and log in anew; "ready" is printed
 * The end of the input ends the process. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 2048, EVENTS = 256, KEY = 32, TEXT = 512, ACCOUNTS = 1000000 };

static const char USER[] = "bench", PASSWORD[] = "bench", NONCE[] = "rOprNGfwEbeRWgbNEkqO";

struct client {
    int fd, database, have;
    int64_t asked; /* 0: not waiting for an answer */
    char block[BLOCK];
};

static struct sockaddr_in at = {.sin_family = AF_INET};
static struct client *clients;
static enum { QUIET, ASKING, ENDING } state;
static int epoll, count, databases, wave, begun, ready, waiting;
static uint32_t *times;
static size_t answers, room;

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void say(struct client *client, char kind, const char *body, size_t size)
{
    char message[TEXT + 8];
    uint32_t length = htonl(size + 4);
    size_t head = kind != 0;
    message[0] = kind;
    memcpy(message + head, &length, 4);
    memcpy(message + head + 4, body, size);
    ssize_t whole = head + 4 + size;
    if (send(client->fd, message, whole, MSG_NOSIGNAL) != whole)
        fail("send");
}

/* Adds a text and its end, and gives the size that has been reached. */
static size_t put(char *body, size_t size, const char *text)
{
    strcpy(body + size, text);
    return size + strlen(text) + 1;
}

static void enter(struct client *client)
{
    char body[TEXT] = {0, 3, 0, 0}, name[TEXT] = "bench";
    int on = 1;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    client->have = 0;
    if (client->fd < 0 || connect(client->fd, (void *)&at, sizeof at))
        fail("connect");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &wanted))
        fail("epoll_ctl");
    if (databases > 1)
        sprintf(name, "idle%d", client->database);
    size_t size = put(body, put(body, 4, "user"), USER);
    size = put(body, put(body, size, "database"), name);
    say(client, 0, body, size + 1);
    begun++;
}

static void hmac(const void *key, const char *text, size_t size, unsigned char *out)
{
    unsigned length = KEY;
    HMAC(EVP_sha256(), key, KEY, (const void *)text, size, out, &length);
}

/* The proof for the server's first message, which names nonce, salt and iterations. */
static void prove(struct client *client, const char *first)
{
    static char known[TEXT];
    static unsigned char salted[KEY];
    char nonce[TEXT], salt[TEXT], auth[4 * TEXT], final[2 * TEXT];
    unsigned char key[KEY], stored[KEY], signature[KEY], raw[TEXT], proof[2 * KEY];
    int iterations;
    if (sscanf(first, "r=%511[^,],s=%511[^,],i=%d", nonce, salt, &iterations) != 3)
        fail("SCRAM");
    if (strcmp(strchr(first, ',') + 1, known)) {
        int size = EVP_DecodeBlock(raw, (void *)salt, strlen(salt));
        for (const char *end = salt + strlen(salt); end > salt && end[-1] == '='; end--)
            size--;
        PKCS5_PBKDF2_HMAC(PASSWORD, strlen(PASSWORD), raw, size, iterations, EVP_sha256(), KEY,
                          salted);
        snprintf(known, sizeof known, "%s", strchr(first, ',') + 1);
    }
    hmac(salted, "Client Key", 10, key);
    EVP_Digest(key, KEY, stored, NULL, EVP_sha256(), NULL);
    int size = snprintf(auth, sizeof auth, "n=,r=%s,%s,c=biws,r=%s", NONCE, first, nonce);
    hmac(stored, auth, size, signature);
    for (int i = 0; i < KEY; i++)
        key[i] ^= signature[i];
    EVP_EncodeBlock(proof, key, KEY);
    size = snprintf(final, sizeof final, "c=biws,r=%s,p=%s", nonce, (char *)proof);
    say(client, 'p', final, size);
}

static void authenticate(struct client *client, const char *body, size_t size)
{
    char text[TEXT] = "SCRAM-SHA-256";
    uint32_t code;
    memcpy(&code, body, 4);
    if (ntohl(code) == 10) {
        int head = sizeof "SCRAM-SHA-256" + 4;
        int length = snprintf(text + head, sizeof text - head, "n,,n=,r=%s", NONCE);
        uint32_t order = htonl(length);
        memcpy(text + head - 4, &order, 4);
        say(client, 'p', text, head + length);
    } else if (ntohl(code) == 11 && size - 4 < TEXT) {
        memcpy(text, body + 4, size - 4);
        text[size - 4] = 0;
        prove(client, text);
    }
}

static void ask(struct client *client)
{
    char query[TEXT];
    int size = sprintf(query, "SELECT abalance FROM pgbench_accounts WHERE aid = %ld;",
                       1 + random() % ACCOUNTS);
    client->asked = now_us();
    waiting++;
    say(client, 'Q', query, size + 1);
}

static void be_ready(struct client *client)
{
    if (!client->asked) {
        if (++ready == count) {
            puts("ready");
            fflush(stdout);
        } else if (begun < count) {
            enter(&clients[begun]);
        }
        return;
    }
    if (answers == room && !(times = realloc(times, (room = 2 * room + 1024) * sizeof *times)))
        fail("memory");
    times[answers++] = now_us() - client->asked;
    client->asked = 0;
    waiting--;
    if (state == ASKING)
        ask(client);
}

static void hear(struct client *client)
{
    ssize_t got = recv(client->fd, client->block + client->have, BLOCK - client->have,
                       MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return; /* an event of the connection before */
    if (got <= 0)
        fail("a client was closed");
    client->have += got;
    char *next = client->block, *end = next + client->have;
    while (end - next >= 5) {
        uint32_t length;
        memcpy(&length, next + 1, 4);
        length = ntohl(length);
        if (length + 1 > BLOCK)
            fail("a message is too long");
        if (end - next < (ssize_t)length + 1)
            break;
        if (*next == 'E') {
            fprintf(stderr, "refused: %s\n", next + 5);
            exit(1);
        }
        if (*next == 'R')
            authenticate(client, next + 5, length - 4);
        char kind = *next;
        next += length + 1;
        if (kind == 'Z')
            be_ready(client);
    }
    client->have = end - next;
    memmove(client->block, next, client->have);
}

static void log_in(void)
{
    begun = ready = 0;
    for (int i = 0; i < wave && i < count; i++)
        enter(&clients[begun]);
}

static int by_size(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static void report(void)
{
    qsort(times, answers, sizeof *times, by_size);
    uint32_t median = 0, late = 0, last = 0;
    if (answers) {
        median = times[answers / 2];
        late = times[answers * 99 / 100];
        last = times[answers - 1];
    }
    printf("%zu %u %u %u\n", answers, median, late, last);
    fflush(stdout);
    answers = 0;
    state = QUIET;
}

static void obey(const char *line)
{
    if (!strcmp(line, "go\n")) {
        state = ASKING;
        for (int i = 0; i < count; i++)
            ask(&clients[i]);
    } else if (!strcmp(line, "stop\n")) {
        state = ENDING;
    } else if (!strcmp(line, "again\n")) {
        for (int i = 0; i < count; i++) {
            say(&clients[i], 'X', "", 0);
            close(clients[i].fd);
        }
        log_in();
    } else {
        errno = EINVAL;
        fail(line);
    }
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: clients PORT COUNT DATABASES WAVE\n");
        return 2;
    }
    at.sin_port = htons(atoi(argv[1]));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    count = atoi(argv[2]), databases = atoi(argv[3]), wave = atoi(argv[4]);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc(count, sizeof *clients);
    struct epoll_event wanted = {.events = EPOLLIN};
    if (!clients || epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &wanted))
        fail("start");
    for (int i = 0; i < count; i++)
        clients[i].database = i % databases;
    log_in();
    for (;;) {
        struct epoll_event events[EVENTS];
        int found = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < found; i++) {
            char line[16] = "";
            if (events[i].data.ptr)
                hear(events[i].data.ptr);
            else if (read(0, line, sizeof line - 1) > 0)
                obey(line);
            else
                return 0;
        }
        if (state == ENDING && waiting == 0)
            report();
    }
}
