/// The guide's claims as questions, with the answers that this run measured.
public enum Questions {
    public struct Answer: Sendable {
        public let question: String
        public let answer: String
    }

    public static func answers(_ result: BenchmarkResult) -> [Answer] {
        [fastest(result), pipeOrSocket(result), signal(result)].compactMap { $0 }
    }

    static func text(_ result: BenchmarkResult) -> String {
        answers(result).map { "\($0.question)\n  \($0.answer)" }.joined(separator: "\n")
    }

    private static func times(_ value: Double) -> String {
        value >= 10 ? "\(Quantity.fixed(value, 0)) times" : "\(Quantity.fixed(value, 1)) times"
    }

    private static func fastest(_ result: BenchmarkResult) -> Answer? {
        let sizes = result.options.sizes
        guard let small = sizes.first, let large = sizes.last else { return nil }
        func latency(_ mechanism: Mechanism) -> Double? {
            result.latency(mechanism, small)?.latency.map { Double($0.p50) }
        }
        func bandwidth(_ mechanism: Mechanism) -> Double? { result.throughput(mechanism, large)?.bytesPerSecond }
        let isShared: (Mechanism) -> Bool = { $0.facts.copies == 0 && $0.fixedPayload == nil && $0.hasThroughput }
        let shared = result.options.mechanisms.filter(isShared)
        let copying = result.options.mechanisms.filter { $0.facts.copies > 0 }
        guard let best = shared.min(by: { latency($0) ?? .infinity < latency($1) ?? .infinity }),
            let ours = latency(best),
            let other = copying.min(by: { latency($0) ?? .infinity < latency($1) ?? .infinity }),
            let theirs = latency(other)
        else { return nil }
        var answer = ours <= theirs ? "Yes" : "No"
        answer +=
            ": \(best.rawValue) takes \(Quantity.time(UInt64(ours))) per round trip; \(other.rawValue), the fastest that copies, "
            + "takes \(Quantity.time(UInt64(theirs)))"
        answer +=
            " (the former is \(times(ours <= theirs ? theirs / ours : ours / theirs)) \(ours <= theirs ? "faster" : "slower")"
        answer +=
            "; \(best.facts.systemCalls) system calls and \(best.facts.copies) copies per message against \(other.facts.systemCalls) and \(other.facts.copies))."
        if let futex = latency(.shmFutex) {
            answer +=
                " Waiting costs more than copying: shared memory with a sleeping waiter (shm-futex) takes "
                + "\(Quantity.time(UInt64(futex)))."
        }
        if let most = shared.max(by: { bandwidth($0) ?? 0 < bandwidth($1) ?? 0 }), let ours = bandwidth(most),
            let next = copying.max(by: { bandwidth($0) ?? 0 < bandwidth($1) ?? 0 }), let theirs = bandwidth(next),
            theirs > 0
        {
            answer +=
                " At \(Quantity.size(large)), \(most.rawValue) transfers \(Quantity.bandwidth(ours)), "
                + "\(next.rawValue) \(Quantity.bandwidth(theirs))."
        }
        return Answer(question: "Is shared memory the fastest, and why?", answer: answer)
    }

    private static func pipeOrSocket(_ result: BenchmarkResult) -> Answer? {
        var sentences: [String] = []
        for size in result.options.sizes {
            guard let pipe = result.throughput(.pipe, size)?.bytesPerSecond,
                let socket = result.throughput(.unixStream, size)?.bytesPerSecond,
                let pipeTime = result.latency(.pipe, size)?.latency?.p50,
                let socketTime = result.latency(.unixStream, size)?.latency?.p50, socket > 0
            else { continue }
            sentences.append(
                "\(Quantity.size(size)): round trip \(Quantity.time(pipeTime)) against \(Quantity.time(socketTime)), "
                    + "\(Quantity.bandwidth(pipe)) against \(Quantity.bandwidth(socket)) (\(Quantity.ratio(pipe / socket)) ×)"
            )
        }
        guard !sentences.isEmpty else { return nil }
        return Answer(
            question: "Is a pipe faster than a Unix socket? (pipe compared with unix-stream)",
            answer: sentences.joined(separator: "; "))
    }

    private static func signal(_ result: BenchmarkResult) -> Answer? {
        guard let signal = result.latency(.signal, 8)?.latency?.p50 else { return nil }
        var parts = ["A signal's round trip takes \(Quantity.time(signal))"]
        for (mechanism, size) in [(Mechanism.pipe, result.options.sizes.first ?? 64), (.eventfd, 8)] {
            guard let other = result.latency(mechanism, size)?.latency?.p50 else { continue }
            parts.append(
                "\(Quantity.ratio(Double(signal) / Double(max(other, 1)))) times that of \(mechanism.rawValue) "
                    + "(\(Quantity.time(other)))"
            )
        }
        return Answer(
            question: "Is a signal fast?",
            answer: parts.joined(separator: ", ") + ". It carries one word at most: use it for events only.")
    }
}
