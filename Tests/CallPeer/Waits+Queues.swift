import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport

let queueWaits: [Wait] = [
    Wait("WorkQueue.Worker.next(until:)", "WorkQueue.Worker.tryNext()") {
        let (queue, producer) = try newWorkQueue()
        let worker = Box(try queue.makeWorker())
        return Wait.Case(
            call: .blocking { deadline in
                try worker.value.next(until: deadline).acknowledge()
                return true
            }, release: { try producer.value.send(7) },
            tries: [("tryNext", { try worker.value.tryNext() != nil })])
    },
    Wait("WorkQueue.Worker.next(until:) async") {
        let (queue, producer) = try newWorkQueue()
        let worker = Box(try queue.makeWorker())
        return Wait.Case(
            call: .suspending { deadline in
                try await worker.value.next(until: deadline).acknowledge()
                return true
            }, release: { try producer.value.send(7) })
    },
    Wait("WorkQueue.Worker.workNext(until:_:)") {
        let (queue, producer) = try newWorkQueue()
        let worker = Box(try queue.makeWorker())
        return Wait.Case(
            call: .blocking { deadline in try worker.value.workNext(until: deadline) { $0 == 7 } },
            release: { try producer.value.send(7) })
    },
    Wait("WorkQueue.Worker.workNext(until:_:)") {
        let queue = try WorkQueue<RawBytes>.openOrCreate(channelName(), smallQueue)
        let (worker, producer) = (Box(try queue.makeWorker()), Box(try queue.makeProducer()))
        return Wait.Case(
            call: .blocking { deadline in try worker.value.workNext(until: deadline) { $0.byteCount == 3 } },
            release: { try producer.value.send(three().span.bytes) })
    },
    Wait("WorkQueue.Producer.send(_:until:)", "WorkQueue.Producer.trySend(_:)") {
        let (queue, producer) = try newWorkQueue()
        try fill { try producer.value.trySend(1) }
        return Wait.Case(
            call: .blocking { deadline in
                try producer.value.send(7, until: deadline)
                return true
            }, release: { try empty(queue) }, tries: [("trySend", { try producer.value.trySend(7) })])
    },
    Wait("WorkQueue.Producer.send(_:until:) async") {
        let (queue, producer) = try newWorkQueue()
        try fill { try producer.value.trySend(1) }
        return Wait.Case(
            call: .suspending { deadline in
                try await producer.value.send(7, until: deadline)
                return true
            }, release: { try empty(queue) })
    },
    Wait(
        "WorkQueue.Producer.send(_:until:)", "WorkQueue.Producer.send(_:until:) async", "WorkQueue.Producer.trySend(_:)"
    ) {
        let queue = try WorkQueue<RawBytes>.openOrCreate(channelName(), smallQueue)
        let producer = Box(try queue.makeProducer())
        try fill { try producer.value.trySend(kilobyte().span.bytes) }
        return Wait.Case(
            call: .suspending { deadline in
                try await producer.value.send(kilobyte().span.bytes, until: deadline)
                return true
            },
            release: {
                var worker = try queue.makeWorker()
                while let job = try worker.tryNext() { try job.acknowledge() }
            }, tries: [("trySend", { try producer.value.trySend(kilobyte().span.bytes) })])
    },
    Wait("WorkQueue.Producer.send(_:_:until:)", "WorkQueue.Producer.send(_:_:until:) async") {
        let (queue, producer) = try newWorkQueue()
        try fill { try producer.value.trySend(1) }
        return Wait.Case(
            call: .suspending { deadline in
                try await producer.value.send(7, JobOptions(timeToLive: .seconds(60)), until: deadline)
                return true
            }, release: { try empty(queue) })
    },
    Wait("WorkQueue.Producer.send(_:_:until:)") {
        let (queue, producer) = try newWorkQueue()
        try fill { try producer.value.trySend(1) }
        return Wait.Case(
            call: .blocking { deadline in
                try producer.value.send(7, JobOptions(delay: .seconds(60)), until: deadline)
                return true
            }, release: { try empty(queue) })
    },
    Wait("WorkQueue.redrive(limit:until:)") {
        let (queue, letters) = try newQueueAndLetters()
        let (producer, letter) = (Box(try queue.makeProducer()), Box(try letters.makeProducer()))
        try letter.value.send(7)
        try fill { try producer.value.trySend(1) }
        return Wait.Case(
            call: .blocking { deadline in
                _ = (producer, letter)
                return try queue.redrive(until: deadline) == 1
            }, release: { try empty(queue) })
    },
    Wait("WorkQueue.Producer.sync(until:)") {
        let queue = try WorkQueue<UInt64>.openOrCreate(
            channelName(), in: ChannelRoot(FilePath(scratchFolder + "/root")),
            ChannelOptions(writers: .shared, durability: .syncedWhenAsked, capacity: 65_536))
        let producer = Box(try queue.makeProducer())
        return Wait.Case(
            call: .blocking { deadline in
                try producer.value.send(1, until: .after(.seconds(1)))
                try producer.value.sync(until: deadline)
                return true
            }, release: {}, mayBeReady: true)
    },
]

/// It goes with its last participant.
let smallQueue = ChannelOptions(writers: .shared, lifetime: .whileUsed, capacity: 65_536)

/// The letters go with their last participant, too.
func newQueueAndLetters() throws -> (WorkQueue<UInt64>, letters: WorkQueue<UInt64>) {
    let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), smallQueue)
    return (queue, try WorkQueue<UInt64>.openOrCreate(queue.name.description + "/dead-letters", smallQueue))
}

private func newWorkQueue() throws -> (WorkQueue<UInt64>, Box<WorkQueue<UInt64>.Producer>) {
    let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), smallQueue)
    return (queue, Box(try queue.makeProducer()))
}

func empty(_ queue: WorkQueue<UInt64>) throws {
    var worker = try queue.makeWorker()
    while let job = try worker.tryNext() { try job.acknowledge() }
}
