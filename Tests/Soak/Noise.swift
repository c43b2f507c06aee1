import IPC
import TestSupport

/// How late things may be because the machine is busy.
enum Noise {
    /// What is waited for takes several threads' turns: each may be as late as the control thread was.
    static let turns: UInt64 = 4
    private static let around: UInt64 = 20_000_000

    /// - Returns: What a participant has found wrong; nil if it is not to blame.
    static func judge(_ line: String, _ members: [Member], _ control: ControlThread) -> String? {
        if line.hasPrefix("violation ") { return String(line.dropFirst(10)) }
        let words = line.split(separator: " ", maxSplits: 5)
        guard words.count == 6, words[0] == "late", let index = Int(words[1]), let start = UInt64(words[2]),
            let end = UInt64(words[3]), let grace = UInt64(words[4])
        else { return "said: \(line)" }
        let stopped = members.filter { $0.order.index == index }.map { $0.stopped(from: start, to: end) }.reduce(0, +)
        let noise = control.worst(from: start - min(start, around), to: end + around)
        guard end - start > grace + stopped + turns * noise else { return nil }
        return
            "\(words[5]) (it was stopped for \(stopped / 1_000_000) ms, the control thread \(noise / 1_000_000) ms late)"
    }
}
