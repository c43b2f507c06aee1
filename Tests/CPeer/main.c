// A program that knows nothing of this library: plain C against the same kernel objects.
#define _GNU_SOURCE
#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(const char *what) {
    perror(what);
    return 1;
}

// Adds 1 to the number at the start, 1000 times, under a named semaphore.
static int count(const char *memory, const char *semaphore) {
    int fd = shm_open(memory, O_RDWR, 0);
    if (fd < 0) return fail("shm_open");
    volatile long *number = mmap(0, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    sem_t *lock = sem_open(semaphore, 0);
    if (number == MAP_FAILED || lock == SEM_FAILED) return fail("open");
    for (int i = 0; i < 1000; i++) {
        sem_wait(lock);
        *number += 1;
        sem_post(lock);
    }
    return 0;
}

// Receives from one queue and sends back with the priority plus one.
static int queue(const char *from, const char *to) {
    char bytes[8192];
    unsigned priority;
    mqd_t in = mq_open(from, O_RDONLY), out = mq_open(to, O_WRONLY);
    ssize_t count = mq_receive(in, bytes, sizeof bytes, &priority);
    if (count < 0 || mq_send(out, bytes, (size_t)count, priority + 1) < 0) return fail("mq");
    return 0;
}

// Connects, and passes the reading end of a pipe that holds a text.
static int pass(const char *path) {
    int socket_fd = socket(AF_UNIX, SOCK_STREAM, 0), ends[2];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (connect(socket_fd, (struct sockaddr *)&address, sizeof address) != 0) return fail("connect");
    if (pipe(ends) != 0 || write(ends[1], "from C", 6) != 6) return fail("pipe");
    char control[CMSG_SPACE(sizeof(int))] = {0}, byte = '!';
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &ends[0], sizeof(int));
    return sendmsg(socket_fd, &message, 0) == 1 ? 0 : fail("sendmsg");
}

int main(int count_of_arguments, char **arguments) {
    if (count_of_arguments == 4 && strcmp(arguments[1], "count") == 0) return count(arguments[2], arguments[3]);
    if (count_of_arguments == 4 && strcmp(arguments[1], "queue") == 0) return queue(arguments[2], arguments[3]);
    if (count_of_arguments == 3 && strcmp(arguments[1], "pass") == 0) return pass(arguments[2]);
    fprintf(stderr, "usage: CPeer count MEMORY SEMAPHORE | queue FROM TO | pass SOCKET\n");
    return 64;
}
