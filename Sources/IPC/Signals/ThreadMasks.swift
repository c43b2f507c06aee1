/// The signal masks of this process's threads, from `/proc/self/task`.
enum ThreadMasks {
    /// A thread that would take one of these signals away from a signalfd; nil if there is none.
    static func threadNotBlocking(_ signals: [Signal]) -> Int? {
        let wanted = signals.reduce(UInt64(0)) { $0 | 1 << UInt64($1.rawValue - 1) }
        for name in (try? namesInFolder("/proc/self/task")) ?? [] {
            guard let thread = Int(name), let mask = blockedMask(thread) else { continue }
            if mask & wanted != wanted { return thread }
        }
        return nil
    }

    /// The line `SigBlk:` of a thread's status; nil if the thread has just ended.
    private static func blockedMask(_ thread: Int) -> UInt64? {
        guard let status = SystemLimits.smallFile("/proc/self/task/\(thread)/status") else { return nil }
        let lines = status.split(separator: "\n")
        guard let line = lines.first(where: { $0.hasPrefix("SigBlk:") }),
            let digits = line.split(whereSeparator: { $0 == "\t" || $0 == " " }).last
        else { return nil }
        return UInt64(digits, radix: 16)
    }
}
