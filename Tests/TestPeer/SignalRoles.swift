import Glibc
import IPC
import Synchronization
import SystemSupport

/// What becomes of signals in a process of its own. Each says what a test expects.
enum SignalRoles {
    private static func action(_ signal: Signal) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 512)
        return Array(bytes[..<support_action(signal.rawValue, &bytes, bytes.count)])
    }

    /// Of this thread, as numbers.
    private static var mask: [Int32] {
        var set = sigset_t()
        pthread_sigmask(SIG_SETMASK, nil, &set)
        return (1...64).filter { sigismember(&set, $0) == 1 }
    }

    /// Two sources get the same signals, and what was there before is back with the last of them.
    static func severalSources() throws {
        SignalSet([.userDefined2]).blockInCallingThread()
        signal(SIGUSR1, SIG_IGN)
        let signals: [Signal] = [.userDefined1, .userDefined2, .terminate]
        let before = (signals.map(action), mask)
        do {
            let first = try SignalSource([.userDefined1, .userDefined2])
            do {
                let second = try SignalSource(signals)
                for signal in [Signal.userDefined1, .userDefined2] {
                    try signal.send(toProcess: getpid())
                    let (one, other) = (
                        try first.next(until: .after(.seconds(5))), try second.next(until: .after(.seconds(5)))
                    )
                    print(one.signal, other.signal, one.sender == getpid(), other.sender == getpid(), one.code)
                }
                try Signal.terminate.send(toProcess: getpid())
                print(try first.tryNext() == nil, try second.next(until: .after(.seconds(5))).signal)
            }
            print("one left", action(.terminate) == before.0[2], action(.userDefined1) != before.0[0])
            try Signal.userDefined1.send(toProcess: getpid())
            print(try first.next(until: .after(.seconds(5))).signal)
            let sequence = try first.signals()
            try first.close()
            print("a sequence left", action(.userDefined1) != before.0[0])
            withExtendedLifetime(sequence) {}
        }
        TestPeer.say("none left \(signals.map(action) == before.0) \(mask == before.1)")
    }

    /// What no program may take is refused, and nothing has changed then.
    static func refused() throws {
        SignalSet([.userDefined2]).blockInCallingThread()
        let good: [Signal] = [.userDefined1, .userDefined2, .terminate]
        let before = (good.map(action), mask)
        for number: Int32 in [0, -1, .min, 9, 19, 32, 33, 65, 999, .max] {
            do throws(IPCError) {
                _ = try SignalSource(good + [Signal(rawValue: number)])
                print(number, "no error")
            } catch {
                print(number, error.code, good.map(action) == before.0, mask == before.1)
            }
        }
        // Without a descriptor.
        TestPeer.withLimit(7, 6) {
            do throws(IPCError) {
                _ = try SignalSource(good)
                print("no error")
            } catch {
                print(error.code, good.map(action) == before.0, mask == before.1)
            }
        }
        _ = try SignalSource([.userDefined1]).tryNext()
        TestPeer.say("end")
    }

    /// Two threads take from one source, by calls that never wait. After each signal, which one of them takes, both go on.
    static func twoTakers() throws {
        final class Taker: Sendable {
            let source: SharedReference<SignalSource>
            let calls = Atomic(0)
            let taken: SharedReference<Counter>
            init(_ source: SharedReference<SignalSource>, _ taken: SharedReference<Counter>) {
                (self.source, self.taken) = (source, taken)
            }
        }
        struct Counter: ~Copyable { let value = Atomic(0) }
        // Blocked everywhere, so that both look for the same pending signal.
        SignalSet([.userDefined1]).blockInCallingThread()
        let (source, taken) = (SharedReference(try SignalSource([.userDefined1])), SharedReference(Counter()))
        let takers = [Taker(source, taken), Taker(source, taken)]
        for taker in takers {
            var thread = pthread_t()
            pthread_create(
                &thread, nil,
                { argument in
                    let taker = Unmanaged<Taker>.fromOpaque(argument!).takeRetainedValue()
                    while true {
                        if (try? taker.source.value.tryNext()) != nil {
                            taker.taken.value.value.add(1, ordering: .sequentiallyConsistent)
                        }
                        taker.calls.add(1, ordering: .sequentiallyConsistent)
                    }
                }, Unmanaged.passRetained(taker).toOpaque())
        }
        for round in 1...1000 {
            let deadline = Deadline.after(.seconds(10))
            try Signal.userDefined1.send(toProcess: getpid())
            while taken.value.value.load(ordering: .sequentiallyConsistent) < round {
                guard !deadline.hasPassed else { return TestPeer.say("signal \(round) was not taken") }
                sched_yield()
            }
            let before = takers.map { $0.calls.load(ordering: .sequentiallyConsistent) }
            for (taker, count) in zip(takers, before) {
                while taker.calls.load(ordering: .sequentiallyConsistent) < count + 2 {
                    guard !deadline.hasPassed else { return TestPeer.say("a call waits after signal \(round)") }
                    sched_yield()
                }
            }
        }
        TestPeer.say("done")
    }

    /// Standard signals that are not taken are one; of real-time signals, those that are lost are told.
    static func overflow() throws {
        let source = try SignalSource([.userDefined1, .realTime(3), .terminate])
        for _ in 0..<1000 { try Signal.userDefined1.send(toProcess: getpid()) }
        for value in 0..<20_000 { try Signal.realTime(3).queue(value: value, toProcess: getpid()) }
        // While the pipe is full.
        try Signal.terminate.send(toProcess: getpid())
        var (standard, queued, lost, last) = (0, 0, 0, -1)
        var isOrdered = true
        while true {
            do throws(IPCError) {
                guard let received = try source.tryNext() else { break }
                switch received.signal {
                case .realTime(3):
                    queued += 1
                    isOrdered = isOrdered && received.value > last
                    last = received.value
                default: standard += 1
                }
            } catch {
                guard error.code == .limitReached else { throw error }
                lost += Int(error.advice.prefix { $0.isNumber })!
            }
        }
        TestPeer.say("\(standard) \(queued + lost) \(isOrdered) \(queued > 500) \(lost > 0)")
    }

    /// A child of fork has no part: it dies of the signal, and its parent is told nothing.
    static func fork() throws {
        let source = try SignalSource([.terminate])
        let child = support_fork()
        if child == 0 {
            while true { pause() }
        }
        try Signal.terminate.send(toProcess: child)
        var status: CInt = 0
        waitpid(child, &status, 0)
        print("child ended by", status & 0x7F, "parent got", try source.tryNext() == nil ? "nothing" : "a signal")
        let second = support_fork()
        if second == 0 {
            do throws(IPCError) {
                _ = try source.tryNext()
                support_exit(1)
            } catch {
                // It may have one of its own.
                guard error.code == .invalidArgument, let own = try? SignalSource([.userDefined1]) else {
                    support_exit(2)
                    return
                }
                kill(getpid(), SIGUSR1)
                let received = try? own.next(until: .after(.seconds(5)))
                support_exit(received?.signal == .userDefined1 ? 0 : 3)
            }
        }
        waitpid(second, &status, 0)
        print("second child", status)
        try Signal.terminate.send(toProcess: getpid())
        TestPeer.say("parent got \(try source.next(until: .after(.seconds(5))).signal)")
    }

    /// A fault of the program's own is no message.
    static func fault() throws {
        let source = try SignalSource([.segmentationFault])
        try Signal.segmentationFault.send(toProcess: getpid())
        TestPeer.say("sent \(try source.next(until: .after(.seconds(5))).signal)")
        UnsafeMutablePointer<Int>(bitPattern: 8)!.pointee = 1
    }
}
