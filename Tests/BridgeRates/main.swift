import Glibc
import IPC
import IPCChannels
import SystemPackage

// What programs do whose machines have bridges: the other side of bare.c. Scripts/bridge-rates.sh runs it.

/// A message of 64 bytes.
struct Small: BitwiseCopyable {
    var number: UInt64
    var rest = (UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0))
}

func root(_ path: String) -> ChannelRoot { ChannelRoot(FilePath(path)) }

func fail(_ message: String) -> Never {
    _ = try? FileDescriptor.standardError.writeAll("BridgeRates: \(message)\n".utf8)
    exit(1)
}

/// Runs a closure on a thread of its own; the result waits for it.
func onThread(_ body: @escaping @Sendable () throws -> Void) -> () -> Void {
    final class Work: Sendable {
        let body: @Sendable () throws -> Void
        init(_ body: @escaping @Sendable () throws -> Void) { self.body = body }
    }
    var thread = pthread_t()
    pthread_create(
        &thread, nil,
        { argument in
            do { try Unmanaged<Work>.fromOpaque(argument!).takeRetainedValue().body() } catch { fail("\(error)") }
            return nil
        }, Unmanaged.passRetained(Work(body)).toOpaque())
    return { pthread_join(thread, nil) }
}

func options(_ capacity: Int) -> ChannelOptions {
    ChannelOptions(writers: .shared, overflow: .block, lifetime: .kept, capacity: capacity)
}

/// Creates the channels, the same ones on each machine.
func prepare(_ paths: [String]) throws {
    for path in paths {
        for name in ["small", "ping", "pong", "fast/ping", "fast/pong"] {
            _ = try Topic<Small>.create("rates/" + name, in: root(path), options(8 << 20))
        }
        _ = try Topic<RawBytes>.create("rates/large", in: root(path), options(8 << 20))
    }
}

/// Messages per second from one machine to another, until the last one has arrived.
func rate(_ here: String, _ there: String, _ size: Int, _ count: Int) throws {
    let deadline = Deadline.after(.seconds(120))
    let start: ContinuousClock.Instant
    let finished: () -> Void
    if size == 64 {
        let topic = try Topic<Small>.open("rates/small", in: root(here))
        var subscription = try Topic<Small>.open("rates/small", in: root(there)).makeSubscription()
        start = .now
        finished = onThread {
            var publisher = try topic.makePublisher()
            for number in 0..<count { try publisher.publish(Small(number: UInt64(number))) }
        }
        for number in 0..<count {
            let message = try subscription.receive(until: deadline)
            guard message.number == UInt64(number) else { fail("message \(message.number) in the place of \(number)") }
        }
    } else {
        let topic = try Topic<RawBytes>.open("rates/large", in: root(here))
        var subscription = try Topic<RawBytes>.open("rates/large", in: root(there)).makeSubscription()
        start = .now
        finished = onThread {
            var publisher = try topic.makePublisher()
            let body = [UInt8](repeating: 1, count: size)
            for _ in 0..<count { try publisher.publish(body.span.bytes) }
        }
        for _ in 0..<count {
            let received = try subscription.receive(until: deadline) { $0.byteCount }
            guard received == size else { fail("a message of \(received) bytes") }
        }
    }
    finished()
    print(Int(Double(count) / ((ContinuousClock.now - start) / .seconds(1))))
}

/// Half of the median of a message there and one back, in microseconds. On one machine that is a local hop. Nobody polls, as in bare.c:
/// with a server and two bridges on a few processors, that would take them from each other.
func oneWay(_ here: String, _ there: String, _ folder: String, _ count: Int) throws {
    let waiting = WaitStrategy.sleeping(spins: 0)
    func topic(_ name: String, _ path: String) throws -> Topic<Small> {
        try Topic<Small>.open("rates/\(folder)\(name)", in: root(path))
    }
    let (ping, pong) = (try topic("ping", there), try topic("pong", there))
    var publisher = try topic("ping", here).makePublisher()
    var replies = try topic("pong", here).makeSubscription(waiting: waiting)
    let finished = onThread {
        var requests = try ping.makeSubscription(waiting: waiting)
        var replier = try pong.makePublisher()
        for _ in 0..<count { try replier.publish(requests.receive(until: .after(.seconds(20)))) }
    }
    usleep(200_000)
    var times: [Double] = []
    for number in 0..<count {
        let start = ContinuousClock.now
        try publisher.publish(Small(number: UInt64(number)))
        let reply = try replies.receive(until: .after(.seconds(20)))
        guard reply.number == UInt64(number) else { fail("reply \(reply.number) to \(number)") }
        times.append((ContinuousClock.now - start) / .microseconds(2))
    }
    finished()
    times.sort()
    print((times[count / 2] * 10).rounded() / 10)
}

/// Creates many small topics for bridges that are idle.
func makeChannels(_ path: String, _ count: Int) throws {
    for number in 0..<count { _ = try Topic<Small>.create("idle/\(number)", in: root(path), options(65_536)) }
}

let arguments = Array(CommandLine.arguments.dropFirst())
func number(_ index: Int) -> Int {
    guard index < arguments.count, let number = Int(arguments[index]) else { fail("argument \(index) is no number") }
    return number
}
do {
    switch (arguments.first, arguments.count) {
    case ("prepare", 2...): try prepare(Array(arguments[1...]))
    case ("rate", 5): try rate(arguments[1], arguments[2], number(3), number(4))
    case ("one-way", 4): try oneWay(arguments[1], arguments[2], "", number(3))
    case ("one-way-fast", 4): try oneWay(arguments[1], arguments[2], "fast/", number(3))
    case ("channels", 3): try makeChannels(arguments[1], number(2))
    default:
        fail(
            "usage: BridgeRates prepare ROOT…, rate ROOT ROOT SIZE COUNT, one-way ROOT ROOT COUNT, one-way-fast ROOT ROOT COUNT, channels ROOT COUNT"
        )
    }
} catch { fail("\(error)") }
