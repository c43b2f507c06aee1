import Glibc

/// What `/proc` tells of process groups, and how they are ended.
package enum ProcessGroups {
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

    /// Ends children that lead groups, and the processes in their groups: by SIGTERM, and by SIGKILL what is left after the grace
    /// period. They are not waited for, so that their numbers mean them until the caller has done that.
    package static func end(_ children: [Shared<ChildProcess>], _ grace: Duration) async {
        let deadline = Deadline.after(grace)
        let groups = Set(children.map { $0.value.handle.identifier })
        // What is stopped takes SIGTERM when it goes on.
        for signal in [Signal.terminate, .continue] { send(signal, to: groups) }
        for child in children { await waitForExit(of: child, until: deadline) }
        while haveLivingMembers(groups), !deadline.hasPassed {
            do { try await Task.sleep(for: .milliseconds(5)) } catch { break }
        }
        send(.kill, to: groups)
        // A process in the middle of a system call that cannot be interrupted, such as one on a dead network disk, is left.
        for child in children { await waitForExit(of: child, until: .after(.seconds(5))) }
    }

    private static func waitForExit(of child: Shared<ChildProcess>, until deadline: Deadline) async {
        // At the deadline, it is killed.
        do throws(IPCError) { try await child.value.handle.waitForExit(until: deadline) } catch { return }
    }

    private static func send(_ signal: Signal, to groups: Set<pid_t>) {
        for group in groups {
            // Fails if it has ended, and if it has become another user's: then nobody here can end it.
            do throws(IPCError) { try signal.send(toGroup: group) } catch { continue }
        }
    }
}
