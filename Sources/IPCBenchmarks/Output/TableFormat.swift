import IPC

/// The guide's comparison with measured figures, for a terminal.
public enum TableFormat {
    public static func text(_ result: BenchmarkResult) -> String {
        var parts: [String] = [header(result)]
        if result.options.rate == nil {
            parts.append(comparison(result))
            parts.append(bandwidths(result))
        } else {
            parts.append(paced(result))
        }
        if !result.ratios.isEmpty { parts.append(baseline(result)) }
        if !result.omissions.isEmpty {
            parts.append(
                (["Not measured:"]
                    + result.omissions.map {
                        "  \($0.mechanism.rawValue) at \(Quantity.size($0.payloadBytes)): \($0.reason)"
                    }).joined(separator: "\n"))
        }
        if result.options.rate == nil { parts.append(Questions.text(result)) }
        if result.isInterrupted { parts.append("Stopped by the user: the figures above were measured before.") }
        return parts.filter { !$0.isEmpty }.joined(separator: "\n\n") + "\n"
    }

    private static func header(_ result: BenchmarkResult) -> String {
        var lines = [
            result.machine.description,
            "placement \(result.options.placement.rawValue), two processes for each figure",
        ]
        if let limits = result.limits {
            let line =
                limits.line.map {
                    "cache-line floor: round trip \(Quantity.time($0.latency.p50)) "
                        + "(p99 \(Quantity.time($0.latency.p99)), \($0.loop.name)), "
                } ?? ""
            lines.append(
                "machine limits: \(line)memory copy \(Quantity.bandwidth(limits.copyBytesPerSecond)) in the cache, "
                    + "\(Quantity.bandwidth(limits.farCopyBytesPerSecond)) beyond it"
            )
        }
        return lines.joined(separator: "\n")
    }

    private static func comparison(_ result: BenchmarkResult) -> String {
        guard let size = result.options.sizes.first else { return "" }
        var rows = [
            [
                "mechanism", "direction", "between", "p50", "p99", "messages", "calls", "copies", "complexity", "suits",
            ]
        ]
        for mechanism in result.options.mechanisms {
            let facts = mechanism.facts
            let latency = result.latency(mechanism, size)?.latency
            let throughput = result.throughput(mechanism, size)?.messagesPerSecond
            rows.append([
                mechanism.rawValue, facts.direction, facts.relation, latency.map { Quantity.time($0.p50) } ?? "-",
                latency.map { Quantity.time($0.p99) } ?? "-", throughput.map { Quantity.rate($0) } ?? "-",
                facts.systemCalls, "\(facts.copies)", facts.complexity, facts.suits,
            ])
        }
        return
            "Round trip and messages per second at \(Quantity.size(size)) (a signal and an eventfd carry at most 8 B); "
            + "calls and copies are per message\n" + aligned(rows, numeric: [3, 4, 5])
    }

    private static func bandwidths(_ result: BenchmarkResult) -> String {
        let mechanisms = result.options.mechanisms.filter { $0.fixedPayload == nil }
        guard !mechanisms.isEmpty else { return "" }
        var rows = [["mechanism"] + result.options.sizes.flatMap { [Quantity.size($0), "p50"] }]
        for mechanism in mechanisms {
            rows.append(
                [mechanism.rawValue]
                    + result.options.sizes.flatMap { size in
                        [
                            result.throughput(mechanism, size)?.bytesPerSecond.map { Quantity.bandwidth($0) } ?? "-",
                            result.latency(mechanism, size)?.latency.map { Quantity.time($0.p50) } ?? "-",
                        ]
                    })
        }
        return "Bytes per second, and round trip, by message size\n"
            + aligned(rows, numeric: Set(1...(2 * result.options.sizes.count)))
    }

    private static func paced(_ result: BenchmarkResult) -> String {
        var rows = [
            ["mechanism", "code", "size", "p50", "p90", "p99", "p99.9", "max", "cpu/message", "arrived"]
        ]
        for measurement in result.measurements {
            guard let latency = measurement.latency else { continue }
            rows.append([
                measurement.mechanism.rawValue, measurement.implementation.rawValue,
                Quantity.size(measurement.payloadBytes), Quantity.time(latency.p50), Quantity.time(latency.p90),
                Quantity.time(latency.p99), Quantity.time(latency.p999), Quantity.time(latency.max),
                Quantity.time(UInt64(measurement.processorNanosecondsPerMessage ?? 0)), "\(measurement.count)",
            ])
        }
        return
            "One-way latency at \(result.options.rate ?? 0) messages per second, from each message's scheduled send time\n"
            + "(so a late sender adds latency); the sender polls the clock, and its processor time includes that\n"
            + aligned(rows, numeric: Set(3...9))
    }

    private static func baseline(_ result: BenchmarkResult) -> String {
        let rows = result.ratios.map { [$0.mechanism.rawValue, Quantity.size($0.payloadBytes)] + $0.texts }
        let title =
            result.options.comparison == .async
            ? "Asynchronous calls on an event loop, compared with the blocking calls"
            : "Compared with the same loop in C, and with the cache-line floor"
        let options = result.options
        let rounds =
            options.rounds == options.maximumRounds
            ? "\(options.rounds) rounds"
            : "\(options.rounds) to \(options.maximumRounds) rounds, until the 95 % confidence interval is within ±0.02"
        return title + ", alternating (\(rounds))\n"
            + aligned([["mechanism", "size"] + result.options.ratioHeads] + rows, numeric: [2, 3, 4, 5])
    }

    /// Columns as wide as their widest cell. Control characters in cells are escaped.
    package static func aligned(_ rows: [[String]], numeric: Set<Int> = []) -> String {
        let rows = rows.map { $0.map(\.escapingControls) }
        let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        let lines = rows.map { row in
            row.enumerated().map { column, cell in
                let padding = String(repeating: " ", count: widths[column] - cell.count)
                return numeric.contains(column) ? padding + cell : cell + padding
            }.joined(separator: "  ")
        }
        return lines.map { line in String(line.reversed().drop { $0 == " " }.reversed()) }.joined(separator: "\n")
    }
}

extension BenchmarkOptions {
    var ratioHeads: [String] {
        let names = comparison == .async ? "async/blocking" : "Swift/C"
        return ["p50 \(names)", "messages \(names)", "p50/line", "p99/line"]
    }
}

extension BaselineRatio {
    /// The ratios, in the order of ``BenchmarkOptions/ratioHeads``.
    var texts: [String] {
        [latency, throughput, lineLatency].map { $0.map(Quantity.ratio) ?? "-" }
            + [lineTail.map(Quantity.ratio) ?? "-"]
    }
}
