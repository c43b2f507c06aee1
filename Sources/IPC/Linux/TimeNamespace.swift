import CIPCShims
import Synchronization

/// How far the monotonic clock of this process's time namespace is from the machine's.
///
/// A container may have a `CLOCK_MONOTONIC` that begins at another point (`unshare --time`), so a point in time that one process
/// tells another by shared memory is written as the machine's clock has it. A process enters a time namespace by `fork` or
/// `exec` only, so this is read once after each.
package enum TimeNamespace {
    /// Nanoseconds that this process's clock is ahead.
    package static var offset: Int64 {
        let generation = ipc_forks() &+ 1
        // Acquire, with the release below: the offset is as new as the generation.
        if knownGeneration.load(ordering: .acquiring) == generation { return knownOffset.load(ordering: .relaxed) }
        let offset = read()
        knownOffset.store(offset, ordering: .relaxed)
        knownGeneration.store(generation, ordering: .releasing)
        return offset
    }

    private static let knownOffset = Atomic<Int64>(0)
    private static let knownGeneration = Atomic<UInt64>(0)

    /// `monotonic SECONDS NANOSECONDS`, of the namespace of the children, which is this process's too unless it has made another
    /// for them. A kernel before 5.6 has neither the file nor time namespaces.
    private static func read() -> Int64 {
        guard let text = SystemLimits.smallFile("/proc/self/timens_offsets", limit: 256) else { return 0 }
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count == 3, fields[0] == "monotonic", let seconds = Int64(fields[1]),
                let nanoseconds = Int64(fields[2])
            else { continue }
            let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
            let (sum, carried) = scaled.addingReportingOverflow(nanoseconds)
            return overflow || carried ? 0 : sum
        }
        return 0
    }
}

extension Deadline {
    /// The same point in time on the machine's clock, for another process; see ``TimeNamespace``.
    package var onMachine: UInt64 {
        self == .never || self == .immediate ? nanoseconds : Self.shifted(nanoseconds, by: -TimeNamespace.offset)
    }

    /// A point in time that another process has told, on this process's clock.
    package init(onMachine point: UInt64) {
        self.init(
            nanoseconds: point == .max || point == 0 ? point : Self.shifted(point, by: TimeNamespace.offset))
    }

    /// Never one of the two that mean something else.
    private static func shifted(_ point: UInt64, by offset: Int64) -> UInt64 {
        let (sum, overflow) =
            offset < 0
            ? point.subtractingReportingOverflow(offset.magnitude) : point.addingReportingOverflow(offset.magnitude)
        guard !overflow else { return offset < 0 ? 1 : .max - 1 }
        return min(max(sum, 1), .max - 1)
    }
}
