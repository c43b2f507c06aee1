import CBaselines
import IPC

/// A whole run: every mechanism and size, two processes each time, Swift and C in turn.
public struct Benchmark {
    public let options: BenchmarkOptions
    private let executable: WorkerExecutable
    private let interruption: Interruption
    private let progress: (String) -> Void
    private var result: BenchmarkResult
    private var generator: SeededGenerator

    /// - Parameters:
    ///   - executable: How to start the workers.
    ///   - interruption: Ends the run when the user wants to.
    ///   - progress: Is told what is being measured.
    public init(
        _ options: BenchmarkOptions, executable: WorkerExecutable, interruption: Interruption,
        progress: @escaping (String) -> Void
    ) {
        self.options = options
        self.executable = executable
        self.interruption = interruption
        self.progress = progress
        result = BenchmarkResult(options: options, machine: .current)
        generator = SeededGenerator(seed: options.seed ?? 0)
    }

    /// Measures all that was asked for. What a mechanism cannot do is in ``BenchmarkResult/omissions``; after Ctrl-C, the
    /// figures from before are returned.
    public mutating func run() -> BenchmarkResult {
        do throws(IPCError) {
            progress("machine limits")
            result.limits = try measureLimits()
            let order = options.seed == nil ? options.mechanisms : options.mechanisms.shuffled(using: &generator)
            for mechanism in order {
                let sizes = mechanism.fixedPayload.map { [$0] } ?? options.sizes
                for size in sizes {
                    progress("\(mechanism.rawValue) \(Quantity.size(size))")
                    try measure(mechanism, size)
                }
            }
        } catch {
            result.isInterrupted = true
        }
        let order = options.mechanisms
        result.measurements = result.measurements.enumerated().sorted {
            let (left, right) = (
                order.firstIndex(of: $0.element.mechanism)!, order.firstIndex(of: $1.element.mechanism)!
            )
            return (left, $0.offset) < (right, $1.offset)
        }.map(\.element)
        return result
    }

    /// Throws only if the user wants to stop.
    private mutating func measure(_ mechanism: Mechanism, _ size: Int) throws(IPCError) {
        do throws(IPCError) {
            let pair = try WorkerPair.start(
                mechanism, size: size, log: options.log, placement: options.placement, executable: executable,
                interruption)
            if let rate = options.rate {
                try measurePaced(pair, mechanism, size, rate)
            } else {
                var ratio = try measureLatency(pair, mechanism, size)
                let throughput = mechanism.hasThroughput ? try measureThroughput(pair, mechanism, size) : nil
                // The wake-up's twin is a ring, and moves its messages in another way.
                if mechanism != .topicWake { ratio.throughput = throughput }
                if ratio.latency != nil || ratio.lineLatency != nil { result.ratios.append(ratio) }
            }
        } catch  where error.operation == Interruption.operation {
            throw error
        } catch {
            let reason = error.code == .messageTooLarge ? "does not fit: \(error.advice)" : error.description
            result.omissions.append(Omission(mechanism: mechanism, payloadBytes: size, reason: reason))
        }
    }

    /// The two implementations of a round, in an order that changes.
    private mutating func implementations(_ twin: Implementation?) -> [Implementation] {
        guard let twin else { return [.swift] }
        return Bool.random(using: &generator) ? [.swift, twin] : [twin, .swift]
    }

    /// How many messages a round takes: found by doubling until a trial is long enough to judge. Two at least, since the
    /// first one only starts the clock.
    private func roundCount(limit: Int, _ trial: (Int) throws(IPCError) -> UInt64) throws(IPCError) -> Int {
        if let count = options.count { return max(2, min(limit, count / options.rounds)) }
        let wanted = options.duration * 1e9 / Double(options.rounds)
        var count = 16
        while true {
            let elapsed = Double(try trial(count))
            if elapsed >= wanted / 4 || count >= limit {
                return max(2, min(limit, Int(Double(count) * wanted / max(elapsed, 1))))
            }
            count *= 4
        }
    }

    private mutating func measureLatency(
        _ pair: borrowing WorkerPair, _ mechanism: Mechanism, _ size: Int
    ) throws(IPCError) -> BaselineRatio {
        let limit = Worker.sampleCapacity / options.rounds
        let count = try roundCount(limit: limit) { (count) throws(IPCError) in
            try pair.ping(count, Implementation.swift).reduce(0, +)
        }
        let twin = options.twin(of: mechanism)
        if let twin { _ = try pair.ping(count, twin) }  // both warm
        var samples: [Implementation: [UInt64]] = [:]
        var ratios: [Double] = []
        // What is polled is held to the cache-line floor as well, in turn, since the line's own time changes by the minute.
        let hasLine =
            options.comparison == .c && mechanism.isPolled && options.placement == .crossCore
            && (size <= 64 || mechanism == .topicZeroCopy)
        let lineLoop = hasLine ? try pair.fastestLineLoop() : nil
        var line: [UInt64] = []
        var lineRatios: [Double] = []
        var rounds = 0
        while isToGoOn(ratios, rounds: rounds) {
            rounds += 1
            var medians: [Implementation: UInt64] = [:]
            var bare: UInt64?
            let own = implementations(twin)
            let lineTurn = lineLoop == nil ? nil : Int.random(in: 0...own.count, using: &generator)
            for turn in 0...own.count {
                if let lineLoop, turn == lineTurn {
                    let round = try pair.linePing(count, lineLoop)
                    line += round
                    bare = Measurement.median(round)
                }
                guard turn < own.count else { break }
                let implementation = own[turn]
                let round = try pair.ping(count, implementation)
                samples[implementation, default: []] += round
                medians[implementation] = Measurement.median(round)
            }
            guard let swift = medians[.swift] else { continue }
            if let twin, let other = medians[twin] {
                ratios.append(options.ratio(Double(swift), Double(max(other, 1))))
            }
            if let bare { lineRatios.append(Double(swift) / Double(max(bare, 1))) }
        }
        let floor = lineLoop.map { LineFloor(loop: $0, latency: Measurement.Latency(line)) }
        append(.latency, mechanism, size, samples, floor: floor)
        var ratio = BaselineRatio(mechanism: mechanism, payloadBytes: size)
        ratio.latency = PairedRatio(ratios)
        ratio.lineLatency = PairedRatio(lineRatios)
        if let floor, let own = samples[.swift] {
            ratio.lineTail = Double(Measurement.Latency(own).p99) / Double(max(floor.latency.p99, 1))
        }
        return ratio
    }

    private mutating func measureThroughput(
        _ pair: borrowing WorkerPair, _ mechanism: Mechanism, _ size: Int
    ) throws(IPCError) -> PairedRatio? {
        let count = try roundCount(limit: 1 << 24) { (count) throws(IPCError) in
            try pair.stream(count, Implementation.swift).elapsed
        }
        let twin = options.twin(of: mechanism)
        if let twin { _ = try pair.stream(count, twin) }
        var totals: [Implementation: (elapsed: UInt64, received: UInt64)] = [:]
        var ratios: [Double] = []
        var rounds = 0
        while isToGoOn(ratios, rounds: rounds) {
            rounds += 1
            var rates: [Implementation: Double] = [:]
            for implementation in implementations(twin) {
                let (elapsed, received) = try pair.stream(count, implementation)
                // The first message starts the clock.
                let counted = received > 0 ? received - 1 : 0
                totals[implementation, default: (0, 0)].elapsed += elapsed
                totals[implementation, default: (0, 0)].received += counted
                rates[implementation] = Double(max(counted, 1)) / Double(max(elapsed, 1))
            }
            if let swift = rates[.swift], let twin, let other = rates[twin] {
                ratios.append(options.ratio(swift, other))
            }
        }
        for implementation in Implementation.allCases {
            guard let total = totals[implementation], total.received > 0, total.elapsed > 0 else { continue }
            var measurement = Measurement(
                mechanism: mechanism, implementation: implementation, measure: .throughput,
                placement: options.placement, payloadBytes: size, count: Int(total.received))
            measurement.messagesPerSecond = Double(total.received) * 1e9 / Double(total.elapsed)
            result.measurements.append(measurement)
        }
        return PairedRatio(ratios)
    }

    /// Whether another round is needed: a mechanism that sleeps has several speeds, by which side happens to wait.
    private func isToGoOn(_ ratios: [Double], rounds: Int) -> Bool {
        if rounds < options.rounds { return true }
        guard rounds < options.maximumRounds, let ratio = PairedRatio(ratios) else { return false }
        return !ratio.isCertain
    }

    private mutating func measurePaced(
        _ pair: borrowing WorkerPair, _ mechanism: Mechanism, _ size: Int, _ rate: Int
    ) throws(IPCError) {
        let interval = UInt64(1_000_000_000 / rate)
        let wanted = options.count ?? Int(options.duration * 4 * Double(rate))
        let count = max(1, min(Worker.sampleCapacity, wanted))
        _ = try pair.paced(max(1, count / 10), interval: interval, Implementation.swift)  // warm
        for implementation in implementations(options.twin(of: mechanism)) {
            let (ages, time) = try pair.paced(count, interval: interval, implementation)
            guard !ages.isEmpty else { continue }
            append(.latency, mechanism, size, [implementation: ages], rate: rate, Double(time) / Double(ages.count))
        }
    }

    private mutating func append(
        _ measure: Measurement.Measure, _ mechanism: Mechanism, _ size: Int, _ samples: [Implementation: [UInt64]],
        floor: LineFloor? = nil, rate: Int? = nil, _ processorTime: Double? = nil
    ) {
        for implementation in Implementation.allCases {
            guard let samples = samples[implementation] else { continue }
            var measurement = Measurement(
                mechanism: mechanism, implementation: implementation, measure: measure, placement: options.placement,
                payloadBytes: size, count: samples.count)
            measurement.latency = Measurement.Latency(samples)
            measurement.floor = floor
            measurement.rate = rate
            measurement.processorNanosecondsPerMessage = processorTime
            result.measurements.append(measurement)
        }
    }

    private func measureLimits() throws(IPCError) -> MachineLimits {
        // Whoever wants few messages for each figure wants no more for these.
        let count = options.count ?? .max
        let time: UInt64 = count < 10_000 ? 1_000_000 : 100_000_000
        var line: LineFloor?
        if Placement.processors.count > 1 {
            do throws(IPCError) {
                let pair = try WorkerPair.start(
                    .shmSpin, size: 64, log: 0, placement: .crossCore, executable: executable, interruption)
                let part = min(5000, count)
                // On a busy machine a few thousand have to do: two processes that spin are seldom on at the same time there.
                let end = Deadline.after(.seconds(2))
                let loop = try pair.fastestLineLoop()
                var samples: [UInt64] = []
                repeat {
                    samples += try pair.linePing(part, loop)
                } while samples.count < min(200_000, count) && !end.hasPassed
                line = LineFloor(loop: loop, latency: Measurement.Latency(samples))
            } catch  where error.operation == Interruption.operation {
                throw error
            } catch {
                // No shared memory here: its own rows say why.
            }
        }
        return MachineLimits(
            line: line, copyBytesPerSecond: cb_copy_bandwidth(1 << 18, time),
            farCopyBytesPerSecond: cb_copy_bandwidth(1 << 26, 2 * time))
    }
}
