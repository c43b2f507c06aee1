import CIPCShims

/// Where the two processes run: the scheduler decides most of what a blocking mechanism costs.
public enum Placement: String, CaseIterable, Sendable {
    /// Both on one core: each hand-over is a switch of context, and no other core has to be woken.
    case sameCore = "same-core"
    /// Each on a core of its own.
    case crossCore = "cross-core"
    /// Wherever the scheduler puts them.
    case free

    /// The processors that this process may use.
    public static var processors: [Int] {
        var processors = [CInt](repeating: 0, count: 1024)
        let count = unsafe ipc_allowed_processors(&processors, 1024)
        return processors.prefix(max(0, Int(count))).map { Int($0) }
    }

    /// The processor for the first or the second process; nil for any.
    func processor(isFirst: Bool) -> Int? {
        let processors = Self.processors
        switch self {
        case .free: return nil
        case .sameCore: return processors.first
        case .crossCore: return processors.count < 2 ? processors.first : processors[isFirst ? 0 : 1]
        }
    }
}
