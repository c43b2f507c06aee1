#if NATS
    import Synchronization

    /// Something that waits until a time. It keeps the earliest time that it is armed for, and is asked then what it waits for next:
    /// so waiting costs no timer as long as one is armed that is not later.
    protocol TimerTarget: AnyObject, Sendable {
        /// Called at `time` or later, for what was armed at `time`; never under a lock of the timers.
        /// - Returns: When to call again; nil for not.
        func timerFired(armed time: ContinuousClock.Instant) -> ContinuousClock.Instant?
    }

    /// The timers of one connection: one sleeping task for all of them, none when there is nothing to wait for.
    final class Timers: Sendable {
        private struct Entry {
            let time: ContinuousClock.Instant
            weak var target: (any TimerTarget)?
        }
        private struct State {
            /// The earliest is the last.
            var entries: [Entry] = []
            var sleeping: Task<Void, Never>?
            var wakes: ContinuousClock.Instant?
        }
        private let state = Mutex(State())

        deinit { state.withLock { $0.sleeping?.cancel() } }

        func arm(_ target: any TimerTarget, at time: ContinuousClock.Instant) {
            state.withLock { state in
                let entry = Entry(time: time, target: target)
                var low = 0
                var high = state.entries.count
                while low < high {
                    let middle = (low + high) / 2
                    if state.entries[middle].time > time { low = middle + 1 } else { high = middle }
                }
                state.entries.insert(entry, at: low)
                sleep(&state)
            }
        }

        private func sleep(_ state: inout State) {
            guard let time = state.entries.last?.time else { return }
            if let wakes = state.wakes, wakes <= time { return }
            state.sleeping?.cancel()
            state.wakes = time
            state.sleeping = Task { [weak self] in
                do { try await Task.sleep(until: time, clock: .continuous) } catch { return }
                self?.fire()
            }
        }

        private func fire() {
            let due = state.withLock { state in
                let now = ContinuousClock.now
                var due: [Entry] = []
                while let last = state.entries.last, last.time <= now { due.append(state.entries.removeLast()) }
                state.wakes = nil
                state.sleeping = nil
                sleep(&state)
                return due
            }
            for entry in due {
                guard let target = entry.target, let next = target.timerFired(armed: entry.time) else { continue }
                arm(target, at: next)
            }
        }
    }

    extension Duration {
        /// In nanoseconds, as JetStream writes them.
        var nanoseconds: Int64 {
            let (seconds, attoseconds) = components
            let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
            return overflow ? .max : product + attoseconds / 1_000_000_000
        }
    }
#endif
