// A work queue: each job goes to one worker, which acknowledges it. In two terminals: ./queue work, ./queue push.
#include <ipc.h>
#include <stdio.h>
#include <string.h>

static int failed(const ipc_error *error) {
    fprintf(stderr, "queue: %s\n", error->text);
    return 1;
}

int main(int argc, char **argv) {
    ipc_error error = IPC_ERROR_INIT;
    ipc_channel *channel;
    if (ipc_open_or_create(IPC_QUEUE, "orders", NULL, NULL, &channel, &error) != IPC_OK) return failed(&error);
    if (argc == 2 && strcmp(argv[1], "push") == 0) {
        ipc_writer *writer;
        if (ipc_writer_open(channel, &writer, &error) != IPC_OK) return failed(&error);
        if (ipc_write(writer, "ship 7", 6, IPC_FOREVER, &error) != IPC_OK) return failed(&error);
        ipc_writer_close(writer);
    } else {
        ipc_reader *reader;
        if (ipc_reader_open(channel, NULL, &reader, &error) != IPC_OK) return failed(&error);
        ipc_message *message;
        if (ipc_take(reader, &message, IPC_FOREVER, &error) != IPC_OK) return failed(&error);
        size_t count;
        const char *bytes = (const char *)ipc_message_bytes(message, &count);
        printf("%.*s\n", (int)count, bytes);
        if (ipc_acknowledge(message, &error) != IPC_OK) return failed(&error);
        ipc_reader_close(reader);
    }
    ipc_channel_close(channel);
    return 0;
}
