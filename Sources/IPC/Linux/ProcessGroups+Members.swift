import Glibc

extension ProcessGroups {
    /// Whether any process of these groups still runs. Those that have ended and were not waited for do not. Where `/proc` hides
    /// processes, or is not there, none is found.
    package static func haveLivingMembers(_ groups: Set<pid_t>) -> Bool {
        guard let names = try? namesInFolder("/proc") else { return false }
        for name in names where name.utf8.first.map({ $0 >= UInt8(ascii: "1") && $0 <= UInt8(ascii: "9") }) == true {
            // NUMBER (NAME) STATE PARENT GROUP …, and a name may have parentheses.
            guard let status = SystemLimits.smallFile("/proc/\(name)/stat", limit: 512),
                let end = status.utf8.lastIndex(of: UInt8(ascii: ")"))
            else { continue }
            let fields = status[status.index(after: end)...].split(separator: " ", maxSplits: 3)
            guard fields.count > 2, let group = pid_t(fields[2]), groups.contains(group) else { continue }
            if fields[0] != "Z" && fields[0] != "X" { return true }
        }
        return false
    }
}
