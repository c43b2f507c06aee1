"""The five patterns within one process, and the rules of their objects."""

import asyncio
import dataclasses
import enum
import gc
import os
import re
import threading
import time
from typing import Optional

import pytest

import swift_ipc as ipc

numpy = pytest.importorskip("numpy")

QUOTE = numpy.dtype([("symbol", "u8"), ("price", "f8")])


class Side(enum.Enum):
    buy = ipc.case()
    sell = ipc.case()


@dataclasses.dataclass
class Order:
    number: ipc.u64
    side: Side
    price: Optional[float] = None
    note: ipc.Text[16] = ""


@pytest.fixture
def quotes(name):
    with ipc.topic(name, QUOTE, name="Quote", capacity=65536) as topic:
        yield topic


def test_topic_of_records(quotes):
    with quotes.subscribe() as subscription, quotes.publisher() as publisher:
        for message in ((7, 12.5), {"symbol": 7, "price": 12.5}, numpy.array([(7, 12.5)], QUOTE)[0]):
            publisher.publish(message)
            got = subscription.receive()
            assert isinstance(got, numpy.void) and got["symbol"] == 7 and got["price"] == 12.5
        publisher.publish(got.tobytes())
        publisher.publish(memoryview(got.tobytes()))
        first, second = subscription.receive(1), subscription.try_receive()
        assert first == second == got and first is not second
        assert subscription.try_receive() is None
        with pytest.raises(ipc.TimedOut):
            subscription.receive(0.01)
        with pytest.raises(TimeoutError):
            subscription.receive(0.25)


@pytest.mark.parametrize(
    "style, expected",
    [("dict", {"symbol": 7, "price": 12.5}), ("tuple", (7, 12.5)), ("bytes", b"\7" + bytes(13) + b"\x29\x40")],
)
def test_styles(quotes, style, expected):
    with quotes.subscribe(as_=style) as subscription, quotes.publisher() as publisher:
        publisher.publish((7, 12.5))
        assert subscription.receive(1) == expected


def test_existing_type_is_taken(quotes):
    with ipc.topic(quotes.name) as same:
        assert same.dtype == QUOTE and same.schema == quotes.schema
        with same.subscribe() as subscription, quotes.publisher() as publisher:
            publisher.publish((1, 2))
            assert subscription.receive(1)["price"] == 2


def test_batches(quotes):
    batch = numpy.zeros(1000, QUOTE)
    batch["symbol"] = range(1000)
    with quotes.subscribe() as subscription, quotes.publisher() as publisher:
        assert publisher.publish_many(batch) == 1000
        first = subscription.receive_many(600, timeout=1)
        out = numpy.empty(5000, QUOTE)
        second = subscription.receive_many(5000, out=out)
        assert second.base is not None and (numpy.concatenate([first, second]) == batch).all()
        with pytest.raises(ipc.TimedOut):
            subscription.receive_many(1, timeout=0)
        assert publisher.publish_many([(1, 2.0), {"symbol": 3, "price": 4}]) == 2
        assert subscription.receive_many(10, timeout=1)["price"].tolist() == [2, 4]
        # Full: what fits is published.
        total = publisher.publish_many(numpy.zeros(100_000, QUOTE), timeout=0.2)
        assert 500 < total < 100_000
        with pytest.raises(ipc.TimedOut):
            publisher.publish_many(batch, timeout=0)
        with pytest.raises(ipc.TimedOut):
            publisher.publish((1, 2), timeout=0.15)


def test_latest_and_event(name):
    with ipc.latest(name, float) as latest, latest.getter() as getter, latest.setter() as setter:
        with pytest.raises(ipc.NotFound):
            getter.get()
        assert getter.get(default=None) is None
        for value in (1.5, 2.5, 3.5):
            setter.set(value)
        assert getter.next(1) == 3.5 and getter.get() == 3.5
        with pytest.raises(ipc.TimedOut):
            getter.next(0.01)
        with latest.observe() as observer:
            assert observer.get() == 3.5
    with ipc.event(name + "/event") as event:
        with pytest.raises(ipc.TimedOut):
            event.wait(0.01)
        event.notify(2)
        event.wait(1)
        event.wait(1)
        with event.waiter() as waiter:
            done = threading.Event()
            thread = threading.Thread(target=lambda: (waiter.wait(60), done.set()))
            thread.start()
            while not done.wait(0.02):
                event.notify_all()
            thread.join()


def test_queue(name):
    with ipc.queue(name, Order, maximum_attempts=3) as queue:
        producer = queue.producer()
        with pytest.raises(ipc.NotReady):
            producer.send(Order(1, Side.buy), requires_worker=True)
        worker = queue.worker()
        producer.send(Order(1, Side.sell, 2.5, "fast"))
        with worker.take(1) as job:
            assert job.message == Order(1, Side.sell, 2.5, "fast") and job.attempt == 1
            assert len(job.bytes) == queue._codec.size
        assert job.ended
        with pytest.raises(ipc.InvalidArgument):
            job.acknowledge()
        assert worker.try_take() is None
        # Rejected by an exception.
        producer.send(Order(2, Side.buy))
        with pytest.raises(ZeroDivisionError):
            with worker.take(1):
                1 / 0
        job = worker.take(5)
        assert job.attempt == 2
        job.give_back()
        job = worker.take(5)
        assert job.attempt == 2
        # One that is dropped is rejected.
        del job
        gc.collect()
        job = worker.take(5)
        assert job.attempt == 3
        job.acknowledge()
        producer.send(Order(3, Side.buy), delay=0.3)
        begin = time.monotonic()
        job = next(worker.jobs())
        assert time.monotonic() - begin > 0.2
        job.reject(delay=0.1)
        worker.take(5).acknowledge()
        producer.close()
        worker.close()


def test_queue_of_any_style(name):
    with ipc.queue(name, Order) as queue, ipc.queue(name) as other:
        with queue.producer() as producer, other.worker(as_=Order) as worker:
            producer.send({"number": 9, "side": "buy", "note": ""})
            with worker.take(1) as job:
                assert job.message == Order(9, Side.buy, None, "")
        with queue.producer() as producer, other.worker() as worker:
            producer.send((9, Side.sell, 1.0, "x"))
            with worker.take(1) as job:
                assert job.message == {"number": 9, "side": "sell", "price": 1.0, "note": "x"}
        with pytest.raises(ipc.WrongType):
            queue.worker(as_=int)


def test_service(name):
    class Refusal(enum.Enum):
        odd = ipc.case()
        zero = ipc.case()

    with ipc.service(name, ipc.u64, ipc.u64, Refusal) as service:
        client = service.client()
        with pytest.raises(ipc.NotReady):
            client.call(8, requires_server=True)
        with pytest.raises(ipc.TimedOut):
            client.call(8, timeout=0.05)

        def half(number):
            if number == 3:
                raise ZeroDivisionError
            if number % 2:
                raise ipc.ServiceFailure(Refusal.odd)
            return number // 2

        def serve():
            with service.server() as server:
                server.serve(half, count=3)
                with pytest.raises(ZeroDivisionError):
                    server.serve(half)

        thread = threading.Thread(target=serve)
        thread.start()
        assert client.call(8, timeout=30) == 4
        assert client.call(10) == 5
        with pytest.raises(ipc.ServiceFailure) as failure:
            client.call(9, timeout=30)
        assert failure.value.value is Refusal.odd
        with pytest.raises(ipc.BrokenPipe):
            client.call(3, timeout=30)
        thread.join()
        client.close()


def test_service_of_bytes(name):
    with ipc.service(name, bytes) as service, service.client() as client:
        def serve():
            with service.server() as server:
                server.serve(lambda request: request * 2, count=3)

        thread = threading.Thread(target=serve)
        thread.start()
        assert client.call(b"ab") == b"abab"
        assert client.call(b"x" * 20_000, reply_limit=50_000) == b"x" * 40_000
        with pytest.raises(ipc.MessageTooLarge):
            client.call(b"x" * 10_000, timeout=10)
        thread.join()


def test_bytes_of_any_size(name):
    with ipc.topic(name, bytes, capacity=1 << 20) as topic:
        with topic.subscribe() as subscription, topic.publisher() as publisher:
            for size in (0, 1, 5000, 100_000, 3):
                publisher.publish(os.urandom(size))
                assert len(subscription.receive(1)) == size
            publisher.publish(numpy.arange(3, dtype="u1"))
            publisher.publish(bytearray(b"abc"))
            assert subscription.receive_many(10) == [b"\0\1\2", b"abc"]
            with pytest.raises(ipc.InvalidArgument):
                publisher.publish("text")
            with pytest.raises(ipc.MessageTooLarge):
                publisher.publish(bytes(1 << 22))


def test_start_and_observe(quotes):
    with quotes.subscribe(), quotes.publisher() as publisher:
        for number in range(5):
            publisher.publish((number, 0))
        with quotes.subscribe("oldest") as all_, quotes.subscribe(("last", 2)) as two, quotes.observe("oldest") as seen:
            assert all_.receive(1)["symbol"] == 0
            assert two.receive(1)["symbol"] == 3
            assert seen.receive(1)["symbol"] == 0
        for wrong in ("first", ("last", -1), 3):
            with pytest.raises(ipc.InvalidArgument):
                quotes.subscribe(wrong)


def test_missed(name):
    with ipc.topic(name, QUOTE, overflow="overwrite", capacity=4096) as topic:
        with topic.subscribe() as subscription, topic.publisher() as publisher:
            for number in range(1000):
                publisher.publish((number, 0))
            assert subscription.receive(1)["symbol"] > 0 and subscription.missed() > 0
            with subscription.borrow(1) as view:
                assert len(view) == 16


def test_durable(name):
    with ipc.topic(name, bytes, durability="synced_when_asked", lifetime="kept") as topic:
        with topic.publisher() as publisher:
            publisher.publish(b"kept")
            publisher.sync(30)
        with topic.subscribe("oldest") as subscription:
            assert subscription.receive(1) == b"kept"
        topic.remove()
    with ipc.topic(name + "/plain", bytes) as topic, topic.publisher() as publisher:
        with pytest.raises(ipc.Unsupported):
            publisher.sync(1)


# ---- In place ----


def test_borrow(quotes):
    with quotes.subscribe() as subscription, quotes.publisher() as publisher:
        publisher.publish((7, 12.5))
        publisher.publish((8, 1.5))
        with subscription.borrow(1) as view:
            assert view.readonly and numpy.frombuffer(view, QUOTE)[0]["symbol"] == 7
            with pytest.raises(TypeError):
                view[0] = 1
            with pytest.raises(ipc.InvalidArgument, match="borrowed"):
                subscription.receive(0)
        with pytest.raises(ValueError):
            view[0]
        assert subscription.receive(1)["symbol"] == 8


@pytest.mark.parametrize("keep", [lambda view: numpy.frombuffer(view, QUOTE), lambda view: view[3:], memoryview])
def test_borrow_that_is_kept(quotes, keep):
    with quotes.subscribe() as subscription, quotes.publisher() as publisher:
        publisher.publish((7, 12.5))
        publisher.publish((8, 1.5))
        with pytest.raises(BufferError, match="still uses"):
            with subscription.borrow(1) as view:
                kept = keep(view)
        before = bytes(kept)
        with pytest.raises(BufferError):
            subscription.receive(1)
        with pytest.raises(BufferError):
            subscription.close()
        assert bytes(kept) == before
        del kept
        if keep is memoryview:
            del view
        gc.collect()
        assert subscription.receive(1)["symbol"] == 8


def test_kept_bytes_outlive_everything(name):
    topic = ipc.topic(name, QUOTE)
    subscription = topic.subscribe()
    topic.publisher().publish((7, 12.5))
    with pytest.raises(BufferError):
        with subscription.borrow(1) as view:
            kept = numpy.frombuffer(view, QUOTE)
    del topic, subscription, view
    gc.collect()
    assert kept[0]["price"] == 12.5
    del kept


def test_reserve(quotes):
    with quotes.subscribe() as subscription, quotes.publisher() as publisher:
        with publisher.reserve() as room:
            numpy.frombuffer(room, QUOTE)["symbol"] = 5
        assert subscription.receive(1)["symbol"] == 5
        with pytest.raises(ValueError):
            room[0] = 1
        with pytest.raises(ZeroDivisionError):
            with publisher.reserve():
                1 / 0
        with pytest.raises(BufferError):
            with publisher.reserve() as room:
                kept = numpy.frombuffer(room, QUOTE)
        with pytest.raises(ipc.InvalidArgument):
            publisher.publish((1, 1))
        del kept
        publisher.publish((6, 1))
        assert subscription.receive(1)["symbol"] == 6


def test_reserve_less(name):
    with ipc.topic(name, bytes) as topic, topic.subscribe() as subscription, topic.publisher() as publisher:
        reservation = publisher.reserve(100)
        with reservation as room:
            room[:5] = b"hello"
            reservation.count = 5
        assert subscription.receive(1) == b"hello"
        reservation = publisher.reserve(10)
        with pytest.raises(ipc.InvalidArgument):
            with reservation:
                reservation.count = 11
        publisher.publish(b"next")
        assert subscription.receive(1) == b"next"
        with pytest.raises(ipc.InvalidArgument):
            publisher.reserve()


# ---- Errors ----


def test_errors(quotes, name):
    with pytest.raises(ipc.NotFound):
        ipc.topic("test/none", timeout=0)
    with pytest.raises(ipc.TimedOut):
        ipc.topic("test/none", timeout=0.02)
    with pytest.raises(ipc.TimedOut):
        ipc.topic("test/none", QUOTE, create=False, timeout=0.15)
    with pytest.raises(ipc.WrongType, match="queue"):
        ipc.queue(quotes.name)
    with pytest.raises(ipc.WrongType, match="Quote"):
        ipc.topic(quotes.name, QUOTE, name="Other")
    with pytest.raises(ipc.WrongType, match="price"):
        ipc.topic(quotes.name, numpy.dtype([("symbol", "u8"), ("cost", "f8")]), name="Quote", create=False, timeout=1)
    with pytest.raises(ipc.IncompatibleOptions):
        ipc.topic(quotes.name, capacity=1 << 22, dtype=QUOTE, name="Quote")
    for wrong in ("../x", "", "\0", "a\ud800"):
        with pytest.raises(ValueError):
            ipc.topic(wrong, bytes)
    for options in ({"writers": "many"}, {"capacity": -1}, {"durability": 7}, {"permissions": "x"}):
        with pytest.raises(ipc.InvalidArgument):
            ipc.topic("test/options", bytes, **options)
    with pytest.raises(TypeError):
        ipc.topic("test/options", bytes, colour="red")
    with quotes.publisher() as publisher:
        for wrong in (b"short", (1,), (1, "x"), {"symbol": 1}, {"symbol": 1, "price": 1, "more": 1}, (-1, 1.0), 5):
            with pytest.raises(ipc.InvalidArgument):
                publisher.publish(wrong)
        with pytest.raises(TypeError):
            publisher.publish((1, 1), timeout="soon")
    try:
        ipc.topic("test/none", timeout=0)
    except ipc.IPCError as error:
        assert error.code == 2 and str(error)


def test_removed(quotes):
    with quotes.subscribe() as subscription, quotes.publisher() as publisher:
        quotes.remove()
        with pytest.raises(ipc.Removed):
            subscription.receive(10)
        with pytest.raises(ipc.NotFound):
            ipc.remove(quotes.name)
        assert publisher


def test_use_after_close(quotes):
    subscription, publisher = quotes.subscribe(), quotes.publisher()
    for closed in (subscription, publisher, quotes):
        closed.close()
        closed.close()
        assert closed.closed
    for call in (
        lambda: subscription.receive(1), subscription.try_receive, lambda: subscription.receive_many(5), subscription.missed,
        lambda: subscription.borrow().__enter__(), lambda: publisher.publish((1, 1)), lambda: publisher.publish_many([(1, 1)]),
        lambda: publisher.reserve().__enter__(), quotes.subscribe, quotes.publisher, lambda: quotes.schema,
        lambda: quotes.to_json((1, 1)), publisher.sync,
    ):  # fmt: skip
        with pytest.raises(ipc.InvalidArgument, match="closed"):
            call()
    assert list(subscription) == []


def test_jobs_outlive_their_worker(name):
    queue = ipc.queue(name, bytes)
    queue.producer().send(b"x")
    worker = queue.worker()
    job = worker.take(1)
    worker.close()
    queue.close()
    assert job.bytes == b"x"
    job.acknowledge()
    with pytest.raises(ipc.InvalidArgument):
        worker.take(1)


def test_one_thread_at_a_time(quotes):
    with quotes.subscribe() as subscription:
        thread = threading.Thread(target=lambda: pytest.raises(ipc.InvalidArgument, subscription.receive))
        thread.start()
        time.sleep(0.05)
        while True:
            try:
                subscription.try_receive()
            except ipc.InvalidArgument as error:
                assert "another thread" in str(error)
                break
        begin = time.monotonic()
        subscription.close()
        thread.join()
        assert time.monotonic() - begin < 5


def test_threads_with_readers_of_their_own(quotes):
    sums = []

    def receive(subscription):
        with subscription:
            sums.append(sum(int(subscription.receive(60)["symbol"]) for _ in range(2000)))

    threads = [threading.Thread(target=receive, args=(quotes.subscribe(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    with quotes.publisher() as publisher:
        for number in range(2000):
            publisher.publish((number, 0))
    for thread in threads:
        thread.join()
    assert sums == [1999000] * 3


def test_dropped_readers_leave(quotes):
    with quotes.subscribe() as subscription:
        for _ in range(300):
            quotes.subscribe()
            quotes.publisher()
        assert len(quotes.describe()["participants"]) == 1
        assert subscription.try_receive() is None


WAITS = {
    "receive": lambda root: ipc.topic(root, QUOTE).subscribe().receive,
    "receive_many": lambda root: (lambda subscription: lambda timeout: subscription.receive_many(5, timeout))(
        ipc.topic(root, QUOTE).subscribe()),
    "borrow": lambda root: (lambda subscription: lambda timeout: subscription.borrow(timeout).__enter__())(
        ipc.topic(root, QUOTE).subscribe()),
    "take": lambda root: ipc.queue(root, bytes).worker().take,
    "serve": lambda root: ipc.service(root, bytes).server().take,
    "next": lambda root: ipc.latest(root, int).getter().next,
    "wait": lambda root: ipc.event(root).waiter().wait,
    "call": lambda root: (lambda client: lambda timeout: client.call(b"", timeout=timeout))(
        ipc.service(root, bytes).client()),
}  # fmt: skip


@pytest.mark.parametrize("what", WAITS)
@pytest.mark.parametrize("timeout", [None, 30])
def test_removed_while_it_waits(name, what, timeout):
    """The kind of an error is not lost: the library may tell it only once."""
    wait = WAITS[what](name)
    timer = threading.Timer(0.15, ipc.remove, (name,))
    timer.start()
    begin = time.monotonic()
    with pytest.raises(ipc.Removed, match=name):
        wait(timeout)
    assert time.monotonic() - begin < 10
    timer.join()


@pytest.mark.parametrize("what", ["try_receive", "try_take", "receive_async", "take_async", "wait_async"])
def test_removed_is_seen_by_attempts(name, what):
    opening = {
        "receive": lambda: ipc.topic(name, bytes).subscribe(), "take": lambda: ipc.queue(name, bytes).worker(),
        "wait": lambda: ipc.event(name).waiter(),
    }  # fmt: skip
    reader = opening[what.replace("try_", "").replace("_async", "")]()
    ipc.remove(name)
    end = time.monotonic() + 10
    with pytest.raises(ipc.Removed, match=name):
        while time.monotonic() < end:
            if what.endswith("_async"):
                asyncio.run(getattr(reader, what)(10))
            else:
                getattr(reader, what)()


def test_notice_to_all_between_two_parts_of_a_wait(name, monkeypatch):
    from swift_ipc import _readers

    with ipc.event(name) as event, event.waiter() as waiter, event.notifier() as notifier:
        wait_since, parts = _readers._wait_since, []

        def wait_then_notify(*arguments):
            code = wait_since(*arguments)
            if code == ipc.TimedOut.code:
                parts.append(code)
                notifier.notify_all()
            return code

        monkeypatch.setattr(_readers, "_wait_since", wait_then_notify)
        waiter.wait(20)
        event.wait(20)
        assert len(parts) == 2
        monkeypatch.setattr(_readers, "_wait_since", wait_since)
        # One that came before the wait ends none.
        with pytest.raises(ipc.TimedOut):
            waiter.wait(0.25)
        assert not waiter.try_wait()


def test_notice_to_all_before_a_task_is_woken(name, monkeypatch):
    from swift_ipc import _loop

    with ipc.event(name) as event, event.waiter() as waiter, event.notifier() as notifier:
        arm = _loop._Descriptor.arm
        monkeypatch.setattr(_loop._Descriptor, "arm", lambda self, reader: (notifier.notify_all(), arm(self, reader))[1])
        asyncio.run(waiter.wait_async(20))
        monkeypatch.setattr(_loop._Descriptor, "arm", arm)

        async def all_of(count):
            tasks = [asyncio.ensure_future(waiter.wait_async(20)) for _ in range(count)]
            await asyncio.sleep(0.05)
            notifier.notify_all()
            await asyncio.gather(*tasks)
            with pytest.raises(ipc.TimedOut):
                await waiter.wait_async(0.1)

        asyncio.run(all_of(5))


# ---- Defaults, and the words of errors ----


def test_defaults(name):
    """As those of Swift: see Documentation/channels.md."""
    for opened, write in ((ipc.topic(name, bytes), "publisher"), (ipc.latest(name + "/latest", int), "setter")):
        with opened, getattr(opened, write)():
            with pytest.raises(ipc.AddressInUse, match="writers=\"shared\""):
                getattr(opened, write)()
    with ipc.topic(name + "/shared", bytes, writers="shared") as shared, shared.publisher(), shared.publisher():
        # What is not given is not compared.
        ipc.topic(name + "/shared", bytes).close()
        with pytest.raises(ipc.IncompatibleOptions):
            ipc.topic(name + "/shared", bytes, writers="exclusive")
    for service in (ipc.service(name + "/service", bytes), ipc.service(name + "/service", bytes, bytes)):
        assert service.schema["failure"] == {"struct": {"name": "CommandFailure", "size": 4, "alignment": 4, "fields": [
            {"name": "code", "offset": 0, "type": "i32"}]}}  # fmt: skip

    def fail(request):
        raise ipc.ServiceFailure(ipc.CommandFailure(3))

    with service.client() as client, service.server() as server:
        thread = threading.Thread(target=server.serve, args=(fail,), kwargs={"count": 1})
        thread.start()
        with pytest.raises(ipc.ServiceFailure) as failure:
            client.call(b"", timeout=30)
        assert failure.value.value == ipc.CommandFailure(3)
        thread.join()


def test_options_without_effect(name, quotes):
    with pytest.raises(ipc.InvalidArgument, match="capacity"):
        ipc.topic(quotes.name, capacity=1 << 20)
    with ipc.service(name + "/service", bytes) as service, service.client() as client:
        for wrong in ({"retries": -1}, {"retries": 1000}, {"reply_limit": -1}, {"reply_limit": 1 << 40}, {"retries": 1.5}):
            with pytest.raises(ipc.InvalidArgument, match=next(iter(wrong))):
                client.call(b"", **wrong)


#: What Swift and C call things.
FOREIGN = re.compile(r"\b(?!swift-ipc)[a-z]+[A-Z]\w*|ipc_|NULL|\bnil\b|\"channel\"|\bU?Int\d|Double|Inline|deadline|\.oldest|: false|work queue")


def test_errors_have_the_words_of_python(name, quotes):
    """Errors that advise what to do name the arguments and the types of this package."""
    subscription, publisher = quotes.subscribe(), quotes.publisher()
    small = ipc.topic(name + "/small", bytes, writers="shared", maximum_readers=1, maximum_writers=1)
    kept = small.subscribe(), small.publisher()
    latest, queue, service = ipc.latest(name + "/l", ipc.u8), ipc.queue(name + "/q", bytes), ipc.service(name + "/s", bytes)
    getter, client, event = latest.getter(), service.client(), ipc.event(name + "/e")

    def fill():
        while True:
            kept[1].publish(bytes(10_000), timeout=0)

    fields = [("symbol", "u4"), ("price", "f8")]
    calls = {
        "nothing is there": lambda: subscription.receive(0), "allow more time": lambda: subscription.receive(0.001),
        "now": lambda: subscription.receive_many(5, 0), "time-out": lambda: event.wait(0.001),
        "by next": getter.get, "maximum_readers": small.subscribe, "maximum_writers": small.publisher,
        "larger capacity": lambda: kept[1].publish(bytes(1 << 24)), "no room": fill,
        'writers="shared"': quotes.publisher, "u64, and u32": lambda: ipc.topic(quotes.name, numpy.dtype(fields), name="Quote"),
        "maximum_attempts": lambda: ipc.queue(name + "/x", bytes, maximum_attempts=1 << 20),
        "maximum_waiting": lambda: ipc.service(name + "/x", bytes, maximum_waiting=1 << 31),
        "subscriber_permissions": lambda: ipc.topic(name + "/x", bytes, subscriber_permissions=0o020),
        "0777": lambda: ipc.topic(name + "/x", bytes, permissions=0o777),
        'overflow="block"': lambda: ipc.queue(name + "/x", bytes, overflow="overwrite"),
        'lifetime="kept"': lambda: ipc.topic(name + "/x", bytes, durability="synced_when_asked", lifetime="while_used"),
        "durability none": lambda: ipc.topic(quotes.name, QUOTE, name="Quote", durability=("synced_every", 5)),
        "requires_worker=False": lambda: queue.producer().send(b"", requires_worker=True),
        "requires_server=False": lambda: client.call(b"", requires_server=True),
        "number of u64": lambda: quotes.from_json('{"symbol":-1,"price":0}'),
        "expected a queue": lambda: ipc.queue(quotes.name, bytes),
    }  # fmt: skip
    for expected, call in calls.items():
        with pytest.raises(ipc.IPCError) as error:
            call()
        text = str(error.value)
        assert expected in text and not FOREIGN.search(text), text
    assert publisher


def test_types_in_the_words_of_python():
    from swift_ipc._errors import in_python

    text = 'open "x": a is InlineList<Optional<UInt16>, 3>, and InlineArray<2, InlineString<5>> in this program'
    assert in_python(4, text) == 'open "x": a is List[Optional[u16], 3], and Array[Text[5], 2] in this program'
    # A field that is called like an option.
    assert "maximumReaders" in in_python(4, 'open "x": maximumReaders is Double, and Float in this program')


def test_writers_see_that_a_channel_was_removed(name):
    """One more call may succeed: see Documentation/guarantees.md."""
    opened = {
        "publish": lambda n: (ipc.topic(n, ipc.u64), lambda c: (lambda w: lambda: w.publish(1))(c.publisher())),
        "publish_many": lambda n: (ipc.topic(n, ipc.u64), lambda c: (lambda w: lambda: w.publish_many([1]))(c.publisher())),
        "send": lambda n: (ipc.queue(n, ipc.u64), lambda c: (lambda w: lambda: w.send(1))(c.producer())),
        "set": lambda n: (ipc.latest(n, ipc.u64), lambda c: (lambda w: lambda: w.set(1))(c.setter())),
    }  # fmt: skip
    for what, opening in opened.items():
        channel, write_of = opening(f"{name}/{what}")
        write = write_of(channel)
        write()
        channel.remove()
        with pytest.raises(ipc.Removed):
            write()
            write()
