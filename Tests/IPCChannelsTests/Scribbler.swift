import Glibc
import IPC
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// A participant that writes whatever it likes over `control` and `log` of a channel while others use it.
///
/// The others get errors, or rubbish of a size that fits; they never crash, never leave their mappings (the address
/// sanitizer looks on), and every call of theirs ends.
final class Scribbler: Sendable {
    /// How often it writes in one test: `IPC_SCRIBBLES`, for a long run.
    static let rounds = getenv("IPC_SCRIBBLES").flatMap { Int(String(cString: $0)) } ?? 12_000
    /// Of the channels that it writes over.
    static let options = ChannelOptions(
        writers: .shared, lifetime: .kept, capacity: 65_536, maximumReaders: 4, maximumWriters: 4)
    static let message = [UInt8](repeating: 5, count: 700)
    static var soon: Deadline { .after(.milliseconds(1)) }

    /// Touches each byte of what was lent.
    static func read(_ payload: RawSpan) {
        let sum = (0..<payload.byteCount).reduce(0) {
            $0 &+ Int(payload.unsafeLoad(fromByteOffset: $1, as: UInt8.self))
        }
        withExtendedLifetime(sum) {}
    }

    private let isOver = Atomic(false)
    private let calls = Atomic(0)

    /// The steps of one use of the channel: after fifty, it joins anew.
    final class Steps: Sendable {
        private let scribbler: Scribbler
        private let count = Atomic(0)

        fileprivate init(_ scribbler: Scribbler) { self.scribbler = scribbler }

        /// Whether there is another one.
        func next() -> Bool {
            scribbler.calls.add(1, ordering: .relaxed)
            return count.add(1, ordering: .relaxed).newValue <= 50 && !scribbler.isOver.load(ordering: .relaxed)
        }
    }

    /// Four threads run `body` again and again, which gets its number and ends with its steps.
    static func run(
        over name: ChannelName, while body: @escaping @Sendable (Int, Steps) throws(IPCError) -> Void
    ) throws {
        defer { try? Topic<RawBytes>.remove(name.description) }
        let scribbler = Scribbler()
        defer { scribbler.end() }
        var threads: [PlainThread] = []
        for index in 0..<4 {
            threads.append(
                try PlainThread { () throws(IPCError) in
                    while !scribbler.isOver.load(ordering: .acquiring) {
                        // An error tells that it did not crash.
                        do throws(IPCError) { try body(index, Steps(scribbler)) } catch {}
                    }
                })
        }
        let outcome = Result { try scribbler.scribble(over: name) }
        for thread in threads { #expect(thread.join() == nil) }
        try outcome.get()
    }

    /// The same with four tasks.
    static func run(
        over name: ChannelName, whileTasks body: @escaping @Sendable (Int, Steps) async throws(IPCError) -> Void
    ) async throws {
        // After the last task: one that joins would make it anew.
        defer { try? Topic<RawBytes>.remove(name.description) }
        let scribbler = Scribbler()
        let tasks = (0..<4).map { index in
            Task {
                while !scribbler.isOver.load(ordering: .acquiring) {
                    do throws(IPCError) { try await body(index, Steps(scribbler)) } catch {}
                    await Task.yield()
                }
            }
        }
        // On a thread of its own: those of the pool belong to the tasks.
        let outcome = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<Void, any Error>, Never>) in
            do throws(IPCError) {
                _ = try PlainThread { () throws(IPCError) in
                    continuation.resume(returning: Result { try scribbler.scribble(over: name) })
                }
            } catch {
                scribbler.end()
                continuation.resume(returning: .failure(error))
            }
        }
        for task in tasks { await task.value }
        try outcome.get()
    }

    private func end() { isOver.store(true, ordering: .releasing) }

    /// Writes over the channel once all others are at it, and tells them when it ends.
    private func scribble(over name: ChannelName) throws {
        defer { end() }
        let folder = ChannelRoot.current.folder(name)
        let control = try MappedFile.open(FilePath(folder + "/control"), access: .readWrite).map()
        let log = try MappedFile.open(FilePath(folder + "/log"), access: .readWrite).map()
        while calls.load(ordering: .relaxed) < 200 { usleep(100) }
        let key = control.load(UInt64.self, at: LogLayout.Fixed.key)
        var generator = SystemRandomNumberGenerator()
        for round in 0..<Self.rounds {
            scribble(round, control, log, key, &generator)
            if round % 64 == 0 { usleep(100) }
        }
    }

    private func scribble(
        _ round: Int, _ control: borrowing MemoryMapping, _ log: borrowing MemoryMapping, _ key: UInt64,
        _ generator: inout SystemRandomNumberGenerator
    ) {
        let position = control.load(UInt64.self, at: LogLayout.tail)
        let values: [UInt64] = [
            0, .max, .random(in: 0 ... .max, using: &generator), position, position ^ key, position &+ 64,
            position &- 65_536, 1 << 63, UInt64.max - 63, 0xffff_ffff, 1 << 32 | 65_536, 1, position | 1,
        ]
        let value = values.randomElement(using: &generator)!
        switch round % 3 {
        case 0:
            // Whatever changes while it is used; what is fixed was checked when the channel was opened.
            let offset = Int.random(in: LogLayout.removed / 8..<control.byteCount / 8, using: &generator) * 8
            // A removed channel is made anew by the next participant, which ends the test early.
            if offset != LogLayout.removed { control.store(value, at: offset) }
        case 1:
            let words = [
                LogLayout.tail, LogLayout.reservedEnd, LogLayout.blockStarts, LogLayout.usedReaderSlots,
                LogLayout.slots, LogLayout.slots + 512, LogLayout.workHead, LogLayout.latest,
            ]
            let offset = words.randomElement(using: &generator)! + 8 * Int.random(in: 0..<4, using: &generator)
            if offset + 8 <= control.byteCount { control.store(value, at: offset) }
        default:
            let mask = log.byteCount - 1
            let head = Int(truncatingIfNeeded: control.load(UInt64.self, at: LogLayout.workHead)) & mask & ~63
            let places = [
                (Int(truncatingIfNeeded: position) & mask & ~63) + 8 * Int.random(in: 0..<4, using: &generator),
                head + 8 * Int.random(in: 0..<8, using: &generator),
                Int.random(in: 0..<log.byteCount / 8, using: &generator) * 8,
            ]
            for place in places { log.store(value, at: place & mask & ~7) }
        }
    }
}
