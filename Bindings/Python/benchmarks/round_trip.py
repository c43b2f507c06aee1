"""Measures Python's ways between two processes in one run, alternately: round trips of 64 B, and messages per second.

    python round_trip.py [--rounds 5] [--count 20000]

Both sides of a round trip poll, where the mechanism can. Each figure is the median of a round's round trips; the table has the median
and the least of all rounds, and the ratio to iceoryx2 round by round. On a machine that does other work too, compare ratios only.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List

SIZE = 64
PAYLOAD = bytes(range(SIZE))


class Blob(ctypes.Structure):
    """The payload for iceoryx2."""

    _fields_ = [("bytes", ctypes.c_uint8 * SIZE)]

    @staticmethod
    def type_name() -> str:
        return "Blob"


def swift_ipc_pair(is_first: bool, name: str, _: Any) -> Any:
    import swift_ipc as ipc

    schema = {"opaque": {"size": SIZE, "alignment": 8}}
    topics = [ipc.topic(f"{name}/{way}", schema=schema, writers="exclusive") for way in ("there", "back")]
    out, back = topics if is_first else reversed(topics)
    receive = back.subscribe(as_="bytes", spins=None).receive
    publish = out.publisher().publish
    return lambda: publish(PAYLOAD), receive


def pipe_pair(is_first: bool, name: str, ends: Any) -> Any:
    end = ends[0 if is_first else 1]
    poll, receive = end.poll, end.recv_bytes

    def receive_polling() -> Any:
        while not poll(0):
            pass
        return receive()

    return (lambda: end.send_bytes(PAYLOAD)), receive_polling


def zeromq_pair(is_first: bool, name: str, folder: Any) -> Any:
    import zmq

    socket = zmq.Context.instance().socket(zmq.PAIR)
    address = f"ipc://{folder}/zmq-{name.replace('/', '-')}"
    socket.bind(address) if is_first else socket.connect(address)

    def receive() -> Any:
        while True:
            try:
                return socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                pass

    return (lambda: socket.send(PAYLOAD)), receive


def iceoryx_pair(is_first: bool, name: str, _: Any) -> Any:
    import iceoryx2 as iox2

    iox2.set_log_level(iox2.LogLevel.Error)
    node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
    services = [
        node.service_builder(iox2.ServiceName.new(f"{name}/{way}")).publish_subscribe(Blob).open_or_create()
        for way in ("there", "back")
    ]
    out, back = services if is_first else reversed(services)
    subscriber = back.subscriber_builder().create()
    publisher = out.publisher_builder().create()
    blob = Blob.from_buffer_copy(PAYLOAD)
    loan, receive = publisher.loan_uninit, subscriber.receive

    def publish() -> None:
        loan().write_payload(blob).send()

    def receive_polling() -> Any:
        while True:
            sample = receive()
            if sample is not None:
                # As with the others, the message is looked at, and then given back.
                payload = sample.payload()
                sample.delete()
                return payload

    receive_polling.keep = (node, services, subscriber, publisher)  # type: ignore[attr-defined]
    return publish, receive_polling


PAIRS: Dict[str, Callable[..., Any]] = {
    "swift_ipc": swift_ipc_pair, "iceoryx2": iceoryx_pair, "Pipe": pipe_pair, "pyzmq": zeromq_pair,
}  # fmt: skip


def answer(kind: str, name: str, extra: Any, barrier: Any, count: int) -> None:
    send, receive = PAIRS[kind](False, name, extra)
    barrier.wait()
    for _ in range(count):
        receive()
        send()
    barrier.wait()


def round_trip(kind: str, number: int, count: int, folder: str) -> float:
    """The median of a round in microseconds."""
    context = multiprocessing.get_context("spawn")
    name = f"benchmark/{os.getpid()}/{kind}/{number}"
    extra: Any = multiprocessing.Pipe() if kind == "Pipe" else folder
    barrier = context.Barrier(2)
    send, receive = PAIRS[kind](True, name, extra)
    other = context.Process(target=answer, args=(kind, name, extra, barrier, count), daemon=True)
    other.start()
    barrier.wait()
    # The other side may not have its subscriber yet known to the publisher.
    time.sleep(0.05)
    times: List[int] = []
    clock = time.perf_counter_ns
    for _ in range(count):
        begin = clock()
        send()
        receive()
        times.append(clock() - begin)
    barrier.wait()
    other.join()
    return statistics.median(times) / 1000


def publish_batches(name: str, barrier: Any, total: int) -> None:
    import numpy
    import swift_ipc as ipc

    topic = ipc.topic(name)
    with topic.publisher() as publisher:
        batch = numpy.zeros(1000, topic.dtype)
        barrier.wait()
        for _ in range(total // len(batch)):
            publisher.publish_many(batch)
        barrier.wait()


def batches(number: int, total: int) -> float:
    """Messages a second, in millions, from another process into one array."""
    import numpy
    import swift_ipc as ipc

    dtype = numpy.dtype([("number", "u8"), ("price", "f8"), ("rest", "V48")])
    topic = ipc.topic(f"benchmark/{os.getpid()}/batch/{number}", dtype, writers="exclusive", capacity=1 << 22)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    with topic.subscribe() as subscription:
        other = context.Process(target=publish_batches, args=(topic.name, barrier, total), daemon=True)
        other.start()
        room = numpy.empty(10_000, topic.dtype)
        barrier.wait()
        begin = time.perf_counter()
        received = 0
        while received < total:
            received += len(subscription.receive_many(10_000, out=room))
        took = time.perf_counter() - begin
        barrier.wait()
        other.join()
    return total / took / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=20_000, help="round trips in a round")
    parser.add_argument("--messages", type=int, default=5_000_000, help="messages of a round by batches")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="ipc-benchmark-", dir="/dev/shm")
    os.environ["IPC_ROOT"] = folder
    kinds = []
    for kind, module in (("swift_ipc", "swift_ipc"), ("iceoryx2", "iceoryx2"), ("Pipe", "os"), ("pyzmq", "zmq")):
        try:
            __import__(module)
            kinds.append(kind)
        except ImportError:
            print(f"{kind} is not installed", file=sys.stderr)
    rounds: Dict[str, List[float]] = {kind: [] for kind in kinds}
    many: List[float] = []
    for number in range(arguments.rounds):
        for kind in kinds:
            count = arguments.count if kind in ("swift_ipc", "iceoryx2") else arguments.count // 4
            rounds[kind].append(round_trip(kind, number, count, folder))
        try:
            many.append(batches(number, arguments.messages))
        except ImportError:
            print("numpy is not installed", file=sys.stderr)
    print(f"round trip of {SIZE} B, polling, µs{'':8}median    least")
    for kind in kinds:
        print(f"{kind:32}{statistics.median(rounds[kind]):8.2f} {min(rounds[kind]):8.2f}")
    if "iceoryx2" in rounds:
        ratios = [own / other for own, other in zip(rounds["swift_ipc"], rounds["iceoryx2"])]
        print(f"swift_ipc / iceoryx2, by rounds: median {statistics.median(ratios):.2f}, {[round(r, 2) for r in ratios]}")
    if many:
        print(f"into NumPy by batches, millions of messages a second: median {statistics.median(many):.1f}, most {max(many):.1f}")
    __import__("shutil").rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
