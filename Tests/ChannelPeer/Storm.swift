import Glibc
import IPC
import IPCChannels
import Synchronization

/// Waits of every kind, cancelled in random places, very often. Nothing may be lost, or left behind.
enum Storm {
    typealias Box = Waits.Box

    /// Something that is waited for, and fed.
    struct Kind: Sendable {
        let name: String
        /// How often of 1024 times it is fed.
        var feedChance: UInt32 = 256
        /// The share of the rounds of others that it takes part in.
        var share = 1.0
        /// Whether each that is fed is taken once.
        var isCounted = true
        /// Whether, after so many were fed and so many taken, there is something to be taken.
        var isDue: @Sendable (_ fed: Int, _ taken: Int) throws -> Bool = { $0 > $1 }
        let feed: @Sendable () async throws -> Void
        let take: @Sendable () async throws -> Void
        /// Throws if something was lost.
        var check: @Sendable (_ fed: Int, _ taken: Int) async throws -> Void = { (fed, taken) in
            guard fed == taken else { throw Lost(what: "\(fed) fed, \(taken) taken") }
        }
        /// Takes away what would outlive the process.
        var end: @Sendable () async throws -> Void = {}
    }

    struct Lost: Error { let what: String }

    /// Waits are cancelled in random places, `count` times over all kinds; says what was lost, and what grew.
    static func run(_ prefix: String, count: Int) async throws {
        let kinds = try kernelKinds(prefix) + waitKinds(prefix) + channelKinds(prefix)
        // Once in small, so that what is made once is there.
        try await run(kinds, 200)
        let (descriptors, memory) = (openDescriptors(), Waits.residentKilobytes())
        try await run(kinds, count / kinds.count)
        let grown = (openDescriptors() - descriptors, Waits.residentKilobytes() - memory)
        for kind in kinds { try await kind.end() }
        ChannelPeer.say("descriptors \(grown.0) memory \(grown.1) kinds \(kinds.count)")
    }

    private static func run(_ kinds: [Kind], _ count: Int) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for kind in kinds {
                group.addTask {
                    do { try await run(kind, max(10, Int(Double(count) * kind.share))) } catch {
                        ChannelPeer.say("\(kind.name): lost: \(error)")
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    private static func run(_ kind: Kind, _ count: Int) async throws {
        var (fed, taken) = (0, 0)
        for _ in 0..<count {
            let task = Task { try await kind.take() }
            let dice = UInt32.random(in: 0..<1024)
            // Before the task runs, while it looks, once it sleeps.
            if dice & 3 == 0 { await Task.yield() }
            if dice & 31 == 1 { try await Task.sleep(for: .microseconds(20)) }
            if dice >= 1024 - kind.feedChance {
                try await kind.feed()
                fed += 1
            }
            task.cancel()
            do {
                try await task.value
                taken += 1
            } catch let error as IPCError where error.code == .cancelled {}
            // What was fed and not taken is there for the next.
            while try kind.isDue(fed, taken) {
                try await kind.take()
                taken += 1
            }
        }
        try await kind.check(fed, taken)
        guard kind.isCounted else { return }
        let more = Task { try await kind.take() }
        try await Task.sleep(for: .milliseconds(10))
        more.cancel()
        if case .success = await more.result { throw Lost(what: "one came twice") }
    }

    private static func openDescriptors() -> Int {
        guard let folder = opendir("/proc/self/fd") else { return -1 }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        return count
    }
}

/// Numbered blocks through something that is full most of the time: what was refused may not come, and no other be missing.
struct NumberedBlocks: Sendable {
    private let next = Waits.Box<UInt64>(0)
    private let expected = Waits.Box<UInt64>(0)
    let wordCount: Int

    /// The next block, once `send` has accepted it.
    func send(_ send: ([UInt64]) async throws -> Void) async throws {
        try await send([UInt64](repeating: next.value, count: wordCount))
        next.value += 1
    }

    func receive(_ words: [UInt64]) throws {
        guard words.count.isMultiple(of: wordCount) else { throw Storm.Lost(what: "a part of a block") }
        for start in stride(from: 0, to: words.count, by: wordCount) {
            let block = words[start..<start + wordCount]
            guard block.allSatisfy({ $0 == expected.value }) else {
                throw Storm.Lost(what: "block \(block.first!) instead of \(expected.value)")
            }
            expected.value += 1
        }
    }

    func checkAllCame() throws {
        guard next.value == expected.value else {
            throw Storm.Lost(what: "\(next.value) sent, \(expected.value) came")
        }
    }
}
