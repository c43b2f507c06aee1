import Glibc
import IPC
import IPCBenchmarks

/// The figures of the last `ipc bench` of this user.
///
/// They are kept in `$XDG_CACHE_HOME`, or below `$HOME`, and nowhere without both. What is read is what this user wrote, and
/// numbers only: a hostile file is no more than a missing one.
enum BenchCache {
    /// Bytes of the longest file that is looked at.
    private static let limit = 1 << 16

    /// A line of the file: a mechanism and its numbers, with tabs between them.
    private struct Figures {
        let mechanism: Mechanism
        let medianNanoseconds: UInt64
        let size: UInt64
        let rate: UInt64?

        init(mechanism: Mechanism, medianNanoseconds: UInt64, size: UInt64, rate: UInt64?) {
            self.mechanism = mechanism
            self.medianNanoseconds = medianNanoseconds
            self.size = size
            self.rate = rate
        }

        init?(_ line: Substring) {
            let fields = line.split(separator: "\t")
            guard fields.count == 3 || fields.count == 4, let mechanism = Mechanism(rawValue: String(fields[0])),
                let median = UInt64(fields[1]), let size = UInt64(fields[2])
            else { return nil }
            var rate: UInt64?
            if fields.count == 4 {
                guard let number = UInt64(fields[3]) else { return nil }
                rate = number
            }
            self.init(mechanism: mechanism, medianNanoseconds: median, size: size, rate: rate)
        }

        var line: String {
            ([mechanism.rawValue, "\(medianNanoseconds)", "\(size)"] + (rate.map { ["\($0)"] } ?? []))
                .joined(separator: "\t") + "\n"
        }

        var text: String {
            "round trip of \(medianNanoseconds) ns at \(size) B (median)"
                + (rate.map { ", \($0) messages per second" } ?? "")
        }
    }

    /// Keeps what was measured, beside what other runs measured of other mechanisms.
    static func keep(_ result: BenchmarkResult) {
        guard result.options.rate == nil, let size = result.options.sizes.first else { return }
        var measured: [Figures] = []
        for mechanism in result.options.mechanisms {
            guard let latency = result.latency(mechanism, size)?.latency else { continue }
            let rate = result.throughput(mechanism, size)?.messagesPerSecond.flatMap { UInt64(exactly: $0.rounded()) }
            measured.append(
                Figures(
                    mechanism: mechanism, medianNanoseconds: UInt64(clamping: latency.p50),
                    size: UInt64(clamping: size),
                    rate: rate))
        }
        guard !measured.isEmpty else { return }
        do throws(IPCError) {
            let folder = try PrivateFolder.openCache(creating: true)
            var figures = (try? read(folder)) ?? []
            figures.removeAll { old in measured.contains { $0.mechanism == old.mechanism } }
            let lines = (figures + measured).sorted { $0.mechanism.rawValue < $1.mechanism.rawValue }.map(\.line)
            try folder.replace("bench", with: Array(lines.joined().utf8))
        } catch {
            printError("ipc: the figures for ipc choose are not saved: \(error)")
        }
    }

    /// What was measured of a mechanism; nil if it was not.
    static func figures(_ mechanism: Mechanism) -> String? {
        guard let folder = try? PrivateFolder.openCache(creating: false), let all = try? read(folder) else {
            return nil
        }
        return all.first { $0.mechanism == mechanism }?.text
    }

    private static func read(_ folder: borrowing PrivateFolder) throws(IPCError) -> [Figures] {
        let text = String(decoding: try folder.read("bench", limit: limit), as: UTF8.self)
        return text.split(separator: "\n").compactMap { Figures($0) }
    }
}
