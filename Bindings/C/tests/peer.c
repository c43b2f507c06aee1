// A participant beside those in Swift and Python: peer ROLE NAME ORIGIN COUNT. What it says on standard output is the same in all
// languages; see LanguageTests.
#include <inttypes.h>
#include <ipc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ipc_error error = IPC_ERROR_INIT;
#define OK(call)                                                  \
    do {                                                          \
        int32_t code = (call);                                    \
        if (code != IPC_OK) {                                     \
            printf("failed: %s\n", error.text);                   \
            exit(1);                                              \
        }                                                         \
    } while (0)
static const int64_t patience = INT64_C(60000000000);

struct item {
    uint64_t origin;
    uint64_t number;
    double half;
    uint32_t text_length;
    char text[12];
    uint8_t is_even;
};

static struct item make(uint64_t origin, uint64_t number) {
    struct item item;
    memset(&item, 0, sizeof item);
    item.origin = origin;
    item.number = number;
    item.half = (double)number / 2;
    item.text_length = (uint32_t)snprintf(item.text, sizeof item.text, "n%" PRIu64, number);
    item.is_even = number % 2 == 0;
    return item;
}

// The size in the log, without padding at the end.
enum { SIZE = offsetof(struct item, is_even) + 1 };

static void check(const struct item *item) {
    struct item right = make(item->origin, item->number);
    if (memcmp(item, &right, SIZE) != 0) {
        printf("torn: %" PRIu64 " of %" PRIu64 "\n", item->number, item->origin);
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    const char *role = argv[1];
    uint64_t origin = strtoull(argv[3], NULL, 10), count = strtoull(argv[4], NULL, 10);
    setvbuf(stdout, NULL, _IOLBF, 0);
    ipc_channel *channel;
    OK(ipc_open(argv[2], NULL, patience, &channel, &error));
    if (strcmp(role, "publish") == 0 || strcmp(role, "push") == 0) {
        ipc_writer *writer;
        OK(ipc_writer_open(channel, &writer, &error));
        puts("ready");
        for (uint64_t number = 1; number <= count; number++) {
            struct item item = make(origin, number);
            OK(ipc_write(writer, &item, SIZE, patience, &error));
        }
        ipc_writer_close(writer);
    } else if (strcmp(role, "subscribe") == 0) {
        // Origin 0 says that it is over.
        uint64_t last[16] = {0};
        ipc_reader *reader;
        OK(ipc_reader_open(channel, NULL, &reader, &error));
        puts("ready");
        for (;;) {
            struct item item;
            size_t size;
            OK(ipc_receive(reader, &item, sizeof item, &size, patience, &error));
            check(&item);
            if (item.origin == 0) break;
            if (item.number != last[item.origin] + 1) printf("gap: %" PRIu64 " after %" PRIu64 "\n", item.number, last[item.origin]);
            last[item.origin] = item.number;
        }
        for (int index = 1; index < 16; index++) {
            if (last[index] > 0) printf("%d %" PRIu64 "\n", index, last[index]);
        }
        ipc_reader_close(reader);
    } else if (strcmp(role, "work") == 0) {
        ipc_reader *reader;
        OK(ipc_reader_open(channel, NULL, &reader, &error));
        puts("ready");
        for (;;) {
            ipc_message *job;
            OK(ipc_take(reader, &job, patience, &error));
            struct item item;
            memset(&item, 0, sizeof item);
            memcpy(&item, ipc_message_bytes(job, NULL), SIZE);
            check(&item);
            // Said before it is acknowledged: one that is killed in between has said one too many.
            printf("%" PRIu64 " %" PRIu64 "\n", item.origin, item.number);
            OK(ipc_acknowledge(job, &error));
            if (item.origin == 0) break;
        }
        ipc_reader_close(reader);
    } else if (strcmp(role, "call") == 0) {
        ipc_writer *client;
        OK(ipc_writer_open(channel, &client, &error));
        puts("ready");
        for (uint64_t number = 1; number <= count; number++) {
            struct item item = make(origin, number);
            ipc_reply_result *result;
            OK(ipc_call(client, &item, SIZE, SIZE, 10, 0, &result, patience, &error));
            size_t size;
            const void *bytes = ipc_result_bytes(result, &size);
            struct item reply;
            memset(&reply, 0, sizeof reply);
            if (size != SIZE || ipc_result_is_failure(result)) {
                puts("failure");
                return 1;
            }
            memcpy(&reply, bytes, SIZE);
            check(&reply);
            if (reply.origin != origin || reply.number != 2 * number + 1) {
                printf("wrong reply %" PRIu64 "\n", reply.number);
                return 1;
            }
            ipc_result_free(result);
        }
        ipc_writer_close(client);
        puts("done");
    } else if (strcmp(role, "serve") == 0) {
        ipc_reader *server;
        OK(ipc_reader_open(channel, NULL, &server, &error));
        puts("ready");
        for (;;) {
            ipc_message *call;
            OK(ipc_take(server, &call, patience, &error));
            struct item item;
            memset(&item, 0, sizeof item);
            memcpy(&item, ipc_message_bytes(call, NULL), SIZE);
            check(&item);
            struct item reply = make(item.origin, 2 * item.number + 1);
            // One that another server has by now, or whose caller died, is none of ours.
            ipc_reply(call, &reply, SIZE, NULL);
            if (item.origin == 0) break;
        }
        ipc_reader_close(server);
    } else {
        return 2;
    }
    ipc_channel_close(channel);
    return 0;
}
