// A service: a client calls, and a server answers. In two terminals: ./service serve, ./service call.
#include <inttypes.h>
#include <ipc.h>
#include <stdio.h>
#include <string.h>

// In Swift: ServiceChannel<UInt64, UInt64, Refusal> with enum Refusal: Error, BitwiseCopyable { case odd, zero }.
static const char schema[] =
    "{\"request\":\"u64\",\"reply\":\"u64\",\"failure\":{\"enum\":{\"name\":\"Refusal\",\"cases\":[\"odd\",\"zero\"]}}}";

static int failed(const ipc_error *error) {
    fprintf(stderr, "service: %s\n", error->text);
    return 1;
}

int main(int argc, char **argv) {
    ipc_error error = IPC_ERROR_INIT;
    ipc_channel *channel;
    if (ipc_open_or_create(IPC_SERVICE, "halves", schema, NULL, &channel, &error) != IPC_OK) return failed(&error);
    if (argc == 2 && strcmp(argv[1], "call") == 0) {
        ipc_writer *client;
        if (ipc_writer_open(channel, &client, &error) != IPC_OK) return failed(&error);
        for (uint64_t number = 8; number < 10; number++) {
            ipc_reply_result *result;
            if (ipc_call(client, &number, sizeof number, sizeof number, 0, 0, &result, IPC_FOREVER, &error) != IPC_OK) return failed(&error);
            size_t count;
            const void *bytes = ipc_result_bytes(result, &count);
            if (ipc_result_is_failure(result)) {
                printf("%" PRIu64 " is refused: %d\n", number, *(const uint8_t *)bytes);
            } else {
                uint64_t half;
                memcpy(&half, bytes, sizeof half);
                printf("half of %" PRIu64 " is %" PRIu64 "\n", number, half);
            }
            ipc_result_free(result);
        }
        ipc_writer_close(client);
    } else {
        ipc_reader *server;
        if (ipc_reader_open(channel, NULL, &server, &error) != IPC_OK) return failed(&error);
        for (int calls = 0; calls < 2; calls++) {
            ipc_message *call;
            if (ipc_take(server, &call, IPC_FOREVER, &error) != IPC_OK) return failed(&error);
            uint64_t number = 0;
            size_t count;
            const void *bytes = ipc_message_bytes(call, &count);
            if (count == sizeof number) memcpy(&number, bytes, count);
            uint64_t half = number / 2;
            uint8_t odd = 0;
            int32_t code = number % 2 == 0 ? ipc_reply(call, &half, sizeof half, &error) : ipc_fail(call, &odd, sizeof odd, &error);
            if (code != IPC_OK) return failed(&error);
        }
        ipc_reader_close(server);
    }
    ipc_channel_close(channel);
    return 0;
}
