"""Other processes: of Python and C, killed in the middle, forked, interrupted; and event loops."""

import asyncio
import gc
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

import swift_ipc as ipc

RECORD = {"struct": {"name": "Pair", "size": 16, "alignment": 8, "fields": [
    {"name": "number", "offset": 0, "type": "u64"}, {"name": "square", "offset": 8, "type": "u64"}]}}  # fmt: skip
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def finish(child, limit=50):
    out, err = child.communicate(timeout=limit)
    child.errors = err
    assert child.returncode == 0, err
    return out


# ---- Peers ----


def test_topic_between_processes(name, peer):
    with ipc.topic(name, schema=RECORD) as topic, topic.subscribe(as_="tuple") as subscription:
        child = peer(
            """
            with ipc.topic(sys.argv[1]).publisher() as publisher:
                for number in range(10_000):
                    publisher.publish((number, number * number))
            """, name)  # fmt: skip
        for number in range(10_000):
            assert subscription.receive(50) == (number, number * number)
        finish(child)


def test_service_between_processes(name, peer):
    with ipc.service(name, ipc.u64, ipc.u64, bytes) as service, service.client() as client:
        child = peer(
            """
            def square(number):
                if number == 13:
                    raise ipc.ServiceFailure(b"unlucky")
                return number * number
            with ipc.service(sys.argv[1]).server() as server:
                server.serve(square, count=1001)
            """, name)  # fmt: skip
        for number in range(1000):
            if number == 13:
                with pytest.raises(ipc.ServiceFailure) as failure:
                    client.call(number, timeout=50)
                assert failure.value.value == b"unlucky"
            else:
                assert client.call(number, timeout=50) == number * number
        assert client.call(7) == 49
        finish(child)


def test_killed_publishers(name, peer):
    """What arrives is whole and in order, whenever its publisher is killed."""
    rng = random.Random(1)
    with ipc.topic(name, schema=RECORD) as topic, topic.subscribe(as_="tuple") as subscription:
        for _ in range(6):
            child = peer(
                """
                with ipc.topic(sys.argv[1]).publisher() as publisher:
                    number = 0
                    while True:
                        with publisher.reserve() as room:
                            numbers = room.cast("Q")
                            numbers[0], numbers[1] = number, number * number
                            numbers.release()
                        number += 1
                """, name)  # fmt: skip
            expected, end = 0, None
            while True:
                message = subscription.receive(50) if end is None else subscription.try_receive()
                if message is None:
                    break
                assert message == (expected, expected * expected)
                expected += 1
                if expected == 100:
                    time.sleep(rng.uniform(0, 0.02))
                    child.kill()
                    child.wait()
                    end = expected
        # And the topic goes on.
        with topic.publisher() as publisher:
            publisher.publish((1, 1))
            assert subscription.receive(10) == (1, 1)


def test_killed_workers(name, peer):
    """No job is lost, whenever its worker is killed, and each is acknowledged once."""
    rng = random.Random(2)
    total = 400
    with ipc.queue(name, ipc.u64, maximum_attempts=100) as queue, ipc.queue(name + "/done", ipc.u64) as done:
        producer, worker = queue.producer(), done.worker()
        for number in range(total):
            producer.send(number)
        code = """
            worker = ipc.queue(sys.argv[1]).worker()
            done = ipc.queue(sys.argv[1] + "/done").producer()
            for job in worker.jobs():
                done.send(job.message)
                job.acknowledge()
        """
        children = [peer(code, name) for _ in range(2)]
        seen = []
        deadline = time.monotonic() + 50
        while len(set(seen)) < total and time.monotonic() < deadline:
            job = worker.take(50)
            seen.append(job.message)
            job.acknowledge()
            if len(seen) % 60 == 0:
                index = rng.randrange(2)
                children[index].kill()
                children[index].wait()
                children[index] = peer(code, name)
        assert set(seen) == set(range(total))
        # At most the job in progress of each that was killed comes twice.
        assert len(seen) <= total + 8


def test_killed_server(name, peer):
    with ipc.service(name, bytes, bytes) as service, service.client() as client:
        child = peer(
            """
            import os, signal
            server = ipc.service(sys.argv[1]).server()
            call = server.take()
            os.kill(os.getpid(), signal.SIGKILL)
            """, name)  # fmt: skip
        with pytest.raises(ipc.BrokenPipe):
            client.call(b"x", timeout=50)
        child.wait()


def compiled(tmp_path, example):
    library = os.environ.get("SWIFT_IPC_LIBRARY", "")
    folder = os.path.dirname(library)
    source = os.path.join(PACKAGE, "..", "C", "examples", example + ".c")
    if not os.path.exists(os.path.join(folder, "ipc.h")) or not shutil.which("gcc") or not os.path.exists(source):
        pytest.skip("there is no ipc.h beside the library, no gcc, or no example")
    program = str(tmp_path / example)
    subprocess.run(["gcc", source, "-I", folder, "-o", program, library, f"-Wl,-rpath,{folder}"], check=True)
    return program


@pytest.fixture
def own_root(tmp_path, monkeypatch):
    root = f"{os.environ['IPC_ROOT']}-{os.getpid()}-c"
    monkeypatch.setenv("IPC_ROOT", root)
    yield root
    shutil.rmtree(root, ignore_errors=True)


def test_c_publishes(tmp_path, own_root):
    program = compiled(tmp_path, "topic")
    topic = ipc.topic("market/quotes", schema={"struct": {"name": "Quote", "size": 16, "alignment": 8, "fields": [
        {"name": "symbol", "offset": 0, "type": "u32"}, {"name": "price", "offset": 8, "type": "f64"}]}}, root=own_root)  # fmt: skip
    with topic.subscribe(as_="tuple") as subscription:
        subprocess.run([program, "publish"], check=True, timeout=50)
        assert [subscription.receive(5) for _ in range(5)] == [(n, 12.5 * n) for n in range(1, 6)]


def test_c_subscribes(tmp_path, own_root):
    program = compiled(tmp_path, "topic")
    child = subprocess.Popen([program, "subscribe"], stdout=subprocess.PIPE, text=True)
    topic = ipc.topic("market/quotes", root=own_root)
    with topic.publisher() as publisher:
        wait_for(lambda: topic.describe()["participants"][1:])
        for number in range(5):
            publisher.publish((number, number / 2))
        assert finish(child).splitlines()[2] == "2 at 1"


def test_c_works_and_sends(tmp_path, own_root):
    program = compiled(tmp_path, "queue")
    queue = ipc.queue("orders", bytes, root=own_root)
    with queue.producer() as producer:
        child = subprocess.Popen([program, "work"], stdout=subprocess.PIPE, text=True)
        producer.send(b"ship 9")
        assert finish(child) == "ship 9\n"
    with queue.worker() as worker:
        subprocess.run([program, "push"], check=True, timeout=50)
        with worker.take(5) as job:
            assert job.message == b"ship 7"


def test_c_serves_and_calls(tmp_path, own_root):
    program = compiled(tmp_path, "service")
    child = subprocess.Popen([program, "serve"], stdout=subprocess.PIPE, text=True)
    service = ipc.service("halves", root=own_root)
    with service.client() as client:
        assert client.call(8, timeout=50) == 4
        with pytest.raises(ipc.ServiceFailure) as failure:
            client.call(9, timeout=50)
        assert failure.value.value == "odd"
    finish(child)
    service = ipc.service("halves", schema={"request": "u64", "reply": "u64", "failure": {
        "enum": {"name": "Refusal", "cases": ["odd", "zero"]}}}, root=own_root)  # fmt: skip
    with service.server() as server:
        child = subprocess.Popen([program, "call"], stdout=subprocess.PIPE, text=True)

        def half(number):
            if number % 2:
                raise ipc.ServiceFailure("zero")
            return number // 2

        server.serve(half, count=2, timeout=50)
        assert finish(child) == "half of 8 is 4\n9 is refused: 1\n"


def test_c_sets_and_notifies(tmp_path, own_root):
    program = compiled(tmp_path, "latest_and_event")
    latest, event = ipc.latest("room/temperature", float, root=own_root), ipc.event("room/alarm", root=own_root)
    with latest.getter() as getter, event.waiter() as waiter:
        subprocess.run([program, "set"], check=True, timeout=50)
        waiter.wait(5)
        assert getter.get() == 21.5


def wait_for(condition, limit=50):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# ---- Signals, forks, exits ----


@pytest.mark.parametrize(
    "wait",
    [
        "ipc.topic(name, bytes).subscribe().receive()", "ipc.topic(name, bytes).subscribe().receive(1000)",
        "ipc.queue(name, bytes).worker().take()", "ipc.event(name).wait()", "ipc.service(name, bytes).client().call(b'')",
        "ipc.service(name, bytes).client().call(b'', timeout=1000)", "ipc.latest(name, int).getter().next()",
        "ipc.topic(name)", "[f for f in ipc.topic(name, bytes).subscribe(spins=None)]",
        "ipc.topic(name, bytes).subscribe().borrow().__enter__()", "ipc.service(name, bytes).server().serve(bytes)",
        "asyncio.run(ipc.topic(name, bytes).subscribe().receive_async())", "asyncio.run(ipc.event(name).wait_async())",
        "asyncio.run(ipc.service(name, bytes).client().call_async(b''))",
    ],
)  # fmt: skip
def test_interrupt(name, peer, wait):
    child = peer(
        f"""
        import asyncio
        name = sys.argv[1]
        print("ready", flush=True)
        try:
            {wait}
        except KeyboardInterrupt:
            print("interrupted")
        """, name)  # fmt: skip
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.3)
    begin = time.monotonic()
    child.send_signal(signal.SIGINT)
    assert "interrupted" in finish(child)
    assert time.monotonic() - begin < 10


def test_interrupted_full_publisher(name, peer):
    child = peer(
        """
        topic = ipc.topic(sys.argv[1], bytes, capacity=4096)
        subscription, publisher = topic.subscribe(), topic.publisher()
        print("ready", flush=True)
        try:
            while True:
                publisher.publish(bytes(100))
        except KeyboardInterrupt:
            print("interrupted")
        """, name)  # fmt: skip
    child.stdout.readline()
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    assert "interrupted" in finish(child)


def test_client_goes_on_after_an_interrupt(name, peer):
    child = peer(
        """
        import threading, signal, os, time
        service = ipc.service(sys.argv[1], bytes)
        client = service.client()
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            client.call(b"lost")
        except KeyboardInterrupt:
            print("interrupted")
        def serve():
            server = service.server()
            for call in server.calls():
                call.answer(call.message)
        threading.Thread(target=serve, daemon=True).start()
        print(client.call(b"found", timeout=20))
        """, name)  # fmt: skip
    assert finish(child) == "interrupted\nb'found'\n"


def test_interrupted_call_is_cancelled(name, peer):
    """Its server sees that nobody waits, and the client goes on with the same slot."""
    with ipc.service(name, bytes) as service, service.server() as server:
        child = peer(
            """
            service = ipc.service(sys.argv[1])
            client = service.client()
            for _ in range(3):
                try:
                    client.call(b"lost")
                except KeyboardInterrupt:
                    print("interrupted", flush=True)
            print(client.call(b"found", timeout=20))
            print(len(service.describe()["participants"]))
            """, name)  # fmt: skip
        for _ in range(3):
            call = server.take(30)
            assert call.message == b"lost" and not call.cancelled
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == "interrupted\n"
            wait_for(lambda call=call: call.cancelled, 5)
            call.give_back()
        # What was cancelled is not done by anybody.
        server.serve(lambda request: request, count=1, timeout=30)
        assert finish(child) == "b'found'\n2\n"


def test_cancelled_task_cancels_its_call(name):
    async def main():
        with ipc.service(name, bytes) as service, service.server() as server, service.client() as client:
            for _ in range(3):
                task = asyncio.ensure_future(client.call_async(b"lost"))
                call = await server.take_async(30)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                end = time.monotonic() + 10
                while not call.cancelled and time.monotonic() < end:
                    await asyncio.sleep(0.01)
                assert call.cancelled
                call.give_back()
            task = asyncio.ensure_future(client.call_async(b"found", timeout=30))
            with await server.take_async(30) as call:
                call.reply(call.message)
            assert await task == b"found"

    asyncio.run(main())


def test_handler_closes(name, peer):
    """A handler of a signal may close what the thread below it waits for."""
    child = peer(
        """
        import signal
        subscription = ipc.topic(sys.argv[1], bytes).subscribe()
        signal.signal(signal.SIGTERM, lambda *_: subscription.close())
        print("ready", flush=True)
        for message in subscription:
            pass
        print("closed")
        """, name)  # fmt: skip
    child.stdout.readline()
    time.sleep(0.2)
    child.send_signal(signal.SIGTERM)
    assert finish(child) == "closed\n"


def test_fork(name, peer):
    child = peer(
        """
        import os, gc
        topic = ipc.topic(sys.argv[1], bytes)
        subscription, publisher = topic.subscribe(), topic.publisher()
        queue = ipc.queue(sys.argv[1] + "/queue", bytes)
        queue.producer().send(b"x")
        worker = queue.worker()
        job = worker.take()
        client = ipc.service(sys.argv[1] + "/service", bytes).client()
        try:
            client.call(b"", timeout=0.15)
        except ipc.TimedOut:
            pass
        event = ipc.event(sys.argv[1] + "/event")
        event.notify()
        event.wait(1)
        process = os.fork()
        if process == 0:
            for call in (lambda: publisher.publish(b"x"), lambda: subscription.receive(1), subscription.try_receive,
                         lambda: worker.take(1), lambda: topic.subscribe(), job.acknowledge, lambda: client.call(b""),
                         lambda: event.wait(1), event.notify, lambda: publisher.publish_many([b"x"]),
                         lambda: subscription.borrow(1).__enter__(), lambda: publisher.reserve(5).__enter__()):
                try:
                    call()
                    print("no error", call)
                except ipc.Inherited as error:
                    assert "spawn" in str(error)
            sys.exit(0)
        assert os.waitpid(process, 0)[1] == 0
        publisher.publish(b"after")
        assert subscription.receive(1) == b"after"
        job.acknowledge()
        assert worker.try_take() is None
        print("right")
        """, name)  # fmt: skip
    assert finish(child) == "right\n"


def _publish_in_child(name):
    with ipc.topic(name).publisher() as publisher:
        publisher.publish(b"from a child")


def test_spawn(name):
    with ipc.topic(name, bytes) as topic, topic.subscribe() as subscription:
        child = multiprocessing.get_context("spawn").Process(target=_publish_in_child, args=(name,))
        child.start()
        assert subscription.receive(50) == b"from a child"
        child.join()
        assert child.exitcode == 0


def test_exit_with_everything_open(name, peer):
    child = peer(
        """
        import threading
        topic = ipc.topic(sys.argv[1], bytes)
        subscription, publisher = topic.subscribe(), topic.publisher()
        queue = ipc.queue(sys.argv[1] + "/queue", bytes)
        producer, worker = queue.producer(), queue.worker()
        producer.send(b"x")
        job = worker.take()
        publisher.publish(b"x")
        view = subscription.borrow().__enter__()
        waiting = topic.subscribe()
        threading.Thread(target=waiting.receive, daemon=True).start()
        threading.Thread(target=ipc.service(sys.argv[1] + "/service", bytes).client().call, daemon=True).start()
        import time; time.sleep(0.1)
        """, name)  # fmt: skip
    assert finish(child) == "" and child.errors == ""


def test_a_job_at_the_exit_comes_again(name, peer):
    with ipc.queue(name, bytes) as queue, queue.producer() as producer, queue.worker() as worker:
        producer.send(b"x")
        worker_peer = None
        job = worker.take(1)
        job.give_back()
        worker_peer = peer("job = ipc.queue(sys.argv[1]).worker().take(30)", name)
        finish(worker_peer)
        with worker.take(30) as job:
            assert job.attempt == 2


def test_without_numpy(name, peer):
    child = peer(
        """
        sys.modules["numpy"] = None
        for module in [module for module in sys.modules if module.startswith("swift_ipc")]:
            del sys.modules[module]
        import swift_ipc as ipc
        schema = {"struct": {"name": "Pair", "size": 16, "alignment": 8, "fields": [
            {"name": "a", "offset": 0, "type": "u64"}, {"name": "b", "offset": 8, "type": "f64"}]}}
        topic = ipc.topic(sys.argv[1], schema=schema)
        subscription, publisher = topic.subscribe(), topic.publisher()
        publisher.publish((1, 2.5))
        print(subscription.receive(1))
        publisher.publish_many([(3, 4), {"a": 5, "b": 6}])
        print(subscription.receive_many(10))
        try:
            topic.subscribe(as_="numpy")
        except ipc.Unsupported as error:
            print("not installed" in str(error))
        """, name)  # fmt: skip
    assert finish(child).splitlines() == ["{'a': 1, 'b': 2.5}", "[{'a': 3, 'b': 4.0}, {'a': 5, 'b': 6.0}]", "True"]


# ---- Event loops ----


def test_asyncio(name):
    async def main():
        topic = ipc.topic(name, int)
        queue = ipc.queue(name + "/queue", int)
        latest = ipc.latest(name + "/latest", int)
        event = ipc.event(name + "/event")
        subscriptions = [topic.subscribe() for _ in range(5)]
        worker, getter, waiter = queue.worker(), latest.getter(), event.waiter()

        async def sum_of(subscription, count):
            total = 0
            async for number in subscription:
                total += number
                count -= 1
                if not count:
                    return total

        async def work():
            async for job in worker.jobs():
                job.acknowledge()
                return job.message

        tasks = [asyncio.ensure_future(sum_of(subscription, 1000)) for subscription in subscriptions]
        others = [asyncio.ensure_future(work()), asyncio.ensure_future(getter.next_async()),
                  asyncio.ensure_future(waiter.wait_async(30))]  # fmt: skip
        observer = asyncio.ensure_future(topic.observe("next").receive_async(30))
        await asyncio.sleep(0.1)

        def publish():
            publisher = topic.publisher()
            for number in range(1000):
                publisher.publish(number)
            queue.producer().send(7)
            latest.setter().set(8)
            event.notifier().notify_all()

        await asyncio.get_running_loop().run_in_executor(None, publish)
        assert await asyncio.gather(*tasks) == [499500] * 5
        assert await asyncio.gather(*others) == [7, 8, None]
        assert isinstance(await observer, int)
        begin = time.monotonic()
        with pytest.raises(ipc.TimedOut):
            await subscriptions[0].receive_async(0.2)
        assert 0.15 < time.monotonic() - begin < 10
        with pytest.raises(ipc.TimedOut):
            await subscriptions[0].receive_async(0)
        await topic.publisher().publish_async(1, timeout=1)
        await queue.producer().send_async(2)

    asyncio.run(main())
    gc.collect()


def test_asyncio_cancel(name):
    """A task that is cancelled has taken nothing."""

    async def main():
        queue, event = ipc.queue(name, int), ipc.event(name + "/event")
        producer, worker, waiter, notifier = queue.producer(), queue.worker(), event.waiter(), event.notifier()
        for number in range(50):
            task = asyncio.ensure_future(worker.take_async())
            await asyncio.sleep(0.001)
            producer.send(number)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            job = await worker.take_async(10)
            assert (job.message, job.attempt) == (number, 1)
            job.acknowledge()
        for _ in range(5):
            task = asyncio.ensure_future(waiter.wait_async())
            await asyncio.sleep(0.001)
            notifier.notify()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await event.wait_async(10)
        with pytest.raises(ipc.TimedOut):
            event.wait(0.3)

    asyncio.run(main())


def test_asyncio_close(name):
    async def main():
        subscription = ipc.topic(name, int).subscribe()

        async def read():
            return [message async for message in subscription]

        task = asyncio.ensure_future(read())
        await asyncio.sleep(0.05)
        subscription.close()
        assert await asyncio.wait_for(task, 20) == []

    asyncio.run(main())


def test_asyncio_services(name):
    async def main():
        service = ipc.service(name, int, int)

        async def double(number):
            await asyncio.sleep(0.001)
            if number == 5:
                raise ipc.ServiceFailure(b"five")
            return number * 2

        server = asyncio.ensure_future(service.server().serve_async(double))
        clients = [service.client() for _ in range(4)]
        for number in range(4):
            assert await asyncio.gather(*[c.call_async(number) for c in clients]) == [number * 2] * 4
        with pytest.raises(ipc.ServiceFailure):
            await clients[0].call_async(5, timeout=30)
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)
        call = asyncio.ensure_future(clients[0].call_async(1))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        with pytest.raises(ipc.TimedOut):
            await clients[0].call_async(1, timeout=0.05)

    asyncio.run(main())


def test_many_loops(name):
    """A loop that is gone leaves no descriptor behind."""
    topic = ipc.topic(name, int)
    subscription, publisher = topic.subscribe(), topic.publisher()

    async def once():
        threading.Timer(0.01, publisher.publish, (1,)).start()
        assert await subscription.receive_async(30) == 1

    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        asyncio.run(once())
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 6


def test_roots_in_one_loop(name, tmp_path):
    roots = [f"{os.environ['IPC_ROOT']}-{index}" for index in range(2)]

    async def main():
        topics = [ipc.topic(name, int, root=root) for root in roots]
        subscriptions = [topic.subscribe() for topic in topics]
        tasks = [asyncio.ensure_future(subscription.receive_async(30)) for subscription in subscriptions]
        await asyncio.sleep(0.05)
        for number, topic in enumerate(topics):
            topic.publisher().publish(number)
        assert await asyncio.gather(*tasks) == [0, 1]

    try:
        asyncio.run(main())
        assert [ipc.describe(name, root=root)["name"] for root in roots] == [name] * 2
    except ipc.NotFound:
        pass  # the last participant has left
    finally:
        for root in roots:
            shutil.rmtree(root, ignore_errors=True)


def test_interpreter():
    assert sys.version_info >= (3, 9) and ipc.library_version() >= 200
