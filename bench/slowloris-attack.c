/*
 * The attack of slowloris.js, cheap enough that what is measured beside it on the same machine is not short of a processor; the same as
 * slowloris-attack.js, and started with the same arguments:
 *
 *   cc -O2 -o slowloris-attack bench/slowloris-attack.c
 *   SLOWLORIS_ATTACK=./slowloris-attack node bench/slowloris.js
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FDS = 65536, EVENTS = 256 };

/* What a connection is: one that is to stay half open, before and after its connect, or one of the storm. */
enum { CONNECTING = 1, HALF_OPEN, STORM };

static struct sockaddr_in target, source;
static int poller, half_open, standing;
static char kinds[MAX_FDS];
static double *due; /* when those that stay half open are to connect (again) */
static int waiting;
static long cut, tried, refused;

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void watch(int how, int fd, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (epoll_ctl(poller, how, fd, &event) != 0) fail("epoll_ctl");
}

static void start(char kind) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0) fail("socket");
  if (fd >= MAX_FDS) {
    fprintf(stderr, "Too many connections\n");
    exit(1);
  }
  /* The port is chosen by connect(): bind() would look for one that nobody has, among thousands. */
  int on = 1;
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&source, sizeof source) != 0) fail("bind");
  if (connect(fd, (struct sockaddr *)&target, sizeof target) != 0 && errno != EINPROGRESS) fail("connect");
  kinds[fd] = kind;
  watch(EPOLL_CTL_ADD, fd, EPOLLIN | (kind == CONNECTING ? EPOLLOUT : 0));
}

static void connected(int fd) {
  /* Three bytes of a header of six. */
  static const unsigned char begun[] = {64, 0, 0};
  if (write(fd, begun, sizeof begun) != sizeof begun) return;
  kinds[fd] = HALF_OPEN;
  watch(EPOLL_CTL_MOD, fd, EPOLLIN);
  if (++standing == half_open) puts("ready");
}

static void readable(int fd) {
  static char bytes[65536];
  ssize_t length = read(fd, bytes, sizeof bytes);
  if (length > 0 || (length < 0 && errno == EAGAIN)) return;
  close(fd);
  if (kinds[fd] == STORM) {
    refused++;
    return;
  }
  cut++;
  /* Not all at the same moment, as those that are cut have come. */
  due[waiting++] = seconds() + drand48();
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: slowloris-attack PORT HALF_OPEN PER_SECOND\n");
    return 2;
  }
  half_open = atoi(argv[2]);
  int per_second = atoi(argv[3]);
  setlinebuf(stdout);
  setpriority(PRIO_PROCESS, 0, 19);
  target.sin_family = source.sin_family = AF_INET;
  target.sin_port = htons(atoi(argv[1]));
  inet_pton(AF_INET, "127.0.0.1", &target.sin_addr);
  inet_pton(AF_INET, "127.0.0.2", &source.sin_addr);
  poller = epoll_create1(0);
  watch(EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN);
  due = calloc(half_open, sizeof *due);
  double began = seconds(), storm_began = 0;
  for (; waiting < half_open; waiting++) due[waiting] = began + waiting / (double)half_open;

  for (bool over = false; !over;) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(poller, events, EVENTS, 1);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == STDIN_FILENO) {
        char order;
        if (read(STDIN_FILENO, &order, 1) <= 0) over = true;
        else if (storm_began == 0) storm_began = seconds();
        continue;
      }
      if (kinds[fd] == CONNECTING && (events[i].events & EPOLLOUT)) connected(fd);
      if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(fd);
    }
    double now = seconds();
    for (int i = 0; i < waiting;) {
      if (due[i] > now) i++;
      else {
        due[i] = due[--waiting];
        start(CONNECTING);
      }
    }
    while (storm_began > 0 && tried < (now - storm_began) * per_second) {
      tried++;
      start(STORM);
    }
  }
  printf("%ld %ld %ld\n", cut, tried, refused);
  return 0;
}
