#!/usr/bin/env python3
"""A disk with a volatile write cache, for a virtual machine: an NBD server that loses what was not flushed.

usage: volatile_disk.py SOCKET IMAGE SEED

Writes are kept in memory until the machine flushes its disk, which takes a while, as with real ones; reads see them. When the connection breaks (the machine was
killed), the seed decides which of the writes since the last flush reach the image: none, all, some of the writes, or some
of their sectors. Flushed writes are always there. The image itself changes only by that and by flushes.

Serves one connection and ends. Prints `ready`, and at the end what was kept. The protocol is that of NBD's fixed newstyle
handshake (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md), without optional parts.
"""
import random
import select
import socket
import struct
import sys
import time

SECTOR = 512
LONGEST_FLUSH = 0.02  # seconds
OPTION_REPLY = 0x3E889045565A9
REPLY_ACK, REPLY_INFO, REPLY_UNSUPPORTED = 1, 3, (1 << 31) + 1
OPTION_ABORT, OPTION_INFO, OPTION_GO = 2, 6, 7
# Has flags, knows flush and forced unit access.
TRANSMISSION_FLAGS = 1 | 4 | 8
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
FORCE = 1


class Disconnected(Exception):
    """The machine is gone."""


class Disk:
    def __init__(self, path):
        self.file = open(path, "r+b", buffering=0)
        self.contents = bytearray(self.file.read())  # as the machine sees it
        self.pending = []  # writes since the last flush, in order

    def write(self, offset, data):
        self.contents[offset : offset + len(data)] = data
        self.pending.append((offset, data))

    def flush(self):
        for offset, data in self.pending:
            self.store(offset, data)
        self.pending.clear()

    def store(self, offset, data):
        self.file.seek(offset)
        self.file.write(data)

    def crash(self, generator):
        """Stores some of the pending writes; says which."""
        count = len(self.pending)
        fate = generator.choice(["none", "all", "writes", "writes", "sectors", "sectors"])
        share = generator.choice([0.1, 0.5, 0.9])
        stored = 0
        for offset, data in self.pending:
            pieces = [(offset, data)]
            if fate == "sectors":
                pieces = [(offset + at, data[at : at + SECTOR]) for at in range(0, len(data), SECTOR)]
            for piece in pieces:
                if fate == "all" or (fate != "none" and generator.random() < share):
                    self.store(*piece)
                    stored += len(piece[1])
        total = sum(len(data) for _, data in self.pending)
        return f"{count} writes were not flushed, {stored} of their {total} bytes are kept ({fate})"


def receive(connection, count):
    data = bytearray()
    while len(data) < count:
        try:
            piece = connection.recv(count - len(data))
        except ConnectionResetError:
            piece = b""
        if not piece:
            raise Disconnected
        data += piece
    return bytes(data)


def negotiate(connection, size):
    connection.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
    receive(connection, 4)
    while True:
        _, option, length = struct.unpack(">8sII", receive(connection, 16))
        receive(connection, length)

        def reply(kind, data=b""):
            connection.sendall(struct.pack(">QIII", OPTION_REPLY, option, kind, len(data)) + data)

        if option in (OPTION_INFO, OPTION_GO):
            reply(REPLY_INFO, struct.pack(">HQH", 0, size, TRANSMISSION_FLAGS))
            reply(REPLY_ACK)
            if option == OPTION_GO:
                return
        elif option == OPTION_ABORT:
            reply(REPLY_ACK)
            raise Disconnected
        else:
            reply(REPLY_UNSUPPORTED)


def flush(connection, disk, generator):
    """Takes a while; nothing is flushed if the machine is killed meanwhile."""
    time.sleep(generator.random() * LONGEST_FLUSH)
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    if poll.poll(0):
        raise Disconnected
    disk.flush()


def serve(connection, disk, generator):
    """Until the machine disconnects in order."""
    while True:
        _, flags, command, handle, offset, length = struct.unpack(">IHHQQI", receive(connection, 28))
        data, error = b"", 0
        if command == DISCONNECT:
            return
        if command in (READ, WRITE) and offset + length > len(disk.contents):
            error = 22
        if command == WRITE:
            written = receive(connection, length)
            if not error:
                disk.write(offset, written)
                if flags & FORCE:
                    flush(connection, disk, generator)
        elif command == FLUSH:
            flush(connection, disk, generator)
        elif command == READ and not error:
            data = bytes(disk.contents[offset : offset + length])
        elif command != READ:
            error = 22
        connection.sendall(struct.pack(">IIQ", 0x67446698, error, handle) + data)


def main():
    path, image, seed = sys.argv[1:]
    disk = Disk(image)
    generator = random.Random(int(seed))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        print("ready", flush=True)
        connection, _ = listener.accept()
    try:
        negotiate(connection, len(disk.contents))
        serve(connection, disk, generator)
        disk.flush()
        print("clean shutdown", flush=True)
    except (Disconnected, BrokenPipeError, ConnectionResetError):
        print(disk.crash(generator), flush=True)


main()
