import Glibc
import IPC
import Synchronization
import TestSupport

/// Runs each row of the table of deadlines: with none left, with a negative one, with a short one, cancelled, and with one that
/// is ages away while somebody makes it ready.
enum Deadlines {
    static let rows =
        pipeWaits + streamWaits + listenerWaits + datagramWaits + packetWaits + synchronizationWaits + systemWaits
        + topicWaits + observerWaits + queueWaits + serviceWaits + latestAndEventWaits + openingWaits
        + sharedWriterWaits + anyChannelWaits

    /// Public calls with a deadline, or that promise not to wait, without a row; and rows without a call.
    static func check(_ calls: Set<PublicCall>) -> [String] {
        let covered = Set(rows.flatMap(\.calls))
        let needed = Set(calls.filter { $0.hasDeadline || $0.isTry }.map(\.name))
        return needed.subtracting(covered).sorted().map { "without a row: \($0)" }
            + covered.subtracting(needed).sorted().map { "without a call: \($0)" }
    }

    /// A short wait, and how much later it may end: the machine is shared.
    private static let short: Duration = .milliseconds(50)
    private static let tolerance: Duration = .seconds(3)
    /// What may be used of the processor by a short wait, which takes 50 ms of it if it spins.
    private static let processorLimit: Duration = .milliseconds(20)

    /// Runs one row.
    ///
    /// - Returns: What is wrong.
    static func run(_ row: Wait) -> [String] {
        var wrong: [String] = []
        do {
            let made = try row.make()
            for (name, attempt) in made.tries {
                let (result, elapsed, _) = measure { try attempt() }
                if case .success(false) = result {} else { wrong.append("\(name) while it is not ready: \(result)") }
                if elapsed > short { wrong.append("\(name) waited \(elapsed)") }
            }
            for (name, deadline) in [
                ("none", { Deadline.immediate }), ("negative", { Deadline.after(.seconds(-5)) }),
                ("short", { Deadline.after(short) }),
            ] {
                wrong += end(made, name, deadline, isShort: name == "short")
            }
            if case .suspending(let call) = made.call, !made.mayBeReady { wrong += cancel(call) }
            wrong += finish(made)
        } catch {
            wrong.append("cannot be made: \(error)")
        }
        return wrong.map { "\(row.calls[0]): \($0)" }
    }

    /// Runs one row as ``run(_:)`` does, but only until it is ready.
    static func runOnce(_ row: Wait) -> [String] {
        var wrong: [String] = []
        do {
            let made = try row.make()
            for (name, attempt) in made.tries where try attempt() { wrong.append("\(name) while it is not ready") }
            wrong += finish(made)
        } catch {
            wrong.append("\(error)")
        }
        return wrong.map { "\(row.calls[0]): \($0)" }
    }

    /// With no time left.
    static func attempt(_ call: Wait.Case.Call) -> Result<Bool, any Error> { perform(call, .immediate).result }

    private static func end(
        _ made: Wait.Case, _ name: String, _ deadline: () -> Deadline, isShort: Bool
    ) -> [String] {
        // What the machine did to one attempt, it need not do to the next.
        var wrong: [String] = []
        for _ in 0..<3 {
            wrong = []
            let deadline = deadline()
            let (result, elapsed, used) = perform(made.call, deadline)
            let hadPassed = deadline.hasPassed
            switch result {
            case .success(false): break
            case .success(true): if !made.mayBeReady { wrong.append("deadline \(name): it was ready") }
            case .failure(let error as IPCError) where error.code == .timedOut || error.code == .notReady: break
            case .failure(let error): return ["deadline \(name): \(error)"]
            }
            if isShort, !made.mayBeReady, !hadPassed { wrong.append("deadline \(name): after \(elapsed)") }
            if elapsed > (isShort ? short : .zero) + tolerance { wrong.append("deadline \(name): it took \(elapsed)") }
            if used > processorLimit { wrong.append("deadline \(name): it used \(used) of the processor") }
            if wrong.isEmpty { return [] }
        }
        return wrong
    }

    private static func cancel(_ call: @escaping @Sendable (Deadline) async throws -> Bool) -> [String] {
        let task = Task.detached { try await call(.after(.seconds(1_000_000))) }
        usleep(20_000)
        task.cancel()
        let (result, elapsed, _) = measure { try value(of: task) }
        if elapsed > tolerance { return ["cancelled: it took \(elapsed)"] }
        if case .failure(let error as IPCError) = result, error.code == .cancelled { return [] }
        return ["cancelled: \(result)"]
    }

    /// With a deadline that nobody lives to see: made ready, it ends, so that nothing of the above has broken it.
    private static func finish(_ made: Wait.Case) -> [String] {
        let deadline = Deadline.after(.seconds(10_000_000_000))
        let done = Flag()
        let result = Box<Result<Bool, any Error>>(.success(false))
        do {
            let thread = try PlainThread { () throws(IPCError) in
                result.value = perform(made.call, deadline).result
                done.set()
            }
            usleep(20_000)
            try made.release()
            let end = Deadline.after(.seconds(20))
            while !done.isSet {
                guard !end.hasPassed else { return ["deadline huge: it did not end when it was ready"] }
                usleep(1000)
            }
            _ = thread.join()
            if case .success(true) = result.value { return [] }
            return ["deadline huge: \(result.value)"]
        } catch {
            return ["deadline huge: \(error)"]
        }
    }

    private static func perform(
        _ call: Wait.Case.Call, _ deadline: Deadline
    ) -> (result: Result<Bool, any Error>, elapsed: Duration, used: Duration) {
        switch call {
        case .blocking(let body):
            let outcome = Box<(Result<Bool, any Error>, Duration, Duration)>((.success(false), .zero, .zero))
            // On a thread of its own: this one may have what it waits for.
            let thread = try? PlainThread { () throws(IPCError) in outcome.value = measure { try body(deadline) } }
            _ = thread?.join()
            return outcome.value
        case .suspending(let body):
            return measure { try value(of: Task.detached { try await body(deadline) }) }
        }
    }

    private static func value<Value: Sendable>(of task: Task<Value, any Error>) throws -> Value {
        let done = Flag()
        let result = Box<Result<Value, any Error>?>(nil)
        Task.detached {
            result.value = await task.result
            done.set()
        }
        done.wait()
        return try result.value!.get()
    }

    /// Of all threads: the library's own may be those that spin.
    private static func measure(
        _ body: () throws -> Bool
    ) -> (result: Result<Bool, any Error>, elapsed: Duration, used: Duration) {
        let (clock, before) = (ContinuousClock(), processorTime())
        let start = clock.now
        let result = Result { try body() }
        return (result, clock.now - start, processorTime() - before)
    }
}

/// How long this process has used processors.
func processorTime() -> Duration {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
}
