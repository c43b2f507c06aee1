"""A reader and a writer of a topic in Python, by Documentation/log-format.md alone.

    log_peer.py read FOLDER COUNT     prints the payloads of the next COUNT messages, a line each
    log_peer.py write FOLDER TEXT...  publishes each TEXT

Python has no atomic compare-and-swap, so it writes only where it is the exclusive writer. Its loads and stores of aligned
words are whole, and the system calls in between order them.
"""
import ctypes, fcntl, mmap, os, struct, sys, time

KEY, CAPACITY, READERS, WRITERS, FLAGS = 16, 24, 32, 36, 40
TAIL, FRONTIER, READER_WAKES, WRITER_WAKES = 1024, 1152, 1296, 1328
USED_READERS, USED_WRITERS, JOINS, SLOTS, SLOT, NONE = 1792, 1796, 1800, 4096, 128, 2**64 - 1
SYS_FUTEX, FUTEX_WAKE = {"x86_64": 202, "aarch64": 98}[os.uname().machine], 1
libc = ctypes.CDLL(None, use_errno=True)


class Channel:
    def __init__(self, folder):
        self.folder = folder
        self.locks = open(folder + "/locks", "r+b", buffering=0)
        with open(folder + "/control", "r+b", buffering=0) as control:
            self.control = mmap.mmap(control.fileno(), 0)
        assert self.control[:8] == b"SWIFTIPC" and self.half(8) == 8, "not version 8"
        self.key, self.capacity = self.word(KEY), self.word(CAPACITY)
        with open(folder + "/log", "r+b", buffering=0) as log:
            self.log = mmap.mmap(log.fileno(), self.capacity)

    def word(self, offset):
        return ctypes.c_uint64.from_buffer(self.control, offset).value

    def half(self, offset):
        return ctypes.c_uint32.from_buffer(self.control, offset).value

    def set_word(self, offset, value):
        ctypes.c_uint64.from_buffer(self.control, offset).value = value

    def set_half(self, offset, value):
        ctypes.c_uint32.from_buffer(self.control, offset).value = value

    def stamp(self, position):
        return ctypes.c_uint64.from_buffer(self.log, position % self.capacity)

    def copy(self, position, count):
        start = position % self.capacity
        first = self.log[start : min(start + count, self.capacity)]
        return first + self.log[: count - len(first)]

    def put(self, position, data):
        start = position % self.capacity
        room = self.capacity - start
        self.log[start : start + len(data[:room])] = data[:room]
        self.log[: len(data) - len(data[:room])] = data[room:]

    def lock(self, byte, kind=fcntl.F_WRLCK):
        data = struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0)
        fcntl.fcntl(self.locks, 37, data)  # F_OFD_SETLK

    def join(self, is_reader):
        while True:
            try:
                self.lock(0)
                break
            except OSError:
                time.sleep(0.0002)
        readers = self.half(READERS)
        for slot in range(readers if is_reader else 1):
            offset = SLOTS + SLOT * (slot if is_reader else readers + slot)
            state = offset + (8 if is_reader else 24)
            try:
                # An exclusive writer's slot with a free lock is a dead one's, with nothing in it to recover.
                if self.half(state) == 0 or not is_reader:
                    self.lock((0x10000 if is_reader else 0x20000) + slot)
                    self.set_half(state, 1)
                    self.set_half(state + 4, os.getpid())
                    used = USED_READERS if is_reader else USED_WRITERS
                    self.set_half(used, max(self.half(used), slot + 1))
                    namespace = os.stat("/proc/self/ns/pid").st_ino
                    self.set_half(offset + (24 if is_reader else 32), namespace % 2**32)
                    self.set_half(JOINS, self.half(JOINS) + 1)
                    self.wake(True)
                    self.wake(False)
                    return offset
            except OSError:
                pass
        sys.exit("no free slot")

    def leave_gate(self):
        self.lock(0, fcntl.F_UNLCK)

    def wake(self, readers_sleep):
        # Without atomic additions: count, wake and ring every time, and leave the counts of sleepers to others.
        wakes = READER_WAKES if readers_sleep else WRITER_WAKES
        self.set_half(wakes, (self.half(wakes) + 1) % 2**32)
        address = ctypes.addressof(ctypes.c_uint32.from_buffer(self.control, wakes))
        libc.syscall(SYS_FUTEX, ctypes.c_void_p(address), FUTEX_WAKE, 2**31 - 1, 0, 0, 0)
        first = SLOTS if readers_sleep else SLOTS + SLOT * self.half(READERS)
        for slot in range(self.half(USED_READERS if readers_sleep else USED_WRITERS)):
            word = self.word(first + SLOT * slot + (16 if readers_sleep else 40))
            try:
                bell = os.open(f"{self.folder}/../.wake-{word >> 32:08x}", os.O_WRONLY | os.O_NONBLOCK) if word else -1
            except OSError:
                continue  # its owner is no more
            if bell >= 0:
                os.write(bell, word.to_bytes(8, sys.byteorder))
                os.close(bell)

    def frames(self, position):
        while self.stamp(position).value == position ^ self.key:
            length, kind, _, _, units = struct.unpack("=IIQII", self.copy(position + 8, 24))
            yield position, length, kind, units
            position += units * 64

    def end(self):
        position, sequence = self.word(TAIL), None
        for start, _, _, units in self.frames(position):
            position = start + units * 64
            sequence = struct.unpack("=Q", self.copy(start + 16, 8))[0] + 1
        return position, sequence


def read(channel, count):
    slot = channel.join(True)
    channel.set_word(slot, 0)
    position, _ = channel.end()
    channel.set_word(slot, position)
    channel.leave_gate()
    channel.wake(False)  # those that found no room while the cursor was at the beginning
    print("ready", flush=True)
    while count > 0:
        for start, length, kind, units in channel.frames(position):
            if length + 32 > units * 64 or units * 64 > channel.capacity // 2:
                sys.exit("corrupted")
            if kind in (1, 3) and count > 0:
                print(channel.copy(start + 32, length).decode(), flush=True)
                count -= 1
            position = start + units * 64
            channel.set_word(slot, position)
            channel.wake(False)
        time.sleep(0.0001)


def write(channel, texts):
    if channel.half(FLAGS) & 1:
        sys.exit("this writer takes part in channels with an exclusive writer only")
    slot = channel.join(False)
    position, sequence = channel.end()
    sequence = channel.word(slot + 16) if sequence is None else sequence
    channel.leave_gate()
    for text in texts:
        data = text.encode()
        units = (len(data) + 95) // 64
        end = position + units * 64
        channel.set_word(FRONTIER, max(channel.word(FRONTIER), end))
        while min(channel.word(SLOTS + SLOT * i) for i in range(channel.half(READERS))) + channel.capacity < end:
            time.sleep(0.0001)
        channel.put(position + 8, struct.pack("=IIQII", len(data), 1, sequence, 0, units) + data)
        channel.stamp(position).value = position ^ channel.key
        position, sequence = end, sequence + 1
        channel.wake(True)
    channel.set_word(slot + 16, sequence)
    channel.set_word(TAIL, position)


if __name__ == "__main__":
    role, folder, *rest = sys.argv[1:]
    if role == "read":
        read(Channel(folder), int(rest[0]))
    else:
        write(Channel(folder), rest)
