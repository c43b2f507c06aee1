// A topic: one program publishes, and any number of others subscribe. In two terminals: ./topic subscribe, ./topic publish.
#include <inttypes.h>
#include <ipc.h>
#include <stdio.h>
#include <string.h>

struct quote {
    uint32_t symbol;
    double price;
};

static const char schema[] =
    "{\"message\":{\"struct\":{\"name\":\"Quote\",\"size\":16,\"alignment\":8,\"fields\":["
    "{\"name\":\"symbol\",\"offset\":0,\"type\":\"u32\"},{\"name\":\"price\",\"offset\":8,\"type\":\"f64\"}]}}}";

static int failed(const ipc_error *error) {
    fprintf(stderr, "topic: %s\n", error->text);
    return 1;
}

int main(int argc, char **argv) {
    ipc_error error = IPC_ERROR_INIT;
    ipc_channel *channel;
    if (ipc_open_or_create(IPC_TOPIC, "market/quotes", schema, NULL, &channel, &error) != IPC_OK) return failed(&error);
    if (argc == 2 && strcmp(argv[1], "publish") == 0) {
        ipc_writer *writer;
        if (ipc_writer_open(channel, &writer, &error) != IPC_OK) return failed(&error);
        for (uint32_t number = 1; number <= 5; number++) {
            struct quote quote = {number, 12.5 * number};
            if (ipc_write(writer, &quote, sizeof quote, IPC_FOREVER, &error) != IPC_OK) return failed(&error);
        }
        ipc_writer_close(writer);
    } else {
        ipc_reader_options options = IPC_READER_OPTIONS_INIT;
        options.start = IPC_OLDEST;
        ipc_reader *reader;
        if (ipc_reader_open(channel, &options, &reader, &error) != IPC_OK) return failed(&error);
        for (int count = 0; count < 5; count++) {
            struct quote quote;
            size_t size;
            if (ipc_receive(reader, &quote, sizeof quote, &size, IPC_FOREVER, &error) != IPC_OK) return failed(&error);
            printf("%" PRIu32 " at %g\n", quote.symbol, quote.price);
        }
        ipc_reader_close(reader);
    }
    ipc_channel_close(channel);
    return 0;
}
